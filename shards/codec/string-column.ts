/**
 * A column of strings in a body: the same front as other columns (kernel/assembly/codec/columns.ts), then strings.ts. A
 * dictionary of JavaScript strings is made and read here; the numbers in it go through the kernel.
 */
import { ByteReader, ByteWriter, damaged } from './bytes.ts';
import type { BodyDecoder, BodyEncoder, ColumnStatistics } from './kernel-codec.ts';
import { readStrings, writeStrings } from './strings.ts';

const EVERY_ROW = 0;
const SOME_ROWS = 1;

/** The encoder stands at a multiple of four. `present` has one byte a row. `text`: the length of the dictionary's. */
export function encodeStrings(
  encoder: BodyEncoder,
  values: readonly string[],
  present: Uint8Array | null,
  starts: Uint32Array,
): { statistics: ColumnStatistics; text: number } {
  const rows = starts[starts.length - 1]!;
  const flags = present === null || present.subarray(0, rows).indexOf(0) < 0 ? null : present.subarray(0, rows);
  const front = encoder.length;
  encoder.presence(flags);
  const dense = flags === null ? values : values.filter((_, i) => flags[i] === 1);
  const denseStarts = flags === null ? starts : startsOfPresent(flags, starts);
  // Words in it are aligned from the start of the section: what stands there already counts.
  const writer = new ByteWriter();
  const phase = (encoder.length - front) & 3;
  for (let i = 0; i < phase; i++) writer.u8(0);
  const text = writeStrings(writer, dense, denseStarts);
  encoder.raw(writer.written().subarray(phase));
  const count = denseStarts[denseStarts.length - 1]!;
  return { statistics: { count, min: null, max: null, sum: null }, text };
}

/** Rows of series from .. to - 1 into `into`; returns which of them have the field, null: all. Throws BlockError. */
export function decodeStrings(
  decoder: BodyDecoder,
  offset: number,
  length: number,
  starts: Uint32Array,
  from: number,
  to: number,
  into: string[],
): Uint8Array | null {
  if (length === 0) throw damaged('a column of no bytes');
  const bytes = decoder.bytes(offset, length);
  const form = bytes[0];
  if (form === EVERY_ROW) {
    const values = readStrings(new ByteReader(bytes, 1), starts, from, to);
    for (let i = 0; i < values.length; i++) into[i] = values[i]!;
    return null;
  }
  if (form !== SOME_ROWS) throw damaged(`column of form ${form}`);
  const { present, denseStarts, end } = decoder.presence(offset + 1, offset + length);
  const values = readStrings(new ByteReader(bytes, end - offset), denseStarts, from, to);
  const wanted = present.subarray(starts[from]!, starts[to]!);
  let next = 0;
  for (let i = 0; i < wanted.length; i++) if (wanted[i] === 1) into[i] = values[next++]!;
  return wanted;
}

function startsOfPresent(present: Uint8Array, starts: Uint32Array): Uint32Array {
  const into = new Uint32Array(starts.length);
  let count = 0;
  for (let s = 0; s + 1 < starts.length; s++) {
    const end = starts[s + 1]!;
    for (let i = starts[s]!; i < end; i++) count += present[i]!;
    into[s + 1] = count;
  }
  return into;
}
