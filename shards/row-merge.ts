/**
 * Merging row sets: what compaction does with the runs of a window, and a query with overlapping runs and memtables.
 *
 * Every fragment is kept, overwritten ones too, because until `converged_through` has passed them another replica may ask
 * for them; compaction settles the others afterwards (row-settle.ts). Fragments equal in (series, time, version) are one fragment that arrived in parts (or twice): they are
 * folded into one row with the union of the fields. Equal version with unequal value is damage; then the greater bytes
 * win (protocol rule 4), so that the result does not depend on the order of the sets.
 *
 * Where no rows have to be folded, the kernel merges (row-merge-kernel.ts): 10 ns a value instead of 150 when runs
 * interleave. Otherwise the merge first makes a plan of segments (rows from .. from + length - 1 of a set go to row `target`), the same for
 * all columns; series without overlap are one segment each, so the copying runs at memory speed.
 */
import type { Column } from './column.ts';
import { makeValues } from './column.ts';
import { copyValues } from './row-gather.ts';
import { columnsOf, mergeInKernel } from './row-merge-kernel.ts';
import type { RowSet } from './row-set.ts';
import type { Version } from './version.ts';

/** Below this the kernel's calls cost more than they save. */
const KERNEL_ROWS_MIN = 256;
/** Segments as parallel numbers in one growing array: set, from, length, target, folded (1: the row is there already). */
const SEGMENT = 5;

class Plan {
  private parts = new Uint32Array(64 * SEGMENT);
  private used = 0;
  rows = 0;

  add(set: number, from: number, length: number, folded: boolean): void {
    const last = this.used - SEGMENT;
    const target = folded ? this.rows - 1 : this.rows;
    if (!folded) this.rows += length;
    const parts = this.parts;
    const goesOn =
      last >= 0 &&
      !folded &&
      parts[last] === set &&
      parts[last + 4] === 0 &&
      parts[last + 1]! + parts[last + 2]! === from;
    if (goesOn) {
      parts[last + 2]! += length;
      return;
    }
    if (this.used + SEGMENT > parts.length) {
      this.parts = new Uint32Array(parts.length * 2);
      this.parts.set(parts);
    }
    this.parts.set([set, from, length, target, folded ? 1 : 0], this.used);
    this.used += SEGMENT;
  }

  get segments(): Uint32Array {
    return this.parts.subarray(0, this.used);
  }
}

/**
 * `hashOrder` compares two series ids by series hash. The order of `sets` does not matter. The result may share arrays
 * with a set when there is nothing to merge.
 */
export function mergeRowSets(sets: readonly RowSet[], hashOrder: (a: number, b: number) => number): RowSet {
  const filled = sets.filter((set) => set.times.length > 0);
  if (filled.length === 1) return filled[0]!;
  let rows = 0;
  for (const set of filled) rows += set.times.length;
  return (rows >= KERNEL_ROWS_MIN ? mergeInKernel(filled, hashOrder) : null) ?? mergePlanned(filled, hashOrder);
}

/** Row by row where sets overlap; folds rows. */
export function mergePlanned(filled: readonly RowSet[], hashOrder: (a: number, b: number) => number): RowSet {
  const { versionTable, versions } = unitedVersions(filled);
  const plan = new Plan();
  const series: number[] = [];
  const seriesStart: number[] = [];
  const heads = new Uint32Array(filled.length);
  const having: number[] = [];
  for (;;) {
    let least = -1;
    having.length = 0;
    for (let k = 0; k < filled.length; k++) {
      if (heads[k]! >= filled[k]!.series.length) continue;
      const id = filled[k]!.series[heads[k]!]!;
      const compared = least < 0 ? -1 : id === least ? 0 : hashOrder(id, least);
      if (compared > 0) continue;
      if (compared < 0) having.length = 0;
      least = id;
      having.push(k);
    }
    if (least < 0) break;
    series.push(least);
    seriesStart.push(plan.rows);
    planSeries(filled, versions, heads, having, plan);
    for (const k of having) heads[k]!++;
  }
  seriesStart.push(plan.rows);
  const times = new Float64Array(plan.rows);
  const rowVersions = new Uint32Array(plan.rows);
  const segments = plan.segments;
  for (let i = 0; i < segments.length; i += SEGMENT) {
    const [set, from, length, target] = [segments[i]!, segments[i + 1]!, segments[i + 2]!, segments[i + 3]!];
    if (length === 1) {
      times[target] = filled[set]!.times[from]!;
      rowVersions[target] = versions[set]![from]!;
    } else {
      times.set(filled[set]!.times.subarray(from, from + length), target);
      rowVersions.set(versions[set]!.subarray(from, from + length), target);
    }
  }
  return {
    series: Uint32Array.from(series),
    seriesStart: Uint32Array.from(seriesStart),
    times,
    versions: rowVersions,
    versionTable,
    columns: columnsOf(filled).map((column) => mergeColumn(filled, column.parts, column, segments, plan.rows)),
  };
}

