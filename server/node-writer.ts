/** The coordinator of a node, bound to its parts. Made at the first write, because it needs the cluster's seed. */
import type { NodeCore } from '../repair/node-core.ts';
import { LINE_LIMITS } from '../shards/line-protocol-errors.ts';
import type { Config } from './config.ts';
import { Coordinator } from './coordinator.ts';
import type { WriteRequest } from './http/influx-write.ts';
import type { RequestMetrics, WriteEvent } from './request-metrics.ts';
import { SchemaCache } from './schema-cache.ts';
import { areNowhere, fetchCensus, fetchSchemas } from './schema-source.ts';
import type { CensusShard } from './series-limit.ts';
import type { ShardPlaces } from './shard-places.ts';
import type { WorkerPool } from './threads.ts';

/** Made-up writes take the way of others, and are none that an operator wants to limit. */
const MADE_UP = {
  lineBytesMax: LINE_LIMITS.lineBytesMax,
  keyBytesMax: LINE_LIMITS.keyBytesMax,
  fieldsMax: LINE_LIMITS.columnsMax,
  bodySeriesMax: LINE_LIMITS.seriesMax,
  seriesMax: Number.MAX_SAFE_INTEGER,
};

export interface WriterParts {
  readonly seed: string;
  readonly clusterId: string;
  readonly config: Config;
  readonly core: NodeCore;
  readonly pool: WorkerPool;
  readonly places: ShardPlaces;
  readonly metrics: RequestMetrics;
  /** The writes go to replicas that are thrown away (warm-up.ts). */
  readonly isScratch: boolean;
  /** A client's points are stored. */
  accepted(request: WriteRequest, points: number): void;
  isReady(): boolean;
  /** Hands changes of the cluster to the workers. */
  shareCluster(): void;
  /** Runs work whose expected failures must not end the process. */
  guard(work: () => void): void;
  /** A request failed by a fault of ours. */
  faulty(error: Error): void;
}

export interface Writer {
  readonly coordinator: Coordinator;
  readonly schemas: SchemaCache;
}

export function createWriter(parts: WriterParts): Writer {
  // What each write needs is taken out once: V8 counts on the shape of objects, and the parts of made-up writes may have another.
  const { config, core, pool, places, metrics, isScratch, shareCluster, guard, faulty, accepted } = parts;
  const snapshot = () => core.snapshot();
  const at = { pool, places, snapshot, clusterId: parts.clusterId };
  const schemas = new SchemaCache({
    ask: (shards) => fetchSchemas(at, shards),
    isNew: (shards) => areNowhere(at, shards),
  });
  const ports = {
    seed: parts.seed,
    isReady: parts.isReady,
    snapshot,
    owners: core.owners.bind(core),
    mint: () => core.mint(Date.now()),
    nowMs: Date.now,
    workerOf: (number: number) => pool.workerOf(number),
    census: (shards: readonly CensusShard[]) => fetchCensus(at, shards),
    submit: (worker: number, writes: Parameters<WorkerPool['submit']>[1]) => {
      shareCluster();
      pool.submit(worker, writes, isScratch);
    },
    later: (work: () => void) => {
      setImmediate(() => guard(work));
    },
    after: (ms: number, work: () => void) => {
      setTimeout(() => guard(work), ms);
    },
    faulty,
    accepted: (request: WriteRequest, points: number) => {
      try {
        accepted(request, points);
      } catch (error) {
        faulty(error as Error);
      }
    },
    observe: (event: WriteEvent) => metrics.observeWrite(event),
  };
  const { writeInFlightBytesMax, writeTimeoutMs, seriesCacheMax, stringBytesMax } = config;
  const { lineBytesMax, keyBytesMax, fieldsMax, bodySeriesMax, seriesMax } = isScratch ? MADE_UP : config;
  const limits = {
    writeInFlightBytesMax,
    writeTimeoutMs,
    seriesCacheMax,
    stringBytesMax,
    lineBytesMax,
    keyBytesMax,
    fieldsMax,
    bodySeriesMax,
    seriesMax,
  };
  return { schemas, coordinator: new Coordinator(ports, limits, schemas, places) };
}
