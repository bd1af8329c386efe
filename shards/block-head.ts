/**
 * The head of a block: what is in it and where, and statistics, all without the body.
 *
 * Layout (integers as varints, least seven bits first; f64 and u32 little-endian):
 *   byte format version (3); byte features (bit 0: each series has one row per time; the others are none yet: they will
 *     announce what older programs must not ignore)
 *   rows; f64 least time, f64 greatest time
 *   series; numbers: ids; numbers: rows of each
 *   columns; per column: text field, byte type, rows that have it, section length, byte statistics, statistics
 *     (1: f64 least and greatest; 2: i64 least, greatest, u64 x 2 for a 128-bit sum; 3: true values)
 *   times section length, versions section length, u32 body length, u32 body CRC
 *   versions; version table
 *   with columns of strings, since they are counted: length of the texts of their dictionaries (older programs stop before it)
 *   u32 CRC-32 of everything before it. It ends the head in every format version, so that damage is told from novelty.
 * Format versions 1 and 2 had fewer encodings in their sections (kernel/assembly/codec/: packed.ts, patches.ts,
 * floats.ts); they are read as well.
 * Sections lie in the body one after another, each beginning at a multiple of four: times, versions, columns.
 */
import { crc32 } from 'node:zlib';
import { BlockError } from './block-error.ts';
import { aligned, ByteReader, ByteWriter, damaged } from './codec/bytes.ts';
import { readNumbers, writeNumbers } from './codec/kernel-codec.ts';
import { readVersionTable, writeVersionTable } from './codec/version-table.ts';
import { type FieldType, STRING } from './column.ts';
import type { Version } from './version.ts';

/** What a block says of one column without its body being read. */
export interface BlockColumn {
  readonly field: string;
  readonly type: FieldType;
  /** Rows that have the field. */
  readonly count: number;
  /** Smallest and greatest value: number for floats, bigint for integers and unsigned; null for others and with NaN. */
  readonly min: number | bigint | null;
  readonly max: number | bigint | null;
  /** Sum of integers and unsigned; number of true booleans; null for the rest (a float sum depends on its order). */
  readonly sum: bigint | null;
  /** Where the column lies in the body. */
  readonly offset: number;
  readonly length: number;
}

export interface BlockHead {
  readonly rows: number;
  /** Known to have one row per series and time: nothing in it is overwritten. */
  readonly ascends: boolean;
  /** Offsets from the shard's start in nanoseconds, both inclusive. */
  readonly minTime: number;
  readonly maxTime: number;
  readonly series: Uint32Array;
  readonly seriesStart: Uint32Array;
  readonly versionCount: number;
  /** Decoded at first use: most reads compare versions by their index only. */
  readonly versionTable: readonly Version[];
  readonly columns: readonly BlockColumn[];
  /** Of the columns. Heads with the same ones mostly share the list: readers of many blocks look at it alone. */
  readonly fields: readonly string[];
  readonly timesOffset: number;
  readonly timesLength: number;
  readonly versionsOffset: number;
  readonly versionsLength: number;
  /** Length of the body with its CRC, and that CRC. */
  readonly bodyBytes: number;
  readonly bodyCrc: number;
  /** Length of the texts that strings are decoded from; null: there is none, or it was not counted. */
  readonly text: number | null;
}

const BLOCK_FORMAT = 3;
const BLOCK_FORMAT_MIN = 1;
const ASCENDS = 1;
/** Of a block. Far above what 64 KiB hold; a claim beyond them is never believed, so it cannot make us allocate. */
export const BLOCK_ROWS_MAX = 1 << 18;
export const BLOCK_CELLS_MAX = 1 << 24;

const NO_STATISTICS = 0;
const FLOAT_STATISTICS = 1;
const INTEGER_STATISTICS = 2;
const BOOLEAN_STATISTICS = 3;
const MASK_64 = (1n << 64n) - 1n;

export function writeHead(head: Omit<BlockHead, 'versionCount' | 'fields'>): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(BLOCK_FORMAT);
  writer.u8(head.ascends ? ASCENDS : 0);
  writer.varint(head.rows);
  writer.f64(head.minTime);
  writer.f64(head.maxTime);
  const count = head.series.length;
  writer.varint(count);
  const lengths = new Float64Array(count);
  for (let s = 0; s < count; s++) lengths[s] = head.seriesStart[s + 1]! - head.seriesStart[s]!;
  writeNumbers(writer, Float64Array.from(head.series), Uint32Array.of(0, count));
  writeNumbers(writer, lengths, Uint32Array.of(0, count));
  writer.varint(head.columns.length);
  for (const column of head.columns) {
    writer.text(column.field);
    writer.u8(column.type);
    writer.varint(column.count);
    writer.varint(column.length);
    writeStatistics(writer, column);
  }
  writer.varint(head.timesLength);
  writer.varint(head.versionsLength);
  writer.u32(head.bodyBytes);
  writer.u32(head.bodyCrc);
  writer.varint(head.versionTable.length);
  writeVersionTable(writer, head.versionTable);
  if (head.text !== null) writer.varint(head.text);
  writer.u32(crc32(writer.written()));
  return writer.written().slice();
}

function writeStatistics(writer: ByteWriter, column: BlockColumn): void {
  const { min, max, sum } = column;
  if (typeof min === 'number' && typeof max === 'number') {
    writer.u8(FLOAT_STATISTICS);
    writer.f64(min);
    writer.f64(max);
  } else if (typeof min === 'bigint' && typeof max === 'bigint' && sum !== null) {
    writer.u8(INTEGER_STATISTICS);
    writer.i64(min);
    writer.i64(max);
    writer.i64(sum & MASK_64);
    writer.i64(sum >> 64n);
  } else if (sum !== null) {
    writer.u8(BOOLEAN_STATISTICS);
    writer.varint(Number(sum));
  } else writer.u8(NO_STATISTICS);
}

