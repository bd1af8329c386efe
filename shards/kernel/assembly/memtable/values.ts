/**
 * Values of a frame's column (frame.ts has the index, batch-values.ts the encodings) as 64-bit words: the bits of
 * floats, integers of both signs, 0 or 1 for booleans. Either a stretch of them, or those of picked rows.
 */
import { DECIMAL, OFFSETS, PLAIN, RAW } from './frame';
import { countBits, offsetAt } from './offsets';
import { DICTIONARY as DICTIONARY_BLOCK, LOCAL, scratch, TEXT } from './scratch';

// prettier-ignore
const POW10: StaticArray<f64> = [
  1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

@inline
export function encodingOf(column: usize): u32 {
  return <u32>load<u8>(column, 9);
}

@inline
export function widthOf(column: usize): u32 {
  return <u32>load<u8>(column, 10);
}

@inline
export function typeOf(column: usize): u32 {
  return <u32>load<u8>(column, 8);
}

@inline
function scaleOf(frame: usize, column: usize): f64 {
  return unchecked(POW10[load<u8>(frame + load<u32>(column, 24), 1)]);
}

/** The minimum of DECIMAL stands behind encoding, exponent and width; that of OFFSETS behind encoding and width. */
@inline
function decimalMin(frame: usize, column: usize): f64 {
  return load<f64>(frame + load<u32>(column, 24), 3);
}

@inline
function integerMin(frame: usize, column: usize): u64 {
  return load<u64>(frame + load<u32>(column, 24), 2);
}

/** Values `from` .. `from + count - 1` of those that are present; not of strings. */
export function decodeValues(frame: usize, column: usize, from: u32, count: u32, out: usize): void {
  const data = frame + load<u32>(column, 20);
  const encoding = encodingOf(column);
  const width = widthOf(column);
  if (encoding === RAW) {
    memory.copy(out, data + (from << 3), count << 3);
  } else if (encoding === DECIMAL) {
    const min = decimalMin(frame, column);
    const scale = scaleOf(frame, column);
    if (width === 1) decimals<u8>(data + from, count, min, scale, out);
    else if (width === 2) decimals<u16>(data + (from << 1), count, min, scale, out);
    else if (width === 4) decimals<u32>(data + (from << 2), count, min, scale, out);
    else for (let i: u32 = 0; i < count; i++) store<f64>(out + (i << 3), min / scale);
  } else if (encoding === OFFSETS) {
    const min = integerMin(frame, column);
    if (width === 1) integers<u8>(data + from, count, min, out);
    else if (width === 2) integers<u16>(data + (from << 1), count, min, out);
    else if (width === 4) integers<u32>(data + (from << 2), count, min, out);
    else for (let i: u32 = 0; i < count; i++) store<u64>(out + (i << 3), min);
  } else {
    for (let i: u32 = 0; i < count; i++) {
      const bit = from + i;
      store<u64>(out + (i << 3), (<u64>load<u8>(data + (bit >> 3)) >> (bit & 7)) & 1);
    }
  }
}

@inline
function decimals<T>(data: usize, count: u32, min: f64, scale: f64, out: usize): void {
  const mins = f64x2.splat(min);
  const scales = f64x2.splat(scale);
  let i: u32 = 0;
  for (; i + 4 <= count; i += 4) {
    let four: v128;
    if (sizeof<T>() === 1) four = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(data + i)));
    else if (sizeof<T>() === 2) four = v128.load16x4_u(data + (i << 1));
    else four = v128.load(data + (i << 2));
    const low = f64x2.convert_low_i32x4_u(four);
    const high = f64x2.convert_low_i32x4_u(v128.shuffle<i32>(four, four, 2, 3, 0, 1));
    v128.store(out + (i << 3), f64x2.div(f64x2.add(mins, low), scales));
    v128.store(out + (i << 3), f64x2.div(f64x2.add(mins, high), scales), 16);
  }
  for (; i < count; i++) store<f64>(out + (i << 3), (min + <f64>load<T>(data + i * sizeof<T>())) / scale);
}

