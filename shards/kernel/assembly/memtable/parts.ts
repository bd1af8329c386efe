/**
 * Dividing all rows of a memtable's group for a flush: by window, then into parts of whole series, and a series that has
 * too many for a part into slices of time. A call takes some of the chunks, or of the rows that are listed, so that a flush
 * of any size is done in short steps.
 */
import { chunkAt, chunkOf, ids, openChunk, rowSeries, seriesWidth, timeAt } from './chunks';
import { indexAt } from './offsets';

/** Counts the rows of chunks from .. to - 1 by window: window w is [w, w + 1) * windowNs, counts[0] is of `first`. */
export function groupWindows(group: usize, from: u32, to: u32, windowNs: f64, first: f64, counts: usize): void {
  for (let c = from; c < to; c++) {
    const chunk = chunkAt(group, c);
    const rows = load<u32>(chunk, 36);
    if (rows === 0) continue;
    const low = Math.floor(load<f64>(chunk, 16) / windowNs);
    if (low === Math.floor(load<f64>(chunk, 24) / windowNs)) {
      const at = counts + (<usize>(low - first) << 2);
      store<u32>(at, load<u32>(at) + rows);
      continue;
    }
    openChunk(chunk);
    for (let row: u32 = 0; row < rows; row++) {
      const at = counts + (<usize>(Math.floor(timeAt(row) / windowNs) - first) << 2);
      store<u32>(at, load<u32>(at) + 1);
    }
  }
}

/** Counts the rows of chunks from .. to - 1 with times in minTime .. maxTime by place: counts[place]. */
export function groupCount(
  group: usize,
  from: u32,
  to: u32,
  table: usize,
  minTime: f64,
  maxTime: f64,
  counts: usize,
): void {
  for (let c = from; c < to; c++) {
    const chunk = chunkAt(group, c);
    const low = load<f64>(chunk, 16);
    const high = load<f64>(chunk, 24);
    if (low > maxTime || high < minTime) continue;
    const whole = low >= minTime && high <= maxTime;
    openChunk(chunk);
    const rows = load<u32>(chunk, 36);
    for (let row: u32 = 0; row < rows; row++) {
      if (!whole) {
        const time = timeAt(row);
        if (time < minTime || time > maxTime) continue;
      }
      const id = load<u32>(ids + (<usize>indexAt(rowSeries, seriesWidth, row) << 2));
      const at = counts + (<usize>load<u32>(table + (<usize>id << 2)) << 2);
      store<u32>(at, load<u32>(at) + 1);
    }
  }
}

/**
 * Puts the numbers of these rows into parts: `partOf[place]` says which, `next[part]` where the next one goes in `out`.
 */
export function groupPart(
  group: usize,
  from: u32,
  to: u32,
  table: usize,
  minTime: f64,
  maxTime: f64,
  partOf: usize,
  next: usize,
  out: usize,
): void {
  for (let c = from; c < to; c++) {
    const chunk = chunkAt(group, c);
    const low = load<f64>(chunk, 16);
    const high = load<f64>(chunk, 24);
    if (low > maxTime || high < minTime) continue;
    const whole = low >= minTime && high <= maxTime;
    openChunk(chunk);
    const rows = load<u32>(chunk, 36);
    const first = load<u32>(chunk, 12);
    for (let row: u32 = 0; row < rows; row++) {
      if (!whole) {
        const time = timeAt(row);
        if (time < minTime || time > maxTime) continue;
      }
      const id = load<u32>(ids + (<usize>indexAt(rowSeries, seriesWidth, row) << 2));
      const place = load<u32>(table + (<usize>id << 2));
      if (place === 0) continue;
      const slot = next + (<usize>load<u32>(partOf + (place << 2)) << 2);
      const at = load<u32>(slot);
      store<u32>(slot, at + 1);
      store<u32>(out + (<usize>at << 2), first + row);
    }
  }
}

/** Of `count` listed rows, numbers ascending, how many are of each of `buckets` equal spans of time from `minTime` on. */
export function listBuckets(
  group: usize,
  rows: usize,
  count: u32,
  minTime: f64,
  spanNs: f64,
  buckets: u32,
  counts: usize,
): void {
  openListed(group, rows, count);
  for (let i: u32 = 0; i < count; i++) {
    const at = counts + (<usize>bucketOf(group, load<u32>(rows + (i << 2)), minTime, spanNs, buckets) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
}

/** Puts them into slices: `sliceOf[bucket]` says which, `next[slice]` where the next one goes in `out`. */
export function listSlice(
  group: usize,
  rows: usize,
  count: u32,
  minTime: f64,
  spanNs: f64,
  buckets: u32,
  sliceOf: usize,
  next: usize,
  out: usize,
): void {
  openListed(group, rows, count);
  for (let i: u32 = 0; i < count; i++) {
    const row = load<u32>(rows + (i << 2));
    const bucket = bucketOf(group, row, minTime, spanNs, buckets);
    const slot = next + (<usize>load<u32>(sliceOf + (<usize>bucket << 2)) << 2);
    const at = load<u32>(slot);
    store<u32>(slot, at + 1);
    store<u32>(out + (<usize>at << 2), row);
  }
}

/** The chunk that is open: its number, its first row and the one behind its last. */
let listed: u32 = 0;
let listedFirst: u32 = 0;
let listedEnd: u32 = 0;

function openListed(group: usize, rows: usize, count: u32): void {
  if (count === 0) return;
  listed = chunkOf(group, load<u32>(rows));
  listedFirst = 0;
  listedEnd = 0;
}

@inline
function bucketOf(group: usize, row: u32, minTime: f64, spanNs: f64, buckets: u32): u32 {
  if (row >= listedEnd) goTo(group, row);
  // Bounds of a slice are rounded.
  const bucket = Math.floor((timeAt(row - listedFirst) - minTime) / spanNs);
  return <u32>Math.min(Math.max(bucket, 0), <f64>(buckets - 1));
}

function goTo(group: usize, row: u32): void {
  let chunk = chunkAt(group, listed);
  while (row >= load<u32>(chunk, 12) + load<u32>(chunk, 36)) chunk = chunkAt(group, ++listed);
  listedFirst = load<u32>(chunk, 12);
  listedEnd = listedFirst + load<u32>(chunk, 36);
  openChunk(chunk);
}
