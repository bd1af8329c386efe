/**
 * Answers a partial request over the shards of one place, in short steps (shards/steps.ts).
 *
 * A shard may go, or prove to be damaged, while it is read: the place is asked before every step of one, and what had been read of
 * it is forgotten. What was finished of a shard before counts.
 */
import { RegexError } from '../go-regex.ts';
import type { QueryableShard } from '../queryable.ts';
import type { Steps } from '../steps.ts';
import { hasPattern, type TagCondition } from '../tag-condition.ts';
import { compileTagCondition } from '../tag-matcher.ts';
import { Allowance, Refusal } from './allowance.ts';
import { SeriesCount } from './count-series.ts';
import type { RegexCache } from './filter.ts';
import { textBytes, tooManyBytes } from './held-bytes.ts';
import { matchingSeries } from './matching-series.ts';
import type {
  CatalogEntry,
  CatalogRequest,
  PartialRequest,
  PartialResult,
  Refused,
  SchemaRequest,
  SelectRequest,
  ShardSchema,
  TravellingSelect,
} from './partial.ts';
import { beginSelect, ShardRun } from './run-select.ts';
import { pickMeasurements, schemaOf } from './shard-schema.ts';

/** Where the shards are. */
export interface PartialPlace {
  /** As it was when the request came, still. */
  isHere(shard: QueryableShard): boolean;
  /** True: nothing is answered of the shard. `error`: what reading it threw; null: it is not here any more. */
  leavesOut(shard: QueryableShard, error: unknown): boolean;
}

const QUIET_PLACE: PartialPlace = { isHere: () => true, leavesOut: () => false };

/** Shards in the order (startNs, number). Buffers that the result may take along to another thread go to `moved`. */
export function runPartial(
  shards: readonly QueryableShard[],
  request: PartialRequest,
  moved: ArrayBuffer[],
): PartialResult {
  const reading = new PartialReading(shards, request, moved, QUIET_PLACE);
  for (;;) {
    const result = reading.step();
    if (result !== null) return result;
  }
}

/** Reads one shard after the other. */
interface Reader {
  /** True: more is left of the shard. A result is that of all shards, whatever is left. */
  step(shard: QueryableShard): boolean | PartialResult;
  /** What texts and integers read so far take (held-bytes.ts); undefined: there are none. */
  readonly bytes?: number;
  /** Gives up what is under way. */
  close(): void;
  result(): PartialResult;
}

export class PartialReading {
  readonly #shards: readonly QueryableShard[];
  readonly #place: PartialPlace;
  readonly #moved: ArrayBuffer[];
  readonly #request: PartialRequest;
  #reader: Reader | null = null;
  /** Between steps of it. */
  #held: QueryableShard | null = null;
  #next = 0;

  constructor(shards: readonly QueryableShard[], request: PartialRequest, moved: ArrayBuffer[], place: PartialPlace) {
    this.#shards = shards;
    this.#place = place;
    this.#moved = moved;
    this.#request = request;
  }

  /** null: more is left. */
  step(): PartialResult | null {
    const shard = this.#shards[this.#next];
    const before = this.#moved.length;
    try {
      this.#reader ??= readerOf(this.#request, this.#moved);
      if (shard === undefined) return this.#reader.result();
      if (!this.#place.isHere(shard)) {
        this.#leaveOut(shard, null);
        return null;
      }
      const outcome = this.#reader.step(shard);
      this.#hold(outcome === true ? shard : null);
      if (typeof outcome !== 'boolean') return outcome;
      if (!outcome) this.#next++;
    } catch (error) {
      this.#hold(null);
      if (error instanceof RegexError) return { kind: 'refused', message: error.message };
      if (shard === undefined) throw error;
      this.#leaveOut(shard, error);
      this.#moved.length = before;
    }
    return null;
  }

  /** What texts and integers of the answer take so far. */
  get bytes(): number {
    return this.#reader?.bytes ?? 0;
  }

  close(): void {
    this.#hold(null);
    this.#reader?.close();
  }

  #hold(shard: QueryableShard | null): void {
    if (shard === this.#held) return;
    if (this.#held?.readings !== undefined) this.#held.readings.open--;
    if (shard?.readings !== undefined) shard.readings.open++;
    this.#held = shard;
  }

  #leaveOut(shard: QueryableShard, error: unknown): void {
    this.close();
    if (!this.#place.leavesOut(shard, error)) throw error ?? new Error('a shard is not here any more');
    this.#next++;
  }
}

function readerOf(request: PartialRequest, moved: ArrayBuffer[]): Reader {
  switch (request.kind) {
    case 'schema':
      return new SchemaReader(request);
    case 'catalog':
      return new CatalogReader(request);
    case 'cardinality':
      return new SeriesCount(request);
    case 'select':
      return new SelectReader(request, moved);
  }
}

class SchemaReader implements Reader {
  readonly #request: SchemaRequest;
  readonly #schemas: ShardSchema[] = [];

  constructor(request: SchemaRequest) {
    this.#request = request;
  }

  step(shard: QueryableShard): boolean {
    this.#schemas.push(schemaOf(shard, this.#request.measurements));
    return false;
  }

  close(): void {}

  result(): PartialResult {
    return { kind: 'schema', shards: this.#schemas };
  }
}

class SelectReader implements Reader {
  readonly #request: SelectRequest;
  readonly #moved: ArrayBuffer[];
  readonly #regexes: RegexCache = new Map();
  readonly #left: Allowance;
  readonly #answers: TravellingSelect[] = [];
  #seriesMatched = 0;
  /** Of the request's patterns, asked of the next shard's tags. */
  #judging: Steps | null = null;
  #judged: QueryableShard | null = null;
  /** Of the shards that are done. */
  #bytes = 0;
  #run: ShardRun | null = null;
  #refused: Refused | null = null;

