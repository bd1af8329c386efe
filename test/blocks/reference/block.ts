/**
 * Bodies of blocks written and read in plain TypeScript: what the kernel's codecs are compared with. It writes format
 * version 1 and reads every version.
 */
import { crc32 } from 'node:zlib';
import { type BlockColumn, type BlockHead, writeHead } from '../../../shards/block-head.ts';
import { ByteReader, ByteWriter } from '../../../shards/codec/bytes.ts';
import { STRING } from '../../../shards/column.ts';
import type { RowSet } from '../../../shards/row-set.ts';
import { readColumn, writeColumn } from './columns.ts';
import { readIndexPatterns, readPatterns, writePatterns } from './patterns.ts';
import { statisticsOf } from './statistics.ts';

export function encodeBlock(rows: RowSet): { head: Uint8Array; body: Uint8Array } {
  const starts = rows.seriesStart;
  const writer = new ByteWriter(1 << 16);
  writePatterns(writer, rows.times, starts);
  const timesLength = writer.length;
  writer.align();
  const versionsOffset = writer.length;
  writePatterns(writer, Float64Array.from(rows.versions), starts);
  const versionsLength = writer.length - versionsOffset;
  const columns: BlockColumn[] = [];
  for (const column of rows.columns) {
    writer.align();
    const offset = writer.length;
    const count = writeColumn(writer, column, starts);
    const { field, type } = column;
    const length = writer.length - offset;
    columns.push({ field, type, count, offset, length, ...statisticsOf(column, rows.times.length) });
  }
  writer.align();
  const bodyCrc = crc32(writer.written());
  writer.u32(bodyCrc);
  const head = writeHead({
    rows: rows.times.length,
    ascends: false,
    minTime: rows.times.reduce((a, b) => Math.min(a, b)),
    maxTime: rows.times.reduce((a, b) => Math.max(a, b)),
    series: rows.series,
    seriesStart: starts,
    versionTable: rows.versionTable,
    columns,
    timesOffset: 0,
    timesLength,
    versionsOffset,
    versionsLength,
    bodyBytes: writer.length,
    bodyCrc,
    text: textOf(rows),
  });
  return { head, body: writer.written().slice() };
}

/** Of the dictionaries of all columns of strings. */
function textOf({ columns, times }: RowSet): number | null {
  const dictionaries = columns.flatMap(({ type, values, present }) =>
    type === STRING
      ? [
          new Set(
            (values as string[]).filter((_, row) => row < times.length && (present === null || present[row] === 1)),
          ),
        ]
      : [],
  );
  if (dictionaries.length === 0) return null;
  return dictionaries.reduce((sum, texts) => sum + [...texts].reduce((length, text) => length + text.length, 0), 0);
}

/** The rows of series from .. to - 1 (all by default); of the head only what the kernel has no part in is trusted. */
export function decodeBody(head: BlockHead, body: Uint8Array, from = 0, to = head.series.length): RowSet {
  const starts = head.seriesStart;
  const section = (offset: number, length: number) => new ByteReader(body, offset, offset + length);
  const count = starts[to]! - starts[from]!;
  const times = new Float64Array(count);
  readPatterns(section(head.timesOffset, head.timesLength), starts, from, to, times);
  const versions = new Uint32Array(count);
  readIndexPatterns(
    section(head.versionsOffset, head.versionsLength),
    starts,
    from,
    to,
    head.versionTable.length,
    versions,
  );
  return {
    series: head.series.slice(from, to),
    seriesStart: starts.slice(from, to + 1).map((start) => start - starts[from]!),
    times,
    versions,
    versionTable: head.versionTable,
    columns: head.columns.map(({ field, type, offset, length }) =>
      readColumn(section(offset, length), field, type, starts, from, to),
    ),
  };
}
