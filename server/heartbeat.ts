/**
 * The heartbeat: what this node has closed, said to all members at a fixed interval.
 *
 * The order makes the statement true (protocol rule 9): first the closing stamp is drawn, below which nothing is minted
 * any more; then the workers are asked what is open. Versions are minted and posted to a worker in one synchronous step,
 * and messages to a worker keep their order, so every version at or below the stamp has reached its worker before the
 * question does. The statement carries the view that the workers had at that moment, also when it changes before they
 * answer (rule 11). One heartbeat runs at a time.
 */
import type { HeldShard } from '../repair/cluster.ts';
import { sumOfHandovers } from '../repair/handover.ts';
import type { NodeCore } from '../repair/node-core.ts';
import type { WorkerPool } from './threads.ts';

export interface HeartbeatPorts {
  readonly core: NodeCore;
  readonly pool: WorkerPool;
  readonly intervalMs: number;
  nowMs(): number;
  /** Hands changes of the cluster to the workers first. */
  beforeAsking(): void;
  /** Shards held, or null when unchanged since the last call. */
  takeHeld(): readonly HeldShard[] | null;
  afterBeat(): Promise<void> | undefined;
  onError(error: unknown): void;
}

/** Returns what stops it. */
export function startHeartbeat(ports: HeartbeatPorts): () => Promise<void> {
  let running: Promise<void> | null = null;
  let stopped = false;
  const beat = async (): Promise<void> => {
    if (ports.core.state !== 'up') return;
    ports.beforeAsking();
    const closed = ports.core.closing(ports.nowMs());
    const { viewHash } = ports.core.snapshot();
    const open = (await ports.pool.callAll('openVersions')).flat();
    if (stopped) return;
    ports.core.heartbeat(closed, open, ports.takeHeld(), ports.nowMs(), viewHash);
    if (ports.core.departures.isLeaving) {
      const left = sumOfHandovers(await ports.pool.callAll('handover'));
      if (stopped) return;
      ports.core.departures.handover(left, ports.nowMs());
    }
    await ports.afterBeat();
  };
  const start = () => {
    if (running !== null) return;
    running = beat()
      .catch((error: unknown) => {
        if (!stopped) ports.onError(error);
      })
      .finally(() => {
        running = null;
      });
  };
  const timer = setInterval(start, ports.intervalMs);
  start();
  return async () => {
    stopped = true;
    clearInterval(timer);
    await running;
  };
}
