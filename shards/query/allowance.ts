/**
 * What one place may read and hold for a statement, and the error of going over it.
 */
import type { SelectRequest } from './partial.ts';

/** The statement's error. */
export class Refusal extends Error {
  readonly isTooManyRows: boolean;

  constructor(message: string, isTooManyRows = false) {
    super(message);
    this.isTooManyRows = isTooManyRows;
  }
}

/** What a statement may still have here, after the shards that it has read. */
export class Allowance {
  rows: number;
  cells: number;
  bytes: number;

  constructor({ rowsMax, cellsMax, bytesMax }: SelectRequest['limits']) {
    this.rows = rowsMax;
    this.cells = cellsMax;
    this.bytes = bytesMax ?? Number.POSITIVE_INFINITY;
  }
}
