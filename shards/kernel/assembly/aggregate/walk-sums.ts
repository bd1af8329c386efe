/**
 * Sums of runs of scaled whole numbers that lie in a block as differences, without the numbers themselves.
 *
 * With four lanes of differences, `before` the sum of what came in each lane and `prefixes` the sum of what `before` was at each
 * step, the numbers that follow a number exceed it together by four times the lanes of `prefixes` and, of the lanes of
 * `before` in the end, by four times the first, three times the second, and so on: two additions for four numbers.
 */
import { divisorOfScaled } from '../codec/decimals';
import { distances, narrowBase, narrowFirsts, narrowOrder, narrowResiduals, narrowZigzag } from '../codec/narrow-read';
import { offsetOfNarrow } from '../codec/numbers';
import { EXACT_COUNT_MIN, exactSumOfTotal, fourSumsOfScaled, orOfLanes, PLACES } from './float-sums';
import { RUN_BYTES } from './runs';

/** Residuals at a time, and the greatest of so many whose prefixes add up within 31 bits. */
const PIECE: u32 = 512;
const RESIDUAL_BELOW: u32 = 8192;
/** Steps around a base beyond this may come around 2^32: numbers that jump from end to end of 31 bits. */
const BASE_MAX: i32 = i32.MAX_VALUE - <i32>RESIDUAL_BELOW;

/** Numbers of a run that is too short to be added exactly. */
const few: usize = memory.data(16 * 4 + 16, 16);

/** Of the last `walk`: the number at its end, and the sum of all behind its beginning. */
let reached: i32 = 0;
let passed: i64 = 0;

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

/**
 * Appends the sums of the runs in what was opened last (codec/entry.ts), as `reduceRuns` does. Returns how many results
 * there are behind this, or -1 when the numbers have to be restored for it.
 */
export function sumOpened(
  starts: usize,
  fromSeries: u32,
  toSeries: u32,
  runs: usize,
  count: u32,
  results: u32,
  places: usize,
  windows: usize,
  counts: usize,
  outcomes: usize,
): i32 {
  const divisor = divisorOfScaled();
  if (divisor > PLACES || narrowOrder() > 1) return -1;
  const offset = offsetOfNarrow();
  const factor = PLACES / divisor;
  const areSteps = narrowOrder() == 1;
  const first = at32(starts, fromSeries);
  const runsEnd = runs + <usize>count * RUN_BYTES;
  let run = runs;
  let result = results;
  let firstAt = narrowFirsts();
  let residuals = narrowResiduals();
  for (let s = fromSeries; s < toSeries && run < runsEnd; s++) {
    const start = at32(starts, s) - first;
    const end = at32(starts, s + 1) - first;
    if (start == end) continue;
    let row = start;
    let number: i32 = 0;
    if (areSteps) {
      number = load<i32>(firstAt);
      firstAt += 4;
    }
    for (; run < runsEnd && load<u32>(run) < end; run += RUN_BYTES) {
      const from = load<u32>(run);
      const held = load<u32>(run, 4) - from;
      const at = residuals + (<usize>(from - start) << 2);
      if (areSteps && from > row) {
        walk(residuals + (<usize>(row - start) << 2), from - row, number);
        number = reached;
      }
      let sum: f64;
      if (held < EXACT_COUNT_MIN) {
        restoreFew(at, held, areSteps, number);
        if (areSteps) number = load<i32>(few + (<usize>(held - 1) << 2));
        sum = fourSumsOfScaled(few, 0, held, offset, divisor);
      } else {
        let total: i64;
        if (areSteps) {
          walk(at, held - 1, number);
          total = passed + number;
          number = reached;
        } else total = sumOfPlain(at, held);
        sum = exactSumOfTotal(total, held, offset, factor);
        if (sum != sum) return -1;
      }
      row = from + held - 1;
      store<u32>(places + (<usize>result << 2), load<u32>(run, 8));
      store<u32>(windows + (<usize>result << 2), load<u32>(run, 12));
      store<f64>(counts + (<usize>result << 3), <f64>held);
      store<f64>(outcomes + (<usize>result << 3), sum);
      result++;
    }
    residuals += <usize>(end - start - (areSteps ? 1 : 0)) << 2;
  }
  return <i32>result;
}