@inline
function integers<T>(data: usize, count: u32, min: u64, out: usize): void {
  for (let i: u32 = 0; i < count; i++) store<u64>(out + (i << 3), min + <u64>load<T>(data + i * sizeof<T>()));
}

/**
 * Puts the values of the rows `rows[i] - first` at `out[targets[i]]`; `rows` ascend. Of a column that not every row
 * has, `present` gets a 1 at the targets of those that have it (it is all zero before). Not of strings.
 */
export function scatterValues(
  frame: usize,
  column: usize,
  rows: usize,
  first: u32,
  targets: usize,
  count: u32,
  out: usize,
  present: usize,
): void {
  if (load<u32>(column, 12) !== 0) {
    // The places among the values that are present, and their targets.
    const places = scratch(LOCAL, count << 3);
    count = placesOf(frame, column, rows, first, targets, count, places, places + (count << 2), present);
    rows = places;
    targets = places + (<usize>(scratchCount) << 2);
    first = 0;
  } else if (present !== 0) {
    for (let i: u32 = 0; i < count; i++) store<u8>(present + load<u32>(targets + (i << 2)), 1);
  }
  const data = frame + load<u32>(column, 20);
  const encoding = encodingOf(column);
  const width = widthOf(column);
  if (encoding === RAW) {
    for (let i: u32 = 0; i < count; i++) {
      const value = load<u64>(data + ((load<u32>(rows + (i << 2)) - first) << 3));
      store<u64>(out + (load<u32>(targets + (i << 2)) << 3), value);
    }
  } else if (encoding === DECIMAL) {
    const min = decimalMin(frame, column);
    const scale = scaleOf(frame, column);
    if (width === 1) scatterDecimals<u8>(data, rows, first, targets, count, min, scale, out);
    else if (width === 2) scatterDecimals<u16>(data, rows, first, targets, count, min, scale, out);
    else if (width === 4) scatterDecimals<u32>(data, rows, first, targets, count, min, scale, out);
    else scatterConstant(targets, count, reinterpret<u64>(min / scale), out);
  } else if (encoding === OFFSETS) {
    const min = integerMin(frame, column);
    if (width === 1) scatterIntegers<u8>(data, rows, first, targets, count, min, out);
    else if (width === 2) scatterIntegers<u16>(data, rows, first, targets, count, min, out);
    else if (width === 4) scatterIntegers<u32>(data, rows, first, targets, count, min, out);
    else scatterConstant(targets, count, min, out);
  } else {
    for (let i: u32 = 0; i < count; i++) {
      const bit = load<u32>(rows + (i << 2)) - first;
      store<u64>(out + (load<u32>(targets + (i << 2)) << 3), (<u64>load<u8>(data + (bit >> 3)) >> (bit & 7)) & 1);
    }
  }
}

/** How many rows `placesOf` was last called with: its two results lie so far apart. */
let scratchCount: u32 = 0;

function placesOf(
  frame: usize,
  column: usize,
  rows: usize,
  first: u32,
  targets: usize,
  count: u32,
  places: usize,
  kept: usize,
  present: usize,
): u32 {
  scratchCount = count;
  const bits = frame + load<u32>(column, 12);
  let found: u32 = 0;
  let word: u32 = 0;
  let before: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const row = load<u32>(rows + (i << 2)) - first;
    for (; word + 64 <= row; word += 64) before += <u32>popcnt(load<u64>(bits + (word >> 3)));
    if (((<u32>load<u8>(bits + (row >> 3)) >> (row & 7)) & 1) === 0) continue;
    const target = load<u32>(targets + (i << 2));
    store<u32>(places + (found << 2), before + countBits(bits + (word >> 3), row - word));
    store<u32>(kept + (found << 2), target);
    store<u8>(present + target, 1);
    found++;
  }
  return found;
}

