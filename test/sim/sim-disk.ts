/**
 * What outlives a simulated process: identity, reserved time, registers, outbox, and shards with their log. Bytes of logs
 * and outbox that were not synced are lost or torn in a crash; SQLite files keep every committed transaction and no more.
 *
 * Two kinds of storage: `memory` (maps of batches, fast) and `real` (the Engine; its SQLite files lie in a temporary
 * directory, in memory where the system has such a place).
 */
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Ledger } from '../../repair/ledger.ts';
import type { RegisterStore } from '../../repair/metadata.ts';
import { SqliteRegisterStore } from '../../repair/metadata-store.ts';
import type { NodeIdentity } from '../../repair/node-core.ts';
import { nodeFiles } from '../../server/node-files.ts';
import { Engine } from '../../shards/engine.ts';
import { StorageError } from '../../shards/errors.ts';
import type { QueryableShard } from '../../shards/queryable.ts';
import type { Shard } from '../../shards/shard.ts';
import { type ShardId, shardId } from '../../shards/shard-key.ts';
import type { Storage } from '../../shards/storage.ts';
import { STORAGE_LIMITS, type StorageLimits } from '../../shards/storage-limits.ts';
import { STAMP_ZERO, type Stamp, type Version } from '../../shards/version.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { MemoryDisk, MemoryStorage } from '../support/memory-storage.ts';
import { type Mutation, mutateShard } from './mutations.ts';
import type { SettledBatches } from './settled.ts';
import { lookUp, UnreadLists } from './unread-lists.ts';
import type { Chance } from './virtual-time.ts';

export type EngineKind = 'memory' | 'real';

/** Small, so that a short run rolls segments, flushes, merges blocks and closes connections all the time. */
const LIMITS: StorageLimits = {
  ...STORAGE_LIMITS,
  segmentBytesMax: 12_000,
  flushIdleMs: 900,
  flushAgeMs: 2_500,
  blockBytesTarget: 700,
  transactionBytesMax: 4_000,
  openFilesMax: 2,
  compactionRunsMin: 2,
  compactionRowsMax: 60,
  compactionIdleMs: 1_500,
};

const ROOT = '/disk';
/** In the head of an SQLite file. */
const APPLICATION_ID_OFFSET = 68;

export interface OpenStorage {
  readonly storage: Storage;
  /** Shards of which a file was set aside, at any time; and those of which it was now. */
  readonly setAside: readonly ShardId[];
  readonly unopened: readonly ShardId[];
  ledgerOf(id: ShardId): Ledger;
  /** All batches by version, with the content of those that the rows still tell apart. */
  contents(id: ShardId): Map<Version, bigint | null>;
  /** null where the storage cannot be queried. */
  queryable(id: ShardId): QueryableShard | null;
  /** A turn of background work. */
  step(nowMs: number, chance: Chance): void;
  /** The process is gone. */
  kill(): void;
  /** The disk has no room, or has room again. */
  full(isFull: boolean): void;
}

/** A window of a shard, of all its measurements. */
export interface StoredWindow {
  readonly shard: ShardId;
  readonly window: number;
}

export class SimDisk {
  identity: NodeIdentity;
  reserved: Stamp = STAMP_ZERO;
  readonly files = new MemoryFiles(ROOT, nodeFiles());
  readonly outboxDirectory = `${ROOT}/outbox`;
  readonly scrubDirectory = `${ROOT}/scrub`;
  private readonly registerDatabase = new Database(':memory:');
  private readonly memory: MemoryDisk | null;
  private readonly directory: string | null;
  private opened: Database.Database[] = [];
  private spoilt = false;
  /** Since the last start. */
  private logFlipped = false;
  /** Bits of the log had fallen over when it was read: what only it had is gone. */
  logWasDamaged = false;
  /** Files of shards that have been spoilt since the last start. */
  private readonly spoiltFiles = new Set<ShardId>();
  /** Those that had been by then: what only they had is gone. */
  lostFiles: ReadonlySet<ShardId> = new Set();
  private running: OpenStorage | null = null;
  readonly lists = new UnreadLists();
  /** What the disk has done and tells nobody; null: it tells. */
  private hung: (() => void)[] | null = null;

  constructor(kind: EngineKind, identity: NodeIdentity) {
    this.identity = identity;
    this.memory = kind === 'memory' ? new MemoryDisk() : null;
    this.directory = kind === 'real' ? mkdtempSync(join(fastDirectory(), 'starling-sim-')) : null;
  }

