import type { RowSet } from './row-set.ts';

export function splitRows(rows: RowSet, windowNs: number, blockBytesTarget: number): RowSet[] {
  throw new Error(`not split yet: ${[rows, windowNs, blockBytesTarget].length}`);
}
