/**
 * One damaged replica on its way back to full (mending.ts), as a sequence of steps: each takes a turn of bounded length or
 * asks another member something.
 */
import type { DamagedPart, ReplacementRequest } from '../shards/care.ts';
import { holdFrame } from '../shards/held-frame.ts';
import { SeriesKeys } from '../shards/series-keys.ts';
import { shardKeyToJson } from '../shards/shard-key.ts';
import type { NodeNumber, Stamp, Version } from '../shards/version.ts';
import type { Member } from './cluster.ts';
import { heldIn } from './held-shards.ts';
import { level } from './level.ts';
import { noteGoingOn } from './losses.ts';
import { aboveAll } from './lost-files.ts';
import { type DifferingGroup, differedOf, type RepairStep, stepOf } from './repair-records.ts';
import type { MessageOf, Received } from './replica-messages.ts';
import { ReplicaReading, type Verdict } from './replica-reading.ts';
import { FILE_LOST, type Replica, rebuildReadable, tryFlush } from './replica-table.ts';
import type { RequestMessage } from './requests.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

type Distribute<T> = T extends unknown ? Omit<T, 'request'> : never;

export type Step =
  | { readonly kind: 'turn'; readonly bytes: number }
  | { readonly kind: 'ask'; readonly to: NodeNumber; readonly question: Distribute<RequestMessage> };
export type Steps<T> = Generator<Step, T, Received | null>;

/** A mend that cannot go on now; it begins anew a little later. */
export class MendError extends Error {
  readonly code = 'mend-waits';
  /** Piece by piece it will not do. */
  readonly isHopeless: boolean;

  constructor(message: string, isHopeless = false) {
    super(message);
    this.name = 'MendError';
    this.isHopeless = isHopeless;
  }
}

const READING = 'reading';

export interface MendProgress {
  state: 'running' | 'done' | 'failed';
  readonly reason: string;
  stage: string;
  source: NodeNumber | null;
  windows: number;
  groups: number;
  batches: number;
  rows: number;
  bytes: number;
  /** Of the reading that is under way, or was the last. */
  bytesRead: number;
  bytesTotal: number;
  /** For how long it will take: since when, what was read in all readings since, and which round this is. */
  sinceMs: number;
  bytesReadInAll: number;
  round: number;
  /** For a member that cannot be asked, or after a failure. */
  isWaiting: boolean;
  rowsLost: number;
  batchesLost: number;
  /** Groups that were replaced, as they were before. */
  readonly differing: DifferingGroup[];
  /** What came from whom, in the order in which they were asked. */
  readonly steps: RepairStep[];
}

/**
 * Nearly all of a mend is reading the replica, at least twice: at the start, and to see that all is well again. As fast as
 * it has read so far, with what it did in between; null: not known.
 */
export function mendEtaMs(progress: MendProgress, nowMs: number): number | null {
  const { bytesRead, bytesTotal, bytesReadInAll, sinceMs, round, isWaiting, stage } = progress;
  if (isWaiting || bytesReadInAll === 0) return null;
  const isReading = stage === READING;
  const bytesLeft = (isReading ? bytesTotal - bytesRead : 0) + (isReading && round > 0 ? 0 : bytesTotal);
  return Math.round((bytesLeft * (nowMs - sinceMs)) / bytesReadInAll);
}

export interface Holders {
  readonly full: readonly NodeNumber[];
  readonly damaged: readonly NodeNumber[];
  /** Why not everybody who may have the shard can be asked; null when all can. */
  readonly unheard: string | null;
}

export function* ask(to: NodeNumber, question: Distribute<RequestMessage>): Steps<Received | null> {
  return yield { kind: 'ask', to, question };
}

export function* turn(bytes = 0): Steps<void> {
  yield { kind: 'turn', bytes };
}

export class Mend {
  readonly replica: Replica;
  readonly around: Surroundings;
  readonly progress: MendProgress;
  /** Of the turn that runs. */
  bytesMax = 0;
  private reading: ReplicaReading | null = null;
  /** To be called when the mend is given up in the middle. */
  undo: (() => void) | null = null;

