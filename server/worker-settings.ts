/** Each worker's share of the node's configuration. */
import type { RepairRates } from '../repair/budget.ts';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { Config } from './config.ts';
import type { WorkerSettings } from './threads.ts';

/** Retries and time-outs are noticed within one tick; it is part of a message's delay in the bound. */
const TICK_MS = 20;

export function workerSettings(
  config: Config,
  self: NodeNumber,
  snapshot: ClusterSnapshot,
  rates: RepairRates,
): WorkerSettings[] {
  const { workers } = config;
  return Array.from({ length: workers }, (_, index) => ({
    index,
    workers,
    self,
    dataDirectory: config.dataDirectory,
    snapshot,
    tickMs: TICK_MS,
    passIntervalMs: config.passIntervalMs,
    mailTimeoutMs: config.mailTimeoutMs,
    clockDriftMaxMs: config.clockDriftMaxMs,
    outboxBytesMax: Math.floor(config.outboxBytesMax / workers),
    logBytesMax: Math.floor(config.logBytesMax / workers),
    memtableBytesMax: Math.floor(config.memtableBytesMax / workers),
    flushIdleMs: config.flushIdleMs,
    mergeIdleMs: config.mergeIdleMs,
    scrubBytesPerSecond: Math.ceil(config.scrubBytesPerSecond / workers),
    repairRates: ratesOfWorker(rates, workers),
    changes: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
  }));
}

export function ratesOfWorker(rates: RepairRates, workers: number): RepairRates {
  const { bytesPerSecond } = rates;
  return { ...rates, bytesPerSecond: bytesPerSecond === null ? null : bytesPerSecond / workers };
}
