/** What the coordinator (coordinator.ts) is given. */
import type { ClusterSnapshot } from '../repair/cluster.ts';
import type { ShardKey } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import type { WriteRequest } from './http/influx-write.ts';
import type { CensusSource } from './series-limit.ts';
import type { PostedWrite } from './threads.ts';

export interface CoordinatorLimits {
  readonly writeInFlightBytesMax: number;
  readonly writeTimeoutMs: number;
  readonly seriesCacheMax: number;
  readonly lineBytesMax: number;
  /** Of one measurement in one body. */
  readonly fieldsMax: number;
  readonly keyBytesMax: number;
  readonly stringBytesMax: number;
  readonly bodySeriesMax: number;
  /** Of a shard group; 0: no limit. */
  readonly seriesMax: number;
}

export interface CoordinatorPorts {
  readonly seed: string;
  isReady(): boolean;
  snapshot(): ClusterSnapshot;
  owners(shard: ShardKey): readonly NodeNumber[];
  /** Throws an error with `status` and `message` when this node may not mint now. */
  mint(): Version;
  nowMs(): number;
  workerOf(shardNumber: number): number;
  /** Asks for series at full replicas. */
  census: CensusSource;
  submit(worker: number, writes: readonly PostedWrite[]): void;
  /** Runs `work` after the current turn of the event loop. */
  later(work: () => void): void;
  /** Runs `work` after so many milliseconds. */
  after(ms: number, work: () => void): void;
  /** An answer could not be given: a fault of ours, at one client only. */
  faulty(error: Error): void;
  /** So many points of the request are stored; its body may be gone when this returns. Never throws. */
  accepted(request: WriteRequest, points: number): void;
  observe(event: {
    readonly rows: number;
    readonly failedRows: number;
    readonly bytes: number;
    readonly ms: number;
    readonly status: number;
  }): void;
}
