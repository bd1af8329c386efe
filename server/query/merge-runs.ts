/**
 * Sorts in short steps: neighbouring runs that are in order become one, until there is one. What is equal stays in its order.
 *
 * Answers are made of few such runs, one for each shard, and those of one shard group mostly lie before those of the next:
 * that costs a look at their ends.
 */
import type { Steps } from '../../shards/steps.ts';

type Compare = (a: number, b: number) => number;

/** Items that are compared in one step: half a millisecond, or less. */
const STEP_ITEMS = 4096;

/** `ends`: of each run the place behind it. `items` is used up. */
export function* mergeRuns(items: Uint32Array, ends: readonly number[], compare: Compare): Steps<Uint32Array> {
  let from = items;
  let into: Uint32Array | null = null;
  for (let runs = ends; runs.length > 1; ) {
    into ??= new Uint32Array(items.length);
    const merged: number[] = [];
    let left = STEP_ITEMS;
    for (let run = 0, start = 0; run < runs.length; run += 2) {
      const middle = runs[run]!;
      const end = runs[run + 1] ?? middle;
      if (middle === start || middle === end || compare(from[middle - 1]!, from[middle]!) <= 0)
        into.set(from.subarray(start, end), start);
      else {
        for (let a = start, b = middle, at = start; at < end; at++) {
          into[at] = b === end || (a < middle && compare(from[a]!, from[b]!) <= 0) ? from[a++]! : from[b++]!;
          if (--left > 0) continue;
          left = STEP_ITEMS;
          yield;
        }
      }
      merged.push(end);
      start = end;
    }
    [from, into] = [into, from];
    runs = merged;
  }
  return from;
}

/** The runs of items in any order. */
export function* runsOf(items: Uint32Array, compare: Compare): Steps<number[]> {
  const ends: number[] = [];
  for (let i = 1; i < items.length; i++) {
    if (compare(items[i - 1]!, items[i]!) > 0) ends.push(i);
    if (i % STEP_ITEMS === 0) yield;
  }
  if (items.length > 0) ends.push(items.length);
  return ends;
}
