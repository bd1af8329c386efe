/**
 * Patterns: whole numbers per row (times, version indexes) that many series of a block share.
 *
 * Series that an agent reports together have the same times and came in the same batches, so the lists of numbers per
 * series are mostly a few distinct ones. Each distinct list is stored once, with a pattern index per series; when there
 * are too many distinct ones, the numbers are stored per series. Numbers are counted from the least and divided by
 * their unit (the greatest power of 1,000 up to 10^9 that divides all of them): most clocks tick in seconds.
 * Layout: byte form (PLAIN, SHARED) | unit << 4; f64 least; SHARED: varint patterns, numbers: index per series (one span), numbers:
 * length per pattern (one span); numbers: the spans.
 */
import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';
import { readNumbers, writeNumbers } from './numbers.ts';

const PLAIN = 0;
const SHARED = 1;
const UNITS = [1, 1e3, 1e6, 1e9] as const;

/** `values` are whole numbers 0 .. 2^53, row by row; `starts` are the rows of each series. */
export function writePatterns(writer: ByteWriter, values: Float64Array, starts: Uint32Array): void {
  const series = starts.length - 1;
  const patternOf = new Float64Array(series);
  const representatives = findPatterns(values, starts, patternOf);
  if (representatives.length * 2 > series) {
    const scaled = values.slice(0, starts[series]!);
    const least = subtractLeast(scaled);
    const unit = scaleDown(scaled);
    writer.u8(PLAIN | (unit << 4));
    writer.f64(least);
    writeNumbers(writer, scaled, starts);
    return;
  }
  const lengths = new Float64Array(representatives.length);
  const patternStarts = new Uint32Array(representatives.length + 1);
  representatives.forEach((s, i) => {
    lengths[i] = starts[s + 1]! - starts[s]!;
    patternStarts[i + 1] = patternStarts[i]! + lengths[i]!;
  });
  const patterns = new Float64Array(patternStarts[representatives.length]!);
  representatives.forEach((s, i) => {
    patterns.set(values.subarray(starts[s]!, starts[s + 1]!), patternStarts[i]!);
  });
  const least = subtractLeast(patterns);
  const unit = scaleDown(patterns);
  writer.u8(SHARED | (unit << 4));
  writer.f64(least);
  writer.varint(representatives.length);
  writeNumbers(writer, patternOf, Uint32Array.of(0, series));
  writeNumbers(writer, lengths, Uint32Array.of(0, representatives.length));
  writeNumbers(writer, patterns, patternStarts);
}

/** The first series of each distinct list; fills the index per series. Stops early when sharing cannot pay. */
function findPatterns(values: Float64Array, starts: Uint32Array, patternOf: Float64Array): number[] {
  const series = starts.length - 1;
  const byHash = new Map<number, number[]>();
  const representatives: number[] = [];
  const words = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
  for (let s = 0; s < series; s++) {
    const hash = hashSpan(words, starts[s]!, starts[s + 1]!);
    const candidates = byHash.get(hash);
    const same = candidates?.find((p) => sameSpan(values, starts, representatives[p]!, s));
    if (same !== undefined) {
      patternOf[s] = same;
      continue;
    }
    patternOf[s] = representatives.length;
    if (candidates) candidates.push(representatives.length);
    else byHash.set(hash, [representatives.length]);
    representatives.push(s);
    if (representatives.length * 2 > series) return representatives;
  }
  return representatives;
}

function hashSpan(words: Uint32Array, start: number, end: number): number {
  let hash = end - start;
  for (let i = 2 * start; i < 2 * end; i++) hash = Math.imul(hash ^ words[i]!, 0x9e3779b1) ^ (hash >>> 15);
  return hash;
}

function sameSpan(values: Float64Array, starts: Uint32Array, a: number, b: number): boolean {
  const length = starts[a + 1]! - starts[a]!;
  if (length !== starts[b + 1]! - starts[b]!) return false;
  const at = starts[a]!;
  const other = starts[b]!;
  for (let i = 0; i < length; i++) if (values[at + i] !== values[other + i]) return false;
  return true;
}

function subtractLeast(values: Float64Array): number {
  if (values.length === 0) return 0;
  let least = values[0]!;
  for (let i = 1; i < values.length; i++) if (values[i]! < least) least = values[i]!;
  for (let i = 0; i < values.length; i++) values[i] = values[i]! - least;
  return least;
}

/** Divides by the greatest unit that divides all; returns its index. */
function scaleDown(values: Float64Array): number {
  let unit = UNITS.length - 1;
  for (let i = 0; i < values.length && unit > 0; ) {
    const quotient = Math.round(values[i]! / UNITS[unit]!);
    if (quotient * UNITS[unit]! === values[i]!) i++;
    else unit--;
  }
  if (unit > 0) {
    const size = UNITS[unit]!;
    for (let i = 0; i < values.length; i++) values[i] = Math.round(values[i]! / size);
  }
  return unit;
}

