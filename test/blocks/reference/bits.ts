/**
 * Bits: which rows have a field, and boolean values, as one byte a row outside and bits or runs inside.
 *
 * Layout: byte form; BITMAP: ceil(n / 8) bytes, lowest bit first; RUNS: byte value of the first run, varint number of
 * runs, varint length of each run (values alternate).
 */
import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';

const BITMAP = 0;
const RUNS = 1;

export function writeBits(writer: ByteWriter, flags: Uint8Array): void {
  const count = flags.length;
  const bitmapBytes = Math.ceil(count / 8);
  const start = writer.length;
  let runs = 0;
  for (let i = 0; i < count; i++) if (i === 0 || flags[i] !== flags[i - 1]) runs++;
  if (runs <= bitmapBytes) {
    writer.u8(RUNS);
    writer.u8(count === 0 ? 0 : flags[0]!);
    writer.varint(runs);
    let begin = 0;
    for (let i = 1; i <= count; i++) {
      if (i < count && flags[i] === flags[i - 1]) continue;
      writer.varint(i - begin);
      begin = i;
    }
    if (writer.length - start <= bitmapBytes + 1) return;
    writer.truncate(start);
  }
  writer.u8(BITMAP);
  const bitmap = new Uint8Array(bitmapBytes);
  for (let i = 0; i < count; i++) bitmap[i >>> 3]! |= (flags[i]! & 1) << (i & 7);
  writer.raw(bitmap);
}

export function readBits(reader: ByteReader, count: number): Uint8Array {
  const flags = new Uint8Array(count);
  const form = reader.u8();
  if (form === BITMAP) {
    const bitmap = reader.raw(Math.ceil(count / 8));
    for (let i = 0; i < count; i++) flags[i] = (bitmap[i >>> 3]! >>> (i & 7)) & 1;
    return flags;
  }
  if (form !== RUNS) throw damaged(`bits of form ${form}`);
  let value = reader.u8();
  if (value > 1) throw damaged(`bit of value ${value}`);
  const runs = reader.count(count, 'runs');
  let at = 0;
  for (let run = 0; run < runs; run++) {
    const length = reader.count(count - at, 'rows in a run');
    if (value === 1) flags.fill(1, at, at + length);
    at += length;
    value ^= 1;
  }
  if (at !== count) throw damaged(`runs of ${at} rows, not ${count}`);
  return flags;
}
