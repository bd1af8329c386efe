/** Levelling of this node's replicas for queries, from anywhere: orders to the workers, and their results back. */
import type { LevelOrder, LevelResult } from '../repair/levelling.ts';
import type { WorkerPool } from './threads.ts';

export class LevellingDesk {
  readonly #pool: WorkerPool;
  readonly #open = new Map<number, (result: LevelResult) => void>();
  #nextRequest = 1;

  constructor(pool: WorkerPool) {
    this.#pool = pool;
  }

  /** The worker sees to it that there is a result within the order's time. */
  async level(order: Omit<LevelOrder, 'request'>): Promise<LevelResult> {
    const request = this.#nextRequest++;
    const result = new Promise<LevelResult>((resolve) => this.#open.set(request, resolve));
    try {
      await this.#pool.call(this.#pool.workerOf(order.shard.number), 'level', [{ ...order, request }]);
      return await result;
    } finally {
      this.#open.delete(request);
    }
  }

  /** Results of a worker's turn. */
  settle(results: readonly LevelResult[]): void {
    for (const result of results) this.#open.get(result.request)?.(result);
  }
}
