/** Whether the rows of a frame's groups are of series of the groups' measurements: the memtable's readers count on it. */
import { dictionaryFree, dictionaryIntern, dictionaryNew } from '../series/dictionary';
import { UNKNOWN_ID } from '../series/hash-ids';
import { measurementFind, measurementOf } from '../series/table';
import { COLUMN_WORDS, GROUP_WORDS, HEAD_WORDS } from './frame';
import { indexAt } from './offsets';
import { GROUPS, scratch, USERS } from './scratch';

/** In the place of a measurement's number: the table does not have it. Numbers stay far below. */
const NEW_MEASUREMENT: u32 = 0x80000000;

/**
 * Leaves behind who uses which series, for the keys of those that have no id yet: of each group the number of its measurement
 * and the address of its words (GROUPS, u32 each), and by series the group, counted from 1, whose rows have it, or 0 (USERS).
 */
export function frameBelongs(index: usize, table: usize): bool {
  const frame = <usize>load<u32>(index);
  const ids = <usize>load<u32>(index, 28);
  const count = load<u32>(index, 16);
  const groups = numberGroups(index, table, frame, count);
  const users = scratch(USERS, load<u32>(index, 8) << 2);
  memory.fill(users, 0, load<u32>(index, 8) << 2);
  for (let g: u32 = 0; g < count; g++) {
    const number = load<u32>(groups + (g << 3));
    const words = <usize>load<u32>(groups + (g << 3), 4);
    const rows = load<u32>(words, 8);
    const width = load<u32>(words, 12);
    const from = frame + load<u32>(words, 16);
    for (let row: u32 = 0; row < rows; row++) {
      const series = indexAt(from, width, row);
      const user = load<u32>(users + (series << 2));
      if (user === g + 1) continue;
      if (user !== 0 && load<u32>(groups + ((user - 1) << 3)) !== number) return false;
      store<u32>(users + (series << 2), g + 1);
      const id = load<u32>(ids + (series << 2));
      if (id !== UNKNOWN_ID && measurementOf(table, id) !== number) return false;
    }
  }
  return true;
}

/** Groups of one measurement have one number, also where the table does not have it. */
function numberGroups(index: usize, table: usize, frame: usize, count: u32): usize {
  const groups = scratch(GROUPS, count << 3);
  let others: usize = 0;
  let words = index + (HEAD_WORDS << 2);
  for (let g: u32 = 0; g < count; g++) {
    const name = frame + load<u32>(words);
    const length = load<u32>(words, 4);
    let number = measurementFind(table, name, length);
    if (number === UNKNOWN_ID) {
      if (others === 0) others = dictionaryNew();
      number = NEW_MEASUREMENT + dictionaryIntern(others, name, length, load<u64>(table, 64));
    }
    store<u32>(groups + (g << 3), number);
    store<u32>(groups + (g << 3), <u32>words, 4);
    words += (GROUP_WORDS + load<u32>(words, 28) * COLUMN_WORDS) << 2;
  }
  if (others !== 0) dictionaryFree(others);
  return groups;
}
