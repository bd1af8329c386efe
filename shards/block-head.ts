import type { FieldType } from './column.ts';
import type { Version } from './version.ts';

/** What a block says of one column without its body being read. */
export interface BlockColumn {
  readonly field: string;
  readonly type: FieldType;
  /** Rows that have the field. */
  readonly count: number;
  /** Smallest and greatest value: number for floats, bigint for integers and unsigned; null for others and with NaN. */
  readonly min: number | bigint | null;
  readonly max: number | bigint | null;
  /** Sum of integers and unsigned; number of true booleans; null for the rest (a float sum depends on its order). */
  readonly sum: bigint | null;
  /** Where the column lies in the body. */
  readonly offset: number;
  readonly length: number;
}

export interface BlockHead {
  readonly rows: number;
  /** Offsets from the shard's start in nanoseconds, both inclusive. */
  readonly minTime: number;
  readonly maxTime: number;
  readonly series: Uint32Array;
  readonly seriesStart: Uint32Array;
  readonly versionTable: readonly Version[];
  readonly columns: readonly BlockColumn[];
  readonly timesOffset: number;
  readonly timesLength: number;
  readonly versionsOffset: number;
  readonly versionsLength: number;
  /** Length of the body with its CRC, and that CRC. */
  readonly bodyBytes: number;
  readonly bodyCrc: number;
}
