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
 * Lists are in memory while they are written to and until a save of them is known to be durable; of the others only sums are
 * (ledger-epoch.ts, ledger-pages.ts). So what a member that is away costs is an epoch, not a batch. What has to read a list
 * throws StorageError when it cannot, with nothing changed: has, lists, add, prepare, restate, identities, contentOf, rowsIn, versions,
 * oldest and adoptFloor; root and epochSums for the epochs that their ends lie in.
 *
 * With the state the sums over all lists are saved. A list that makes no sense when the file is opened, or is met damaged later
 * and does not follow from what is stored, costs the file: it is set aside, and filled from another owner. Lists that make sense, and are not those that were saved, are damage of the replica:
 * batches that are stored are entered again, those that are not are sought (mend.ts).
 */
import type { Database } from 'better-sqlite3';
import { type Sum128, sumToHex } from '../shards/checksum.ts';
import type { ReadBatches, ReadFile, ShardCompanion } from '../shards/companion.ts';
import type { HeldFrame } from '../shards/held-frame.ts';
import {
  EPOCH_MS,
  epochOf,
  makeStamp,
  type NodeNumber,
  STAMP_ZERO,
  type Stamp,
  stampBefore,
  stampOf,
  type Version,
} from '../shards/version.ts';
import { decodeIdentities, type Identity, LedgerError } from './ledger-codec.ts';
import { DecodedLists, Epoch, type FrozenList } from './ledger-epoch.ts';
import { LedgerEpochs } from './ledger-epochs.ts';
import { LedgerPages } from './ledger-pages.ts';
import { CREATE_EPOCHS, readEpochs, writeEpochs } from './ledger-rows.ts';
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

const CREATE_TABLES = `${CREATE_STATE}${CREATE_EPOCHS}`;
/** Lists that are open at a time: batches come for the newest epochs, and, from repair, for one after the other. */
const OPEN_MAX = 8;
/** Of all ledgers of a thread. */
export const DECODED_LISTS = new DecodedLists(8);

export class Ledger implements ShardCompanion {
  /** Set by repair only; durable with the next flush. */
  replica: StateJson['replica'] = 'full';
  damage: string | null = null;
  /** Its file, or a part of the log behind it, was lost: what it acknowledged before still counts at members that have not been told (mend.ts). */
  mustDisown = false;
  /** What was lost was accepted up to there; null: not said to anybody yet. */
  lostThrough: Stamp | null = null;
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
  /** Durable with the next flush, and copied with the file. */
  lostFiles: readonly GoneMember[] = [];
  readonly passed = new PassedLists();
  private floorStamp: Stamp = STAMP_ZERO;
  private collapsed: Root = EMPTY_ROOT;
  private readonly epochs = new LedgerEpochs();
  private pages: LedgerPages | null = null;
  /** Of the last save, until it is known to be durable. */
  private saving: readonly FrozenList[] = [];
  private readonly openMax: number;
  private readonly decoded: DecodedLists;
  /** Epochs whose lists are open; the one that was written to longest ago comes first. */
  private readonly opened = new Set<number>();
  private newestVersion: Version | null = null;
  private readonly changed = new Set<number>();
  /** Number of the last save; a file that does not hold it missed one (rolled back or replaced) and is written whole. */
  private sequence = 0;

  /** `openMax`: lists that stay open; 0: each one leaves memory with each save. */
  constructor(openMax = OPEN_MAX, decoded = DECODED_LISTS) {
    this.openMax = openMax;
    this.decoded = decoded;
  }

  get floor(): Stamp {
    return this.floorStamp;
  }

  get newest(): Version | null {
    return this.newestVersion;
  }

  /** With each of them batches may have gone that nobody else had. */
  get disksGone(): readonly GoneMember[] {
    return this.lostFiles.length === 0 ? this.gone : [...this.gone, ...this.lostFiles];
  }

  get awaitsCopy(): boolean {
    return this.replica === 'filling';
  }

  /** Batches above the floor. */
  get listed(): number {
    return this.epochs.total.count;
  }

