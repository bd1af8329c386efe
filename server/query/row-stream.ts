/**
 * Raw rows that leave while later ones are still to be read: slices of time in the order of the answer, each asked for when
 * the one before it has left.
 *
 * A slice ends with a shard group where that is possible, and is shorter where rows are many or large: the shards hand over
 * `streamedRowsMax` rows and `streamedBytesMax` bytes of texts and integers at most, and where they have more a quarter of the
 * time is asked for. The next slice is as long as it may be by the rows of the one before, four times that at most.
 *
 * The plan cannot be made anew once rows have left, so all shards confirm their schemas before the first of them is read, and
 * are then read by the plan, whatever is written meanwhile. That takes a round more than an answer that is gathered.
 *
 * Only one series of results can leave so: the rows of the next one come behind the last row of the first. Of groups by tag each
 * is one (group-stream.ts).
 */
import type { SelectRequest, ShardSelect } from '../../shards/query/partial.ts';
import { TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import type { Steps } from '../../shards/steps.ts';
import { mainTurns } from '../turns.ts';
import type { ShardTarget } from './backend.ts';
import { rawNeeds, rowsOf, selectRequest, type Wanted } from './data.ts';
import { Held } from './held.ts';
import type { OutputTable } from './output.ts';
import type { PlannedSource, SelectPlan } from './plan.ts';
import { QueryError, TooManyRows } from './query-error.ts';
import { firstRanges } from './ranges.ts';
import { confirmOn, type StatementContext, selectOn } from './scatter.ts';
import { dimensionsOf, hasNoColumn, rawTable } from './select.ts';

const GROWTH = 4n;
/** So little time is not cut for the sake of memory: many series have their rows at the same moments. */
const WHOLE_NS = 1_000_000_000n;
/** Of the rows and bytes that a slice may have: the next one has about as many for its time. */
export const AIMED = 2 / 3;

/** Both inclusive. */
interface Slice {
  readonly minNs: bigint;
  readonly maxNs: bigint;
}

/** `bytes`: what texts and integers in them take. */
export interface RowPiece {
  readonly table: OutputTable;
  readonly bytes: number;
}

type ShardSource = Extract<PlannedSource, { kind: 'shards' }>;

/** Which shards a plan reads when its rows can leave before all are there; null: they cannot. */
function streamedSource(plan: SelectPlan): ShardSource | null {
  const [source] = plan.sources;
  const isOneSeries =
    plan.calls.length === 0 &&
    plan.dimensions.length === 0 &&
    plan.sources.length === 1 &&
    plan.seriesLimit === 0 &&
    plan.seriesOffset === 0 &&
    // A slice does not know the row before it.
    plan.fill.kind !== 'previous';
  if (!isOneSeries || source?.kind !== 'shards' || source.measurements.length !== 1) return null;
  return hasNoColumn(plan) || source.targets.length === 0 ? null : source;
}

export class RowStream {
  readonly plan: SelectPlan;
  readonly #context: StatementContext;
  readonly #wanted: Wanted;
  readonly #dimensions: readonly string[];
  readonly #request: SelectRequest;
  /** Those that are not read to their end. */
  #targets: readonly ShardTarget[];
  /** What of the time is left. */
  #left: Slice;
  /** How long the next slice is. */
  #spanNs: bigint;
  #toSkip: number;
  #toGive: number;
  /** Rows read of each shard: one by one the slices would never reach the limit. */
  readonly #scanned = new Map<string, number>();

  /** null: the rows of the plan cannot leave before all are there. */
  static async open(plan: SelectPlan, context: StatementContext): Promise<RowStream | null> {
    const source = streamedSource(plan);
    if (source === null) return null;
    const stream = RowStream.of(plan, source, [], context);
    await stream.#confirm();
    return stream;
  }

  /** Of a plan with confirmed schemas and at most one group. */
  static of(
    plan: SelectPlan,
    source: ShardSource,
    dimensions: readonly string[],
    context: StatementContext,
  ): RowStream {
    return new RowStream(plan, source, dimensions, context);
  }

  /**
   * For who may take the rows of an answer in any order: one stream for each source, whose slices are of all groups. null: they are not
   * rows of shards, or LIMIT counts those of each group.
   */
  static async unordered(plan: SelectPlan, context: StatementContext): Promise<RowStream[] | null> {
    const { calls, limit, offset, seriesLimit, seriesOffset } = plan;
    if (calls.length > 0 || limit + offset + seriesLimit + seriesOffset > 0 || hasNoColumn(plan)) return null;
    const streams: RowStream[] = [];
    for (const source of plan.sources) {
      if (source.kind !== 'shards') return null;
      if (source.targets.length === 0 || source.measurements.length === 0) continue;
      streams.push(new RowStream(plan, source, dimensionsOf(plan, []), context));
    }
    for (const stream of streams) await stream.#confirm();
    return streams;
  }

  private constructor(plan: SelectPlan, source: ShardSource, dimensions: readonly string[], context: StatementContext) {
    const { wanted, span } = rawNeeds(plan);
    this.plan = plan;
    this.#dimensions = dimensions;
    this.#context = context;
    this.#wanted = wanted;
    this.#request = selectRequest(plan, span, wanted, dimensions, source, context);
    this.#targets = source.targets;
    this.#left = { minNs: span.minNs ?? TIME_MIN_NS, maxNs: span.maxNs ?? TIME_MAX_NS };
    this.#spanNs = lengthOf(extentOf(firstRanges(source.targets, this.#request, plan.limit > 0)));
    this.#toSkip = plan.offset;
    this.#toGive = plan.limit === 0 ? Number.POSITIVE_INFINITY : plan.limit;
  }

  /** The next rows, one at least; null: there are none. */
  async next(): Promise<RowPiece | null> {
    for (let slice = this.#slice(); slice !== null && this.#toGive > 0; slice = this.#slice()) {
      const shards = await this.#read(slice);
      if (shards === null) continue;
      const held = new Held(this.#context.limits);
      held.add(shards);
      const table = await mainTurns.of(this.#tableOf(shards), this.#context.ending);
      const { descending } = this.plan;
      this.#left = descending
        ? { minNs: this.#left.minNs, maxNs: slice.minNs - 1n }
        : { minNs: slice.maxNs + 1n, maxNs: this.#left.maxNs };
      const rows = table.times.length;
      this.#spanNs = this.#spanBehind(slice, held);
      const from = Math.min(this.#toSkip, rows);
      const to = Math.min(rows, from + this.#toGive);
      this.#toSkip -= from;
      this.#toGive -= to - from;
      // Of several groups none is cut.
      const given = to - from === rows ? table : { ...table, starts: [from, to] };
      if (to > from) return { table: given, bytes: held.bytes };
    }
    return null;
  }

  /** LIMIT may not come to a shard that is not up. */
  #confirm(): Promise<void> {
    return confirmOn(this.#context, this.#targets, this.#request, this.plan.limit === 0);
  }

  /** null: nothing is left. */
  #slice(): Slice | null {
    const { minNs, maxNs } = this.#left;
    this.#targets = this.#targets.filter(({ key }) => key.startNs <= maxNs && key.endNs > minNs);
    if (this.#targets.length === 0 || minNs > maxNs) return null;
    const extent = extentOf(this.#targets);
    const whole = { minNs: later(minNs, extent.minNs), maxNs: earlier(maxNs, extent.maxNs) };
    // With the last shard group that ends in it, if one does.
    if (this.plan.descending) {
      const from = whole.maxNs - this.#spanNs + 1n;
      const starts = this.#targets.flatMap(({ key }) => (key.startNs >= from ? [key.startNs] : []));
      return { minNs: later(starts.length > 0 ? starts.reduce(earlier) : from, whole.minNs), maxNs: whole.maxNs };
    }
    const to = whole.minNs + this.#spanNs - 1n;
    const ends = this.#targets.flatMap(({ key }) => (key.endNs - 1n <= to ? [key.endNs - 1n] : []));
    return { minNs: whole.minNs, maxNs: earlier(ends.length > 0 ? ends.reduce(later) : to, whole.maxNs) };
  }

  /** null: they are too many, and the next slice is shorter. */
  async #read(slice: Slice): Promise<ShardSelect[] | null> {
    const { rowsMax, streamedRowsMax, bytesMax, streamedBytesMax } = this.#context.limits;
    const spanNs = lengthOf(slice);
    const isWhole = spanNs <= WHOLE_NS;
    const request: SelectRequest = {
      ...this.#request,
      ...slice,
      planned: null,
      rows: { columns: this.#wanted.columns, perGroup: this.plan.limit === 0 ? null : this.#toSkip + this.#toGive },
      limits: {
        ...this.#request.limits,
        rowsMax: isWhole ? rowsMax : Math.min(rowsMax, streamedRowsMax),
        bytesMax: isWhole ? bytesMax : Math.min(bytesMax, streamedBytesMax),
      },
    };
    const targets = this.#targets.filter(({ key }) => key.startNs <= slice.maxNs && key.endNs > slice.minNs);
    try {
      const shards = await selectOn(this.#context, targets, request);
      this.#count(shards);
      return shards;
    } catch (error) {
      if (!(error instanceof TooManyRows) || spanNs === 1n) throw error;
      this.#spanNs = spanNs > GROWTH ? spanNs / GROWTH : 1n;
      return null;
    }
  }

  #spanBehind(slice: Slice, { rows, bytes }: Held): bigint {
    const { streamedRowsMax, streamedBytesMax } = this.#context.limits;
    const share = Math.max(rows / streamedRowsMax, bytes / streamedBytesMax);
    const spanNs = lengthOf(slice);
    if (share * Number(GROWTH) <= AIMED) return spanNs * GROWTH;
    return BigInt(Math.ceil((Number(spanNs) * AIMED) / share));
  }

  #count(shards: readonly ShardSelect[]): void {
    const { rowsScannedMax } = this.#context.limits;
    for (const { startNs, number, rowsScanned } of shards) {
      const place = `${startNs} ${number}`;
      const scanned = (this.#scanned.get(place) ?? 0) + rowsScanned;
      if (scanned > rowsScannedMax)
        throw new QueryError(`max-select-point limit exceeded: (${scanned}/${rowsScannedMax})`);
      this.#scanned.set(place, scanned);
    }
  }

  /** Without LIMIT and OFFSET, which count over all slices. */
  *#tableOf(shards: readonly ShardSelect[]): Steps<OutputTable> {
    const plan = { ...this.plan, limit: 0, offset: 0 };
    return yield* rawTable(plan, yield* rowsOf(plan, shards, [], this.#wanted, this.#dimensions, this.#context));
  }
}

/** Of one shard at least. */
function extentOf(targets: readonly ShardTarget[]): Slice {
  return {
    minNs: targets.map(({ key }) => key.startNs).reduce(earlier),
    maxNs: targets.map(({ key }) => key.endNs - 1n).reduce(later),
  };
}

const lengthOf = ({ minNs, maxNs }: Slice): bigint => maxNs - minNs + 1n;
const earlier = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const later = (a: bigint, b: bigint): bigint => (a > b ? a : b);
