/**
 * The ledger of a shard: which batches it has received, as sums that two replicas can compare.
 *
 * Truth: `ledger_state` and `ledger_epochs` in the shard's SQLite file, written only inside the transaction of a flush
 * (ShardCompanion), plus what recovery replays from the log. So after a crash the ledger is exactly the content of the
 * file plus the replayed part of the log; a lost floor is only an older true floor.
 *
 * Above the floor each epoch (10 s of hybrid time) lists its identities: version, rows, content sum. Everything at or
 * below the floor is collapsed into one root, because nothing at or below the floor is accepted any more (rule 7).
 * A root is (count, sum of identity hashes, sum of content sums); an identity's hash is 128 bits of SHA-256 of its
 * version. A version is counted once however often it arrives (rule 14).
 *
 * Worst outcome still possible: a damaged identity list makes `load` throw LedgerError, and the shard is set aside and
 * filled from another owner.
 */
import type { Database } from 'better-sqlite3';
import { addSums, type Sum128, sumToHex } from '../shards/checksum.ts';
import type { ShardCompanion } from '../shards/companion.ts';
import type { HeldFrame } from '../shards/held-frame.ts';
import {
  EPOCH_MS,
  epochOf,
  type NodeNumber,
  STAMP_ZERO,
  type Stamp,
  stampOf,
  type Version,
} from '../shards/version.ts';
import { decodeIdentities, type Identity } from './ledger-codec.ts';
import { Epoch } from './ledger-epoch.ts';
import { CREATE_STATE, readState, type StateJson, writeState } from './ledger-state.ts';
import type { Loss } from './losses.ts';
import { type GoneMember, PassedLists } from './passed-lists.ts';

export interface Root {
  readonly count: number;
  readonly identity: Sum128;
  readonly content: Sum128;
}

export const EMPTY_ROOT: Root = { count: 0, identity: 0n, content: 0n };

export interface EpochSum extends Root {
  readonly epoch: number;
}

export interface Watermark {
  readonly through: Stamp;
  readonly pass: string;
  readonly members: readonly NodeNumber[];
  readonly root: RootJson;
}

/** Count, identity sum and content sum in hexadecimal. */
export type RootJson = readonly [number, string, string];

const CREATE_TABLES = `${CREATE_STATE}
  CREATE TABLE IF NOT EXISTS ledger_epochs (epoch INTEGER PRIMARY KEY, identities BLOB NOT NULL);`;
/** Lists that are open at a time: batches come for the newest epochs, and, from repair, for one after the other. */
const OPEN_MAX = 8;

const READ_EPOCHS = 'SELECT epoch, identities FROM ledger_epochs ORDER BY epoch';
const WRITE_EPOCH = 'INSERT OR REPLACE INTO ledger_epochs (epoch, identities) VALUES (?, ?)';
const DELETE_EPOCHS_THROUGH = 'DELETE FROM ledger_epochs WHERE epoch <= ?';
const DELETE_EPOCHS = 'DELETE FROM ledger_epochs';
const DELETE_EPOCH = 'DELETE FROM ledger_epochs WHERE epoch = ?';

export class Ledger implements ShardCompanion {
  /** Set by repair only; durable with the next flush. */
  replica: StateJson['replica'] = 'full';
  damage: string | null = null;
  /** Its file, or a part of the log behind it, was lost: what it acknowledged before still counts at members that have not been told (mend.ts). */
  mustDisown = false;
  /** See `HeldShard.since`. */
  since: Stamp = STAMP_ZERO;
  /** When all that is stored was read again last; 0: never. */
  scrubbedMs = 0;
  converged: Watermark | null = null;
  liveConverged: Watermark | null = null;
  /** Its floor is that of a source which a replica without any has copied; over with the next one. */
  newcomer = false;
  /** What may be missing below the watermark, although all owners are equal. */
  losses: readonly Loss[] = [];
  /** As the view says. */
  gone: readonly GoneMember[] = [];
  readonly passed = new PassedLists();
  private floorStamp: Stamp = STAMP_ZERO;
  private collapsed: Root = EMPTY_ROOT;
  private epochs = new Map<number, Epoch>();
  /** Epochs whose lists are open; the one that was written to longest ago comes first. */
  private readonly opened = new Set<number>();
  private newestVersion: Version | null = null;
  private readonly changed = new Set<number>();
  /** Number of the last save; a file that does not hold it missed one (rolled back or replaced) and is written whole. */
  private sequence = 0;

