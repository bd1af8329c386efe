/** What the tests of storage share: a shard key, batches from plain rows, a companion, and an engine on a temp directory. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { freeBuffers } from '../../server/freed-buffers.ts';
import { nodeFiles } from '../../server/node-files.ts';
import type { Batch, DeletePredicate, SeriesKeyRecord } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { FLOAT } from '../../shards/column.ts';
import type { ShardCompanion } from '../../shards/companion.ts';
import { Engine } from '../../shards/engine.ts';
import type { Files } from '../../shards/files.ts';
import { type HeldFrame, holdFrame } from '../../shards/held-frame.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';
import type { LogPosition } from '../../shards/storage.ts';
import { STORAGE_LIMITS, type StorageLimits } from '../../shards/storage-limits.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import type { FreeBuffers } from '../../shards/used-rows.ts';
import { isThrough, makeStamp, makeVersion, STAMP_ZERO, type Stamp, type Version } from '../../shards/version.ts';
import { MemoryFiles } from '../support/memory-files.ts';

const recordsIn = (bytes: Buffer): number => bytes.toString('latin1').split('REC1').length - 1;

export const HOUR_NS = 3_600_000_000_000;
export const KEY: ShardKey = {
  database: 'db',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: BigInt(HOUR_NS) * 24n,
  number: 0,
};
export const SHARD = shardId(KEY);

export interface PlainRow {
  readonly key: string;
  readonly time: number;
  readonly fields: Readonly<Record<string, number>>;
}

export const versionAt = (n: number): Version => makeVersion(makeStamp(1_700_000_000_000 + n, 0), '00000000000000aa');

export function writeBatch(version: Version, rows: readonly PlainRow[], shard = KEY): Batch {
  const keys = [...new Set(rows.map(({ key }) => key))];
  const measurements = [...new Set(rows.map(({ key }) => key.split(',')[0]!))];
  const groups = measurements.map((measurement) => {
    const own = rows.filter(({ key }) => key.split(',')[0] === measurement);
    const fields = [...new Set(own.flatMap((row) => Object.keys(row.fields)))].sort();
    return {
      measurement,
      rowSeries: Uint32Array.from(own, ({ key }) => keys.indexOf(key)),
      times: Float64Array.from(own, ({ time }) => time),
      columns: fields.map((field) => {
        const present = Uint8Array.from(own, (row) => (row.fields[field] === undefined ? 0 : 1));
        return {
          field,
          type: FLOAT,
          present: present.includes(0) ? present : null,
          values: Float64Array.from(own, (row) => row.fields[field] ?? 0),
        } as const;
      }),
    };
  });
  return { kind: 'write', shard, version, series: keys.map((key) => hashSeriesKey('seed', key)), groups };
}

export function keysOf(rows: readonly PlainRow[]): SeriesKeyRecord[] {
  return [...new Set(rows.map(({ key }) => key))].map((key) => ({ hash: hashSeriesKey('seed', key), key }));
}

export function deleteBatch(version: Version, predicate: Partial<DeletePredicate>): Batch {
  const whole = { measurement: null, condition: null, minTime: 0, maxTime: Number(KEY.endNs) - 1 };
  return { kind: 'delete', shard: KEY, version, predicate: { ...whole, ...predicate } };
}

/** The versions of a shard, in a table of its file. */
export class VersionSet implements ShardCompanion {
  readonly versions = new Set<Version>();
  awaitsCopy = false;
  /** Records of the log that may have been lost, as far as is known or saved. */
  recordsLost = 0;
  /** Raised by tests. */
  floor: Stamp = STAMP_ZERO;

  has(version: Version): boolean {
    return isThrough(version, this.floor) || this.versions.has(version);
  }

  load(database: Database.Database): void {
    database.exec('CREATE TABLE IF NOT EXISTS seen (version TEXT PRIMARY KEY)');
    database.exec('CREATE TABLE IF NOT EXISTS floors (floor TEXT, lost INTEGER)');
    this.recordsLost = Number(database.prepare('SELECT max(lost) FROM floors').pluck().get() ?? 0);
    const floor = database.prepare('SELECT max(floor) FROM floors').pluck().get();
    if (typeof floor === 'string') this.floor = floor;
    for (const version of database.prepare('SELECT version FROM seen').pluck().all())
      this.versions.add(version as string);
  }

  replayed({ version }: HeldFrame): void {
    this.versions.add(version);
  }

  recordLost(): void {
    this.recordsLost++;
  }