  registers(): RegisterStore {
    return new SqliteRegisterStore(this.registerDatabase);
  }

  open(
    later: (run: () => void) => void,
    makeLedger: () => Ledger,
    settled: SettledBatches,
    mutation: Mutation | undefined,
  ): OpenStorage {
    this.logWasDamaged = this.logFlipped;
    this.logFlipped = false;
    this.lostFiles = new Set(this.spoiltFiles);
    // What the log still holds of such a shard has its series' keys in the file, where they are not in the log as well.
    this.spoilt ||= this.spoiltFiles.size > 0;
    this.spoiltFiles.clear();
    // What a start cannot read keeps it from starting.
    this.lists.failing = false;
    const make = () => this.lists.watch(makeLedger());
    this.running =
      this.memory === null ? this.openEngine(make, settled, mutation) : openMemory(this.memory, later, make);
    this.running.full(Number.isFinite(this.files.room));
    return this.running;
  }

  /** Bytes that log and outbox still take. */
  leaveRoom(bytes: number): void {
    this.files.room = bytes;
    this.running?.full(Number.isFinite(bytes));
  }

  /** Nothing that is to be synced is, or is said to be, until `answer`. */
  hang(): void {
    this.hung ??= [];
  }

  answer(): void {
    const hung = this.hung ?? [];
    this.hung = null;
    for (const run of hung) run();
  }

  /** Something that the disk does, in its time. */
  does(run: () => void): void {
    if (this.hung === null) run();
    else this.hung.push(run);
  }

  crash(chance: Chance): void {
    if (this.hung !== null) this.hung = [];
    const torn = chance.of(0.3);
    const spoilt = torn && chance.of(0.5);
    this.files.crash((unsynced) => (torn ? chance.between(0, unsynced) : 0), spoilt);
    this.spoilt ||= spoilt;
    for (const database of this.opened) database.close();
    this.opened = [];
  }

  /** A bit of a block falls over, while the node runs or is down. null: there is no block. */
  flipBit(chance: Chance): StoredWindow | null {
    const shard = this.pickFile(chance);
    if (shard === null) return null;
    return this.inFile(shard, (database) => {
      const ids = database.prepare('SELECT id FROM blocks ORDER BY id').pluck().all() as number[];
      if (ids.length === 0) return null;
      const [id, part] = [chance.pick(ids), chance.pick(['head', 'body'])];
      const bytes = database.prepare(`SELECT ${part} FROM blocks WHERE id = ?`).pluck().get(id) as Buffer;
      bytes[chance.between(0, bytes.length - 1)]! ^= 1 << chance.between(0, 7);
      database.prepare(`UPDATE blocks SET ${part} = ? WHERE id = ?`).run(bytes, id);
      const window = database.prepare('SELECT window FROM blocks WHERE id = ?').pluck().get(id) as number;
      return { shard, window };
    });
  }

  /** Of a node that is down: a file that will be set aside when it starts. null: there is none. */
  spoilFile(chance: Chance): ShardId | null {
    const shard = this.pickFile(chance);
    if (shard === null) return null;
    this.spoiltFiles.add(shard);
    if (chance.of(0.5)) {
      const file = openSync(this.pathOf(shard), 'r+');
      writeSync(file, Buffer.alloc(4), 0, 4, APPLICATION_ID_OFFSET);
      closeSync(file);
    } else
      this.inFile(shard, (database) => {
        const inEpoch = 'UPDATE ledger_epochs SET identities = ? WHERE epoch = (SELECT min(epoch) FROM ledger_epochs)';
        const { changes } = database.prepare(inEpoch).run(Buffer.from([0xff]));
        if (changes === 0) database.prepare('UPDATE ledger_state SET state = ?').run('{');
      });
    return shard;
  }

  private pickFile(chance: Chance): ShardId | null {
    const shards = join(this.directory!, 'shards');
    const names = existsSync(shards) ? readdirSync(shards).filter((name) => name.endsWith('.sqlite')) : [];
    return names.length === 0 ? null : chance.pick(names.sort()).slice(0, -'.sqlite'.length);
  }

  private pathOf(shard: ShardId): string {
    return join(this.directory!, 'shards', `${shard}.sqlite`);
  }

