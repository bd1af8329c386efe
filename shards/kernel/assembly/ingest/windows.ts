/** The windows of the stage: time ranges of shard groups that its rows go to, in order of appearance. */
export let windows: u32 = 0;
const starts: usize = memory.data(64, 8);
const ends: usize = memory.data(64, 8);

export function clearWindows(): void {
  windows = 0;
}

/** There are at most WINDOWS_MAX (layout.ts). */
export function addWindow(start: i64, end: i64): void {
  store<i64>(starts + (<usize>windows << 3), start);
  store<i64>(ends + (<usize>windows << 3), end);
  windows++;
}

@inline
export function windowStart(window: u32): i64 {
  return load<i64>(starts + (<usize>window << 3));
}

@inline
export function windowEnd(window: u32): i64 {
  return load<i64>(ends + (<usize>window << 3));
}

/** The window that holds the time, or `windows`. */
export function windowOf(time: i64): u32 {
  let window: u32 = 0;
  while (window < windows && !(time >= windowStart(window) && time < windowEnd(window))) window++;
  return window;
}