  get floor(): Stamp {
    return this.floorStamp;
  }

  get newest(): Version | null {
    return this.newestVersion;
  }

  get awaitsCopy(): boolean {
    return this.replica === 'filling';
  }

  /** Batches above the floor. */
  get listed(): number {
    let count = 0;
    for (const epoch of this.epochs.values()) count += epoch.count;
    return count;
  }

  has(version: Version): boolean {
    return stampOf(version) <= this.floorStamp || this.lists(version);
  }

  /** Whether the identity is listed above the floor. */
  lists(version: Version): boolean {
    return this.epochs.get(epochOf(version))?.batches.has(version) ?? false;
  }

  /** False when it was known or lies at or below the floor; then nothing changes. Lowers LCT where needed (rule 7). */
  add(version: Version, content: Sum128, rows: number): boolean {
    if (this.has(version)) return false;
    const number = epochOf(version);
    let epoch = this.epochs.get(number);
    if (epoch === undefined) {
      epoch = new Epoch();
      this.epochs.set(number, epoch);
    }
    this.open(number);
    epoch.add({ version, rows, content });
    this.changed.add(number);
    if (this.newestVersion === null || version > this.newestVersion) this.newestVersion = version;
    const stamp = stampOf(version);
    if (this.liveConverged !== null && stamp <= this.liveConverged.through) this.lowerLive(stamp);
    return true;
  }

  /** The epoch is written to; of those that were, the ones written to longest ago are sealed. */
  private open(number: number): void {
    this.opened.delete(number);
    this.opened.add(number);
    if (this.opened.size <= OPEN_MAX) return;
    const [oldest] = this.opened;
    this.opened.delete(oldest!);
    this.epochs.get(oldest!)?.seal();
  }

  /** Durable with the flush that says that the file has what was logged up to there. */
  recordLost(): void {
    this.mustDisown = true;
    if (this.replica !== 'full') return;
    this.replica = 'damaged';
    this.damage = 'records of its log were damaged';
  }

  replayed(frame: HeldFrame): void {
    this.add(frame.version, frame.content, frame.rows);
  }

  /** Root of everything with a stamp at or below `through`, which must not lie below the floor. */
  root(through: Stamp): Root {
    if (through < this.floorStamp) throw new RangeError(`root at ${through} asked below the floor ${this.floorStamp}`);
    return this.rootWithin(STAMP_ZERO, through, this.collapsed);
  }

  floorRoot(): Root {
    return this.collapsed;
  }

  /** Sums of epochs with identities in (after, through], ascending, from epoch `from` on, at most `max`. */
  epochSums(after: Stamp, through: Stamp, from: number, max: number): { sums: EpochSum[]; next: number | null } {
    const last = epochOf(through);
    const numbers = [...this.epochs.keys()]
      .filter((n) => n >= from && n >= epochOf(after) && n <= last)
      .sort(ascending);
    const sums: EpochSum[] = [];
    for (const number of numbers) {
      if (sums.length === max) return { sums, next: number };
      const sum = this.epochWithin(number, after, through);
      if (sum.count > 0) sums.push({ epoch: number, ...sum });
    }
    return { sums, next: null };
  }