/** One ascending table for all sets, and each set's rows renumbered to it. */
function unitedVersions(sets: readonly RowSet[]): { versionTable: readonly Version[]; versions: Uint32Array[] } {
  const distinct = new Set<Version>();
  for (const set of sets) for (const version of set.versionTable) distinct.add(version);
  const versionTable = [...distinct].sort();
  const indexOf = new Map(versionTable.map((version, i) => [version, i]));
  const versions = sets.map((set) => {
    const renumbered = Uint32Array.from(set.versionTable, (version) => indexOf.get(version)!);
    const into = new Uint32Array(set.versions.length);
    for (let i = 0; i < into.length; i++) into[i] = renumbered[set.versions[i]!]!;
    return into;
  });
  return { versionTable, versions };
}

/** Appends the rows of the series at `heads` of the sets in `having`. */
function planSeries(
  sets: readonly RowSet[],
  versions: readonly Uint32Array[],
  heads: Uint32Array,
  having: readonly number[],
  plan: Plan,
): void {
  const from = having.map((k) => sets[k]!.seriesStart[heads[k]!]!);
  const to = having.map((k) => sets[k]!.seriesStart[heads[k]! + 1]!);
  const before = (a: number, i: number, b: number, j: number): number =>
    sets[having[a]!]!.times[i]! - sets[having[b]!]!.times[j]! || versions[having[a]!]![i]! - versions[having[b]!]![j]!;
  const byStart = having.map((_, a) => a).sort((a, b) => before(a, from[a]!, b, from[b]!));
  let apart = true;
  for (let n = 1; n < byStart.length && apart; n++) {
    const [a, b] = [byStart[n - 1]!, byStart[n]!];
    apart = before(a, to[a]! - 1, b, from[b]!) < 0;
  }
  if (apart) {
    for (const a of byStart) plan.add(having[a]!, from[a]!, to[a]! - from[a]!, false);
    return;
  }
  let lastTime = -1;
  let lastVersion = -1;
  let left = byStart.filter((a) => from[a]! < to[a]!);
  while (left.length > 0) {
    let best = left[0]!;
    for (let n = 1; n < left.length; n++) if (before(left[n]!, from[left[n]!]!, best, from[best]!) < 0) best = left[n]!;
    const row = from[best]!++;
    const time = sets[having[best]!]!.times[row]!;
    const version = versions[having[best]!]![row]!;
    plan.add(having[best]!, row, 1, time === lastTime && version === lastVersion);
    lastTime = time;
    lastVersion = version;
    if (from[best]! >= to[best]!) left = left.filter((a) => a !== best);
  }
}

function mergeColumn(
  sets: readonly RowSet[],
  parts: readonly (Column | null)[],
  name: Pick<Column, 'field' | 'type'>,
  segments: Uint32Array,
  rows: number,
): Column {
  const values = makeValues(name.type, rows);
  const everywhere = sets.every((_, k) => parts[k] !== null && parts[k]!.present === null);
  const present = everywhere ? null : new Uint8Array(rows);
  for (let i = 0; i < segments.length; i += SEGMENT) {
    const part = parts[segments[i]!] ?? null;
    if (part === null) continue;
    const [from, length, target] = [segments[i + 1]!, segments[i + 2]!, segments[i + 3]!];
    if (segments[i + 4] === 1) {
      if (part.present !== null && part.present[from] !== 1) continue;
      const taken = present === null || present[target] === 1;
      if (taken && compareCells(part, from, { ...name, present, values }, target) <= 0) continue;
    }
    copyValues(part.values, from, from + length, values, target);
    if (present === null) continue;
    if (part.present === null) present.fill(1, target, target + length);
    else if (length === 1) present[target] = part.present[from]!;
    else present.set(part.present.subarray(from, from + length), target);
  }
  return { field: name.field, type: name.type, present, values };
}

/** By bytes, for cells that should be equal. */
function compareCells(a: Column, i: number, b: Column, j: number): number {
  const [x, y] = [a.values, b.values];
  if (x instanceof Float64Array && y instanceof Float64Array) {
    const left = new BigUint64Array(x.buffer, x.byteOffset, x.length)[i]!;
    const right = new BigUint64Array(y.buffer, y.byteOffset, y.length)[j]!;
    return left < right ? -1 : left > right ? 1 : 0;
  }
  return x[i]! < y[j]! ? -1 : x[i]! > y[j]! ? 1 : 0;
}
