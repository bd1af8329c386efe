/**
 * Splitting rows into blocks: by window, then into runs of whole series of about a target size.
 *
 * A series is cut only when it alone exceeds eight times the target, when its texts are more than a block may have, or when it
 * comes in slices of time because it is too long to be handled at once; so a reader finds all rows of a series and window of one run in one block, with that exception.
 */
import { encodeBlock } from './block.ts';
import { BLOCK_CELLS_MAX, BLOCK_ROWS_MAX } from './block-head.ts';
import { gatherRows, type RowRanges } from './row-gather.ts';
import type { RowSet } from './row-set.ts';
import { TextCount, textOf } from './row-text.ts';
import { STORAGE_LIMITS, type StorageLimits } from './storage-limits.ts';

/** Enough for a steady figure: the series are in the order of their hashes, hence a random sample. */
const SAMPLE_ROWS = 2048;
const SERIES_TARGETS_MAX = 8;
/** So that constant data ends somewhere, too. */
const BYTES_PER_ROW_MIN = 0.125;

/** Windows are [n * windowNs, (n + 1) * windowNs) from the shard's start. Blocks of a window follow one another. */
export function splitRows(rows: RowSet, windowNs: number, blockBytesTarget: number): RowSet[] {
  if (rows.times.length === 0) return [];
  return windowsOf(rows, windowNs).flatMap((window) =>
    new BlockCutter({ ...STORAGE_LIMITS, blockBytesTarget }).cut(window),
  );
}

function windowsOf(rows: RowSet, windowNs: number): RowSet[] {
  let least = Number.POSITIVE_INFINITY;
  let greatest = Number.NEGATIVE_INFINITY;
  const count = rows.series.length;
  for (let s = 0; s < count; s++) {
    least = Math.min(least, rows.times[rows.seriesStart[s]!]!);
    greatest = Math.max(greatest, rows.times[rows.seriesStart[s + 1]! - 1]!);
  }
  if (Math.floor(least / windowNs) === Math.floor(greatest / windowNs)) return [rows];
  const parts = new Map<number, { series: number[]; from: number[]; to: number[] }>();
  for (let s = 0; s < count; s++) {
    const end = rows.seriesStart[s + 1]!;
    for (let from = rows.seriesStart[s]!; from < end; ) {
      const window = Math.floor(rows.times[from]! / windowNs);
      const limit = (window + 1) * windowNs;
      let to = from + 1;
      while (to < end && rows.times[to]! < limit) to++;
      let part = parts.get(window);
      if (part === undefined) {
        part = { series: [], from: [], to: [] };
        parts.set(window, part);
      }
      part.series.push(rows.series[s]!);
      part.from.push(from);
      part.to.push(to);
      from = to;
    }
  }
  return [...parts.entries()]
    .sort(([a], [b]) => a - b)
    .map(([, part]) => {
      const ranges: RowRanges = {
        series: Uint32Array.from(part.series),
        from: Uint32Array.from(part.from),
        to: Uint32Array.from(part.to),
        count: part.series.length,
      };
      return gatherRows(rows, ranges);
    });
}

/**
 * Cuts rows of one window. What a row takes is measured on the first rows at first, and learned from the blocks that were
 * made of what was cut.
 */
export class BlockCutter {
  readonly #bytesTarget: number;
  readonly #textMax: number;
  #bytesPerRow = 0;

  constructor({ blockBytesTarget, blockTextMax }: Pick<StorageLimits, 'blockBytesTarget' | 'blockTextMax'>) {
    this.#bytesTarget = blockBytesTarget;
    this.#textMax = blockTextMax;
  }

  /** A block of `rows` rows took so many bytes. */
  learn(rows: number, bytes: number): void {
    this.#bytesPerRow = Math.max(bytes / rows, BYTES_PER_ROW_MIN);
  }

  /** `isSlice`: some rows of a series that is cut anyway. */
  cut(window: RowSet, isSlice = false): RowSet[] {
    return this.#cutByBytes(window, isSlice).flatMap((block) => cutTexts(block, this.#textMax));
  }

