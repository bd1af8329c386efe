/**
 * A `Storage` in memory for fast simulation: shards are maps of batches, the log is a list, ledgers are saved through
 * their real code into SQLite databases in memory. A crash keeps what was synced and what was flushed, and nothing else.
 */
import Database from 'better-sqlite3';
import { Ledger } from '../../repair/ledger.ts';
import type { SeriesKeyRecord } from '../../shards/batch.ts';
import { decodeBatch } from '../../shards/batch-codec.ts';
import { addSums, type Sum128 } from '../../shards/checksum.ts';
import { StorageError } from '../../shards/errors.ts';
import { type HeldFrame, holdFrame } from '../../shards/held-frame.ts';
import { type GivenKeys, keyRecords } from '../../shards/series-keys.ts';
import { type ShardId, type ShardKey, shardId } from '../../shards/shard-key.ts';
import type { FillSource, FillTarget, LogEntry, LogPosition, Storage, StoredShard } from '../../shards/storage.ts';
import type { Stamp, Version } from '../../shards/version.ts';
import { contentSum } from './content-sum.ts';
import { MemoryCare } from './memory-care.ts';

export interface Kept {
  readonly frame: Uint8Array;
  readonly keys: SeriesKeyRecord[];
}

/** What a disk holds after a power cut. */
export class MemoryDisk {
  readonly shards = new Map<
    ShardId,
    { key: ShardKey; file: Buffer; batches: Map<Version, Kept>; keys: Map<string, string> }
  >();
  readonly log: LogEntry[] = [];
  synced = 0;
}

/** Frames do not change. */
const sums = new WeakMap<Uint8Array, Sum128>();

function sumOf(frame: Uint8Array): Sum128 {
  let sum = sums.get(frame);
  if (sum === undefined) {
    sum = contentSum(decodeBatch(frame));
    sums.set(frame, sum);
  }
  return sum;
}

function hashesOf(held: HeldFrame): string[] {
  return held.kind === 'delete' ? [] : Array.from({ length: held.seriesCount }, (_, series) => held.hashOf(series));
}

export class MemoryShard implements StoredShard {
  readonly id: ShardId;
  readonly key: ShardKey;
  batches = new Map<Version, Kept>();
  keys = new Map<string, string>();
  readonly care = new MemoryCare(this);
  private readonly owner: MemoryStorage;

  constructor(owner: MemoryStorage, key: ShardKey) {
    this.owner = owner;
    this.key = key;
    this.id = shardId(key);
  }

  unknownSeries(held: HeldFrame, keys: GivenKeys, earlier: readonly GivenKeys[] = []): string[] {
    const given = new Set([keys, ...earlier].flatMap((some) => keyRecords(some).map(({ hash }) => hash)));
    return hashesOf(held).filter((hash) => !this.keys.has(hash) && !given.has(hash));
  }

  apply(held: HeldFrame, keys: GivenKeys): void {
    for (const { hash, key } of keyRecords(keys)) this.keys.set(hash, key);
    const frame = this.owner.frameOf(held.version, this.id);
    const own = hashesOf(held).map((hash) => ({ hash, key: this.keys.get(hash)! }));
    this.batches.set(held.version, { frame, keys: own });
    held.release();
  }

  rebuild(versions: ReadonlySet<Version>): { version: Version; frame: Uint8Array; keys: SeriesKeyRecord[] }[] {
    return [...versions].sort().flatMap((version) => {
      const kept = this.batches.get(version);
      return kept === undefined ? [] : [{ version, ...kept }];
    });
  }

  recomputeContent(floor: Stamp): Map<Version, Sum128> {
    const sums = new Map<Version, Sum128>();
    for (const [version, { frame }] of this.batches) {
      if (version.slice(0, 16) > floor) sums.set(version, sumOf(frame));
    }
    return sums;
  }

  recomputeContentThrough(through: Stamp): Sum128 {
    let sum = 0n;
    for (const [version, { frame }] of this.batches) {
      if (version.slice(0, 16) <= through) sum = addSums(sum, sumOf(frame));
    }
    return sum;
  }

  flush(): void {
    this.owner.save(this);
  }

  get floor(): Stamp {
    return this.owner.ledgers.get(this.id)!.floor;
  }

  snapshot(pageBytes: number): FillSource {
    this.flush();
    const saved = this.owner.disk.shards.get(this.id)!;
    const image = {
      file: saved.file.toString('base64'),
      keys: [...saved.keys],
      batches: [...saved.batches].map(([version, kept]) => [
        version,
        Buffer.from(kept.frame).toString('base64'),
        kept.keys,
      ]),
    };
    const bytes = Buffer.from(JSON.stringify(image));
    const page = (index: number) =>
      index * pageBytes >= bytes.length ? null : bytes.subarray(index * pageBytes, (index + 1) * pageBytes);
    return { bytesTotal: bytes.length, page, close: () => {} };
  }

  sizes() {
    return { rows: this.batches.size, series: this.keys.size, fileBytes: 0, memtableBytes: 0, blocks: 0 };
  }
}

export class MemoryStorage implements Storage {
  admit(): StorageError | null {
    return null;
  }

  readonly shards = new Map<ShardId, MemoryShard>();
  readonly ledgers = new Map<ShardId, Ledger>();
  readonly disk: MemoryDisk;
  failAppend = false;
  private readonly later: (run: () => void) => void;
  private readonly makeLedger: () => Ledger;
  private readonly frames = new Map<string, Uint8Array>();
  /** Files that ledgers have read from. */
  private readonly opened = new Map<ShardId, { file: Buffer; database: Database.Database }>();
  private dead = false;

