/**
 * Blocks: rows of one measurement in one time window as compressed columns, in two byte strings.
 *
 * The `head` (layout in block-head.ts) says what is in the block, with statistics; the `body` is the sections that it
 * names (kernel/assembly/codec/: patterns.ts for times and versions, columns.ts for fields) and a CRC-32 at its end.
 * Columns run across all series of the block. Blocks are written once, by the worker that owns the shard, inside the transaction of a
 * flush or compaction, so a crash leaves either a whole block or none. What the disk damages later is found by the CRCs
 * (the head also holds the body's, so that a body under the wrong head is found too) and gives a BlockError: the block is
 * set aside and fetched again from another owner. Two wrong CRC-32 values that happen to fit are the worst that can
 * slip through; the content checksums of the scrub find those.
 *
 * A block never depends on anything outside of it but the shard's series ids, and equal row sets give equal bytes.
 */
import { crc32 } from 'node:zlib';
import { BLOCK_CELLS_MAX, BLOCK_ROWS_MAX, type BlockColumn, type BlockHead, writeHead } from './block-head.ts';
import { damaged } from './codec/bytes.ts';
import { BodyDecoder, BodyEncoder, type ColumnStatistics } from './codec/kernel-codec.ts';
import { decodeStrings, encodeStrings } from './codec/string-column.ts';
import { type Column, STRING } from './column.ts';
import { copyInto } from './kernel/copy.ts';
import { gatherRows, type RowRanges } from './row-gather.ts';
import type { RowSet } from './row-set.ts';

// Whoever reads blocks needs the head's reader with the body's.
export { type BlockColumn, type BlockHead, decodeBlockHead } from './block-head.ts';

export interface BlockWant {
  /** Ids of series in any order; null: all. A Set is used as it is; make it once when many blocks are read. */
  readonly series: Uint32Array | ReadonlySet<number> | null;
  /** null: all. */
  readonly fields: readonly string[] | null;
  /** Offsets from the shard's start in nanoseconds, both inclusive. */
  readonly minTime: number;
  readonly maxTime: number;
}

/** `rows` is not empty and within the limits of a block; `splitRows` makes such sets. */
export function encodeBlock(rows: RowSet): { head: Uint8Array; body: Uint8Array } {
  const count = rows.times.length;
  if (count === 0 || count > BLOCK_ROWS_MAX || count * rows.columns.length > BLOCK_CELLS_MAX) {
    throw new Error(`block of ${count} rows and ${rows.columns.length} columns: not within 1..${BLOCK_ROWS_MAX} rows`);
  }
  const starts = rows.seriesStart;
  const encoder = new BodyEncoder(starts);
  encoder.patterns(rows.times);
  const timesLength = encoder.length;
  encoder.align();
  const versionsOffset = encoder.length;
  encoder.patterns(new Float64Array(rows.versions));
  const versionsLength = encoder.length - versionsOffset;
  const columns: BlockColumn[] = [];
  let text: number | null = null;
  for (const column of rows.columns) {
    encoder.align();
    const offset = encoder.length;
    const { field, type, present, values } = column;
    let statistics: ColumnStatistics;
    if (Array.isArray(values)) {
      const strings = encodeStrings(encoder, values, present, starts);
      statistics = strings.statistics;
      text = (text ?? 0) + strings.text;
    } else statistics = encoder.column(type, values, present);
    columns.push({ field, type, offset, length: encoder.length - offset, ...statistics });
  }
  encoder.align();
  const content = encoder.written();
  const bodyCrc = crc32(content);
  const body = new Uint8Array(content.length + 4);
  copyInto(body, 0, content);
  new DataView(body.buffer).setUint32(content.length, bodyCrc, true);
  encoder.close();
  const head = writeHead({
    rows: count,
    ...timesOf(rows),
    series: rows.series,
    seriesStart: starts,
    versionTable: rows.versionTable,
    columns,
    timesOffset: 0,
    timesLength,
    versionsOffset,
    versionsLength,
    bodyBytes: body.length,
    bodyCrc,
    text,
  });
  return { head, body };
}

function timesOf({ times, seriesStart }: RowSet): Pick<BlockHead, 'minTime' | 'maxTime' | 'ascends'> {
  let minTime = times[0]!;
  let maxTime = minTime;
  let ascends = true;
  for (let s = 0; s + 1 < seriesStart.length; s++) {
    const end = seriesStart[s + 1]!;
    let last = times[seriesStart[s]!]!;
    minTime = Math.min(minTime, last);
    for (let i = seriesStart[s]! + 1; i < end; i++) {
      if (times[i] === last) ascends = false;
      last = times[i]!;
    }
    maxTime = Math.max(maxTime, last);
  }
  return { minTime, maxTime, ascends };
}

/** Throws BlockError when the body is not the one that the head describes. */
export function checkBody(head: BlockHead, body: Uint8Array): void {
  if (body.length !== head.bodyBytes) throw damaged(`body of ${body.length} bytes, ${head.bodyBytes} are written`);
  const end = body.length - 4;
  const found = crc32(body.subarray(0, end));
  const stored = new DataView(body.buffer, body.byteOffset, body.length).getUint32(end, true);
  if (found !== stored || found !== head.bodyCrc) {
    throw damaged(`body has CRC ${found}, ${stored} is written, ${head.bodyCrc} in the head`);
  }
}

