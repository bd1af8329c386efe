/**
 * The order of a tag's values in a shard, kept from query to query as part of its index: it spares the coordinator the
 * sorting of groups, which then has few lists that are in order to merge.
 *
 * Nothing depends on it but speed: the coordinator checks the order that it is given. So codes that came to mean another
 * value do no harm.
 */
import type { QueryableShard, TagColumn } from '../queryable.ts';

/** Tags remembered per shard. */
const TAGS_MAX = 64;

interface ValueOrder {
  /** Codes met so far, by value. */
  sorted: number[];
  /** By code: 1 + its place in `sorted`; 0: not met. */
  ranks: Uint32Array;
}

const remembered = new WeakMap<QueryableShard, Map<string, ValueOrder>>();

/** For different codes the place of each when they are ordered by value. `tag`: names the column among the shard's. */
export function placesByValue(shard: QueryableShard, tag: string, column: TagColumn, codes: Uint32Array): Uint32Array {
  const { ranks, sorted } = orderOf(shard, tag, column, codes);
  const places = new Uint32Array(codes.length);
  if (codes.length === sorted.length) {
    // They are all that were ever met.
    for (let place = 0; place < places.length; place++) places[place] = ranks[codes[place]!]! - 1;
    return places;
  }
  // Rank and place in one number: typed arrays are sorted without a comparison function.
  const both = Float64Array.from(codes, (code, place) => ranks[code]! * codes.length + place).sort();
  for (let place = 0; place < both.length; place++) places[both[place]! % codes.length] = place;
  return places;
}

function orderOf(shard: QueryableShard, tag: string, column: TagColumn, codes: Uint32Array): ValueOrder {
  let tags = remembered.get(shard);
  if (tags === undefined) {
    tags = new Map();
    remembered.set(shard, tags);
  }
  let order = tags.get(tag);
  if (order === undefined) {
    if (tags.size >= TAGS_MAX) tags.clear();
    order = { sorted: [], ranks: new Uint32Array(0) };
    tags.set(tag, order);
  }
  const fresh: number[] = [];
  let greatest = 0;
  for (const code of codes) {
    if ((order.ranks[code] ?? 0) > 0) continue;
    fresh.push(code);
    if (code > greatest) greatest = code;
  }
  if (fresh.length > 0) learn(order, fresh, greatest, column);
  return order;
}

function learn(order: ValueOrder, fresh: readonly number[], greatest: number, column: TagColumn): void {
  // What was sorted before stays one run, which sorting goes over once.
  const values = [...order.sorted, ...fresh].map((code) => ({ code, value: column.valueOf(code) }));
  values.sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0));
  order.sorted = values.map(({ code }) => code);
  const ranks = new Uint32Array(Math.max(order.ranks.length, greatest + 1));
  for (let place = 0; place < order.sorted.length; place++) ranks[order.sorted[place]!] = place + 1;
  order.ranks = ranks;
}