  /** `later` runs its argument when the disk has done its work: the simulation decides when. */
  constructor(disk: MemoryDisk, later: (run: () => void) => void, makeLedger: () => Ledger = () => new Ledger()) {
    this.disk = disk;
    this.later = later;
    this.makeLedger = makeLedger;
    for (const [id, saved] of disk.shards) {
      const shard = this.open(saved.key);
      shard.batches = new Map(saved.batches);
      shard.keys = new Map(saved.keys);
      this.loadLedger(id, saved.file);
    }
    disk.log.length = disk.synced;
    for (const { shard: id, frame, keys } of disk.log) {
      const shard = this.shards.get(id);
      const ledger = this.ledgers.get(id);
      if (shard === undefined || ledger === undefined) continue;
      const held = holdFrame(frame);
      if (!ledger.has(held.version)) {
        this.frames.set(id + held.version, frame);
        shard.apply(held, keys);
        ledger.replayed(held);
      }
      held.release();
    }
  }

  /** The process is gone: callbacks of its disk go nowhere. */
  kill(): void {
    this.dead = true;
    for (const { database } of this.opened.values()) database.close();
    this.opened.clear();
  }

  create(key: ShardKey): MemoryShard {
    const shard = this.open(key);
    this.ledgers.set(shard.id, this.attached(shard.id));
    this.save(shard);
    return shard;
  }

  drop(id: ShardId): void {
    this.shards.delete(id);
    this.ledgers.delete(id);
    this.disk.shards.delete(id);
  }

  append(entries: readonly LogEntry[]): LogPosition {
    if (this.failAppend)
      throw Object.assign(new Error('no space left'), { code: 'disk-full', status: 503, retry: true });
    for (const { shard, keys, frame } of entries) {
      // Copies, as on a disk: whoever gave the bytes gives them away after that.
      const kept = Uint8Array.from(frame);
      this.disk.log.push({ shard, keys: keyRecords(keys), frame: kept });
      this.frames.set(shard + decodeBatch(kept).version, kept);
    }
    return { segment: 1, offset: this.disk.log.length };
  }

  sync(done: (error: Error | null) => void): void {
    const upTo = this.disk.log.length;
    this.later(() => {
      if (this.dead) return;
      this.disk.synced = Math.max(this.disk.synced, upTo);
      done(null);
    });
  }

  setRules(): void {}

  pressure() {
    return { logBytes: 0, memtableBytes: 0, overloaded: false };
  }

  step(): boolean {
    return false;
  }

  isUnopened(_: ShardId): boolean {
    return false;
  }

  copyOrigin(): null {
    return null;
  }

  /** Keeps nothing of a copy that broke off. */
  beginFill(key: ShardKey): FillTarget {
    const pages: Buffer[] = [];
    return {
      accept: (page) => void pages.push(Buffer.from(page)),
      kept: () => null,
      keep: (index) => {
        throw new Error(`page ${index} was not kept`);
      },
      suspend: () => {},
      abort: () => {},
      finish: (amend = () => {}) => {
        const image = JSON.parse(Buffer.concat(pages).toString());
        const shard = this.open(key);
        shard.keys = new Map(image.keys);
        shard.batches = new Map(
          image.batches.map(([v, frame, keys]: [string, string, SeriesKeyRecord[]]) => [
            v,
            { frame: Buffer.from(frame, 'base64'), keys },
          ]),
        );
        const database = new Database(Buffer.from(image.file, 'base64'));
        amend(database);
        const file = database.serialize();
        database.close();
        this.loadLedger(shard.id, file);
        const { batches, keys } = shard;
        this.disk.shards.set(shard.id, { key, file, batches: new Map(batches), keys: new Map(keys) });
        return shard;
      },
    };
  }

  frameOf(version: Version, id: ShardId): Uint8Array {
    const frame = this.frames.get(id + version);
    this.frames.delete(id + version);
    if (frame === undefined) throw new Error(`batch ${version} is applied without having been logged`);
    return Uint8Array.from(frame);
  }

  save(shard: MemoryShard): void {
    const database = new Database(':memory:');
    const saved = this.disk.shards.get(shard.id);
    const db = saved === undefined ? database : new Database(saved.file);
    this.ledgers.get(shard.id)!.save(db);
    const file = db.serialize();
    db.close();
    if (db !== database) database.close();
    this.disk.shards.set(shard.id, {
      key: shard.key,
      file,
      batches: new Map(shard.batches),
      keys: new Map(shard.keys),
    });
    this.ledgers.get(shard.id)!.saved();
  }

  private attached(id: ShardId): Ledger {
    const ledger = this.makeLedger();
    ledger.attach((read) => {
      if (this.ledgers.get(id) !== ledger) throw new StorageError('snapshot-gone', `${id} was dropped or replaced`);
      return read(this.fileOf(id));
    });
    return ledger;
  }

  private fileOf(id: ShardId): Database.Database {
    const { file } = this.disk.shards.get(id)!;
    let opened = this.opened.get(id);
    if (opened?.file !== file) {
      opened?.database.close();
      opened = { file, database: new Database(file) };
      this.opened.set(id, opened);
    }
    return opened.database;
  }

  private open(key: ShardKey): MemoryShard {
    const shard = new MemoryShard(this, key);
    this.shards.set(shard.id, shard);
    return shard;
  }

  private loadLedger(id: ShardId, file: Buffer): void {
    const ledger = this.attached(id);
    const database = new Database(file);
    ledger.load(database);
    database.close();
    this.ledgers.set(id, ledger);
  }
}
