/** The parts of a worker that hold data: an engine in two directories, and a replica host on it. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Ledger } from '../repair/ledger.ts';
import { ReplicaHost, type SubmittedWrite } from '../repair/replica-host.ts';
import { DEFAULT_REPLICA_LIMITS, limitsWith } from '../repair/replica-limits.ts';
import { peekBatch } from '../shards/batch-codec.ts';
import { Engine } from '../shards/engine.ts';
import type { Files } from '../shards/files.ts';
import { type GivenKeys, SeriesKeys } from '../shards/series-keys.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import { STORAGE_LIMITS, type StorageLimits, seriesBytesBeside } from '../shards/storage-limits.ts';
import { FreedLater, freeBuffers } from './freed-buffers.ts';
import type { WorkerSettings, WriteOnTheWay } from './threads.ts';
import type { TurnResults } from './turn-results.ts';

const NO_KEYS: GivenKeys = [];
/** Frames and keys that were moved to this thread, once they are in the log and in the kernel. */
const freed = new FreedLater();

export interface ReplicaPlaces {
  readonly shardsDirectory: string;
  /** For log and outbox. */
  readonly directory: string;
  readonly files: Files;
}

export interface WorkerReplica {
  readonly engine: Engine;
  readonly host: ReplicaHost;
  /** null: there is no such shard. */
  ledgerOf(id: ShardId): Ledger | null;
  submit(writes: readonly WriteOnTheWay[]): void;
}

/** Recovers what is in the directories. `limits`: where they are not the usual ones. Throws StorageError when the disk refuses. */
export function openReplica(
  settings: WorkerSettings,
  { shardsDirectory, directory, files }: ReplicaPlaces,
  results: TurnResults,
  limits: Partial<StorageLimits> = {},
): WorkerReplica {
  const now = () => Date.now();
  const isHere = (key: ShardKey) => key.number % settings.workers === settings.index;
  const engine = Engine.open({
    shardsDirectory,
    directory,
    owns: isHere,
    files,
    companion: () => new Ledger(),
    limits: {
      ...STORAGE_LIMITS,
      logBytesMax: settings.logBytesMax,
      memtableBytesMax: settings.memtableBytesMax,
      seriesBytesMax: seriesBytesBeside(settings.memtableBytesMax),
      flushIdleMs: settings.flushIdleMs,
      compactionIdleMs: settings.mergeIdleMs,
      ...limits,
    },
    openDatabase: (path) => new Database(path),
    nowMs: now,
    setAside: (id) => host.shardLost(id),
    free: freeBuffers,
  });
  const ledgerOf = (id: ShardId): Ledger | null => {
    if (!engine.shards.has(id)) return null;
    const companion = engine.companionOf(id);
    if (!(companion instanceof Ledger)) throw new Error(`shard ${id} has another companion than a ledger`);
    return companion;
  };
  const host: ReplicaHost = new ReplicaHost({
    self: settings.self,
    storage: engine,
    ledgerOf: (id) => ledgerOf(id)!,
    isHere,
    outboxDirectory: join(directory, 'outbox'),
    scrubDirectory: join(directory, 'scrub'),
    workMs: () => performance.now(),
    files,
    random: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
    limits: {
      ...limitsWith(settings),
      outboxBytesMax: settings.outboxBytesMax,
      outboxSegmentBytes: Math.min(DEFAULT_REPLICA_LIMITS.outboxSegmentBytes, settings.outboxBytesMax),
      clockDriftMsMax: settings.clockDriftMaxMs,
      scrubBytesPerSecond: settings.scrubBytesPerSecond,
      mendBytesPerSecond: 2 * settings.scrubBytesPerSecond,
    },
    emit: (effect) => results.take(effect),
    released: (message) => freed.add([message]),
  });
  host.setRepairRates(settings.repairRates);
  const submit = (writes: readonly WriteOnTheWay[]): void => {
    const submits: SubmittedWrite[] = [];
    for (const write of writes) submits.push(submitted(write));
    host.submit(submits, now());
  };
  return { engine, host, ledgerOf, submit };
}

function submitted([request, frame, keys, allKeys, terms]: WriteOnTheWay): SubmittedWrite {
  const { consistency, durability, timeoutMs } = terms;
  const head = peekBatch(frame);
  const { shard, version } = head;
  const records = keysOf(keys);
  return {
    request,
    shard,
    version,
    frame,
    head,
    keys: records,
    allKeys: () => (allKeys === null ? records : SeriesKeys.own(allKeys)),
    consistency,
    durability,
    timeoutMs,
    released() {
      freed.add([frame]);
      if (keys !== null) freed.add([keys]);
      if (allKeys !== null) freed.add([allKeys]);
    },
  };
}

function keysOf(encoded: Uint8Array | null): GivenKeys {
  return encoded === null ? NO_KEYS : SeriesKeys.own(encoded);
}
