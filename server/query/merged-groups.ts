/**
 * The groups of all shards in one list, ascending by key, and where each shard's groups are in it.
 *
 * A shard that groups by one tag gives its groups in the order of their values (shards/query/groups.ts). Few such lists
 * are merged: sorting a thousand keys takes longer than everything else that is done with their cells. Other lists, and
 * those of a shard that gave another order, are sorted.
 */
import type { ShardSelect } from '../../shards/query/partial.ts';
import { Group, groupKey } from './groups.ts';

export interface MergedGroups {
  readonly groups: Group[];
  /** Per shard, for each of its groups the place in `groups`. */
  readonly places: readonly Uint32Array[];
}

/** Each key of the answer is compared with one of each list. */
const LISTS_MERGED_MAX = 8;

export function mergeGroups(
  shards: readonly ShardSelect[],
  dimensions: readonly string[],
  measurements: readonly string[],
): MergedGroups {
  const keys = shards.map(({ groups }) => {
    // One measurement and one tag: groups differ in its value alone.
    if (measurements.length === 1 && dimensions.length === 1) return groups.tagValues[0]!;
    return groups.measurements.map((name, g) => groupKey(name, groups.tagValues, g));
  });
  const filled = keys.filter((list) => list.length > 0).length;
  const merge = filled <= LISTS_MERGED_MAX && keys.every(ascends) ? mergeLists : sortLists;
  const groups: Group[] = [];
  const places = keys.map((list) => new Uint32Array(list.length));
  merge(keys, places, (s, g) => {
    const { measurements: names, tagValues } = shards[s]!.groups;
    groups.push(new Group(names[g]!, dimensions, tagValues, g));
  });
  return { groups, places };
}

function ascends(keys: readonly string[]): boolean {
  for (let i = 1; i < keys.length; i++) if (keys[i - 1]! >= keys[i]!) return false;
  return true;
}

type Lists = readonly (readonly string[])[];

/** `add` is called for each different key, ascending, with a list and a place that has it. */
function mergeLists(lists: Lists, places: readonly Uint32Array[], add: (list: number, place: number) => void): void {
  const heads = lists.map(() => 0);
  const firsts: (string | undefined)[] = lists.map((list) => list[0]);
  for (let count = 0; ; count++) {
    let least: string | undefined;
    let from = -1;
    for (let s = 0; s < firsts.length; s++) {
      const key = firsts[s];
      if (key === undefined || (least !== undefined && key >= least)) continue;
      least = key;
      from = s;
    }
    if (least === undefined) return;
    add(from, heads[from]!);
    for (let s = from; s < firsts.length; s++) {
      if (firsts[s] !== least) continue;
      places[s]![heads[s]!] = count;
      heads[s]!++;
      firsts[s] = lists[s]![heads[s]!];
    }
  }
}

function sortLists(lists: Lists, places: readonly Uint32Array[], add: (list: number, place: number) => void): void {
  const firstOf = new Map<string, { readonly list: number; readonly place: number }>();
  lists.forEach((keys, list) => {
    keys.forEach((key, place) => {
      if (!firstOf.has(key)) firstOf.set(key, { list, place });
    });
  });
  const placeOf = new Map<string, number>();
  for (const key of [...firstOf.keys()].sort()) {
    const { list, place } = firstOf.get(key)!;
    placeOf.set(key, placeOf.size);
    add(list, place);
  }
  lists.forEach((keys, list) => {
    keys.forEach((key, place) => {
      places[list]![place] = placeOf.get(key)!;
    });
  });
}