@inline
function scatterDecimals<T>(
  data: usize,
  rows: usize,
  first: u32,
  targets: usize,
  count: u32,
  min: f64,
  scale: f64,
  out: usize,
): void {
  for (let i: u32 = 0; i < count; i++) {
    const offset = load<T>(data + (load<u32>(rows + (i << 2)) - first) * sizeof<T>());
    store<f64>(out + (load<u32>(targets + (i << 2)) << 3), (min + <f64>offset) / scale);
  }
}

@inline
function scatterIntegers<T>(
  data: usize,
  rows: usize,
  first: u32,
  targets: usize,
  count: u32,
  min: u64,
  out: usize,
): void {
  for (let i: u32 = 0; i < count; i++) {
    const offset = load<T>(data + (load<u32>(rows + (i << 2)) - first) * sizeof<T>());
    store<u64>(out + (load<u32>(targets + (i << 2)) << 3), min + <u64>offset);
  }
}

function scatterConstant(targets: usize, count: u32, value: u64, out: usize): void {
  for (let i: u32 = 0; i < count; i++) store<u64>(out + (load<u32>(targets + (i << 2)) << 3), value);
}

/**
 * Of a string column: address and length of values `from` .. `from + count - 1` of those that are present, 8 bytes each
 * (address u32, length u32). `textAt`: where the text of value `from` begins, for PLAIN. Returns where the next begins.
 */
export function stringSpans(frame: usize, column: usize, from: u32, count: u32, textAt: u32, out: usize): u32 {
  const data = frame + load<u32>(column, 20);
  const width = widthOf(column);
  if (encodingOf(column) === PLAIN) {
    for (let i: u32 = 0; i < count; i++) {
      const length = <u32>offsetAt(data, width, from + i);
      store<u32>(out + (i << 3), <u32>frame + textAt);
      store<u32>(out + (i << 3), length, 4);
      textAt += length;
    }
    return textAt;
  }
  const dictionary = dictionarySpans(frame, column);
  for (let i: u32 = 0; i < count; i++) {
    store<u64>(out + (i << 3), load<u64>(dictionary + (<usize>offsetAt(data, width, from + i) << 3)));
  }
  return textAt;
}

/** Address and length of each string of the dictionary, in scratch memory. */
function dictionarySpans(frame: usize, column: usize): usize {
  const head = frame + load<u32>(column, 24);
  const size = load<u32>(head, 1);
  const width = <u32>load<u8>(head, 5);
  const out = scratch(DICTIONARY_BLOCK, size << 3);
  let text = <u32>frame + load<u32>(column, 28);
  for (let i: u32 = 0; i < size; i++) {
    const length = <u32>offsetAt(head + 6, width, i);
    store<u32>(out + (i << 3), text);
    store<u32>(out + (i << 3), length, 4);
    text += length;
  }
  return out;
}

/** As `scatterValues`, of strings: address and length of each value instead of its bits. */
export function scatterStrings(
  frame: usize,
  column: usize,
  rows: usize,
  first: u32,
  targets: usize,
  count: u32,
  out: usize,
  present: usize,
): void {
  if (load<u32>(column, 12) !== 0) {
    const places = scratch(LOCAL, count << 3);
    count = placesOf(frame, column, rows, first, targets, count, places, places + (count << 2), present);
    rows = places;
    targets = places + (<usize>scratchCount << 2);
    first = 0;
  } else if (present !== 0) {
    for (let i: u32 = 0; i < count; i++) store<u8>(present + load<u32>(targets + (i << 2)), 1);
  }
  if (count === 0) return;
  const last = load<u32>(rows + ((count - 1) << 2)) - first;
  const spans = scratch(TEXT, (last + 1) << 3);
  stringSpans(frame, column, 0, last + 1, load<u32>(column, 28), spans);
  for (let i: u32 = 0; i < count; i++) {
    const span = load<u64>(spans + ((load<u32>(rows + (i << 2)) - first) << 3));
    store<u64>(out + (load<u32>(targets + (i << 2)) << 3), span);
  }
}
