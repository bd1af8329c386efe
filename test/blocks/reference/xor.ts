/**
 * XOR: float64 values as the bits that differ from the value before (Pelkonen et al., "Gorilla: A Fast, Scalable,
 * In-Memory Time Series Database", VLDB 2015). For full-precision doubles that repeat or move little.
 *
 * Per value: bit 0: as before; bits 10: the differing bits lie within the last window; bits 11: a new window follows: five
 * bits of leading zeros (at most 31), six bits of length - 1, then the bits of the window. Unlike Gorilla the stream
 * runs across all series, and the first value is taken against zero. Bits are filled into 32-bit words from the lowest.
 * Layout: varint words; words.
 */
import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';

/** Two bits of control, eleven of window, sixty-four of value, in the worst case. */
const VALUE_BITS_MAX = 77;

let into = new Uint32Array(0);
let position = 0;

function put(value: number, width: number): void {
  if (width === 0) return;
  const word = position >>> 5;
  const filled = position & 31;
  into[word]! |= value << filled;
  if (filled + width > 32) into[word + 1]! |= value >>> (32 - filled);
  position += width;
}

/** `words`: lower and upper half of each value in turn. Returns the words used; null when they would exceed `wordsMax`. */
export function packXor(words: Uint32Array, count: number, wordsMax: number): Uint32Array | null {
  into = new Uint32Array(wordsMax + 4);
  position = 0;
  const bitsMax = wordsMax * 32;
  let lastLow = 0;
  let lastHigh = 0;
  let leading = 0;
  let length = 0;
  for (let i = 0; i < count; i++) {
    if (position + VALUE_BITS_MAX > bitsMax + 96) return null;
    const low = words[2 * i]! ^ lastLow;
    const high = words[2 * i + 1]! ^ lastHigh;
    lastLow = words[2 * i]!;
    lastHigh = words[2 * i + 1]!;
    if (low === 0 && high === 0) {
      put(0, 1);
      continue;
    }
    const lead = Math.min(high !== 0 ? Math.clz32(high) : 32 + Math.clz32(low), 31);
    const trail = low !== 0 ? 31 - Math.clz32(low & -low) : 63 - Math.clz32(high & -high);
    if (length > 0 && lead >= leading && trail >= 64 - leading - length) {
      put(1, 2);
    } else {
      leading = lead;
      length = 64 - lead - trail;
      put(3 | (leading << 2) | ((length - 1) << 7), 13);
    }
    // The window, shifted down to bit 0, in two halves.
    const shift = 64 - leading - length;
    const windowLow =
      shift >= 32 ? high >>> (shift - 32) : shift === 0 ? low : (low >>> shift) | (high << (32 - shift));
    const windowHigh = shift >= 32 ? 0 : high >>> shift;
    if (length <= 32) put(windowLow >>> 0, length);
    else {
      put(windowLow, 32);
      put(windowHigh, length - 32);
    }
  }
  const used = Math.ceil(position / 32);
  return used <= wordsMax ? into.subarray(0, used) : null;
}

export function writeXor(writer: ByteWriter, packed: Uint32Array): void {
  writer.varint(packed.length);
  writer.words(packed.length).set(packed);
}

/** Values from .. to - 1 as halves in turn from index 0; everything before them has to be walked through. */
export function readXor(reader: ByteReader, from: number, to: number, halves: Uint32Array): void {
  const count = reader.count(reader.left >>> 2, 'words');
  const words = reader.words(count);
  const end = count * 32;
  let at = 0;
  let low = 0;
  let high = 0;
  let leading = 0;
  let length = 0;
  for (let i = 0; i < to; i++) {
    if (at >= end) throw damaged(`value ${i} lies behind the ${end} bits of the column`);
    const head = bitsAt(words, at, 13);
    if ((head & 1) === 0) at += 1;
    else {
      if ((head & 2) === 0) at += 2;
      else {
        leading = (head >>> 2) & 31;
        length = ((head >>> 7) & 63) + 1;
        if (leading + length > 64) throw damaged(`window of ${length} bits after ${leading}`);
        at += 13;
      }
      if (length === 0) throw damaged('no window yet');
      const windowLow = bitsAt(words, at, Math.min(length, 32));
      const windowHigh = length > 32 ? bitsAt(words, at + 32, length - 32) : 0;
      at += length;
      const shift = 64 - leading - length;
      if (shift >= 32) high ^= windowLow << (shift - 32);
      else {
        low ^= windowLow << shift;
        high ^= shift === 0 ? windowHigh : (windowHigh << shift) | (windowLow >>> (32 - shift));
      }
    }
    if (i >= from) {
      halves[2 * (i - from)] = low;
      halves[2 * (i - from) + 1] = high;
    }
  }
}

/** Behind the end there are zeros. */
function bitsAt(words: Uint32Array, at: number, width: number): number {
  const word = at >>> 5;
  const skip = at & 31;
  let value = (words[word]! | 0) >>> skip;
  if (skip + width > 32) value |= (words[word + 1]! | 0) << (32 - skip);
  return width === 32 ? value : value & ((1 << width) - 1);
}
