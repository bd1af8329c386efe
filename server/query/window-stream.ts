/**
 * Windows of functions that are computed while later ones are still to be read: some windows of all groups after others, for who
 * may take the rows of an answer in any order (INTO), so that a long history needs no more memory than a short one.
 *
 * Only where each window depends on its own rows alone: functions that look at other windows, fills that do, and limits, which
 * count rows of groups, need the whole. The first part has few windows; the next one four times as many after one that gave few
 * rows, a quarter after one that had too many of them. As with rows (row-stream.ts) all shards confirm their schemas first, and are
 * then read by the plan, whatever is written meanwhile.
 */
import { TIME_MAX_NS } from '../../shards/shard-key.ts';
import { needsOf, selectRequest, spanOf } from './data.ts';
import { REDUCERS } from './functions.ts';
import { gridOf, windowOf } from './grid.ts';
import type { OutputTable } from './output.ts';
import type { PlannedSource, SelectPlan } from './plan.ts';
import { TooManyRows } from './query-error.ts';
import { confirmOn, type StatementContext } from './scatter.ts';
import { dimensionsOf, knownCalls, runPlan } from './select.ts';

const FIRST_WINDOWS = 100n;
const GROWTH = 4n;
/** A part that gives fewer rows may be longer. */
const ROWS_AIMED = 50_000;

/** Interpolation at the edges of windows, and draws: not taken to be the same when they are computed part by part. */
const ACROSS_WINDOWS: ReadonlySet<string> = new Set(['sample', 'integral']);

type ShardSource = Extract<PlannedSource, { kind: 'shards' }>;

export class WindowStream {
  readonly plan: SelectPlan;
  readonly #context: StatementContext;
  readonly #sources: readonly ShardSource[];
  /** What is left of the range. */
  #fromNs: bigint;
  readonly #toNs: bigint;
  #width = FIRST_WINDOWS;

  /** null: the windows of the plan need each other, or there are none. */
  static async open(plan: SelectPlan, context: StatementContext): Promise<WindowStream | null> {
    const { sources, windows, interval, range } = plan;
    if (!isApart(plan) || windows === null || interval === null || range.maxNs === null) return null;
    if (!sources.every((source) => source.kind === 'shards')) return null;
    const { wanted } = needsOf(plan, knownCalls(plan));
    for (const source of sources) {
      const request = selectRequest(plan, spanOf(plan, 0, context), wanted, dimensionsOf(plan, []), source, context);
      await confirmOn(context, source.targets, request, true);
    }
    return new WindowStream(plan, sources, range.minNs ?? windows.startNs, range.maxNs, context);
  }

  private constructor(
    plan: SelectPlan,
    sources: readonly ShardSource[],
    fromNs: bigint,
    toNs: bigint,
    context: StatementContext,
  ) {
    this.plan = plan;
    this.#sources = sources;
    this.#fromNs = fromNs;
    this.#toNs = toNs;
    this.#context = context;
  }

  /** The rows of the next windows that have any; null: there are none. */
  async next(): Promise<{ table: OutputTable } | null> {
    for (let part = this.#part(); part !== null; part = this.#part()) {
      try {
        const table = await runPlan(part.plan, [], this.#context, true);
        this.#fromNs = part.toNs + 1n;
        if (table.times.length < ROWS_AIMED) this.#width *= GROWTH;
        else if (table.times.length > ROWS_AIMED * Number(GROWTH)) this.#width = quarter(this.#width);
        if (table.times.length > 0) return { table };
      } catch (error) {
        if (!(error instanceof TooManyRows) || this.#width === 1n) throw error;
        this.#width = quarter(this.#width);
      }
    }
    return null;
  }

  /** null: nothing is left. */
  #part(): { readonly plan: SelectPlan; readonly toNs: bigint } | null {
    const interval = this.plan.interval!;
    const starts = this.#sources.flatMap(({ targets }) =>
      targets.flatMap(({ key }) => (key.endNs > this.#fromNs ? [key.startNs] : [])),
    );
    if (starts.length === 0 || this.#fromNs > this.#toNs) return null;
    // Where nothing is stored no window has a value.
    const firstNs = windowOf(interval, starts.reduce(earlier)).start;
    if (firstNs > this.#fromNs) this.#fromNs = firstNs;
    if (this.#fromNs > this.#toNs) return null;
    const lastNs = earlier(this.#fromNs + (this.#width - 1n) * interval.durationNs, TIME_MAX_NS);
    const range = { minNs: this.#fromNs, maxNs: earlier(windowOf(interval, lastNs).end - 1n, this.#toNs) };
    const sources = this.#sources.map(
      ({ targets, ...source }): ShardSource => ({
        ...source,
        planned: null,
        targets: targets.filter(({ key }) => key.startNs <= range.maxNs && key.endNs > range.minNs),
      }),
    );
    const windows = gridOf(interval, range.minNs, range.maxNs, Number.POSITIVE_INFINITY);
    return { plan: { ...this.plan, sources, range, windows }, toNs: range.maxNs };
  }
}

function isApart(plan: SelectPlan): boolean {
  const { fill, limit, offset, seriesLimit, seriesOffset } = plan;
  if (fill.kind !== 'none' || limit + offset + seriesLimit + seriesOffset > 0) return false;
  const calls = knownCalls(plan);
  return calls.length > 0 && calls.every(({ name }) => REDUCERS.has(name) && !ACROSS_WINDOWS.has(name));
}

const quarter = (width: bigint): bigint => (width > GROWTH ? width / GROWTH : 1n);
const earlier = (a: bigint, b: bigint): bigint => (a < b ? a : b);