  /** How often it was begun before. */
  private readonly tries: number;

  constructor(replica: Replica, around: Surroundings, progress: MendProgress, tries: number) {
    this.tries = tries;
    this.replica = replica;
    this.around = around;
    this.progress = progress;
  }

  *run(): Steps<void> {
    const { ledger } = this.replica;
    if (ledger.mustDisown) yield* this.disown();
    let isLevel = false;
    for (let round = 0; ; round++) {
      this.progress.round = round;
      const verdict = yield* this.read();
      const bad = [...verdict.missing, ...verdict.unequal, ...verdict.unknown];
      const isWhole = verdict.damaged.length === 0 && bad.length === 0;
      if (isWhole && (verdict.isFloorEqual || (isLevel && verdict.floor === ledger.floor))) {
        if (!verdict.isFloorEqual) this.reading!.adopt();
        this.stop();
        this.becomeFull();
        return;
      }
      if (round >= this.around.limits.mendRoundsMax) throw new MendError(verdict.note ?? 'damaged', true);
      if (bad.length > 0) yield* this.putBack(verdict);
      this.stop();
      isLevel = yield* this.settled(verdict.damaged);
    }
  }

  /** Everybody is told, the own outbox too, that nothing that was acknowledged before the file was lost is here. */
  private *disown(): Steps<void> {
    const { around, replica, progress } = this;
    const { ledger } = replica;
    progress.stage = 'telling all members that what was here is lost';
    if (around.snapshot === null) throw new MendError('the cluster is not known yet');
    const members = around.snapshot.members.filter(({ state }) => state !== 'removed');
    const through = ledger.lostThrough ?? this.stampOfLoss(members);
    for (const { number, name } of members) {
      const answer = yield* ask(number, { t: 'disown', key: shardKeyToJson(replica.key), through });
      if (answer === null) throw new MendError(`${name} still counts on what was lost here, and cannot be reached`);
    }
  }

  /**
   * Above all that was acknowledged with what was lost. The same from now on: it names the loss. So no clock is taken for it that nobody
   * has judged, as right after a boot.
   */
  private stampOfLoss(members: readonly Member[]): Stamp {
    const { around, replica } = this;
    const { self, snapshot } = around;
    const isHeard = (member: NodeNumber) =>
      member !== self && snapshot!.statements.some((said) => said.member === member);
    if (members.some(({ number }) => number !== self) && !members.some(({ number }) => isHeard(number)))
      throw new MendError('no other member has been heard yet');
    if (!around.isLive(self)) throw new MendError('the clock of this node is skewed');
    const through = aboveAll(around);
    replica.ledger.lostThrough = through;
    tryFlush(replica.stored);
    return through;
  }

  /** What is open is let go of. */
  stop(): void {
    this.reading?.close();
    this.reading = null;
    this.undo?.();
    this.undo = null;
  }

  /** Who else has the shard. */
  holders(): Holders {
    const { around, replica } = this;
    const { snapshot } = around;
    if (snapshot === null) return { full: [], damaged: [], unheard: 'the cluster is not known yet' };
    const full: NodeNumber[] = [];
    const damaged: NodeNumber[] = [];
    let unheard: string | null = null;
    for (const { number, name, state } of snapshot.members) {
      if (number === around.self || state === 'removed') continue;
      const list = snapshot.heldBy[number];
      const held = heldIn(list, replica.id);
      if (list === undefined) unheard = `what ${name} holds is not known`;
      if (held === undefined) continue;
      if (!around.isLive(number)) unheard = `${name} cannot be reached`;
      else if (held.state === 'full') full.push(number);
      else if (held.state === 'damaged') damaged.push(number);
      // One that is filled has nothing that could be had: it waits for a full owner itself.
    }
    const from = Math.floor(around.random() * full.length);
    return { full: [...full.slice(from), ...full.slice(0, from)], damaged, unheard };
  }

  /**
   * Throws unless everybody who may have what is missing has been asked, again and again, and this one is first to go on
   * without it: of damaged owners that with the least number.
   */
  private checkInVain({ damaged, unheard }: Holders): void {
    if (unheard !== null) throw new MendError(unheard);
    const ahead = damaged.find((number) => number < this.around.self);
    if (ahead !== undefined) throw new MendError(`the damaged replica of ${ahead} is mended first`);
    if (this.tries < this.around.limits.mendRoundsMax) throw new MendError('nobody has what is missing; asked again');
  }

