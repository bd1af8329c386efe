/** Whether the rows of a frame's groups are of series of the groups' measurements: the memtable's readers count on it. */
import { measurementOf } from '../series/table';
import { COLUMN_WORDS, GROUP_WORDS, HEAD_WORDS } from './frame';
import { offsetAt } from './offsets';

const UNKNOWN: u32 = 0xffffffff;

/**
 * `numbers`: of each group the number of its measurement in the series table; measurements that are not there have
 * numbers of their own that are not the table's. `users` (u32 per series, zero before) gets the group, counted from 1,
 * whose rows have the series: for the caller to check series that have no id yet.
 */
export function frameBelongs(index: usize, table: usize, numbers: usize, users: usize): bool {
  const frame = <usize>load<u32>(index);
  const ids = <usize>load<u32>(index, 28);
  const groups = load<u32>(index, 16);
  let words = index + (HEAD_WORDS << 2);
  for (let g: u32 = 0; g < groups; g++) {
    const number = load<u32>(numbers + (g << 2));
    const rows = load<u32>(words, 8);
    const width = load<u32>(words, 12);
    const from = frame + load<u32>(words, 16);
    for (let row: u32 = 0; row < rows; row++) {
      const series = <usize>offsetAt(from, width, row);
      const user = load<u32>(users + (series << 2));
      if (user === g + 1) continue;
      if (user !== 0 && load<u32>(numbers + ((user - 1) << 2)) !== number) return false;
      store<u32>(users + (series << 2), g + 1);
      const id = load<u32>(ids + (series << 2));
      if (id !== UNKNOWN && measurementOf(table, id) !== number) return false;
    }
    words += (GROUP_WORDS + load<u32>(words, 28) * COLUMN_WORDS) << 2;
  }
  return true;
}
