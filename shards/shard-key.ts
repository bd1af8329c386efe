/**
 * The identity of a shard: which points live in it.
 *
 * A point of (database, retention policy) with timestamp t and series hash h lives in the shard whose time range holds t
 * and whose number is h mod the shards per group. Times are int64 nanoseconds as bigint here (few values); inside a
 * shard every time is a float64 offset from `startNs`, exact because a shard spans at most `SHARD_SPAN_MAX_NS`.
 *
 * Generations count the drops of a name (protocol rule 24), so that a dropped and re-created database is another shard.
 */
import { createHash } from 'node:crypto';

export interface ShardKey {
  readonly database: string;
  readonly databaseGeneration: number;
  readonly retentionPolicy: string;
  readonly retentionPolicyGeneration: number;
  /** First nanosecond, inclusive. */
  readonly startNs: bigint;
  /** First nanosecond after the range. */
  readonly endNs: bigint;
  /** 0 .. shards per group - 1. */
  readonly number: number;
}

/** Offsets from a shard's start stay below 2^53 ns (104 days); longer shard durations are cut at this span. */
export const SHARD_SPAN_MAX_NS = 84n * 86_400_000_000_000n;
export const SHARDS_PER_GROUP = 4;
/** InfluxDB's limits for timestamps. */
export const TIME_MIN_NS = -9223372036854775806n;
export const TIME_MAX_NS = 9223372036854775806n;

/** Sixteen hexadecimal digits, the same on every node: the name of the shard in files, messages and the admin API. */
export type ShardId = string;

/** Ids that were computed before: each frame asks several times for the id of one of a few shards. */
const idOfKey = new WeakMap<ShardKey, ShardId>();
/** Of keys that are equal and not the same object. Emptied when it is full. */
const ids = new Map<string, ShardId>();
const IDS_MAX = 4096;

export function shardId(key: ShardKey): ShardId {
  let id = idOfKey.get(key);
  if (id === undefined) {
    id = idOfText(JSON.stringify(shardKeyToJson(key)));
    idOfKey.set(key, id);
  }
  return id;
}

function idOfText(text: string): ShardId {
  let id = ids.get(text);
  if (id === undefined) {
    id = createHash('sha256').update(text).digest('hex').slice(0, 16);
    if (ids.size >= IDS_MAX) ids.clear();
    ids.set(text, id);
  }
  return id;
}

export type ShardKeyJson = [string, number, string, number, string, string, number];

export function shardKeyToJson(key: ShardKey): ShardKeyJson {
  return [
    key.database,
    key.databaseGeneration,
    key.retentionPolicy,
    key.retentionPolicyGeneration,
    key.startNs.toString(),
    key.endNs.toString(),
    key.number,
  ];
}

export function shardKeyFromJson(json: ShardKeyJson): ShardKey {
  return {
    database: json[0],
    databaseGeneration: json[1],
    retentionPolicy: json[2],
    retentionPolicyGeneration: json[3],
    startNs: BigInt(json[4]),
    endNs: BigInt(json[5]),
    number: json[6],
  };
}

/** The range of the shard group that holds `timeNs`, aligned to the epoch as InfluxDB does. */
export function shardRange(timeNs: bigint, shardDurationNs: bigint): { startNs: bigint; endNs: bigint } {
  const span = shardDurationNs < SHARD_SPAN_MAX_NS ? shardDurationNs : SHARD_SPAN_MAX_NS;
  const remainder = ((timeNs % span) + span) % span;
  return { startNs: timeNs - remainder, endNs: timeNs - remainder + span };
}