/** Where the body of a block and the first rows of its series lie in the kernel's memory. */
export interface BodyPlace {
  readonly body: number;
  readonly starts: number;
}

/**
 * The wanted rows and columns, in the block's order; series without a wanted row are left out. The version table is the
 * block's whole one. Throws BlockError.
 */
export function decodeBlock(head: BlockHead, body: Uint8Array, want: BlockWant): RowSet {
  checkBody(head, body);
  return decodeWanted(head, body, null, want);
}

/** The same of a body that was checked when it was put into the kernel's memory. */
export function decodePlacedBlock(head: BlockHead, place: BodyPlace, want: BlockWant): RowSet {
  return decodeWanted(head, null, place, want);
}

function decodeWanted(head: BlockHead, body: Uint8Array | null, place: BodyPlace | null, want: BlockWant): RowSet {
  const wanted = wantedSeries(head, want.series);
  const [from, to] = [wanted.first, wanted.last + 1];
  if (from >= to)
    return rowSetOf(head, new Uint32Array(0), Uint32Array.of(0), new Float64Array(0), new Uint32Array(0), []);
  const starts = head.seriesStart;
  const decoder = new BodyDecoder(body, starts, from, to, place);
  const times = decoder.times(head.timesOffset, head.timesLength);
  const versions = decoder.indexes(head.versionsOffset, head.versionsLength, head.versionCount);
  const fields = want.fields === null ? null : new Set(want.fields);
  const columns: Column[] = [];
  for (const column of head.columns) {
    if (fields !== null && !fields.has(column.field)) continue;
    columns.push(decodeColumn(decoder, column, starts, from, to));
  }
  decoder.close();
  const series = head.series.subarray(from, to);
  const seriesStart = new Uint32Array(to - from + 1);
  for (let s = from; s <= to; s++) seriesStart[s - from] = starts[s]! - starts[from]!;
  const whole = rowSetOf(head, series, seriesStart, times, versions, columns);
  const inTime = want.minTime <= head.minTime && want.maxTime >= head.maxTime;
  if (inTime && wanted.every) return whole;
  return gatherRows(whole, rangesOf(whole, wanted.flags, from, want.minTime, want.maxTime));
}

/** Rows of series from .. to - 1. */
function decodeColumn(
  decoder: BodyDecoder,
  { field, type, offset, length }: BlockColumn,
  starts: Uint32Array,
  from: number,
  to: number,
): Column {
  if (type !== STRING) return { field, type, ...decoder.column(offset, length, type) };
  const values = new Array<string>(starts[to]! - starts[from]!).fill('');
  return { field, type, present: decodeStrings(decoder, offset, length, starts, from, to, values), values };
}

/** The version table stays undecoded until somebody looks at it. */
function rowSetOf(
  head: BlockHead,
  series: Uint32Array,
  seriesStart: Uint32Array,
  times: Float64Array,
  versions: Uint32Array,
  columns: Column[],
): RowSet {
  return {
    series,
    seriesStart,
    times,
    versions,
    get versionTable() {
      return head.versionTable;
    },
    columns,
  };
}

interface WantedSeries {
  readonly first: number;
  readonly last: number;
  /** Every series from first to last is wanted. */
  readonly every: boolean;
  readonly flags: Uint8Array | null;
}

function wantedSeries(head: BlockHead, series: BlockWant['series']): WantedSeries {
  if (series === null) return { first: 0, last: head.series.length - 1, every: true, flags: null };
  const ids: ReadonlySet<number> = series instanceof Uint32Array ? new Set(series) : series;
  const flags = new Uint8Array(head.series.length);
  let first = head.series.length;
  let last = -1;
  let count = 0;
  for (let s = 0; s < head.series.length; s++) {
    if (!ids.has(head.series[s]!)) continue;
    flags[s] = 1;
    if (count++ === 0) first = s;
    last = s;
  }
  return { first, last, every: count === last - first + 1, flags };
}

function rangesOf(rows: RowSet, flags: Uint8Array | null, from: number, minTime: number, maxTime: number): RowRanges {
  const count = rows.series.length;
  const ranges: RowRanges = {
    series: new Uint32Array(count),
    from: new Uint32Array(count),
    to: new Uint32Array(count),
    count: 0,
  };
  for (let s = 0; s < count; s++) {
    if (flags !== null && flags[from + s] === 0) continue;
    const start = rows.seriesStart[s]!;
    const end = rows.seriesStart[s + 1]!;
    const begin = firstAtLeast(rows.times, start, end, minTime);
    const stop = firstAbove(rows.times, begin, end, maxTime);
    if (begin === stop) continue;
    ranges.series[ranges.count] = rows.series[s]!;
    ranges.from[ranges.count] = begin;
    ranges.to[ranges.count++] = stop;
  }
  return ranges;
}

/** First index in start .. end whose time is at least `time`; times ascend there. */
export function firstAtLeast(times: Float64Array, start: number, end: number, time: number): number {
  let low = start;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle]! < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** First index in start .. end whose time is above `time`. */
export function firstAbove(times: Float64Array, start: number, end: number, time: number): number {
  let low = start;
  let high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (times[middle]! <= time) low = middle + 1;
    else high = middle;
  }
  return low;
}
