/**
 * Bounds that are worth it as bounds of tuples (radix.ts): below which most of many numbers lie, and around which middle
 * those of a given length of range lie most.
 *
 * Tuples of k digits and w bits hold numbers below b where b^k <= 2^w: w/k bits each, and only the greatest such b are of
 * use. They are few, so each is tried on a sample, exceptions counted.
 */
import { scratch, scratchMark, scratchRelease } from './arena';
import { DIGITS_MAX, tupleWidth } from './radix';
import { VECTOR_WIDTH_MAX } from './bit-width';

/** Sums of bits are kept in sixtieths: every w/k with k up to five is whole. */
const SIXTIETHS: u32 = 60;
const STEPS_MAX: u32 = 64;
/** Per step: bound, sixtieths of bits a number. Ascending. */
const steps: usize = memory.data(64 * 8, 16);
let stepCount: u32 = 0;

const SAMPLE: u32 = 4096;
/** Ranges of more numbers are not looked at: what tuples save there is little. */
const RANGE_MAX: u32 = 2048;
/** What an exception takes, where its size is not known yet. */
const EXCEPTION_BITS: u32 = 20;

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

@inline
function boundOf(step: u32): u32 {
  return load<u32>(steps + (<usize>step << 3));
}

@inline
function bitsOfStep(step: u32): u32 {
  return load<u32>(steps + (<usize>step << 3), 4);
}

/** The greatest number below RANGE_MAX that fits `digits` times into `width` bits. */
function greatestBound(width: u32, digits: u32): u32 {
  let low: u32 = 2;
  let high: u32 = RANGE_MAX;
  while (low < high) {
    const half = (low + high + 1) >>> 1;
    const needed = tupleWidth(half, digits);
    if (needed != 0 && needed <= width) low = half;
    else high = half - 1;
  }
  return low;
}

function makeSteps(): void {
  // By bits, fewest first; a step stays when no cheaper one reaches as far.
  let furthest: u32 = 2;
  for (let bits: u32 = SIXTIETHS; bits <= SIXTIETHS * 12; bits++) {
    let bound: u32 = 0;
    for (let digits: u32 = 2; digits <= DIGITS_MAX; digits++) {
      if ((bits * digits) % SIXTIETHS != 0) continue;
      const width = (bits * digits) / SIXTIETHS;
      if (width > VECTOR_WIDTH_MAX) continue;
      bound = max(bound, greatestBound(width, digits));
    }
    // What is whole bits is plain packing.
    if (bound <= furthest || bits % SIXTIETHS == 0 || stepCount == STEPS_MAX) continue;
    furthest = bound;
    const step = steps + ((<usize>stepCount) << 3);
    stepCount++;
    store<u32>(step, bound);
    store<u32>(step, bits, 4);
  }
}

/**
 * The bound under which `count` numbers take the fewest bits, each exception `exceptionBits` more: found from a sample. 0
 * when there is none.
 */
export function cheapestBound(values: usize, count: u32, exceptionBits: u32): u32 {
  if (stepCount == 0) makeSteps();
  const mark = scratchMark();
  const taken = min(count, SAMPLE);
  // How often the sample has each number below the range, and what lies beyond.
  const below = scratch(<usize>(RANGE_MAX + 1) << 2);
  memory.fill(below, 0, <usize>(RANGE_MAX + 1) << 2);
  for (let i: u32 = 0; i < taken; i++) {
    const number = at32(values, <u32>((<u64>i * count) / taken));
    const counter = below + (<usize>min(number, RANGE_MAX) << 2);
    store<u32>(counter, load<u32>(counter) + 1);
  }
  let best: u32 = 0;
  let bestCost: u64 = u64.MAX_VALUE;
  let covered: u32 = 0;
  let number: u32 = 0;
  for (let step: u32 = 0; step < stepCount; step++) {
    const bound = boundOf(step);
    for (; number < bound; number++) covered += at32(below, number);
    const cost = <u64>taken * bitsOfStep(step) + <u64>(taken - covered) * exceptionBits * SIXTIETHS;
    if (cost >= bestCost) continue;
    bestCost = cost;
    best = bound;
  }
  scratchRelease(mark);
  return best;
}

/**
 * The middle of the range that holds most of these residuals (i32) for what it costs, exceptions included;
 * `low` and `high` are where most of them lie. `otherwise` when the range is too long or no tuples are of use.
 */
export function densestMiddle(values: usize, count: u32, low: i32, high: i32, otherwise: i32): i32 {
  if (stepCount == 0) makeSteps();
  const length = <i64>high - <i64>low + 1;
  if (length > <i64>(RANGE_MAX / 2)) return otherwise;
  const mark = scratchMark();
  // Half as much again on each side, and what lies beyond is an exception anyway.
  const margin = <i32>(length >>> 1) + 2;
  const bins = <u32>length + <u32>(margin << 1);
  const origin = low - margin;
  const sums = scratch(<usize>(bins + 1) << 2);
  memory.fill(sums, 0, <usize>(bins + 1) << 2);
  const taken = min(count, SAMPLE);
  for (let i: u32 = 0; i < taken; i++) {
    const bin = <u32>(<i32>at32(values, <u32>((<u64>i * count) / taken)) - origin);
    if (bin >= bins) continue;
    const counter = sums + (<usize>(bin + 1) << 2);
    store<u32>(counter, load<u32>(counter) + 1);
  }
  for (let bin: u32 = 1; bin <= bins; bin++) {
    const counter = sums + (<usize>bin << 2);
    store<u32>(counter, load<u32>(counter) + load<u32>(counter - 4));
  }
  let best = otherwise;
  let bestCost: u64 = u64.MAX_VALUE;
  for (let step: u32 = 0; step < stepCount; step++) {
    const bound = boundOf(step);
    if (bound + <u32>margin < <u32>length) continue;
    if (bound > bins) break;
    let covered: u32 = 0;
    let from: u32 = 0;
    let until: u32 = 0;
    for (let bin: u32 = 0; bin + bound <= bins; bin++) {
      const within = at32(sums, bin + bound) - at32(sums, bin);
      if (within > covered) {
        covered = within;
        from = bin;
      }
      // Where the bound is longer than what lies there, its middle is the middle of what lies there.
      if (within == covered) until = bin;
    }
    const cost = <u64>taken * bitsOfStep(step) + <u64>(taken - covered) * EXCEPTION_BITS * SIXTIETHS;
    if (cost >= bestCost) continue;
    bestCost = cost;
    best = origin + <i32>((from + until) >>> 1) + <i32>(bound >>> 1);
  }
  scratchRelease(mark);
  return best;
}
