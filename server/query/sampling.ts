/**
 * Random samples: every row draws a lot, and those with the least lots are the sample. So samples of parts merge into one of
 * the whole, and the same rows give the same sample on every node. Lots depend on a seed and on the row's time.
 */
import type { Sample } from './functions.ts';

/** Of a group: groups that have rows at the same times draw different lots. */
export function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

/** So many of the rows of a window at most, in their order. */
export function sampleOf(samples: readonly Sample[], count: number, seed: number): readonly Sample[] {
  if (samples.length <= count) return samples;
  let turn = 0;
  const lots = samples.map(({ time }, i) => {
    // Rows of one time are told apart by their order there.
    turn = i > 0 && samples[i - 1]!.time === time ? turn + 1 : 0;
    return mixed(mixed(mixed(seed ^ Number(time & 0xffffffffn)) ^ Number((time >> 32n) & 0xffffffffn)) ^ turn);
  });
  const limit = Float64Array.from(lots).sort()[count - 1]!;
  return samples.filter((_, i) => lots[i]! <= limit).slice(0, count);
}

/** The finaliser of MurmurHash3 (A. Appleby, public domain): spreads each bit over all. */
function mixed(bits: number): number {
  let hash = bits | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