  /** Identities of one epoch in (after, through] above `above` (a version or ''), ascending, at most `max`. */
  identities(epoch: number, after: Stamp, through: Stamp, above: Version | '', max: number): Identity[] {
    const found: Identity[] = [];
    const batches = this.epochs.get(epoch)?.batches;
    if (batches === undefined) return found;
    for (const [version, { rows, content }] of batches) {
      const stamp = stampOf(version);
      if (stamp > after && stamp <= through && version > above) found.push({ version, rows, content });
    }
    found.sort((a, b) => (a.version < b.version ? -1 : 1));
    return found.slice(0, max);
  }

  contentOf(version: Version): Sum128 | null {
    return this.epochs.get(epochOf(version))?.batches.get(version)?.content ?? null;
  }

  /** Rows of a listed batch; 0 for one that is not listed. */
  rowsIn(version: Version): number {
    return this.epochs.get(epochOf(version))?.batches.get(version)?.rows ?? 0;
  }

  /** Part of a listed batch is lost for good: its content is what is left of it. */
  restate(version: Version, content: Sum128): void {
    const number = epochOf(version);
    const epoch = this.epochs.get(number);
    if (epoch?.batches.has(version) !== true) return;
    this.open(number);
    epoch.restate(version, content);
    this.changed.add(number);
  }

  /** Versions above the floor, ascending. */
  versions(): Version[] {
    const all: Version[] = [];
    for (const epoch of this.epochs.values()) for (const { version } of epoch.list()) all.push(version);
    return all.sort();
  }

  /** Collapses everything at or below `through`. The caller has made sure that the root there is proven (rule 18). */
  adoptFloor(through: Stamp): void {
    if (through <= this.floorStamp) return;
    this.newcomer = false;
    this.passed.note(this.gone, this.floorStamp, through, () => this.versions());
    this.collapsed = this.root(through);
    this.floorStamp = through;
    const last = epochOf(through);
    for (const [number, epoch] of [...this.epochs]) {
      if (number > last) continue;
      this.changed.add(number);
      if (number < last) {
        this.forget(number);
        continue;
      }
      const above = epoch.list().filter(({ version }) => stampOf(version) > through);
      this.forget(number);
      for (const { version, content, rows } of above) this.insert(version, content, rows);
    }
  }

  private forget(number: number): void {
    this.epochs.delete(number);
    this.opened.delete(number);
  }

  load(database: Database): void {
    database.exec(CREATE_TABLES);
    this.passed.load(database);
    this.epochs = new Map();
    this.opened.clear();
    this.changed.clear();
    this.newestVersion = null;
    const state = readState(database);
    if (state === null) return;
    this.sequence = state.sequence;
    this.replica = state.replica;
    this.damage = state.damage;
    this.scrubbedMs = state.scrubbedMs ?? 0;
    this.floorStamp = state.floor;
    this.collapsed = rootFromJson(state.collapsed);
    this.converged = state.converged;
    this.liveConverged = state.liveConverged;
    this.newcomer = state.newcomer ?? false;
    this.losses = state.losses ?? [];
    this.mustDisown = state.mustDisown ?? false;
    this.since = state.since ?? STAMP_ZERO;
    for (const { identities } of database.prepare<[], { identities: Uint8Array }>(READ_EPOCHS).iterate()) {
      for (const { version, rows, content } of decodeIdentities(identities)) {
        if (stampOf(version) > this.floorStamp) this.insert(version, content, rows);
      }
    }
    this.changed.clear();
  }

  save(database: Database): void {
    this.freeze()(database);
  }