@inline
function stepAt(at: usize): i32 {
  const residual = load<i32>(at);
  return narrowBase() + (narrowZigzag() ? (residual >>> 1) ^ -(residual & 1) : residual);
}

function restoreFew(residuals: usize, count: u32, areSteps: bool, first: i32): void {
  let number = first;
  for (let i: u32 = 0; i < count; i++) {
    if (!areSteps) number = stepAt(residuals + (<usize>i << 2));
    else if (i > 0) number += stepAt(residuals + (<usize>(i - 1) << 2));
    store<i32>(few + (<usize>i << 2), number);
  }
}

function sumOfPlain(residuals: usize, count: u32): i64 {
  let sum: i64 = 0;
  for (let done: u32 = 0; done < count; done += PIECE) sum += sumOfPiece(residuals + (<usize>done << 2), min(PIECE, count - done));
  return sum;
}

function sumOfPiece(residuals: usize, count: u32): i64 {
  const zigzag = narrowZigzag();
  const end = residuals + (<usize>count << 2);
  let sums = i32x4.splat(0);
  let bits = i32x4.splat(0);
  let at = residuals;
  for (; at + 16 <= end; at += 16) {
    const four = v128.load(at);
    bits = v128.or(bits, four);
    sums = i32x4.add(sums, distances(four, zigzag));
  }
  let sum: i64 = 0;
  if (orOfLanes(bits) < RESIDUAL_BELOW) sum = <i64>sumOfLanes(sums) + <i64>narrowBase() * <i64>((at - residuals) >>> 2);
  else at = residuals;
  for (; at < end; at += 4) sum += <i64>stepAt(at);
  return sum;
}

@inline
function sumOfLanes(lanes: v128): i32 {
  return (
    i32x4.extract_lane(lanes, 0) +
    i32x4.extract_lane(lanes, 1) +
    i32x4.extract_lane(lanes, 2) +
    i32x4.extract_lane(lanes, 3)
  );
}

/** Passes the numbers that follow `start` by so many residuals. */
function walk(residuals: usize, count: u32, start: i32): void {
  reached = start;
  passed = 0;
  for (let done: u32 = 0; done < count; done += PIECE) walkPiece(residuals + (<usize>done << 2), min(PIECE, count - done));
}

function walkPiece(residuals: usize, count: u32): void {
  const zigzag = narrowZigzag();
  const vectors = count >>> 2;
  const end = residuals + (<usize>count << 2);
  let before = i32x4.splat(0);
  let prefixes = i32x4.splat(0);
  let bits = i32x4.splat(0);
  let at = residuals;
  const vectorsEnd = residuals + (<usize>vectors << 4);
  if (zigzag) {
    for (; at < vectorsEnd; at += 16) {
      const four = v128.load(at);
      bits = v128.or(bits, four);
      prefixes = i32x4.add(prefixes, before);
      before = i32x4.add(before, distances(four, true));
    }
  } else {
    for (; at < vectorsEnd; at += 16) {
      const four = v128.load(at);
      bits = v128.or(bits, four);
      prefixes = i32x4.add(prefixes, before);
      before = i32x4.add(before, four);
    }
  }
  let number = reached;
  const base = narrowBase();
  if (orOfLanes(bits) < RESIDUAL_BELOW && base <= BASE_MAX && base >= -BASE_MAX) {
    const steps = vectors << 2;
    const ends = i32x4.mul(before, i32x4(4, 3, 2, 1));
    const exceeding = <i64>(4 * sumOfLanes(prefixes) + sumOfLanes(ends)) + <i64>base * <i64>((steps * (steps + 1)) >>> 1);
    passed += exceeding + <i64>number * <i64>steps;
    number += sumOfLanes(before) + base * <i32>steps;
  } else at = residuals;
  for (; at < end; at += 4) {
    number += stepAt(at);
    passed += number;
  }
  reached = number;
}