  /**
   * A bit of the log or the outbox falls over, among what has been synced; the log is read again at the next start. Returns
   * where; null: there is nothing.
   */
  flipLogBit(chance: Chance): { path: string; offset: number } | null {
    const { files } = this;
    const paths = [`${ROOT}/worker-0/log`, this.outboxDirectory]
      .flatMap((directory) => files.list(directory).map((name) => `${directory}/${name}`))
      .filter((path) => files.syncedBytes(path) > 0)
      .sort();
    if (paths.length === 0) return null;
    const path = chance.pick(paths);
    const offset = chance.between(0, files.syncedBytes(path) - 1);
    files.flipBit(path, offset, chance.between(0, 7));
    this.spoilt = true;
    this.logFlipped = true;
    return { path, offset };
  }

  /** Rows in the blocks of a window. */
  rowsIn({ shard, window }: StoredWindow): number {
    const rows = 'SELECT coalesce(sum(rows), 0) FROM blocks WHERE window = ?';
    return this.inFile(shard, (database) => database.prepare(rows).pluck().get(window) as number);
  }

  private inFile<T>(shard: ShardId, use: (database: Database.Database) => T): T {
    const database = new Database(this.pathOf(shard));
    try {
      return use(database);
    } finally {
      database.close();
    }
  }

  remove(): void {
    for (const database of this.opened) database.close();
    this.registerDatabase.close();
    if (this.directory !== null) rmSync(this.directory, { recursive: true, force: true });
  }

  private openEngine(makeLedger: () => Ledger, settled: SettledBatches, mutation: Mutation | undefined): OpenStorage {
    const engine = Engine.open({
      shardsDirectory: join(this.directory!, 'shards'),
      directory: `${ROOT}/worker-0`,
      owns: () => true,
      files: this.files,
      companion: (key) => settled.watch(makeLedger(), shardId(key)),
      limits: LIMITS,
      openDatabase: (path) => {
        const database = new Database(path);
        this.opened = this.opened.filter((each) => each.open);
        this.opened.push(database);
        return database;
      },
      nowMs: () => 0,
    });
    const { unopened, damaged, setAside } = engine.recovery;
    const unforeseen = unopened.filter(({ id }) => !this.lostFiles.has(id));
    // A spoilt tail that was never synced may be set aside, and records whose keys are lost (both are met again at later starts); nothing else may.
    if (unforeseen.length + (this.spoilt ? 0 : damaged.length) > 0)
      throw new Error(`recovery: ${JSON.stringify({ unforeseen, damaged })}`);
    return {
      setAside,
      unopened: unopened.map(({ id }) => id),
      storage: engine,
      ledgerOf: (id) => engine.companionOf(id) as Ledger,
      contents: (id) => {
        const shard = engine.shards.get(id);
        if (shard === undefined) return new Map();
        const ledger = engine.companionOf(id) as Ledger;
        const below = [...settled.of(ledger, id)].map((version) => [version, null] as const);
        return new Map<Version, bigint | null>([...below, ...contentAbove(shard, ledger)]);
      },
      queryable: (id) => engine.queryable(id),
      step: (nowMs, chance) => {
        for (const shard of engine.shards.values()) mutateShard(shard, mutation);
        if (chance.of(0.15) && engine.shards.size > 0) chance.pick([...engine.shards.values()]).flush();
        // Every look at the clock takes a millisecond: the budget is a number of steps.
        let looks = 0;
        engine.step(chance.between(1, 6), () => nowMs + looks++);
      },
      kill: () => {},
      full: () => {},
    };
  }
}

/** By what its rows say, or, where some of them cannot be read, by what its ledger says. */
function contentAbove(shard: Shard, ledger: Ledger): Map<Version, bigint | null> {
  try {
    return shard.recomputeContent(ledger.floor);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'damaged-block') throw error;
    return new Map(lookUp(() => ledger.versions()).map((version) => [version, null]));
  }
}

function openMemory(disk: MemoryDisk, later: (run: () => void) => void, makeLedger: () => Ledger): OpenStorage {
  const storage = new MemoryStorage(disk, later, makeLedger);
  return {
    storage,
    setAside: [],
    unopened: [],
    ledgerOf: (id) => storage.ledgers.get(id)!,
    contents: (id) => storage.shards.get(id)?.recomputeContent(STAMP_ZERO) ?? new Map(),
    queryable: () => null,
    step: (_, chance) => {
      if (chance.of(0.15) && storage.shards.size > 0) chance.pick([...storage.shards.values()]).flush();
    },
    kill: () => storage.kill(),
    full: (isFull) => {
      storage.failAppend = isFull;
    },
  };
}

function fastDirectory(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
}