  private *read(): Steps<Verdict> {
    const { progress } = this;
    progress.stage = READING;
    progress.isWaiting = false;
    progress.bytesRead = 0;
    this.reading = new ReplicaReading(this.replica);
    for (;;) {
      const before = this.reading.bytesRead;
      const verdict = this.reading.step(Math.max(1, this.bytesMax));
      progress.bytesRead = this.reading.bytesRead;
      progress.bytesReadInAll += this.reading.bytesRead - before;
      progress.bytesTotal = this.reading.bytesTotal;
      if (verdict !== null) return verdict;
      yield* turn(Math.max(1, this.reading.bytesRead - before));
    }
  }

  /** What `work` brings comes from `source`. */
  *from<T>(source: NodeNumber, work: Steps<T>): Steps<T> {
    const { progress, around } = this;
    const { windows, groups, batches, rows, bytes } = progress;
    const { length: known } = progress.differing;
    const beganMs = around.nowMs;
    try {
      return yield* work;
    } finally {
      const differed = differedOf(progress.differing.slice(known));
      const moved = {
        windows: progress.windows - windows,
        groups: progress.groups - groups,
        batches: progress.batches - batches,
        rows: progress.rows - rows,
        bytes: progress.bytes - bytes,
        ms: around.nowMs - beganMs,
        ...(differed === undefined ? {} : { differed }),
      };
      if (moved.bytes > 0) progress.steps.push(stepOf(source, around.self, moved));
    }
  }

  /** Batches above the floor, from whoever has them as the ledger says. */
  private *putBack({ missing, unequal, unknown }: Verdict): Steps<void> {
    this.progress.stage = 'fetching batches';
    const wanted = new Set([...missing, ...unequal]);
    yield* this.enter(unknown);
    const holders = this.holders();
    for (const source of [...holders.full, ...holders.damaged]) {
      if (wanted.size > 0) yield* this.from(source, this.fetchFrom(source, wanted));
    }
    if (wanted.size === 0) return;
    if (holders.full.length > 0) {
      // Nobody has lost anything as long as one is full: what it does not have will come to it.
      throw new MendError(
        `${wanted.size} batches are at no other holder (yet): ${[...wanted][0]}`,
        holders.unheard === null,
      );
    }
    this.checkInVain(holders);
    for (const version of wanted) {
      this.progress.batchesLost++;
      this.around.count('batches_lost');
      this.replica.ledger.restate(version, this.reading!.contentOf(version));
    }
  }

  /**
   * Batches that are stored, and that no list names: the lists are what is damaged, since nothing is stored that did not come as
   * a batch. Nobody else need have them. Those that lie in damaged blocks wait until those are mended.
   */
  private *enter(unknown: readonly Version[]): Steps<void> {
    const { replica, around } = this;
    const { fetchBatchesMax } = around.limits;
    for (let from = 0; from < unknown.length; from += fetchBatchesMax) {
      const { batches } = rebuildReadable(replica.stored, new Set(unknown.slice(from, from + fetchBatchesMax)));
      for (const { version, frame } of batches) {
        const held = holdFrame(frame);
        try {
          if (replica.ledger.add(version, held.content, held.rows)) around.count('batches_relisted');
        } finally {
          held.release();
        }
      }
      yield* turn();
    }
  }

