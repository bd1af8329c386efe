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

/**
 * How the time of a retention policy is cut into shard groups. A point must be in the same shard whenever it is written
 * again, or it would be there twice: where groups may exist already, a new shard duration does not cut anew (protocol
 * rule 26).
 */
export interface ShardLayout {
  readonly shardDurationNs: bigint;
  /** Of former shard durations, ascending; left out: there was none. */
  readonly earlierShards?: readonly EarlierShards[];
}

/** Times before `untilNs`, and not before that of the former element, are cut by this shard duration. */
export interface EarlierShards {
  readonly untilNs: bigint;
  readonly shardDurationNs: bigint;
}

/** The range of the shard group that holds `timeNs`, aligned to the epoch as InfluxDB does, and to changes of layout. */
export function shardRange(timeNs: bigint, layout: ShardLayout): { startNs: bigint; endNs: bigint } {
  const { earlierShards } = layout;
  if (earlierShards === undefined || earlierShards.length === 0) return alignedRange(timeNs, layout.shardDurationNs);
  const found = earlierShards.findIndex(({ untilNs }) => timeNs < untilNs);
  const index = found < 0 ? earlierShards.length : found;
  const { startNs, endNs } = alignedRange(timeNs, (earlierShards[index] ?? layout).shardDurationNs);
  const sinceNs = earlierShards[index - 1]?.untilNs ?? startNs;
  const untilNs = earlierShards[index]?.untilNs ?? endNs;
  return { startNs: startNs < sinceNs ? sinceNs : startNs, endNs: endNs > untilNs ? untilNs : endNs };
}

/**
 * The layout with another shard duration for what no group is made for yet: `soonNs` is the newest time that may have been
 * written to, and its group stays as it is.
 */
export function relaidFrom(soonNs: bigint, layout: ShardLayout, shardDurationNs: bigint): ShardLayout {
  const earlier = (layout.earlierShards ?? []).filter(({ untilNs }) => untilNs <= soonNs);
  const { endNs } = shardRange(soonNs, layout);
  const present = layout.earlierShards?.find(({ untilNs }) => soonNs < untilNs) ?? layout;
  if (present.shardDurationNs !== shardDurationNs)
    earlier.push({ untilNs: endNs, shardDurationNs: present.shardDurationNs });
  return { shardDurationNs, earlierShards: earlier };
}

function alignedRange(timeNs: bigint, shardDurationNs: bigint): { startNs: bigint; endNs: bigint } {
  const span = shardDurationNs < SHARD_SPAN_MAX_NS ? shardDurationNs : SHARD_SPAN_MAX_NS;
  const remainder = ((timeNs % span) + span) % span;
  return { startNs: timeNs - remainder, endNs: timeNs - remainder + span };
}
