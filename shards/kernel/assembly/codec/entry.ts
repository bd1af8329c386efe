/**
 * The codecs as they are called from outside (shards/codec/kernel-codec.ts). Addresses are of memory that the caller
 * holds; what is read has 64 bytes to spare behind its end, what is written too. Every call gives back the working memory
 * of the one before. Sizes and offsets of the caller are right; only the bytes of blocks are not trusted.
 */
import { scratchReset } from './arena';
import { FLOAT, openScaledColumn, readColumn, startsOfPresent, writeColumn } from './columns';
import { readBits, writeBits } from './bits';
import { clearFailure, failed, failure } from './failure';
import { restoreNarrow } from './narrow-read';
import { readNumbers, writeNumbers } from './numbers';
import { readIndexPatterns, readPatterns, writePatterns } from './patterns';
import { openReader, readerPosition } from './reader';
import { alignWriter, openWriter, writeU8, written } from './writer';

function begin(): void {
  scratchReset();
  clearFailure();
}

/** Where the last reading ended, from the start of the buffer. */
export function codecPosition(): u32 {
  return readerPosition();
}

/** Writing continues at `position` of the buffer. */
export function encodeOpen(buffer: usize, position: u32, capacity: u32): void {
  openWriter(buffer, position, capacity);
}

/** Zeros up to the next multiple of four; the position after them. */
export function encodeAlign(): u32 {
  begin();
  alignWriter();
  return written();
}

/** Each `encode..` returns the position behind what it wrote, or -1. */
function done(): i32 {
  return failed() ? -1 : <i32>written();
}

export function encodeNumbers(values: usize, starts: usize, spans: u32): i32 {
  begin();
  writeNumbers(values, starts, spans);
  return done();
}

export function encodePatterns(values: usize, starts: usize, series: u32): i32 {
  begin();
  writePatterns(values, starts, series);
  return done();
}

/** `present`: 0 when every row has the field. The first word at `statistics` is followed by the count of values at 4. */
export function encodeColumn(
  type: u32,
  values: usize,
  present: usize,
  starts: usize,
  series: u32,
  statistics: usize,
): i32 {
  begin();
  const count = writeColumn(type, values, present, starts, series, statistics);
  store<u32>(statistics, count, 4);
  return done();
}

/** The front of a column of strings: which rows have it. */
export function encodePresence(present: usize, rows: u32): i32 {
  begin();
  if (present == 0) writeU8(0);
  else {
    writeU8(1);
    writeBits(present, rows);
  }
  return done();
}

/** Each `decode..` returns 0, or what is wrong with the bytes (failure.ts). */
export function decodeNumbers(
  buffer: usize,
  position: u32,
  limit: u32,
  starts: usize,
  spans: u32,
  fromSpan: u32,
  toSpan: u32,
  into: usize,
): i32 {
  begin();
  openReader(buffer, position, limit);
  readNumbers(starts, spans, fromSpan, toSpan, 1, into);
  return failure();
}

export function decodePatterns(
  buffer: usize,
  position: u32,
  limit: u32,
  starts: usize,
  series: u32,
  fromSeries: u32,
  toSeries: u32,
  into: usize,
): i32 {
  begin();
  openReader(buffer, position, limit);
  readPatterns(starts, series, fromSeries, toSeries, into);
  return failure();
}

export function decodeIndexes(
  buffer: usize,
  position: u32,
  limit: u32,
  starts: usize,
  series: u32,
  fromSeries: u32,
  toSeries: u32,
  below: u32,
  into: usize,
): i32 {
  begin();
  openReader(buffer, position, limit);
  readIndexPatterns(starts, series, fromSeries, toSeries, below, into);
  return failure();
}

let everyRow = false;

/** Whether every row of the last decoded column has the field. */
export function decodedEveryRow(): bool {
  return everyRow;
}

export function decodeColumn(
  buffer: usize,
  position: u32,
  limit: u32,
  type: u32,
  starts: usize,
  series: u32,
  fromSeries: u32,
  toSeries: u32,
  values: usize,
  present: usize,
): i32 {
  begin();
  openReader(buffer, position, limit);
  everyRow = readColumn(type, starts, series, fromSeries, toSeries, values, present);
  return failure();
}

/**
 * Opens a column of floats to be reduced when it is scaled whole numbers: every row has one, and none is an exception. They
 * are there until the next call from outside that decodes, and at once restored to `into` unless that is 0. False: the
 * column has to be decoded.
 */
export function openScaled(
  buffer: usize,
  position: u32,
  limit: u32,
  starts: usize,
  series: u32,
  fromSeries: u32,
  toSeries: u32,
  into: usize,
): bool {
  begin();
  openReader(buffer, position, limit);
  if (!openScaledColumn(starts, series, fromSeries, toSeries) || failed()) return false;
  if (into != 0) restoreNarrow(starts, fromSeries, toSeries, into);
  return true;
}

/** The whole numbers (i32) of what was opened, of the same series. */
export function restoreScaled(starts: usize, fromSeries: u32, toSeries: u32, values: usize): void {
  restoreNarrow(starts, fromSeries, toSeries, values);
}

/** Bits of `rows` rows as bytes from `present` on, and the rows that have them before each series from `denseStarts` on. */
export function decodePresence(
  buffer: usize,
  position: u32,
  limit: u32,
  starts: usize,
  series: u32,
  present: usize,
  denseStarts: usize,
): i32 {
  begin();
  openReader(buffer, position, limit);
  readBits(load<u32>(starts + (<usize>series << 2)), present);
  if (!failed()) startsOfPresent(present, starts, series, denseStarts);
  return failure();
}