/** Rows of series fromSeries .. toSeries - 1 into `into` from index 0; numbers are 0 .. 2^53. */
export function readPatterns(
  reader: ByteReader,
  starts: Uint32Array,
  fromSeries: number,
  toSeries: number,
  into: Float64Array,
): void {
  const scale = readScale(reader);
  if (scale.form === PLAIN) {
    readNumbers(reader, starts, fromSeries, toSeries, 1, into);
    scaleUp(into, scale);
    return;
  }
  const shared = readShared(reader, starts, scale);
  const offset = starts[fromSeries]!;
  for (let s = fromSeries; s < toSeries; s++) {
    const p = patternAt(shared, starts, s);
    into.set(shared.values.subarray(shared.starts[p]!, shared.starts[p + 1]!), starts[s]! - offset);
  }
}

/**
 * The same for small numbers, each below `limit`: they are checked and converted once per pattern, not once per row, and
 * copied between arrays of one kind, which is ten times as fast.
 */
export function readIndexPatterns(
  reader: ByteReader,
  starts: Uint32Array,
  fromSeries: number,
  toSeries: number,
  limit: number,
  into: Uint32Array,
): void {
  const scale = readScale(reader);
  if (scale.form === PLAIN) {
    const values = new Float64Array(into.length);
    readNumbers(reader, starts, fromSeries, toSeries, 1, values);
    scaleUp(values, scale);
    toIndexes(values, limit, into);
    return;
  }
  const shared = readShared(reader, starts, scale);
  const indexes = new Uint32Array(shared.values.length);
  toIndexes(shared.values, limit, indexes);
  const offset = starts[fromSeries]!;
  for (let s = fromSeries; s < toSeries; s++) {
    const p = patternAt(shared, starts, s);
    into.set(indexes.subarray(shared.starts[p]!, shared.starts[p + 1]!), starts[s]! - offset);
  }
}

function toIndexes(values: Float64Array, limit: number, into: Uint32Array): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!(value >= 0 && value < limit)) throw damaged(`index ${value} of ${limit}`);
    into[i] = value;
  }
}

interface Scale {
  readonly form: number;
  readonly unit: number;
  readonly least: number;
}

function readScale(reader: ByteReader): Scale {
  const kind = reader.u8();
  const unit = UNITS[kind >>> 4];
  const form = kind & 15;
  if (unit === undefined || (form !== PLAIN && form !== SHARED)) throw damaged(`patterns of kind ${kind}`);
  const least = reader.f64();
  if (!Number.isSafeInteger(least)) throw damaged(`least number ${least}`);
  return { form, unit, least };
}

interface SharedPatterns {
  readonly patternOf: Float64Array;
  readonly starts: Uint32Array;
  readonly values: Float64Array;
}

function readShared(reader: ByteReader, starts: Uint32Array, scale: Scale): SharedPatterns {
  const series = starts.length - 1;
  const count = reader.count(series, 'patterns');
  const patternOf = new Float64Array(series);
  readNumbers(reader, Uint32Array.of(0, series), 0, 1, 1, patternOf);
  const lengths = new Float64Array(count);
  readNumbers(reader, Uint32Array.of(0, count), 0, 1, 1, lengths);
  const patternStarts = new Uint32Array(count + 1);
  let total = 0;
  for (let i = 0; i < count; i++) {
    total += lengths[i]!;
    if (!(lengths[i]! >= 0) || total > starts[series]!) {
      throw damaged(`patterns of ${total} rows, block of ${starts[series]}`);
    }
    patternStarts[i + 1] = total;
  }
  const values = new Float64Array(total);
  readNumbers(reader, patternStarts, 0, count, 1, values);
  scaleUp(values, scale);
  return { patternOf, starts: patternStarts, values };
}

/** The pattern of a series, which has as many rows as the series. */
function patternAt(shared: SharedPatterns, starts: Uint32Array, series: number): number {
  const p = shared.patternOf[series]!;
  const rows = starts[series + 1]! - starts[series]!;
  if (!(p >= 0 && p < shared.starts.length - 1) || shared.starts[p + 1]! - shared.starts[p]! !== rows) {
    throw damaged(`series ${series} of ${rows} rows has pattern ${p}`);
  }
  return p;
}

function scaleUp(values: Float64Array, scale: Scale): void {
  const { unit, least } = scale;
  for (let i = 0; i < values.length; i++) values[i] = values[i]! * unit + least;
}
