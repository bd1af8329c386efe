/**
 * What of many shard groups is asked range after range of time, in the order in which it settles the answer: what LIMIT does not
 * need, what lies behind the last (or first) value of a group, and what is behind a statement's limit of rows, is not read.
 *
 * Where rows are few the next request is for four times as many ranges, so that sparse data costs few rounds. The plan rests on
 * the schemas of all shards, also of those that are not read in the end: these are asked whether they still have them,
 * and for nothing else. Of that nothing is told in `completeness`: a shard that LIMIT leaves out is not missing.
 *
 * With groups by tag the other shards are asked which groups they have as soon as the first range is read; from then on
 * those ranges are read that have a group which is not settled, and such groups alone.
 */
import type { SelectRequest, ShardSelect } from '../../shards/query/partial.ts';
import { settlingEnd } from '../../shards/query/settling.ts';
import type { Steps } from '../../shards/steps.ts';
import { inRanges, mainTurns } from '../turns.ts';
import type { ShardTarget } from './backend.ts';
import { both, GROUPS_MAX, groupCondition } from './group-condition.ts';
import { Group, groupKey } from './groups.ts';
import { Held } from './held.ts';
import { QueryError } from './query-error.ts';
import { confirmOn, type StatementContext, selectOn } from './scatter.ts';
import { SettledGroups } from './settled-groups.ts';

/** A request with fewer rows than this is followed by one for more ranges. */
const FEW_ROWS = 10_000;
const GROWTH = 4;
/** Ranges of the first request where LIMIT cannot end the statement: most are needed in full, and further rounds only cost. */
const UNENDED_FIRST = 16;
/** So few are asked together although the first one may settle the answer: a round more takes longer than they do. */
const SETTLED_AT_ONCE = 4;

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

/** Shards may be asked range after range: windows and aggregates need all of them. */
export function isByRange(request: SelectRequest): boolean {
  return (request.windows === null && request.states.length === 0) || settlingEnd(request) !== null;
}

/**
 * What lies behind settled groups does not matter. SLIMIT (`limitsSeries`) counts groups without rows as well, which all shards
 * have to name.
 */
export function canSettle(request: SelectRequest, limitsSeries: boolean): boolean {
  return settlingEnd(request) !== null && (request.dimensions.length === 0 || !limitsSeries);
}

/** One request is for all. */
export function isOneRequest(targets: readonly ShardTarget[], request: SelectRequest, settles: boolean): boolean {
  return rangesOf(targets).length <= atOnce(request, settles);
}

function atOnce({ rows, dimensions }: SelectRequest, settles: boolean): number {
  if (!settles) return rows === null ? Number.POSITIVE_INFINITY : UNENDED_FIRST;
  return rows === null || dimensions.length > 0 ? SETTLED_AT_ONCE : 1;
}

/** The shards of which rows are asked first. */
export function firstRanges(targets: readonly ShardTarget[], request: SelectRequest, settles: boolean): ShardTarget[] {
  return inOrder(targets, request).slice(0, firstWidth(settles)).flat();
}

const firstWidth = (settles: boolean): number => (settles ? 1 : UNENDED_FIRST);

function inOrder(targets: readonly ShardTarget[], request: SelectRequest): ShardTarget[][] {
  const ranges = rangesOf(targets);
  return isBackwards(request) ? ranges.reverse() : ranges;
}

function isBackwards(request: SelectRequest): boolean {
  const end = settlingEnd(request);
  return end === null ? request.descending : end === 'last';
}

/** The shards that were read, in order. `settles`: by canSettle. */
export async function selectByRange(
  context: StatementContext,
  targets: readonly ShardTarget[],
  request: SelectRequest,
  settles: boolean,
): Promise<ShardSelect[]> {
  if (isOneRequest(targets, request, settles)) return selectOn(context, targets, request);
  const ranges = inOrder(targets, request);
  const parts =
    settles && request.dimensions.length > 0
      ? await readGroups(context, ranges, request)
      : await readRanges(context, ranges, request, settles);
  return (isBackwards(request) ? parts.reverse() : parts).flat();
}

