/**
 * Reading narrow sequences (narrow.ts): opened first, which unpacks their residuals, and then restored to the numbers, or
 * added up without them (../aggregate/walk-sums.ts).
 */
import { oneSpan, scratch, scratchMark, scratchRelease } from './arena';
import { fail, failed, UNKNOWN_FORM } from './failure';
import { readPacked, roomForRange } from './packed';
import { readU32, readU8 } from './reader';

/** Of the sequence that was opened last: how its numbers follow from its residuals. */
let order: u32 = 0;
let zigzag: bool = false;
let base: i32 = 0;
/** Addresses of the first numbers and first differences of the spans from the first wanted one on; spans without one have none. */
let firsts: usize = 0;
let seconds: usize = 0;
/** Address of the first residual of the first wanted span. */
let residuals: usize = 0;
let residualCount: u32 = 0;

export function narrowOrder(): u32 {
  return order;
}

export function narrowZigzag(): bool {
  return zigzag;
}

export function narrowBase(): i32 {
  return base;
}

export function narrowFirsts(): usize {
  return firsts;
}

export function narrowResiduals(): usize {
  return residuals;
}

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

/** Spans fromSpan .. toSpan - 1 as i32 from `into` on (and up to a vector more). The reader is left behind the sequence. */
export function readNarrow(starts: usize, spans: u32, fromSpan: u32, toSpan: u32, into: usize): void {
  const mark = scratchMark();
  openNarrow(starts, spans, fromSpan, toSpan);
  if (!failed()) restoreNarrow(starts, fromSpan, toSpan, into);
  scratchRelease(mark);
}

/** What was unpacked is in working memory that the caller gives back. The reader is left behind the sequence. */
export function openNarrow(starts: usize, spans: u32, fromSpan: u32, toSpan: u32): void {
  const kind = readU8();
  const ownOrder = kind & 3;
  const count = at32(starts, spans);
  // As written: an order below the count. It also ends the recursion of hostile bytes, a front being shorter each time.
  if (kind > 7 || ownOrder > 2 || ownOrder >= max<u32>(count, 1)) fail(UNKNOWN_FORM);
  const ownBase = <i32>readU32();
  if (failed()) return;
  const ownFirsts = ownOrder >= 1 ? readFront(starts, spans, 0) : 0;
  const ownSeconds = ownOrder == 2 ? readFront(starts, spans, 1) : 0;
  if (failed()) return;
  let from: u32 = at32(starts, fromSpan);
  let to: u32 = at32(starts, toSpan);
  let total = count;
  let firstAt: u32 = 0;
  let secondAt: u32 = 0;
  if (ownOrder > 0) {
    total = 0;
    for (let s: u32 = 0; s < spans; s++) {
      if (s == fromSpan) from = total;
      if (s == toSpan) to = total;
      const length = at32(starts, s + 1) - at32(starts, s);
      if (s < fromSpan) {
        if (length > 0) firstAt++;
        if (length > 1) secondAt++;
      }
      if (length > ownOrder) total += length - ownOrder;
    }
    if (fromSpan == spans) from = total;
    if (toSpan == spans) to = total;
  }
  const unpacked = scratch(roomForRange(from, to) << 2);
  residuals = unpacked + (<usize>readPacked(total, from, to, unpacked) << 2);
  // The fronts were sequences, too.
  order = ownOrder;
  zigzag = kind > 3;
  base = ownBase;
  firsts = ownFirsts + (<usize>firstAt << 2);
  seconds = ownSeconds + (<usize>secondAt << 2);
  residualCount = to - from;
}

