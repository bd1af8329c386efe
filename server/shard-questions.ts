/** What a coordinator asks of shards that it writes to, of workers and of other members. */
import type { FieldType } from '../shards/column.ts';
import type { SeriesCensus } from '../shards/series-census.ts';
import type { ShardId } from '../shards/shard-key.ts';

export interface FieldRecord {
  readonly measurement: string;
  readonly field: string;
  readonly type: FieldType;
}

/** More fields than a shard has. */
const DELETE_MARK = 2 ** 24;

/** What is known of a shard's fields, in one number: how many there are, and under how many deletes that hide some. */
export function schemaMark(fields: number, deletes: number): number {
  return deletes * DELETE_MARK + fields;
}

export function isUnderOtherDeletes(mark: number, before: number): boolean {
  return Math.floor(mark / DELETE_MARK) !== Math.floor(before / DELETE_MARK);
}

export interface SchemaQuestion {
  readonly id: ShardId;
  /** The mark of the fields that are known already. */
  readonly known: number;
  /** How many series; absent: it does not matter. */
  readonly series?: number;
}

/** None for a shard that is not there, or of which all is known. */
export interface SchemaAnswer {
  readonly id: ShardId;
  /** Absent: those that are known. */
  readonly fields?: readonly FieldRecord[];
  /** Of the fields. */
  readonly mark?: number;
  readonly series?: number;
}

export interface CensusQuestion {
  readonly id: ShardId;
  /** One behind the other. */
  readonly hashes: Uint8Array;
  /** Somebody has it: whoever has not cannot answer. */
  readonly isListed: boolean;
}

/** None for a shard whose replica is not full. */
export interface CensusAnswer extends SeriesCensus {
  readonly id: ShardId;
}
