/**
 * The partial requests that a worker answers: each in turns of some milliseconds, with the worker's other work (writes,
 * acknowledgements, passes, flushes) between them, those that are under way one after the other.
 *
 * What is done within its first turn, as nearly all are, is answered in the call that brings it, unless those that came
 * just before it have had that turn's time. A run ends before its time when it is cancelled (its statement has ended,
 * whoever asked is gone) and when the place's time for it is up, counted from its arrival.
 *
 * What a run holds may be most of what a statement may hold, so few are under way, and of texts and integers they hold together
 * what two may: beyond that one which has much ends with an error. With as many, another one is tried for
 * a moment, which is enough for what is small; else what it has read is given back, and it begins anew when there is room.
 *
 * What is said of a run's shards as a whole must hold of what was read first: watermarks are those of its beginning, and
 * that there is nothing is only said when no turn came between.
 */
import type { Ledger, Watermark } from '../repair/ledger.ts';
import { describeLosses, earliestLosses } from '../repair/losses.ts';
import { isYoung } from '../repair/replica-table.ts';
import { errorCodeOf } from '../shards/errors.ts';
import type { PartialRequest, PartialResult } from '../shards/query/partial.ts';
import { type PartialPlace, PartialReading } from '../shards/query/run-partial.ts';
import type { QueryableShard } from '../shards/queryable.ts';
import type { ShardId } from '../shards/shard-key.ts';
import { stampMs } from '../shards/version.ts';
import type { PartialAnswer } from './partial-answer.ts';

const TURN_MS = 5;
/** That one is tried for. */
const TRIAL_MS = 1;
const UNDER_WAY_MAX = 4;
/** Statements whose bytes the runs may hold together. */
const FULL_AT_ONCE = 2;

export interface PartialPorts {
  /** null: there is no such shard here. */
  ledgerOf(id: ShardId): Ledger | null;
  queryable(id: ShardId): QueryableShard | null;
  /** It is said that these have no series for a question: as of when; null: it is not remembered. */
  sayNothing(ids: readonly ShardId[]): number | null;
  /** `moved`: buffers that go along instead of being copied. */
  answered(number: number, answer: PartialAnswer, moved: ArrayBuffer[]): void;
  /** What is not a StorageError or the like is thrown on. */
  failed(number: number, error: unknown): void;
  nowMs(): number;
  /** After what waits. */
  later(turn: () => void): void;
}

export class PartialRuns {
  readonly #ports: PartialPorts;
  /** By the caller's number; the next turn is that of the first one that may have it. */
  readonly #runs = new Map<number, PartialRun | WaitingRun>();
  #underWay = 0;
  #isWaiting = false;
  /** Of the first turns that are given at once: what they took, less what has gone by since the last of them. */
  #usedMs = 0;
  #endedMs = 0;

  constructor(ports: PartialPorts) {
    this.#ports = ports;
  }

  /** Those under way, and those that wait for it. */
  get count(): number {
    return this.#runs.size;
  }