  /** About what it takes in memory, but for lists that stay decoded (ledger-epoch.ts). */
  get bytes(): number {
    return [...this.epochs.map.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  attach(readFile: ReadFile, readBatches: ReadBatches = () => []): void {
    this.pages = new LedgerPages(readFile, readBatches);
  }

  /** Throws StorageError while a list that could not be read still cannot. */
  readAgain(): void {
    this.pages?.readAgain(this.epochs.map);
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
    const add = this.prepare(version);
    add?.(content, rows);
    return add !== null;
  }

  /** Reads what adding the batch needs. What it gives adds it, and needs nothing more; null: it is known. */
  prepare(version: Version): ((content: Sum128, rows: number) => void) | null {
    if (this.has(version)) return null;
    const number = epochOf(version);
    const epoch = this.epochs.get(number) ?? new Epoch(number, this.decoded, this.pages);
    const stamp = stampOf(version);
    const live = this.liveConverged;
    epoch.open();
    const lowered = live !== null && stamp <= live.through ? this.lowered(live, stamp) : live;
    return (content, rows) => {
      this.epochs.put(epoch);
      this.written(number);
      this.epochs.change(epoch, () => epoch.add({ version, rows, content }));
      if (this.newestVersion === null || version > this.newestVersion) this.newestVersion = version;
      this.liveConverged = lowered;
    };
  }

  /** The epoch is written to; of those that were, the ones written to longest ago are sealed. */
  private written(number: number): void {
    this.changed.add(number);
    this.opened.delete(number);
    this.opened.add(number);
    if (this.opened.size <= Math.max(1, this.openMax)) return;
    const [oldest] = this.opened;
    this.opened.delete(oldest!);
    this.epochs.get(oldest!)?.seal();
  }

  /** Durable with the flush that says that the file has what was logged up to there. */
  recordLost(): void {
    this.mustDisown = true;
    this.lostThrough = null;
    this.noteDamage('records of its log were damaged');
  }

  private noteDamage(damage: string): void {
    // One that is to be filled stays so: what it owes is then read from its file as well (owed-versions.ts).
    if (this.replica === 'filling') this.damage ??= damage;
    if (this.replica !== 'full') return;
    this.replica = 'damaged';
    this.damage = damage;
  }

  replayed(frame: HeldFrame): void {
    this.add(frame.version, frame.content, frame.rows);
  }

  /** Root of everything with a stamp at or below `through`, which must not lie below the floor. */
  root(through: Stamp): Root {
    if (through < this.floorStamp) throw new RangeError(`root at ${through} asked below the floor ${this.floorStamp}`);
    return this.epochs.rootThrough(through, this.collapsed);
  }

  floorRoot(): Root {
    return this.collapsed;
  }

  /** Sums of epochs with identities in (after, through], ascending, from epoch `from` on, at most `max`. */
  epochSums(after: Stamp, through: Stamp, from: number, max: number): { sums: EpochSum[]; next: number | null } {
    return this.epochs.sumsOf(after, through, from, max);
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
    epoch.open();
    this.written(number);
    this.epochs.change(epoch, () => epoch.restate(version, content));
  }

  /** All above the floor, ascending, list by list. */
  *list(): Generator<Identity> {
    for (const number of [...this.epochs.numbers]) yield* this.epochs.get(number)?.list() ?? [];
  }

  /** Versions above the floor, ascending. */
  versions(): Version[] {
    return [...this.list()].map(({ version }) => version);
  }

  oldest(): Version | null {
    return this.list().next().value?.version ?? null;
  }

  /** At or below every version that is listed; null: none is. Reads no list. */
  get oldestStamp(): Stamp | null {
    const [first] = this.epochs.numbers;
    return first === undefined ? null : makeStamp(first * EPOCH_MS, 0);
  }

  /** Collapses everything at or below `through`. The caller has made sure that the root there is proven (rule 18). */
  adoptFloor(through: Stamp): void {
    if (through <= this.floorStamp) return;
    const { disksGone: gone, floorStamp: floor } = this;
    const last = epochOf(through);
    // What has to be read is read before anything is changed.
    const collapsed = this.root(through);
    const above = (this.epochs.get(last)?.list() ?? []).filter(({ version }) => stampOf(version) > through);
    const listed = this.passed.isConcerned(gone, floor) ? this.versions() : [];
    this.passed.note(gone, floor, through, listed);
    this.newcomer = false;
    this.collapsed = collapsed;
    this.floorStamp = through;
    for (const number of this.epochs.removeThrough(last)) {
      this.changed.add(number);
      this.opened.delete(number);
    }
    this.insert(above);
  }

  load(database: Database): void {
    database.exec(CREATE_TABLES);
    this.passed.load(database);
    this.epochs.clear();
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
    this.lostThrough = state.lostThrough ?? null;
    this.lostFiles = state.lostFiles ?? [];
    this.since = state.since ?? STAMP_ZERO;
    for (const { epoch, identities } of readEpochs(database)) this.loadEpoch(epoch, identities);
    if (state.total !== undefined && String(state.total) !== String(this.epochs.totalToJson()))
      this.noteDamage('an identity list is not what was written');
    this.changed.clear();
  }

  private loadEpoch(number: number, bytes: Uint8Array): void {
    const list = decodeIdentities(bytes);
    if (list.some(({ version }) => epochOf(version) !== number))
      throw new LedgerError(`the identity list of epoch ${number} has batches of another one`);
    const above = list.filter(({ version }) => stampOf(version) > this.floorStamp);
    if (this.pages === null || above.length < list.length) this.insert(above);
    else if (list.length > 0) {
      const epoch = new Epoch(number, this.decoded, this.pages);
      epoch.loaded(bytes, list);
      this.epochs.put(epoch);
      this.newestVersion = list.at(-1)!.version;
    }
  }

  save(database: Database): void {
    this.freeze()(database);
  }

  freeze(): (database: Database) => void {
    const lists = new Map<number, FrozenList>();
    for (const number of this.epochs.inMemory) lists.set(number, this.epochs.get(number)!.freeze());
    const [epochs, changed] = [[...this.epochs.numbers], [...this.changed]];
    const emptied = changed.filter((number) => this.epochs.get(number) === undefined);
    const frozen = { first: epochOf(this.floorStamp), epochs, lists, changed, emptied };
    const expected = this.sequence++;
    const passed = this.passed.freeze();
    const state = this.toState();
    this.changed.clear();
    this.saving = [...lists.values()];
    return (database) => {
      database.exec(CREATE_TABLES);
      const whole = (readState(database)?.sequence ?? 0) !== expected;
      writeEpochs(database, frozen, whole);
      passed(database, whole);
      writeState(database, state);
    };
  }

  /** What was written last is durable: lists that the file has as they are leave memory, but for those that stay open. */
  saved(): void {
    for (const list of this.saving) list.confirmed();
    this.saving = [];
    for (const number of this.epochs.inMemory) {
      if (this.openMax > 0 && this.opened.has(number)) continue;
      const epoch = this.epochs.get(number)!;
      epoch.page();
      if (epoch.isPaged) this.epochs.inMemory.delete(number);
    }
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
      total: this.epochs.totalToJson(),
      ...(this.mustDisown && { mustDisown: true }),
      ...(this.lostThrough !== null && { lostThrough: this.lostThrough }),
      ...(this.lostFiles.length > 0 && { lostFiles: this.lostFiles }),
      ...(this.since !== STAMP_ZERO && { since: this.since }),
    };
  }

  private insert(list: readonly Identity[]): void {
    const live = this.liveConverged;
    this.liveConverged = null;
    for (const { version, content, rows } of list) this.add(version, content, rows);
    this.liveConverged = live;
  }

  private lowered(live: Watermark, stamp: Stamp): Watermark | null {
    const below = stampBefore(stamp);
    if (below <= this.floorStamp) return this.converged;
    return { ...live, through: below, root: rootToJson(this.epochs.rootThrough(below, this.collapsed)) };
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
