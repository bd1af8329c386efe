/** From parsed points to one batch per shard. */
import type { WriteBatch } from './batch.ts';
import type { FieldType } from './column.ts';
import type { ParsedPoints } from './line-protocol.ts';
import type { SeriesCache } from './series-cache.ts';
import type { ShardKey } from './shard-key.ts';
import type { Version } from './version.ts';

export interface RoutingPolicy {
  readonly database: string;
  readonly databaseGeneration: number;
  readonly retentionPolicy: string;
  readonly retentionPolicyGeneration: number;
  readonly shardDurationNs: bigint;
  /** Points before this instant are dropped; null: kept for ever. */
  readonly oldestNs: bigint | null;
  readonly shardsPerGroup: number;
}

/** Types of the fields of one shard group, as far as the coordinator knows them. */
export interface GroupSchema {
  typeOf(measurement: string, field: string): FieldType | null;
  learn(measurement: string, field: string, type: FieldType): void;
}

export interface Rejected {
  readonly dropped: number;
  /** InfluxDB's text after `partial write: `, of the first row that was dropped. */
  readonly reason: string | null;
}

/** The starts of all shard groups that the points fall into (those beyond retention left out), ascending. */
export function groupStartsOf(_points: ParsedPoints, _policy: RoutingPolicy): bigint[] {
  throw new Error('in construction');
}

export function routePoints(
  _points: ParsedPoints,
  _policy: RoutingPolicy,
  _series: SeriesCache,
  _schemaOf: (startNs: bigint) => GroupSchema,
  _builderOf: (shard: ShardKey) => BatchBuilder,
): Rejected {
  throw new Error('in construction');
}

export class BatchBuilder {
  readonly shard: ShardKey;
  constructor(shard: ShardKey) {
    this.shard = shard;
  }
  get rows(): number {
    return 0;
  }
  get bytes(): number {
    return 0;
  }
  /** `seriesIds` and `keys` are parallel to `batch.series`. */
  build(_version: Version): { batch: WriteBatch; seriesIds: Uint32Array; keys: string[] } {
    throw new Error('in construction');
  }
}