  begin(number: number, ids: readonly ShardId[], request: PartialRequest): void {
    const arrivedMs = this.#ports.nowMs();
    const usedMs = Math.max(0, this.#usedMs - (arrivedMs - this.#endedMs));
    if (usedMs >= TURN_MS) {
      this.#runs.set(number, { ids, request, arrivedMs, wasTried: false });
      this.#wait();
      return;
    }
    this.#first(number, new PartialRun(this.#ports, ids, request, arrivedMs), arrivedMs, TURN_MS - usedMs);
    this.#endedMs = this.#ports.nowMs();
    this.#usedMs = usedMs + this.#endedMs - arrivedMs;
  }

  /** Nothing is answered any more. */
  cancel(number: number): void {
    const run = this.#runs.get(number);
    this.#runs.delete(number);
    if (!(run instanceof PartialRun)) return;
    this.#underWay--;
    run.close();
  }

  cancelAll(): void {
    for (const number of [...this.#runs.keys()]) this.cancel(number);
  }

  #wait(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#ports.later(this.#next);
  }

  readonly #next = (): void => {
    this.#isWaiting = false;
    this.#usedMs = 0;
    let nowMs = this.#ports.nowMs();
    const untilMs = nowMs + TURN_MS;
    for (const [number, run] of this.#runs) {
      if (run instanceof PartialRun) {
        this.#runs.delete(number);
        if (this.#turn(number, run, nowMs, untilMs)) this.#underWay--;
        else this.#runs.set(number, run);
      } else if (this.#underWay < UNDER_WAY_MAX || !run.wasTried) {
        const { ids, request, arrivedMs } = run;
        this.#first(number, new PartialRun(this.#ports, ids, request, arrivedMs), nowMs, untilMs - nowMs);
      } else continue;
      nowMs = this.#ports.nowMs();
      if (nowMs >= untilMs) break;
    }
    if (this.#runs.size > 0) this.#wait();
  };

  #first(number: number, run: PartialRun, nowMs: number, ms: number): void {
    const hasRoom = this.#underWay < UNDER_WAY_MAX;
    if (this.#turn(number, run, nowMs, nowMs + (hasRoom ? ms : Math.min(ms, TRIAL_MS)))) {
      this.#runs.delete(number);
      return;
    }
    if (hasRoom) {
      this.#underWay++;
      // Behind those that wait.
      this.#runs.delete(number);
      this.#runs.set(number, run);
    } else {
      run.close();
      const { ids, request, arrivedMs } = run;
      this.#runs.set(number, { ids, request, arrivedMs, wasTried: true });
    }
    this.#wait();
  }

  /** With the others; the one that grows is to end, unless it is small. */
  #isTooMuch(run: PartialRun): boolean {
    const bytesMax = run.request.kind === 'schema' ? undefined : run.request.limits.bytesMax;
    if (bytesMax === undefined || run.bytes * UNDER_WAY_MAX < bytesMax) return false;
    let bytes = run.bytes;
    for (const other of this.#runs.values()) if (other instanceof PartialRun && other !== run) bytes += other.bytes;
    return bytes > FULL_AT_ONCE * bytesMax;
  }

  /** True: it is over. */
  #turn(number: number, run: PartialRun, nowMs: number, untilMs: number): boolean {
    let answer: PartialAnswer | null;
    try {
      answer = run.turn(nowMs, untilMs);
    } catch (error) {
      this.#ports.failed(number, error);
      return true;
    }
    if (answer === null && this.#isTooMuch(run))
      answer = run.refuse('queries under way hold too many bytes of texts and integers; try again');
    if (answer === null) return false;
    this.#ports.answered(number, answer, run.moved);
    return true;
  }
}

/** Holds nothing yet. */
interface WaitingRun {
  readonly ids: readonly ShardId[];
  readonly request: PartialRequest;
  readonly arrivedMs: number;
  /** It is longer than a trial. */
  readonly wasTried: boolean;
}

interface Marks {
  readonly convergedThroughMs: number | null;
  readonly liveConvergedThroughMs: number | null;
}

class PartialRun implements PartialPlace {
  readonly ids: readonly ShardId[];
  readonly request: PartialRequest;
  readonly arrivedMs: number;
  readonly moved: ArrayBuffer[] = [];
  readonly #ports: PartialPorts;
  readonly #msMax: number;
  readonly #reading: PartialReading;
  readonly #absent: ShardId[] = [];
  /** In the order of the request; without those that are absent. */
  readonly #present = new Map<QueryableShard, ShardId>();
  readonly #marks: Marks;
  /** When it began. */
  readonly #young: readonly ShardId[];
  readonly #losses: PartialAnswer['losses'];
  #turns = 0;

  constructor(ports: PartialPorts, ids: readonly ShardId[], request: PartialRequest, arrivedMs: number) {
    this.#ports = ports;
    this.ids = ids;
    this.request = request;
    this.arrivedMs = arrivedMs;
    this.#msMax = request.kind === 'schema' ? Number.POSITIVE_INFINITY : request.limits.msMax;
    for (const id of ids) {
      const shard = this.#readable(id);
      if (shard === null) this.#absent.push(id);
      else this.#present.set(shard, id);
    }
    this.#marks = this.#marksNow();
    this.#losses = this.#lossesNow();
    this.#young = [...this.#present.values()].filter((id) => isYoung(ports.ledgerOf(id)!));
    this.#reading = new PartialReading([...this.#present.keys()], request, this.moved, this);
  }

  /** null: it is not over. */
  turn(beganMs: number, untilMs: number): PartialAnswer | null {
    this.#turns++;
    for (let now = beganMs; ; ) {
      if (now - this.arrivedMs > this.#msMax) {
        return this.refuse('query-timeout limit exceeded');
      }
      const result = this.#reading.step();
      if (result !== null) return this.#answer(this.#present.size === 0 ? [] : [result]);
      now = this.#ports.nowMs();
      if (now >= untilMs) return null;
    }
  }

  /** What texts and integers of its answer take so far. */
  get bytes(): number {
    return this.#reading.bytes;
  }

  /** It ends so. */
  refuse(message: string): PartialAnswer {
    this.close();
    return this.#answer([{ kind: 'refused', message }]);
  }

  /** Gives back what is held. */
  close(): void {
    this.#reading.close();
  }

  isHere(shard: QueryableShard): boolean {
    return this.#readable(this.#present.get(shard)!) === shard;
  }

  /** What is not here in full, and a shard with damaged blocks, is left to another replica. */
  leavesOut(shard: QueryableShard, error: unknown): boolean {
    if (error !== null && !errorCodeOf(error).startsWith('damaged')) return false;
    this.#absent.push(this.#present.get(shard)!);
    this.#present.delete(shard);
    return true;
  }

  #readable(id: ShardId): QueryableShard | null {
    const ledger = this.#ports.ledgerOf(id);
    return ledger === null || ledger.replica === 'filling' ? null : this.#ports.queryable(id);
  }

  #answer(results: readonly PartialResult[]): PartialAnswer {
    const { ledgerOf, sayNothing } = this.#ports;
    // A read may have set a shard aside.
    const damaged = [...this.#present.values()].filter((id) => ledgerOf(id)?.replica === 'damaged');
    const young = this.#young.filter((id) => !this.#absent.includes(id));
    const isNothing =
      this.#turns === 1 &&
      this.#absent.length === 0 &&
      damaged.length + young.length === 0 &&
      results.every((result) => result.kind === 'select' && result.seriesMatched === 0);
    const marks = damaged.length === 0 ? this.#marks : this.#marksNow();
    return {
      results,
      absent: this.#absent,
      damaged,
      young,
      losses: this.#turns === 1 ? this.#losses : earliestLosses([...this.#losses, ...this.#lossesNow()]),
      nothingAsOf: isNothing ? sayNothing(this.ids) : null,
      ...marks,
    };
  }

  #lossesNow(): PartialAnswer['losses'] {
    const ledgers = [...this.#present.values()].map((id) => this.#ports.ledgerOf(id));
    return earliestLosses(ledgers.flatMap((ledger) => (ledger === null ? [] : describeLosses(ledger))));
  }

  #marksNow(): Marks {
    const ledgers = [...this.#present.values()].map((id) => this.#ports.ledgerOf(id));
    return {
      convergedThroughMs: leastThrough(ledgers, ({ converged }) => converged),
      // What all owners have, the live ones have.
      liveConvergedThroughMs: leastThrough(ledgers, ({ converged, liveConverged }) =>
        (liveConverged?.through ?? '') > (converged?.through ?? '') ? liveConverged : converged,
      ),
    };
  }
}

/** null: there is none, or one that proves nothing; a damaged replica proves nothing of what was read from it. */
function leastThrough(
  ledgers: readonly (Ledger | null)[],
  markOf: (ledger: Ledger) => Watermark | null,
): number | null {
  let least: number | null = null;
  for (const ledger of ledgers) {
    const mark = ledger === null || ledger.replica === 'damaged' ? null : markOf(ledger);
    if (mark === null) return null;
    least = Math.min(least ?? Number.MAX_SAFE_INTEGER, stampMs(mark.through));
  }
  return least;
}