/** Range after range, as long as a measurement is not settled. */
async function readRanges(
  context: StatementContext,
  ranges: readonly (readonly ShardTarget[])[],
  request: SelectRequest,
  settles: boolean,
): Promise<ShardSelect[][]> {
  const settled = new SettledGroups(request);
  let { measurements } = request;
  const parts: ShardSelect[][] = [];
  let next = 0;
  try {
    const held = new Held(context.limits);
    for (let width = firstWidth(settles); next < ranges.length && measurements.length > 0; ) {
      const asked = ranges.slice(next, next + width).flat();
      next += width;
      const part = await selectOn(context, asked, { ...request, measurements });
      parts.push(part);
      const rows = held.add(part);
      held.require();
      width = rows < FEW_ROWS ? width * GROWTH : 1;
      if (!settles) continue;
      await mainTurns.of(settle(settled, part), context.ending);
      measurements = measurements.filter((name) => !settled.has(groupKey(name, [], 0)));
    }
  } catch (error) {
    // What was refused may be so by an old plan.
    if (error instanceof QueryError) await confirmOn(context, ranges.slice(next).flat(), request);
    throw error;
  }
  await confirmOn(context, ranges.slice(next).flat(), request);
  return parts;
}

/** The first range, and of the others those that have a group which is not settled. */
async function readGroups(
  context: StatementContext,
  ranges: readonly (readonly ShardTarget[])[],
  request: SelectRequest,
): Promise<ShardSelect[][]> {
  const { dimensions, measurements } = request;
  const settled = new SettledGroups(request);
  const parts: ShardSelect[][] = [];
  const held = new Held(context.limits);
  const take = async (targets: readonly ShardTarget[], asked: SelectRequest): Promise<void> => {
    const part = await selectOn(context, targets, asked);
    parts.push(part);
    held.add(part);
    held.require();
    await mainTurns.of(settle(settled, part), context.ending);
  };
  const rest = ranges.slice(1);
  let named: readonly ShardSelect[];
  try {
    await take(ranges[0]!, request);
    // These confirm their schemas with it.
    named = await selectOn(context, rest.flat(), { ...request, states: [], aux: [], rows: null });
  } catch (error) {
    if (error instanceof QueryError) await confirmOn(context, rest.flat(), request);
    throw error;
  }
  let lacking = await mainTurns.of(lackingOf(rest, named, settled, dimensions), context.ending);
  for (let width = GROWTH; lacking.length > 0; width *= GROWTH) {
    const next = lacking.slice(0, width);
    const condition = both(request.condition, groupCondition(groupsIn(next), dimensions, measurements));
    await take(
      next.flatMap(({ range }) => range),
      { ...request, planned: null, condition },
    );
    lacking = await mainTurns.of(leftOf(lacking.slice(width), settled), context.ending);
  }
  return parts;
}

function* settle(settled: SettledGroups, part: readonly ShardSelect[]): Steps {
  for (const shard of part) {
    yield* settled.add(shard);
    yield;
  }
}

/** A range with groups that are not settled. */
interface Lacking {
  readonly range: readonly ShardTarget[];
  readonly groups: readonly Group[];
}

/** In short steps. */
function* lackingOf(
  ranges: readonly (readonly ShardTarget[])[],
  named: readonly ShardSelect[],
  settled: SettledGroups,
  dimensions: readonly string[],
): Steps<Lacking[]> {
  const rangeAt = new Map(ranges.flatMap((range) => range.map(({ key }) => [key.startNs, range] as const)));
  const groupsOf = new Map<readonly ShardTarget[], Group[]>(ranges.map((range) => [range, []]));
  for (const { startNs, groups } of named) {
    const list = groupsOf.get(rangeAt.get(startNs)!)!;
    const { measurements, tagValues } = groups;
    yield* inRanges(measurements.length, (from, to) => {
      for (let g = from; g < to; g++) list.push(new Group(measurements[g]!, dimensions, tagValues, g));
    });
    yield;
  }
  return yield* leftOf(
    [...groupsOf].map(([range, groups]) => ({ range, groups })),
    settled,
  );
}

/** In short steps. */
function* leftOf(lacking: readonly Lacking[], settled: SettledGroups): Steps<Lacking[]> {
  const left: Lacking[] = [];
  for (const { range, groups } of lacking) {
    const lacks: Group[] = [];
    yield* inRanges(groups.length, (from, to) => {
      for (let g = from; g < to; g++) if (!settled.has(groups[g]!.key)) lacks.push(groups[g]!);
    });
    if (lacks.length > 0) left.push({ range, groups: lacks });
    yield;
  }
  return left;
}

/** Each once; more than make a condition are not gathered to the last. */
function groupsIn(lacking: readonly Lacking[]): Group[] {
  const groups = new Map<string, Group>();
  for (const part of lacking) {
    for (const group of part.groups) groups.set(group.key, group);
    if (groups.size > GROUPS_MAX) break;
  }
  return [...groups.values()];
}
