/** What a coordinator asks of shards that it writes to, of workers and of other members. */
import type { FieldType } from '../shards/column.ts';
import type { SeriesCensus } from '../shards/series-census.ts';
import type { ShardId } from '../shards/shard-key.ts';

export interface FieldRecord {
  readonly measurement: string;
  readonly field: string;
  readonly type: FieldType;
}

export interface SchemaQuestion {
  readonly id: ShardId;
  /** How many field records of the shard are known already. */
  readonly known: number;
  /** How many series; absent: it does not matter. */
  readonly series?: number;
}

/** None for a shard that is not there, or of which all is known. */
export interface SchemaAnswer {
  readonly id: ShardId;
  /** Absent: as many as are known. */
  readonly fields?: readonly FieldRecord[];
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
