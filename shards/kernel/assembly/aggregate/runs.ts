/**
 * Runs: the rows of one series that lie in one window of a query (AggregateRuns in shards/queryable.ts).
 *
 * They are found once for the rows of a block and used for all its columns. Layout of a run: u32 first row, u32 row behind
 * the last, both counted from the first row of the range that was decoded; u32 place of the series in the query; u32
 * window.
 */

export const RUN_BYTES: usize = 16;
/** A series that is not asked for. */
const UNWANTED: u32 = 0xffffffff;

/** Rows in the runs last found. */
let rows: u32 = 0;

export function rowsInRuns(): u32 {
  return rows;
}

@inline
function timeAt(times: usize, row: u32): f64 {
  return load<f64>(times + (<usize>row << 3));
}

/** First row from .. to whose time is at least `time`; times ascend there. */
function firstAtLeast(times: usize, from: u32, to: u32, time: f64): u32 {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (timeAt(times, middle) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether each time of from .. to - 1 is above the one before: one row per time. */
function ascends(times: usize, from: u32, to: u32): bool {
  let good = i64x2.splat(-1);
  let row = from;
  for (; row + 2 < to; row += 2) {
    const at = times + (<usize>row << 3);
    good = v128.and(good, f64x2.lt(v128.load(at), v128.load(at, 8)));
  }
  for (; row + 1 < to; row++) if (!(timeAt(times, row) < timeAt(times, row + 1))) return false;
  return i64x2.all_true(good);
}

/**
 * Runs of the series fromSeries .. toSeries - 1 of a block, whose `times` begin with the first of them. `places` has the
 * place of each of these series in the query, or UNWANTED. The windows are [offsets[w], offsets[w + 1]), `windows` of
 * them, and hold minTime .. maxTime. `ascend`: not 0 when times are known to ascend, which then is not looked at. Returns
 * how many runs there are, -1 when a series has a time twice, and -2 when there are more than `runsMax`.
 */
export function findRuns(
  times: usize,
  starts: usize,
  fromSeries: u32,
  toSeries: u32,
  places: usize,
  minTime: f64,
  maxTime: f64,
  offsets: usize,
  windows: u32,
  runs: usize,
  runsMax: u32,
  ascend: u32,
): i32 {
  const base = load<u32>(starts + (<usize>fromSeries << 2));
  let found: u32 = 0;
  let to = runs;
  rows = 0;
  for (let s = fromSeries; s < toSeries; s++) {
    const place = load<u32>(places + (<usize>(s - fromSeries) << 2));
    if (place == UNWANTED) continue;
    let row = load<u32>(starts + (<usize>s << 2)) - base;
    let end = load<u32>(starts + (<usize>s << 2), 4) - base;
    if (ascend == 0 && !ascends(times, row, end)) return -1;
    if (timeAt(times, row) < minTime) row = firstAtLeast(times, row, end, minTime);
    if (row < end && timeAt(times, end - 1) > maxTime) end = firstAtLeast(times, row, end, maxTime + 1);
    if (row >= end) continue;
    rows += end - row;
    let window = windowOf(offsets, windows, timeAt(times, row));
    let length: u32 = 0;
    while (row < end) {
      if (found == runsMax) return -2;
      let next = end;
      if (window + 1 < windows) {
        const limit = timeAt(offsets, window + 1);
        if (timeAt(times, end - 1) >= limit) {
          // Mostly as long as the run before.
          const guess = row + length;
          const hit =
            length > 0 && guess < end && timeAt(times, guess) >= limit && timeAt(times, guess - 1) < limit;
          next = hit ? guess : firstAtLeast(times, row + 1, end, limit);
        }
      }
      store<u32>(to, row);
      store<u32>(to, next, 4);
      store<u32>(to, place, 8);
      store<u32>(to, window, 12);
      to += RUN_BYTES;
      found++;
      length = next - row;
      row = next;
      if (row < end) {
        window++;
        if (window + 1 < windows && timeAt(times, row) >= timeAt(offsets, window + 1)) {
          window = windowOf(offsets, windows, timeAt(times, row));
        }
      }
    }
  }
  return <i32>found;
}

/** The window of a time: the last that does not begin behind it. */
function windowOf(offsets: usize, windows: u32, time: f64): u32 {
  let low: u32 = 0;
  let high = windows - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (timeAt(offsets, middle) <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}
