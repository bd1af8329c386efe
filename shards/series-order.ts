/**
 * The series of one measurement, in order of arrival and in order of hash.
 *
 * The order of hash is made when it is asked for: new series are sorted by themselves and merged in, so that a shard
 * that goes on getting series does not sort all of them each time.
 */
import type { SeriesIds } from './series-ids.ts';

export class SeriesOrder {
  readonly #ids: SeriesIds;
  #members = new Uint32Array(16);
  #count = 0;
  #sorted = new Uint32Array(0);

  constructor(ids: SeriesIds) {
    this.#ids = ids;
  }

  get count(): number {
    return this.#count;
  }

  add(id: number): void {
    if (this.#count === this.#members.length) {
      const members = new Uint32Array(this.#count * 2);
      members.set(this.#members);
      this.#members = members;
    }
    this.#members[this.#count++] = id;
  }

  /** Ids in order of arrival. */
  members(): Uint32Array {
    return this.#members.subarray(0, this.#count);
  }

  /** Ids in ascending order of hash. `ranked` hears of each place that changed. */
  sorted(ranked: (id: number, rank: number) => void): Uint32Array {
    const known = this.#sorted;
    if (known.length === this.#count) return known;
    const fresh = sortByHash(this.#members.slice(known.length, this.#count), this.#ids);
    const merged = new Uint32Array(this.#count);
    let a = 0;
    let b = 0;
    for (let i = 0; i < merged.length; i++) {
      const takeKnown = b === fresh.length || (a < known.length && this.#ids.compare(known[a]!, fresh[b]!) < 0);
      merged[i] = takeKnown ? known[a++]! : fresh[b++]!;
      ranked(merged[i]!, i);
    }
    this.#sorted = merged;
    return merged;
  }
}

/** Radix sort by the first word in two passes, then insertion sort for the few ties. */
function sortByHash(ids: Uint32Array, table: SeriesIds): Uint32Array {
  const half = radixPass(ids, (id) => table.leadOf(id) & 0xffff);
  const sorted = radixPass(half, (id) => table.leadOf(id) >>> 16);
  for (let i = 1; i < sorted.length; i++) {
    const id = sorted[i]!;
    let at = i;
    while (at > 0 && table.compare(sorted[at - 1]!, id) > 0) {
      sorted[at] = sorted[at - 1]!;
      at--;
    }
    sorted[at] = id;
  }
  return sorted;
}

function radixPass(ids: Uint32Array, digitOf: (id: number) => number): Uint32Array {
  if (ids.length < 64) return ids.slice().sort((a, b) => digitOf(a) - digitOf(b));
  const starts = new Uint32Array(65_537);
  for (let i = 0; i < ids.length; i++) starts[digitOf(ids[i]!) + 1]!++;
  for (let i = 0; i < 65_536; i++) starts[i + 1]! += starts[i]!;
  const out = new Uint32Array(ids.length);
  for (let i = 0; i < ids.length; i++) out[starts[digitOf(ids[i]!)]!++] = ids[i]!;
  return out;
}
