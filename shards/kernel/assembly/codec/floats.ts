/**
 * Floats: the shortest of several encodings for the column in this block.
 *
 * Layout: padding to four bytes; byte encoding:
 *   0 RAW: words, lower and upper half of each value in turn      1 DECIMAL: decimals.ts      2 XOR: xor.ts
 * and since format version 2:
 *   3 STEPS: the 64-bit patterns as a wide sequence (wide.ts): full-precision doubles that move little
 *   4 FRONTS: fronts.ts: full-precision doubles of a few magnitudes
 *   5 MIXED: bits (1: not a decimal), then two columns of floats in this form, the first DECIMAL and the second anything
 *     else but MIXED: `1` and `1.5` among `97.43589743589743`
 */
import { scratch, scratchMark, scratchRelease } from './arena';
import { readBits, writeBits } from './bits';
import { fail, failed, failure, clearFailure, NO_ROOM, UNKNOWN_FORM } from './failure';
import { findExponent, openScaled, readDecimals, scaleDecimals, writeDecimals } from './decimals';
import { chooseLower, estimateFronts, readFronts, writeFronts } from './fronts';
import { alignReader, readU8, takeWords } from './reader';
import { estimateWide, readWide, writeWide } from './wide';
import { addressOf, alignWriter, moveWriter, roomForWords, writeU8, written } from './writer';
import { packedXorBytes, packXor, readXor, writeXor, xorRoom } from './xor';

const RAW: u32 = 0;
const DECIMAL: u32 = 1;
const XOR: u32 = 2;
const STEPS: u32 = 3;
const FRONTS: u32 = 4;
const MIXED: u32 = 5;

/** Decimals in fewer bits a value are taken without trying the others, which hardly ever get there. */
const GOOD_BITS_MAX: u32 = 24;
/** So many values say how well XOR does. */
const XOR_SAMPLE: u32 = 512;
/** Estimates this near to the best are tried out; of short columns everything is. */
const NEAR: f64 = 1.02;
const SHORT_MAX: u32 = 1024;
/** Short and long numbers in fewer bits than a long one carries are not compared with anything else. */
const MIXED_BITS_MAX: u32 = 50;
/** More exceptions than this share of the values are a column of their own. */
const EXCEPTIONS_SHARE: u32 = 32;

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

/** The shortest so far: from `bestFrom` on, `bestBytes` long. */
let bestFrom: u32 = 0;
let bestBytes: u32 = 0;

/**
 * What was just written from `start` on is a candidate: it stays when it is the shortest so far, and is moved to where the
 * column begins; else it is taken back.
 */
function judge(start: u32): void {
  if (failure() == NO_ROOM && start != bestFrom) {
    clearFailure();
    moveWriter(bestFrom + bestBytes);
    return;
  }
  const bytes = written() - start;
  if (start != bestFrom) {
    if (bytes < bestBytes) {
      memory.copy(addressOf(bestFrom), addressOf(start), bytes);
      bestBytes = bytes;
    }
    moveWriter(bestFrom + bestBytes);
  } else bestBytes = bytes;
}

export function writeFloats(values: usize, starts: usize, spans: u32): void {
  alignWriter();
  const count = at32(starts, spans);
  const from = written();
  const mark = scratchMark();
  const exponent = findExponent(values, count);
  bestFrom = from;
  bestBytes = u32.MAX_VALUE;
  if (exponent >= 0) {
    const scaled = scratch(<usize>count << 3);
    const positions = scratch(<usize>count << 2);
    const exceptions = scaleDecimals(values, count, <u32>exponent, scaled, positions);
    if (exceptions * EXCEPTIONS_SHARE > count) {
      if (exceptions < count) {
        writeMixed(values, starts, spans, <u32>exponent, positions, exceptions);
        bestFrom = from;
        judge(from);
        if (count > SHORT_MAX && <u64>bestBytes * 8 <= <u64>count * MIXED_BITS_MAX) {
          scratchRelease(mark);
          return;
        }
      }
    } else {
      writeU8(DECIMAL);
      writeDecimals(values, starts, spans, <u32>exponent, scaled, positions, exceptions);
      judge(from);
      if (<u64>bestBytes * 8 <= <u64>count * GOOD_BITS_MAX) {
        scratchRelease(mark);
        return;
      }
    }
  }
  writePlain(values, starts, spans, from, bestBytes);
  scratchRelease(mark);
}

/** Everything but decimals; `bytes` long is what stands at `from` already. */
function writePlain(values: usize, starts: usize, spans: u32, from: u32, bytes: u32): void {
  const count = at32(starts, spans);
  bestFrom = from;
  bestBytes = bytes;
  if (bytes == u32.MAX_VALUE) {
    writeU8(RAW);
    const words = roomForWords(count << 1);
    if (words == 0) return;
    memory.copy(words, values, <usize>count << 3);
    judge(from);
  }
  const steps = estimateWide(values, starts, spans);
  const lower = chooseLower(values, count);
  const fronts = lower > 0 ? estimateFronts() : Infinity;
  const mark = scratchMark();
  const sample = min(count, XOR_SAMPLE);
  const middle = values + (<usize>((count - sample) >>> 1) << 3);
  const packed = scratch(xorRoom(bestBytes));
  let xor: f64 = Infinity;
  if (packXor(middle, sample, min(bestBytes, sample << 3), packed)) xor = <f64>(packedXorBytes() << 3) / <f64>sample;
  const limit = count <= SHORT_MAX ? Infinity : min(min(steps, fronts), xor) * NEAR;
  if (steps <= limit) {
    const start = candidate();
    writeU8(STEPS);
    writeWide(values, starts, spans);
    judge(start);
  }
  if (lower > 0 && fronts <= limit) {
    const start = candidate();
    writeU8(FRONTS);
    if (writeFronts(values, count, lower)) judge(start);
    else moveWriter(bestFrom + bestBytes);
  }
  if (xor <= limit && packXor(values, count, bestBytes, packed)) {
    const start = candidate();
    writeU8(XOR);
    writeXor(packed);
    judge(start);
  }
  scratchRelease(mark);
}