  private *fetchFrom(source: NodeNumber, wanted: Set<Version>): Steps<void> {
    const { replica, around, progress } = this;
    const { ledger, stored } = replica;
    const key = shardKeyToJson(replica.key);
    for (let left = [...wanted].sort(); left.length > 0; ) {
      const versions = left.slice(0, around.limits.fetchBatchesMax);
      const answer = yield* ask(source, { t: 'fetch', key, versions });
      const message = answer?.message as MessageOf<'fetch-answer'> | undefined;
      if (message?.status !== 'ok') return;
      const batches: { version: Version; frame: Uint8Array; keys: ReturnType<SeriesKeys['records']> }[] = [];
      message.versions.forEach((version, i) => {
        const [frame, keys] = [answer!.attachments[2 * i], answer!.attachments[2 * i + 1]];
        if (frame === undefined || keys === undefined || !wanted.has(version)) return;
        const held = holdFrame(frame);
        let isRight = false;
        try {
          const content = ledger.contentOf(version) ?? 0n;
          isRight = held.version === version && held.id === replica.id && held.content === content;
        } finally {
          held.release();
        }
        if (isRight) batches.push({ version, frame, keys: SeriesKeys.read(keys).records() });
      });
      if (batches.length > 0) {
        yield* this.purge(new Set(batches.map(({ version }) => version)));
        stored.care.restore(batches);
      }
      for (const { version, frame } of batches) {
        wanted.delete(version);
        progress.batches++;
        progress.rows += ledger.rowsIn(version);
        progress.bytes += frame.byteLength;
      }
      // It gives what it has of the first ones, until an answer is full; those that it skipped it does not have.
      const last = message.versions.at(-1);
      left = last === undefined ? left.slice(versions.length) : left.filter((version) => version > last);
      yield* turn();
    }
  }

  /** Takes out what is stored of these batches. */
  private *purge(purged: ReadonlySet<Version>): Steps<void> {
    const { stored } = this.replica;
    for (const { window, measurement } of stored.care.placesOf(purged)) {
      yield* this.replaceNothing({ window, measurement, purged, lost: false });
    }
  }

  /** Writes a window of a measurement anew, less what is purged or lost; no group is put in place of another. */
  private *replaceNothing(what: Pick<ReplacementRequest, 'window' | 'measurement' | 'purged' | 'lost'>): Steps<void> {
    const { ledger, stored } = this.replica;
    const replacement = stored.care.replace({ ...what, through: ledger.floor, groups: [] });
    this.undo = () => replacement.abandon();
    while (replacement.step()) yield* turn();
    this.undo = null;
  }

  /** True when the settled rows are now those of a full owner, or all that is left of them. */
  private *settled(parts: readonly DamagedPart[]): Steps<boolean> {
    const holders = this.holders();
    for (const source of holders.full) if (yield* this.from(source, level(this, source, parts, 'all'))) return true;
    if (holders.full.length > 0)
      throw new MendError('no full owner can give what is missing', holders.unheard === null);
    for (const source of holders.damaged) yield* this.from(source, level(this, source, parts, 'unreadable'));
    this.checkInVain(holders);
    yield* this.giveUp();
    return true;
  }

  /** Blocks that nobody can replace go (rule 21). */
  private *giveUp(): Steps<void> {
    const { stored } = this.replica;
    for (const { window, measurement, rows, message } of stored.care.damaged) {
      yield* this.replaceNothing({ window, measurement, purged: new Set<Version>(), lost: true });
      this.progress.rowsLost += rows;
      this.around.count('rows_lost', rows);
      this.progress.stage = `lost: ${message}`;
    }
  }

  /** Somebody else has, or had when last heard of, whatever was proven. */
  private hasHeir(): boolean {
    const { around, replica } = this;
    const { members = [], heldBy = {} } = around.snapshot ?? {};
    return members.some(({ number, state }) => {
      const held = heldIn(heldBy[number], replica.id);
      return number !== around.self && state !== 'removed' && held?.state === 'full' && held.young !== true;
    });
  }

  private becomeFull(): void {
    const { replica, around } = this;
    const { ledger, notes, stored } = replica;
    if (ledger.damage === FILE_LOST && !this.hasHeir())
      noteGoingOn(ledger, around.self, nameOf(around.snapshot, around.self));
    ledger.replica = 'full';
    ledger.damage = null;
    if (ledger.mustDisown) {
      // Above the clock of every member that has been told, so above what it closed before.
      ledger.since = aboveAll(around);
      ledger.mustDisown = false;
      ledger.lostThrough = null;
    }
    notes.damage = null;
    notes.heldBackBy = null;
    tryFlush(stored);
    around.heldChanged();
  }
}
