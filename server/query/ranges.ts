/**
 * Rows of many shard groups, asked for range after range in the order of the answer: what LIMIT does not need, and what is
 * behind a statement's limit of rows, is not read.
 *
 * Where rows are few the next request is for four times as many ranges, so that sparse data costs few rounds. The plan rests on
 * the schemas of all shards, also of those that are not read in the end: these are asked whether they still have them,
 * and for nothing else. Of that nothing is told in `completeness`: a shard that LIMIT leaves out is not missing.
 */
import type { SelectRequest, ShardSelect } from '../../shards/query/partial.ts';
import type { ShardTarget } from './backend.ts';
import { QueryError } from './query-error.ts';
import { confirmOn, type StatementContext, selectOn } from './scatter.ts';

/** A request with fewer rows than this is followed by one for more ranges. */
const FEW_ROWS = 10_000;
const GROWTH = 4;
/** Ranges of the first request where LIMIT cannot end the statement: most are needed in full, and further rounds only cost. */
const UNENDED_FIRST = 16;

/** Shards whose times overlap, range after range. */
function rangesOf(targets: readonly ShardTarget[]): ShardTarget[][] {
  const ranges: ShardTarget[][] = [];
  let endNs: bigint | null = null;
  for (const target of targets) {
    const { key } = target;
    if (endNs !== null && key.startNs < endNs) ranges.at(-1)!.push(target);
    else ranges.push([target]);
    if (endNs === null || key.endNs > endNs) endNs = key.endNs;
  }
  return ranges;
}

/** One request is for all. */
export function isOneRequest(targets: readonly ShardTarget[], request: SelectRequest): boolean {
  return rangesOf(targets).length <= firstWidth(request);
}

/** The shards of which rows are asked first. */
export function firstRanges(targets: readonly ShardTarget[], request: SelectRequest): ShardTarget[] {
  const ranges = rangesOf(targets);
  if (request.descending) ranges.reverse();
  return ranges.slice(0, firstWidth(request)).flat();
}

function firstWidth(request: SelectRequest): number {
  return canEnd(request) ? 1 : UNENDED_FIRST;
}

/** Which groups a tag has is known behind the last shard only: then LIMIT ends nothing. */
export function canEnd({ rows, dimensions }: SelectRequest): boolean {
  return (rows?.perGroup ?? null) !== null && dimensions.length === 0;
}

/** The shards that were read, in order. */
export async function selectByRange(
  context: StatementContext,
  targets: readonly ShardTarget[],
  request: SelectRequest,
): Promise<ShardSelect[]> {
  const ranges = rangesOf(targets);
  const first = firstWidth(request);
  if (ranges.length <= first) return selectOn(context, targets, request);
  if (request.descending) ranges.reverse();
  const enough = enoughOf(request);
  const parts: ShardSelect[][] = [];
  let next = 0;
  try {
    let held = 0;
    for (let width = first; next < ranges.length && !enough.isReached; ) {
      const asked = ranges.slice(next, next + width).flat();
      next += width;
      const part = await selectOn(context, asked, request);
      parts.push(part);
      const rows = part.reduce((sum, { rows }) => sum + (rows?.times.length ?? 0), 0);
      held += rows;
      requireRows(held, context);
      enough.add(part);
      width = rows < FEW_ROWS ? width * GROWTH : 1;
    }
  } catch (error) {
    // What was refused may be so by an old plan.
    if (error instanceof QueryError) await confirmOn(context, ranges.slice(next).flat(), request);
    throw error;
  }
  await confirmOn(context, ranges.slice(next).flat(), request);
  return (request.descending ? parts.reverse() : parts).flat();
}

/** Throws QueryError when a statement holds more rows than it may. */
export function requireRows(held: number, { limits: { rowsMax } }: StatementContext): void {
  if (held > rowsMax) throw new QueryError(`query holds more than ${rowsMax} rows; narrow the time range or use LIMIT`);
}

interface Enough {
  readonly isReached: boolean;
  add(part: readonly ShardSelect[]): void;
}

/** Whether LIMIT needs no more. */
function enoughOf(request: SelectRequest): Enough {
  if (!canEnd(request)) return { isReached: false, add() {} };
  const perGroup = request.rows!.perGroup!;
  /** What each measurement still lacks. */
  const lacking = new Map(request.measurements.map((name) => [name, perGroup]));
  return {
    get isReached() {
      return lacking.size === 0;
    },
    add(part) {
      for (const { rows, groups } of part)
        for (const group of rows?.groups ?? []) {
          const name = groups.measurements[group]!;
          const left = lacking.get(name);
          if (left === 1) lacking.delete(name);
          else if (left !== undefined) lacking.set(name, left - 1);
        }
    },
  };
}