  freeze(): (database: Database) => void {
    const epochs = new Map([...this.epochs].map(([number, epoch]) => [number, epoch.freeze()]));
    const changed = [...this.changed];
    const expected = this.sequence++;
    const firstEpoch = epochOf(this.floorStamp);
    const passed = this.passed.freeze();
    const state = this.toState();
    this.changed.clear();
    return (database) => {
      database.exec(CREATE_TABLES);
      const whole = (readState(database)?.sequence ?? 0) !== expected;
      if (whole) database.prepare(DELETE_EPOCHS).run();
      else database.prepare(DELETE_EPOCHS_THROUGH).run(firstEpoch - 1);
      const write = database.prepare(WRITE_EPOCH);
      const remove = database.prepare(DELETE_EPOCH);
      for (const number of whole ? epochs.keys() : changed) {
        const encode = epochs.get(number);
        if (encode === undefined) remove.run(number);
        else write.run(number, encode());
      }
      passed(database, whole);
      writeState(database, state);
    };
  }

  private toState(): StateJson {
    return {
      sequence: this.sequence,
      replica: this.replica,
      floor: this.floorStamp,
      collapsed: rootToJson(this.collapsed),
      converged: this.converged,
      liveConverged: this.liveConverged,
      newcomer: this.newcomer,
      damage: this.damage,
      scrubbedMs: this.scrubbedMs,
      losses: this.losses,
      ...(this.mustDisown && { mustDisown: true }),
      ...(this.since !== STAMP_ZERO && { since: this.since }),
    };
  }

  private insert(version: Version, content: Sum128, rows: number): void {
    const live = this.liveConverged;
    this.liveConverged = null;
    this.add(version, content, rows);
    this.liveConverged = live;
  }

  private lowerLive(stamp: Stamp): void {
    const below = stampBefore(stamp);
    const live = this.liveConverged!;
    if (below <= this.floorStamp) this.liveConverged = this.converged;
    else
      this.liveConverged = {
        ...live,
        through: below,
        root: rootToJson(this.rootWithin(STAMP_ZERO, below, this.collapsed)),
      };
  }

  private rootWithin(after: Stamp, through: Stamp, base: Root): Root {
    let { count, identity, content } = base;
    const last = epochOf(through);
    for (const [number, epoch] of this.epochs) {
      if (number > last) continue;
      const sum = number < last ? epoch : this.epochWithin(number, after, through);
      count += sum.count;
      identity = addSums(identity, sum.identity);
      content = addSums(content, sum.content);
    }
    return { count, identity, content };
  }

  private epochWithin(number: number, after: Stamp, through: Stamp): Root {
    const epoch = this.epochs.get(number)!;
    if (number > epochOf(after) && number < epochOf(through)) {
      return { count: epoch.count, identity: epoch.identity, content: epoch.content };
    }
    let { count, identity, content } = EMPTY_ROOT;
    for (const [version, batch] of epoch.batches) {
      const stamp = stampOf(version);
      if (stamp <= after || stamp > through) continue;
      count++;
      identity = addSums(identity, batch.identity);
      content = addSums(content, batch.content);
    }
    return { count, identity, content };
  }
}

/** Identity and content sums are both equal. */
export function rootsEqual(a: Root, b: Root): boolean {
  return identitiesEqual(a, b) && a.content === b.content;
}

export function identitiesEqual(a: Root, b: Root): boolean {
  return a.count === b.count && a.identity === b.identity;
}

export function rootToJson(root: Root): RootJson {
  return [root.count, sumToHex(root.identity), sumToHex(root.content)];
}

/** The digits have been checked by whoever parsed the JSON (replica-messages.ts, or the file's own writer). */
export function rootFromJson(json: RootJson): Root {
  return { count: json[0], identity: BigInt(`0x${json[1]}`), content: BigInt(`0x${json[2]}`) };
}

/** The greatest stamp below `stamp`, which must not be zero. */
export function stampBefore(stamp: Stamp): Stamp {
  return (BigInt(`0x${stamp}`) - 1n).toString(16).padStart(16, '0');
}

/** First and last millisecond of an epoch, for people. */
export function epochRangeMs(epoch: number): [number, number] {
  return [epoch * EPOCH_MS, (epoch + 1) * EPOCH_MS - 1];
}

function ascending(a: number, b: number): number {
  return a - b;
}