function readStatistics(reader: ByteReader, type: FieldType): Pick<BlockColumn, 'min' | 'max' | 'sum'> {
  const kind = reader.u8();
  if (kind === NO_STATISTICS) return { min: null, max: null, sum: null };
  if (kind === FLOAT_STATISTICS) return { min: reader.f64(), max: reader.f64(), sum: null };
  if (kind === BOOLEAN_STATISTICS) return { min: null, max: null, sum: BigInt(reader.varint()) };
  if (kind !== INTEGER_STATISTICS) throw damaged(`statistics of kind ${kind}`);
  const [min, max, low, high] = [reader.i64(), reader.i64(), reader.i64(), reader.i64()];
  const sum = (high << 64n) | (low & MASK_64);
  return type === 2 ? { min: min & MASK_64, max: max & MASK_64, sum } : { min, max, sum };
}

/** Lists of fields that are kept; with more, heads that are decoded later have lists of their own. */
const LISTS_MAX = 1024;
const lists = new Map<string, readonly string[]>();

function listOnce(fields: readonly string[]): readonly string[] {
  const key = JSON.stringify(fields);
  const known = lists.get(key);
  if (known !== undefined) return known;
  if (lists.size === LISTS_MAX) lists.clear();
  lists.set(key, fields);
  return fields;
}

/** Throws BlockError. */
export function decodeBlockHead(bytes: Uint8Array): BlockHead {
  const head = aligned(bytes);
  const end = head.length - 4;
  if (end < 2) throw damaged(`head of ${head.length} bytes`);
  const found = crc32(head.subarray(0, end));
  const stored = new ByteReader(head, end).u32();
  if (found !== stored) throw damaged(`head has CRC ${found}, ${stored} is written`);
  const reader = new ByteReader(head, 0, end);
  const format = reader.u8();
  const features = reader.u8();
  if (format < BLOCK_FORMAT_MIN || format > BLOCK_FORMAT || features > (format === 1 ? 0 : ASCENDS)) {
    throw new BlockError(
      'future-block',
      `block of format ${format}, features ${features}; known is up to ${BLOCK_FORMAT}, ${ASCENDS}`,
    );
  }
  const rows = reader.count(BLOCK_ROWS_MAX, 'rows');
  const minTime = reader.f64();
  const maxTime = reader.f64();
  const { series, seriesStart } = readSeries(reader, rows);
  const parts: (Omit<BlockColumn, 'offset'> & { offset: number })[] = [];
  const columnCount = reader.count(Math.min(reader.left, Math.floor(BLOCK_CELLS_MAX / Math.max(rows, 1))), 'columns');
  for (let i = 0; i < columnCount; i++) {
    const field = reader.text();
    const type = reader.u8();
    if (type > 4) throw damaged(`column of type ${type}`);
    const count = reader.count(rows, 'values');
    const length = reader.varint();
    parts.push({
      field,
      type: type as FieldType,
      count,
      length,
      offset: 0,
      ...readStatistics(reader, type as FieldType),
    });
  }
  const timesLength = reader.varint();
  const versionsLength = reader.varint();
  const bodyBytes = reader.u32();
  const bodyCrc = reader.u32();
  let offset = sectionAfter(0, timesLength);
  const versionsOffset = offset;
  offset = sectionAfter(offset, versionsLength);
  for (const part of parts) {
    part.offset = offset;
    offset = sectionAfter(offset, part.length);
  }
  if (offset + 4 !== bodyBytes) throw damaged(`sections of ${offset} bytes in a body of ${bodyBytes}`);
  const versionCount = reader.count(rows, 'versions');
  const versionsAt = reader.position;
  const isCounted = parts.some(({ type }) => type === STRING);
  let versionTable: Version[] | null = null;
  let text: number | null = null;
  const readRest = (): Version[] => {
    const rest = new ByteReader(head, versionsAt, end);
    const table = readVersionTable(rest, versionCount);
    if (isCounted && rest.left > 0) text = rest.varint();
    return table;
  };
  return {
    rows,
    ascends: features === ASCENDS,
    minTime,
    maxTime,
    series,
    seriesStart,
    versionCount,
    get versionTable() {
      versionTable ??= readRest();
      return versionTable;
    },
    get text() {
      if (isCounted) versionTable ??= readRest();
      return text;
    },
    columns: parts,
    fields: listOnce(parts.map(({ field }) => field)),
    timesOffset: 0,
    timesLength,
    versionsOffset,
    versionsLength,
    bodyBytes,
    bodyCrc,
  };
}

function sectionAfter(offset: number, length: number): number {
  return Math.ceil((offset + length) / 4) * 4;
}

function readSeries(reader: ByteReader, rows: number): { series: Uint32Array; seriesStart: Uint32Array } {
  const count = reader.count(rows, 'series');
  const span = Uint32Array.of(0, count);
  const ids = new Float64Array(count);
  const lengths = new Float64Array(count);
  readNumbers(reader, span, 0, 1, ids);
  readNumbers(reader, span, 0, 1, lengths);
  const seriesStart = new Uint32Array(count + 1);
  let total = 0;
  for (let s = 0; s < count; s++) {
    total += lengths[s]!;
    if (!(lengths[s]! >= 1) || total > rows) throw damaged(`series ${s} has ${lengths[s]} of ${rows} rows`);
    seriesStart[s + 1] = total;
  }
  if (total !== rows) throw damaged(`series have ${total} of ${rows} rows`);
  return { series: Uint32Array.from(ids), seriesStart };
}