  freeze(): (database: Database.Database) => void {
    const versions = [...this.versions];
    const { floor, recordsLost } = this;
    return (database) => {
      const insert = database.prepare('INSERT OR IGNORE INTO seen (version) VALUES (?)');
      for (const version of versions) insert.run(version);
      database.prepare('INSERT INTO floors (floor, lost) VALUES (?, ?)').run(floor, recordsLost);
    };
  }
}

export class Bench {
  readonly directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'starling-storage-'));
  readonly files: MemoryFiles;
  readonly limits: StorageLimits;
  engine: Engine;
  nowMs = 1_000_000;
  /** Shards that were set aside while an engine ran. */
  readonly setAside: string[] = [];
  /** Of shards that are opened from now on. */
  awaitsCopy = false;

  readonly #free: FreeBuffers;

  /** `free`: as a worker does; rows that are read after that are missing. */
  constructor(limits: Partial<StorageLimits> = {}, free: FreeBuffers = freeBuffers) {
    this.#free = free;
    this.files = new MemoryFiles('/memory', nodeFiles());
    this.limits = { ...STORAGE_LIMITS, ...limits };
    this.engine = this.#open(this.files);
  }

  #open(files: Files): Engine {
    return Engine.open({
      shardsDirectory: join(this.directory, 'shards'),
      directory: '/memory',
      owns: () => true,
      files,
      companion: () => Object.assign(new VersionSet(), { awaitsCopy: this.awaitsCopy }),
      limits: this.limits,
      openDatabase: (path) => new Database(path),
      nowMs: () => 0,
      setAside: (id) => this.setAside.push(id),
      free: this.#free,
    });
  }

  /** What a kill leaves, and a new start from it. */
  crash(keep: (unsynced: number) => number = () => 0, spoil = false): void {
    this.files.crash(keep, spoil);
    this.reopen();
  }

  reopen(): void {
    this.engine.close();
    this.engine = this.#open(this.files);
  }

  shard() {
    return (
      this.engine.shards.get(SHARD) ?? (this.engine.create(KEY) as NonNullable<ReturnType<Engine['shards']['get']>>)
    );
  }

  /** Log, sync, apply: as the caller of the engine does. Returns the sync's error. */
  write(batch: Batch, keys: readonly SeriesKeyRecord[] = []): Error | null {
    this.shard();
    const position = this.engine.append([{ shard: SHARD, keys, frame: encodeBatch(batch) }]);
    const error = this.sync();
    if (error === null) this.apply(batch, keys, position);
    return error;
  }

  writeRows(version: Version, rows: readonly PlainRow[]): Error | null {
    return this.write(writeBatch(version, rows), keysOf(rows));
  }

  apply(batch: Batch, keys: readonly SeriesKeyRecord[], position: LogPosition): void {
    const held = holdFrame(encodeBatch(batch));
    this.shard().apply(held, keys, position);
    (this.shard().companion as VersionSet).replayed(held);
  }

  sync(): Error | null {
    let result: Error | null = null;
    this.engine.sync((error) => {
      result = error;
    });
    this.files.runSyncs();
    return result;
  }

  step(): boolean {
    return this.engine.step(1e9, () => this.nowMs);
  }

  /** In segments that are not set aside. */
  logRecords(): number {
    const segments = this.files.list('/memory/log').filter((name) => name.endsWith('.log'));
    return segments.reduce((sum, name) => sum + recordsIn(this.files.bytesOf(`/memory/log/${name}`)), 0);
  }

  remove(): void {
    this.engine.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Visible cells of a shard as `key time field -> value`. */
export function cellsOf(bench: Bench, measurement = 'm', condition: TagCondition | null = null): Map<string, number> {
  const shard = bench.shard();
  const cells = new Map<string, number>();
  const fields = shard.fields(measurement).map(({ name }) => name);
  const series = shard.series(measurement, condition);
  shard.scan({ measurement, series, fields, minTime: 0, maxTime: Number(KEY.endNs) - 1 }, (slice) => {
    slice.columns.forEach((column) => {
      if (column === null) return;
      for (let i = 0; i < slice.times.length; i++) {
        if (column.present !== null && column.present[i] === 0) continue;
        const name = `${shard.keyOf(slice.series)} ${slice.times[i]} ${column.field}`;
        if (cells.has(name)) throw new Error(`${name} came twice`);
        cells.set(name, column.values[i] as number);
      }
    });
    return true;
  });
  return cells;
}
