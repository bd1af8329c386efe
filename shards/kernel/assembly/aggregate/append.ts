/**
 * Rows of several sources put one behind the other, series by series: what a window has in two runs of blocks, or in a
 * block and the memtable, is mostly earlier rows and later ones of the same series.
 *
 * A segment is three words: the first row in the source's range, the row among all where it goes, and how many.
 */

/** Copies the segments of a source; rows take `bytes` bytes. */
export function copySegments(from: usize, into: usize, bytes: u32, segments: usize, count: u32): void {
  const end = segments + <usize>count * 12;
  for (let at = segments; at < end; at += 12) {
    const source = from + <usize>load<u32>(at) * bytes;
    const target = into + <usize>load<u32>(at, 4) * bytes;
    memory.copy(target, source, <usize>load<u32>(at, 8) * bytes);
  }
}

/** Writes one byte per row of the segments. */
export function fillSegments(value: u32, into: usize, segments: usize, count: u32): void {
  const end = segments + <usize>count * 12;
  for (let at = segments; at < end; at += 12) {
    memory.fill(into + load<u32>(at, 4), <u8>value, load<u32>(at, 8));
  }
}