/** The numbers of the sequence that was opened last, of the same spans. */
export function restoreNarrow(starts: usize, fromSpan: u32, toSpan: u32, into: usize): void {
  if (order == 0) {
    restore(residuals, residualCount, base, zigzag, into);
    return;
  }
  const offset = at32(starts, fromSpan);
  let at = residuals;
  let firstAt = firsts;
  let secondAt = seconds;
  for (let s = fromSpan; s < toSpan; s++) {
    const start = at32(starts, s) - offset;
    const end = at32(starts, s + 1) - offset;
    if (start == end) continue;
    const first = load<i32>(firstAt);
    firstAt += 4;
    const out = into + (<usize>start << 2);
    store<i32>(out, first);
    if (order == 1) {
      sumOnce(at, base, zigzag, first, out + 4, end - start - 1);
      at += <usize>(end - start - 1) << 2;
    } else if (end - start > 1) {
      const step = load<i32>(secondAt);
      secondAt += 4;
      store<i32>(out, first + step, 4);
      sumTwice(at, base, zigzag, first + step, step, out + 8, end - start - 2);
      at += <usize>(end - start - 2) << 2;
    }
  }
}

function readFront(starts: usize, spans: u32, which: u32): usize {
  let count: u32 = 0;
  for (let s: u32 = 0; s < spans; s++) if (at32(starts, s) + which < at32(starts, s + 1)) count++;
  const into = scratch((<usize>count << 2) + 128);
  const single = oneSpan(count);
  readNarrow(single, 1, 0, 1, into);
  return into;
}

/** From the base. */
@inline
export function distances(residuals: v128, zigzag: bool): v128 {
  if (!zigzag) return residuals;
  const sign = i32x4.neg(v128.and(residuals, i32x4.splat(1)));
  return v128.xor(i32x4.shr_u(residuals, 1), sign);
}

function restore(residuals: usize, count: u32, base: i32, zigzag: bool, into: usize): void {
  const bases = i32x4.splat(base);
  const bytes = <usize>count << 2;
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(into + i, i32x4.add(distances(v128.load(residuals + i), zigzag), bases));
  }
}

/** Sums of the lanes up to each. */
@inline
function runningSums(lanes: v128): v128 {
  const zero = i32x4.splat(0);
  const pairs = i32x4.add(lanes, i8x16.shuffle(zero, lanes, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27));
  return i32x4.add(pairs, i8x16.shuffle(zero, pairs, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23));
}

@inline
function lastLane(lanes: v128): v128 {
  return i8x16.shuffle(lanes, lanes, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15);
}

function sumOnce(residuals: usize, base: i32, zigzag: bool, first: i32, into: usize, count: u32): void {
  if (zigzag) sumSteps(residuals, base, true, first, into, count);
  else sumSteps(residuals, base, false, first, into, count);
}

@inline
function sumSteps(residuals: usize, base: i32, zigzag: bool, first: i32, into: usize, count: u32): void {
  const bases = i32x4.splat(base);
  let sum = i32x4.splat(first);
  let at = residuals;
  let to = into;
  const end = residuals + (<usize>count << 2);
  const pairsEnd = residuals + (<usize>(count & ~7) << 2);
  if (at < pairsEnd) {
    do {
      const a = runningSums(i32x4.add(distances(v128.load(at), zigzag), bases));
      const b = runningSums(i32x4.add(distances(v128.load(at, 16), zigzag), bases));
      v128.store(to, i32x4.add(a, sum));
      sum = i32x4.add(i32x4.add(b, lastLane(a)), sum);
      v128.store(to, sum, 16);
      sum = lastLane(sum);
      at += 32;
      to += 32;
    } while (at < pairsEnd);
  }
  for (; at < end; at += 16) {
    sum = i32x4.add(runningSums(i32x4.add(distances(v128.load(at), zigzag), bases)), sum);
    v128.store(to, sum);
    sum = lastLane(sum);
    to += 16;
  }
}

function sumTwice(
  residuals: usize,
  base: i32,
  zigzag: bool,
  first: i32,
  firstStep: i32,
  into: usize,
  count: u32,
): void {
  const bases = i32x4.splat(base);
  const bytes = <usize>count << 2;
  let step = i32x4.splat(firstStep);
  let sum = i32x4.splat(first);
  for (let i: usize = 0; i < bytes; i += 16) {
    step = i32x4.add(runningSums(i32x4.add(distances(v128.load(residuals + i), zigzag), bases)), lastLane(step));
    sum = i32x4.add(runningSums(step), lastLane(sum));
    v128.store(into + i, sum);
  }
}
