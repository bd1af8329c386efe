/** Reading columns of picked rows (pick.ts), each value going to its row's target (arrange.ts). */
import { COLUMN_WORDS, GROUP_WORDS, STRING } from './frame';
import { picked, runs } from './pick';
import { PICKS, PRESENT, RUNS, scratch, scratchAt, TARGETS, VALUES } from './scratch';
import { scatterStrings, scatterValues } from './values';

const NONE: u32 = 0xffffffff;

/** Address of column `number`'s words in the chunk, or 0. `guess`: where in the map it may be. */
@inline
function columnIn(chunk: usize, number: u32): usize {
  const map = <usize>load<u32>(chunk, 32);
  const count = load<u32>(map);
  let at: u32 = NONE;
  if (number < count && load<u32>(map + (number << 3), 4) === number) at = number;
  else {
    let low: u32 = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (load<u32>(map + (middle << 3), 4) < number) low = middle + 1;
      else high = middle;
    }
    if (low < count && load<u32>(map + (low << 3), 4) === number) at = low;
  }
  if (at === NONE) return 0;
  const position = load<u32>(map + (at << 3), 8);
  return <usize>load<u32>(chunk, 4) + ((GROUP_WORDS + position * COLUMN_WORDS) << 2);
}

/**
 * Reads column `number` of the picked rows: values at VALUES in the order of the targets, 8 bytes each (of strings address
 * and length), presence bytes at PRESENT. Returns how many rows have it; when all do, PRESENT is not written.
 */
export function pickedColumn(number: u32, type: u32): u32 {
  const values = scratch(VALUES, picked << 3);
  const present = scratch(PRESENT, picked);
  const rows = scratchAt(PICKS);
  const targets = scratchAt(TARGETS);
  const everywhere = isEverywhere(number);
  if (!everywhere) {
    memory.fill(present, 0, picked);
    memory.fill(values, 0, picked << 3);
  }
  const list = scratchAt(RUNS);
  for (let r: u32 = 0; r < runs; r++) {
    const run = list + r * 12;
    const chunk = <usize>load<u32>(run);
    const column = columnIn(chunk, number);
    if (column === 0) continue;
    const frame = <usize>load<u32>(<usize>load<u32>(chunk));
    const first = load<u32>(chunk, 12);
    const at = load<u32>(run, 4) << 2;
    const count = load<u32>(run, 8);
    const marks = everywhere ? <usize>0 : present;
    if (type === STRING) scatterStrings(frame, column, rows + at, first, targets + at, count, values, marks);
    else scatterValues(frame, column, rows + at, first, targets + at, count, values, marks);
  }
  if (everywhere) return picked;
  let count: u32 = 0;
  for (let k: u32 = 0; k < picked; k++) count += <u32>load<u8>(present + k);
  return count;
}

/** Every chunk with picked rows has the column in each row. */
function isEverywhere(number: u32): bool {
  const list = scratchAt(RUNS);
  for (let r: u32 = 0; r < runs; r++) {
    const column = columnIn(<usize>load<u32>(list + r * 12), number);
    if (column === 0 || load<u32>(column, 12) !== 0) return false;
  }
  return true;
}

/** Turns `count` words at VALUES that are 0 or 1 into bytes. */
export function valuesToBytes(count: u32): void {
  const values = scratchAt(VALUES);
  for (let i: u32 = 0; i < count; i++) store<u8>(values + i, load<u8>(values + (i << 3)));
}