  constructor(request: SelectRequest, moved: ArrayBuffer[]) {
    this.#request = request;
    this.#moved = moved;
    this.#left = new Allowance(request.limits);
  }

  get bytes(): number {
    return this.#bytes + (this.#run?.bytes ?? 0);
  }

  step(shard: QueryableShard): boolean | PartialResult {
    if (this.#run === null) {
      // Also of those behind one that refuses: the plan has to be right for that.
      if (isStale(shard, this.#request)) return { kind: 'stale' };
      if (this.#refused !== null) return false;
      if (this.#judge(shard)) return true;
      const begun = beginSelect(shard, this.#request, this.#regexes, this.#left);
      if (begun instanceof Refusal) this.#refused = refusedBy(begun);
      else if (begun instanceof ShardRun) this.#run = begun;
      else this.#seriesMatched += begun.seriesMatched;
      if (this.#run === null) return false;
    }
    try {
      if (this.#run.step()) return true;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#refused = refusedBy(error);
      this.#run = null;
      return false;
    }
    const answer = this.#run.finish(this.#moved);
    this.#run = null;
    this.#seriesMatched += answer.seriesMatched;
    this.#answers.push(answer);
    this.#bytes += answer.bytes!;
    return false;
  }

  /** True: more is left. */
  #judge(shard: QueryableShard): boolean {
    const { measurements, condition } = this.#request;
    if (condition === null || this.#judged === shard) return false;
    this.#judging ??= judgeAll(shard, measurements, condition);
    if (this.#judging.next().done !== true) return true;
    this.#judging = null;
    this.#judged = shard;
    return false;
  }

  close(): void {
    this.#judging = null;
    this.#run?.close();
    this.#run = null;
  }

  result(): PartialResult {
    if (this.#refused !== null) return this.#refused;
    return { kind: 'select', shards: this.#answers, seriesMatched: this.#seriesMatched };
  }
}

function* judgeAll(shard: QueryableShard, measurements: readonly string[], condition: TagCondition): Steps {
  if (!hasPattern(condition)) return;
  for (const measurement of measurements) yield* shard.judgeSteps(measurement, condition);
}

function refusedBy({ message, isTooManyRows }: Refusal): Refused {
  return { kind: 'refused', message, ...(isTooManyRows ? { isTooManyRows } : {}) };
}

function isStale(shard: QueryableShard, { planned }: SelectRequest): boolean {
  if (planned === null) return false;
  const { shard: id, fingerprint } = schemaOf(shard, planned.measurements);
  return planned.fingerprints[id] !== fingerprint;
}

/** Series that are listed in one step. */
const LISTED_AT_ONCE = 4096;

class CatalogReader implements Reader {
  readonly #request: CatalogRequest;
  readonly #regexes: RegexCache = new Map();
  readonly #wantsKey: ReturnType<typeof compileTagCondition> | null;
  readonly #found = new Map<string, Set<string>>();
  #held = 0;
  bytes = 0;
  #steps: Steps | null = null;

  constructor(request: CatalogRequest) {
    this.#request = request;
    this.#wantsKey = request.tagKeys === null ? null : compileTagCondition(request.tagKeys);
  }

  step(shard: QueryableShard): boolean | PartialResult {
    this.#steps ??= this.#read(shard);
    const isMore = this.#steps.next().done !== true;
    if (!isMore) this.#steps = null;
    const { seriesMax, bytesMax = Number.POSITIVE_INFINITY } = this.#request.limits;
    if (this.bytes > bytesMax) return { kind: 'refused', message: tooManyBytes(bytesMax) };
    if (this.#held <= seriesMax) return isMore;
    const message = `statement lists more than ${seriesMax} items; narrow it with FROM or WHERE`;
    return { kind: 'refused', message };
  }

  close(): void {
    this.#steps = null;
  }

  *#read(shard: QueryableShard): Steps {
    for (const measurement of pickMeasurements(shard, this.#request.measurements)) {
      const { condition } = this.#request;
      if (condition !== null) yield* shard.judgeSteps(measurement, condition);
      const series = matchingSeries(shard, measurement, this.#request, this.#regexes);
      if (series.length === 0) continue;
      let items = this.#found.get(measurement);
      if (items === undefined) {
        items = new Set();
        this.#found.set(measurement, items);
      }
      for (let from = 0; from < series.length; from += LISTED_AT_ONCE) {
        const before = items.size;
        this.#list(shard, measurement, series.subarray(from, from + LISTED_AT_ONCE), items);
        this.#held += items.size - before;
        yield;
      }
    }
  }

  #list(shard: QueryableShard, measurement: string, series: Uint32Array, items: Set<string>): void {
    const { what } = this.#request;
    if (what === 'measurements') return;
    const add = (item: string): void => {
      if (items.has(item)) return;
      items.add(item);
      this.bytes += textBytes(item);
    };
    if (what === 'series') {
      for (const id of series) add(shard.keyOf(id));
      return;
    }
    const wantsKey = this.#wantsKey;
    for (const id of series) {
      for (const tag of shard.tagsOf(id)) {
        if (what === 'tag-keys') add(tag.key);
        else if (wantsKey === null || wantsKey(measurement, [{ key: '_tagKey', value: tag.key }]))
          // The key's length makes the pair readable again whatever the characters are.
          add(`${tag.key.length}:${tag.key}${tag.value}`);
      }
    }
  }

  result(): PartialResult {
    const entries: CatalogEntry[] = [...this.#found].map(([measurement, items]) => ({
      measurement,
      items: [...items],
    }));
    return { kind: 'catalog', entries };
  }
}