/** Where the next candidate begins: aligned as the column itself. */
function candidate(): u32 {
  alignWriter();
  return written();
}

/** `exceptions` of the values, at `positions`, are no decimals. */
function writeMixed(
  values: usize,
  starts: usize,
  spans: u32,
  exponent: u32,
  positions: usize,
  exceptions: u32,
): void {
  const mark = scratchMark();
  const count = at32(starts, spans);
  const flags = scratch(count);
  memory.fill(flags, 0, count);
  for (let i: u32 = 0; i < exceptions; i++) store<u8>(flags + at32(positions, i), 1);
  writeU8(MIXED);
  writeBits(flags, count);
  const dense = scratch(<usize>count << 3);
  const denseStarts = scratch(<usize>(spans + 1) << 2);
  denser(values, starts, spans, flags, 0, dense, denseStarts);
  const scaled = scratch(<usize>count << 3);
  const found = scaleDecimals(dense, at32(denseStarts, spans), exponent, scaled, positions);
  alignWriter();
  writeU8(DECIMAL);
  writeDecimals(dense, denseStarts, spans, exponent, scaled, positions, found);
  denser(values, starts, spans, flags, 1, dense, denseStarts);
  alignWriter();
  writePlain(dense, denseStarts, spans, written(), u32.MAX_VALUE);
  scratchRelease(mark);
}

/** The values whose flag is `wanted`, and where they begin per span. */
function denser(
  values: usize,
  starts: usize,
  spans: u32,
  flags: usize,
  wanted: u32,
  into: usize,
  denseStarts: usize,
): void {
  let out: u32 = 0;
  store<u32>(denseStarts, 0);
  for (let s: u32 = 0; s < spans; s++) {
    const end = at32(starts, s + 1);
    for (let i = at32(starts, s); i < end; i++) {
      store<u64>(into + (<usize>out << 3), load<u64>(values + (<usize>i << 3)));
      out += <u32>(load<u8>(flags + i) == wanted);
    }
    store<u32>(denseStarts + (<usize>(s + 1) << 2), out);
  }
}

/** Opens floats as scaled whole numbers, when that is what they are (decimals.ts). */
export function openScaledFloats(starts: usize, spans: u32, fromSpan: u32, toSpan: u32): bool {
  alignReader();
  return readU8() == DECIMAL && openScaled(starts, spans, fromSpan, toSpan);
}

/** Spans fromSpan .. toSpan - 1 from `into` on (and up to a vector more). */
export function readFloats(starts: usize, spans: u32, fromSpan: u32, toSpan: u32, into: usize): void {
  readEncoded(starts, spans, fromSpan, toSpan, into, true);
}

function readEncoded(starts: usize, spans: u32, fromSpan: u32, toSpan: u32, into: usize, mayMix: bool): void {
  alignReader();
  const encoding = readU8();
  if (failed()) return;
  const from = at32(starts, fromSpan);
  const to = at32(starts, toSpan);
  if (encoding == DECIMAL) readDecimals(starts, spans, fromSpan, toSpan, into);
  else if (encoding == XOR) readXor(from, to, into);
  else if (encoding == RAW) {
    const words = takeWords(at32(starts, spans) << 1);
    if (!failed()) memory.copy(into, words + (<usize>from << 3), <usize>(to - from) << 3);
  } else if (encoding == STEPS) readWide(starts, spans, fromSpan, toSpan, into);
  else if (encoding == FRONTS) readFronts(at32(starts, spans), from, to, into);
  else if (encoding == MIXED && mayMix) readMixed(starts, spans, fromSpan, toSpan, into);
  else fail(UNKNOWN_FORM);
}

function readMixed(starts: usize, spans: u32, fromSpan: u32, toSpan: u32, into: usize): void {
  const mark = scratchMark();
  const count = at32(starts, spans);
  const flags = scratch(count);
  readBits(count, flags);
  if (failed()) return;
  const from = at32(starts, fromSpan);
  const to = at32(starts, toSpan);
  const dense = scratch(<usize>(to - from) << 3);
  const denseStarts = scratch(<usize>(spans + 1) << 2);
  for (let wanted: u32 = 0; wanted < 2; wanted++) {
    let total: u32 = 0;
    store<u32>(denseStarts, 0);
    for (let s: u32 = 0; s < spans; s++) {
      const end = at32(starts, s + 1);
      for (let i = at32(starts, s); i < end; i++) total += <u32>(load<u8>(flags + i) == wanted);
      store<u32>(denseStarts + (<usize>(s + 1) << 2), total);
    }
    readEncoded(denseStarts, spans, fromSpan, toSpan, dense, false);
    if (failed()) return;
    let at = dense;
    for (let i = from; i < to; i++) {
      if (load<u8>(flags + i) != wanted) continue;
      store<u64>(into + (<usize>(i - from) << 3), load<u64>(at));
      at += 8;
    }
  }
  scratchRelease(mark);
}
