/**
 * What passes did, for `/metrics`. Each is counted once in a cluster, so that sums over its nodes are true: a pass by the node that
 * started it, which hears of every end; what differed, and what came, by the replica that was compared and got it.
 */
import { Counter, Histogram, type Registry } from 'prom-client';
import type { PassRecord } from '../repair/records.ts';
import type { NodeNumber } from '../shards/version.ts';
import { SECONDS_FAST } from './request-metrics.ts';

export class RepairMetrics {
  readonly #passes: Counter<'kind' | 'outcome'>;
  readonly #found: Counter;
  readonly #repaired: Counter;
  readonly #passSeconds: Histogram;

  constructor(registry: Registry) {
    const registers = [registry];
    const counter = (name: string, help: string) => new Counter({ name, help, registers });
    this.#passes = new Counter({
      name: 'starling_repair_passes_total',
      help: 'repair passes that this node started and of whose end it has heard',
      labelNames: ['kind', 'outcome'],
      registers,
    });
    this.#found = counter(
      'starling_repair_differences_found_total',
      'epochs of ten seconds in which a replica here differed from the one it was compared with in a pass',
    );
    this.#repaired = counter(
      'starling_repair_differences_repaired_total',
      'batches that a pass brought to a replica here, which had lacked them',
    );
    const help = 'time of a pass that this node started';
    this.#passSeconds = new Histogram({ name: 'starling_repair_pass_seconds', help, buckets: SECONDS_FAST, registers });
  }

  passEnded({ starter, kind, outcome, startedMs, finishedMs }: PassRecord, self: NodeNumber): void {
    if (starter !== self) return;
    this.#passes.inc({ kind, outcome });
    this.#passSeconds.observe((finishedMs - startedMs) / 1000);
  }

  /** Of all workers, since the start. */
  collect(counters: readonly Readonly<Record<string, number>>[]): void {
    const sumOf = (name: string) => counters.reduce((sum, each) => sum + (each[name] ?? 0), 0);
    this.#found.reset();
    this.#found.inc(sumOf('repair_epochs_differing'));
    this.#repaired.reset();
    this.#repaired.inc(sumOf('repair_batches_taken'));
  }
}
