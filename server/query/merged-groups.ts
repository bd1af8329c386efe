/**
 * The groups of all shards in one list, ascending by key, and where each shard's groups are in it.
 *
 * A shard that groups by one tag gives its groups in the order of their values (shards/query/groups.ts). Few such lists
 * are merged: sorting a thousand keys takes longer than everything else that is done with their cells. Other lists, and
 * those of a shard that gave another order, are sorted.
 */
import type { ShardGroups, ShardSelect } from '../../shards/query/partial.ts';
import type { Steps } from '../../shards/steps.ts';
import { inRanges } from '../turns.ts';
import { Group, groupKey } from './groups.ts';
import { mergeRuns } from './merge-runs.ts';

export interface MergedGroups {
  readonly groups: Group[];
  /** Per shard, for each of its groups the place in `groups`. */
  readonly places: readonly Uint32Array[];
}

/** Each key of the answer is compared with one of each list. */
const LISTS_MERGED_MAX = 8;

/** Groups in one step. */
const STEP_GROUPS = 2048;

/** In short steps. */
export function* mergeGroups(
  shards: readonly ShardSelect[],
  dimensions: readonly string[],
  measurements: readonly string[],
): Steps<MergedGroups> {
  const keys: (readonly string[])[] = [];
  let filled = 0;
  let isSorted = true;
  for (const { groups } of shards) {
    // One measurement and one tag: groups differ in its value alone.
    const isOneTag = measurements.length === 1 && dimensions.length === 1;
    const list = isOneTag ? groups.tagValues[0]! : yield* keysOf(groups);
    keys.push(list);
    if (list.length > 0) filled++;
    isSorted &&= ascends(list);
  }
  const merge = filled <= LISTS_MERGED_MAX && isSorted ? mergeLists : sortLists;
  const groups: Group[] = [];
  const places = keys.map((list) => new Uint32Array(list.length));
  yield* merge(keys, places, (s, g) => {
    const { measurements: names, tagValues } = shards[s]!.groups;
    groups.push(new Group(names[g]!, dimensions, tagValues, g));
  });
  return { groups, places };
}

function* keysOf({ measurements, tagValues }: ShardGroups): Steps<string[]> {
  const keys: string[] = [];
  yield* inRanges(measurements.length, (from, to) => {
    for (let g = from; g < to; g++) keys.push(groupKey(measurements[g]!, tagValues, g));
  });
  return keys;
}

function ascends(keys: readonly string[]): boolean {
  for (let i = 1; i < keys.length; i++) if (keys[i - 1]! >= keys[i]!) return false;
  return true;
}

type Lists = readonly (readonly string[])[];

type Add = (list: number, place: number) => void;

/** `add` is called for each different key, ascending, with a list and a place that has it. */
function* mergeLists(lists: Lists, places: readonly Uint32Array[], add: Add): Steps {
  const heads = lists.map(() => 0);
  for (let count = 0; mergeSome(lists, heads, places, add, count); count += STEP_GROUPS) yield;
}

/** The next keys, the first of which is the one numbered `from`; false: these were all. */
function mergeSome(lists: Lists, heads: number[], places: readonly Uint32Array[], add: Add, from: number): boolean {
  const firsts: (string | undefined)[] = lists.map((list, s) => list[heads[s]!]);
  for (let count = from; count < from + STEP_GROUPS; count++) {
    let least: string | undefined;
    let at = -1;
    for (let s = 0; s < firsts.length; s++) {
      const key = firsts[s];
      if (key === undefined || (least !== undefined && key >= least)) continue;
      least = key;
      at = s;
    }
    if (least === undefined) return false;
    add(at, heads[at]!);
    for (let s = at; s < firsts.length; s++) {
      if (firsts[s] !== least) continue;
      places[s]![heads[s]!] = count;
      heads[s]!++;
      firsts[s] = lists[s]![heads[s]!];
    }
  }
  return true;
}

function* sortLists(lists: Lists, places: readonly Uint32Array[], add: Add): Steps {
  const firstOf = new Map<string, number>();
  const firsts: { readonly key: string; readonly list: number; readonly place: number }[] = [];
  for (let list = 0; list < lists.length; list++) {
    const keys = lists[list]!;
    yield* inRanges(keys.length, (from, to) => {
      for (let place = from; place < to; place++) {
        const key = keys[place]!;
        let first = firstOf.get(key);
        if (first === undefined) {
          first = firsts.length;
          firstOf.set(key, first);
          firsts.push({ key, list, place });
        }
        // Until it is known where the key comes.
        places[list]![place] = first;
      }
    });
  }
  const order = Uint32Array.from({ length: firsts.length }, (_, first) => first);
  const compare = (a: number, b: number): number => (firsts[a]!.key < firsts[b]!.key ? -1 : 1);
  const ends: number[] = [];
  for (let from = 0; from < order.length; from += STEP_GROUPS) {
    const run = order.subarray(from, from + STEP_GROUPS);
    ends.push(from + run.sort(compare).length);
    if (ends.length > 1) yield;
  }
  const sorted = yield* mergeRuns(order, ends, compare);
  const placeOf = new Uint32Array(firsts.length);
  yield* inRanges(sorted.length, (from, to) => {
    for (let at = from; at < to; at++) {
      const { list, place } = firsts[sorted[at]!]!;
      placeOf[sorted[at]!] = at;
      add(list, place);
    }
  });
  for (const own of places)
    yield* inRanges(own.length, (from, to) => {
      for (let place = from; place < to; place++) own[place] = placeOf[own[place]!]!;
    });
}