  #cutByBytes(window: RowSet, isSlice: boolean): RowSet[] {
    const total = window.times.length;
    const cellRows = Math.max(1, Math.floor(BLOCK_CELLS_MAX / Math.max(window.columns.length, 1)));
    const rowsMax = Math.min(BLOCK_ROWS_MAX, cellRows);
    if (this.#bytesPerRow === 0) this.#bytesPerRow = measure(window, rowsMax);
    const bytes = total * this.#bytesPerRow;
    if (total <= rowsMax && bytes <= this.#bytesTarget) return [usedVersions(window)];
    // Blocks of about one size: the last one is not what is left over.
    const blocks = Math.max(1, Math.round(bytes / this.#bytesTarget));
    const rowsTarget = Math.max(1, Math.min(Math.ceil(total / blocks), rowsMax));
    return cutSeries(
      window,
      rowsTarget,
      isSlice ? rowsTarget : Math.min(rowsTarget * SERIES_TARGETS_MAX, rowsMax),
      rowsMax,
    );
  }
}

function cutSeries(window: RowSet, rowsTarget: number, seriesRowsMax: number, rowsMax: number): RowSet[] {
  const blocks: RowSet[] = [];
  let first = 0;
  const starts = window.seriesStart;
  const close = (end: number): void => {
    if (end > first) blocks.push(usedVersions(seriesRange(window, first, end)));
    first = end;
  };
  for (let s = 0; s < window.series.length; s++) {
    const rows = starts[s + 1]! - starts[s]!;
    if (rows > seriesRowsMax) {
      close(s);
      for (let from = starts[s]!; from < starts[s + 1]!; from += rowsTarget) {
        const to = Math.min(from + rowsTarget, starts[s + 1]!);
        blocks.push(usedVersions(rowRange(window, s, from, to)));
      }
      first = s + 1;
    } else if (starts[s + 1]! - starts[first]! > rowsTarget) {
      // The nearer of the two sizes, except that a block never exceeds what the format allows.
      const without = rowsTarget - (starts[s]! - starts[first]!);
      const withIt = starts[s + 1]! - starts[first]! - rowsTarget;
      close(s > first && (without <= withIt || starts[s + 1]! - starts[first]! > rowsMax) ? s : s + 1);
    }
  }
  close(window.series.length);
  return blocks;
}

/** Into blocks of which the texts are not more than may be: between series where that is possible, of one row at least. */
function cutTexts(block: RowSet, textMax: number): RowSet[] {
  if (textOf(block) <= textMax) return [block];
  const { series, seriesStart: starts } = block;
  const blocks: RowSet[] = [];
  const text = new TextCount(block);
  let first = 0;
  const close = (end: number): void => {
    if (end > first) blocks.push(usedVersions(seriesRange(block, first, end)));
    first = end;
    text.clear();
  };
  for (let s = 0; s < series.length; s++) {
    const [from, to] = [starts[s]!, starts[s + 1]!];
    if (text.add(from, to, textMax) === to) continue;
    close(s);
    let end = text.add(from, to, textMax);
    if (end === to) continue;
    for (let start = from; ; ) {
      blocks.push(usedVersions(rowRange(block, s, start, end)));
      text.clear();
      if (end === to) break;
      start = end;
      end = text.add(start, to, textMax);
    }
    first = s + 1;
  }
  close(series.length);
  return blocks;
}

/** Encoded bytes of a row, from the first rows. */
function measure(window: RowSet, rowsMax: number): number {
  const starts = window.seriesStart;
  const sampleMax = Math.min(SAMPLE_ROWS, rowsMax);
  let end = 1;
  while (end < window.series.length && starts[end + 1]! <= sampleMax) end++;
  const sample =
    starts[end]! <= rowsMax && starts[end]! <= 2 * SAMPLE_ROWS
      ? seriesRange(window, 0, end)
      : rowRange(window, 0, 0, Math.min(starts[1]!, sampleMax));
  const { body } = encodeBlock(usedVersions(sample));
  return Math.max(body.length / sample.times.length, BYTES_PER_ROW_MIN);
}

function seriesRange(rows: RowSet, from: number, to: number): RowSet {
  const starts = rows.seriesStart;
  return gatherRows(rows, {
    series: rows.series.subarray(from, to),
    from: starts.subarray(from, to),
    to: starts.subarray(from + 1, to + 1),
    count: to - from,
  });
}

function rowRange(rows: RowSet, series: number, from: number, to: number): RowSet {
  return gatherRows(rows, {
    series: rows.series.subarray(series, series + 1),
    from: Uint32Array.of(from),
    to: Uint32Array.of(to),
    count: 1,
  });
}

/** The same rows with a version table of only the versions that occur. */
function usedVersions(rows: RowSet): RowSet {
  const { series, seriesStart, times, columns, versionTable: whole, versions: indexes } = rows;
  const used = new Uint8Array(whole.length);
  for (let i = 0; i < indexes.length; i++) used[indexes[i]!] = 1;
  if (used.indexOf(0) < 0) return rows;
  const renumbered = new Uint32Array(used.length);
  const versionTable: string[] = [];
  for (let v = 0; v < used.length; v++) {
    if (used[v] === 0) continue;
    renumbered[v] = versionTable.length;
    versionTable.push(whole[v]!);
  }
  const versions = new Uint32Array(indexes.length);
  for (let i = 0; i < versions.length; i++) versions[i] = renumbered[indexes[i]!]!;
  return { series, seriesStart, times, versions, versionTable, columns };
}
