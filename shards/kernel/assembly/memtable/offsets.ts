/**
 * Offsets (batch-values.ts): whole numbers in 0, 1, 2, 4 or 8 bytes each, and bits, lowest first.
 */
import { CELLS, scratch } from './scratch';

const TWO32: f64 = 4294967296;

/** Of the run that `extremesOf` was last called for. */
export let least: f64 = 0;
export let greatest: f64 = 0;

/** Leaves the least and the greatest of `count` offsets; 0 when there are none. */
export function extremesOf(from: usize, width: u32, count: u32): void {
  least = 0;
  greatest = 0;
  if (count === 0 || width === 0) return;
  if (width === 1) extremes<u8>(from, count);
  else if (width === 2) extremes<u16>(from, count);
  else if (width === 4) extremes<u32>(from, count);
  else {
    least = Infinity;
    for (let i: u32 = 0; i < count; i++) {
      const value = offsetAt(from, 8, i);
      if (value < least) least = value;
      if (value > greatest) greatest = value;
    }
  }
}

@inline
function extremes<T>(from: usize, count: u32): void {
  const lanes: u32 = 16 / sizeof<T>();
  let low = load<T>(from);
  let high = low;
  let i: u32 = 0;
  if (count >= lanes) {
    let lows = v128.load(from);
    let highs = lows;
    for (i = lanes; i + lanes <= count; i += lanes) {
      const values = v128.load(from + i * sizeof<T>());
      lows = v128.min<T>(lows, values);
      highs = v128.max<T>(highs, values);
    }
    const both = scratch(CELLS, 32);
    v128.store(both, lows);
    v128.store(both, highs, 16);
    for (let k: u32 = 0; k < lanes; k++) {
      low = min(low, load<T>(both + k * sizeof<T>()));
      high = max(high, load<T>(both + 16 + k * sizeof<T>()));
    }
  }
  for (; i < count; i++) {
    const value = load<T>(from + i * sizeof<T>());
    low = min(low, value);
    high = max(high, value);
  }
  least = <f64>low;
  greatest = <f64>high;
}

@inline
export function offsetAt(from: usize, width: u32, i: u32): f64 {
  if (width === 1) return <f64>load<u8>(from + i);
  if (width === 2) return <f64>load<u16>(from + (i << 1));
  if (width === 4) return <f64>load<u32>(from + (i << 2));
  if (width === 0) return 0;
  return <f64>load<u32>(from + (i << 3)) + <f64>load<u32>(from + (i << 3), 4) * TWO32;
}

/** The same of what is known to be below 2^32. */
@inline
export function indexAt(from: usize, width: u32, i: u32): u32 {
  if (width === 2) return <u32>load<u16>(from + (i << 1));
  if (width === 1) return <u32>load<u8>(from + i);
  if (width === 4) return load<u32>(from + (i << 2));
  return width === 0 ? 0 : load<u32>(from + (i << 3));
}

/** Bits that are set among the first `count`. */
export function countBits(from: usize, count: u32): u32 {
  let found: u32 = 0;
  let i: u32 = 0;
  for (; i + 64 <= count; i += 64) found += <u32>popcnt(load<u64>(from + (i >> 3)));
  for (; i < count; i++) found += (<u32>load<u8>(from + (i >> 3)) >> (i & 7)) & 1;
  return found;
}
