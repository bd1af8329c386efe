/**
 * Series keys and their hashes.
 *
 * The canonical key of a series is InfluxDB's: the measurement, then `,tag=value` for each tag in byte order of the tag
 * keys, with commas, spaces and equals signs (the last not in measurements) escaped by a backslash. Tags with empty values are left out.
 * A series is named everywhere by the first 128 bits of SHA-256(seed || key) as 32 hexadecimal digits, where the seed
 * belongs to the cluster: collisions cannot be crafted from outside, and the order by hash is the same on every replica.
 */
import { createHash } from 'node:crypto';

/** 32 lower-case hexadecimal digits. */
export type SeriesHash = string;
export const SERIES_HASH_BYTES = 16;

export interface Tag {
  readonly key: string;
  readonly value: string;
}

export function hashSeriesKey(seed: string, key: string): SeriesHash {
  return createHash('sha256').update(seed).update('\0').update(key).digest('hex').slice(0, 32);
}

/** Which of a group's shards a series belongs to. */
export function shardNumberOf(hash: SeriesHash, shardsPerGroup: number): number {
  return Number.parseInt(hash.slice(0, 8), 16) % shardsPerGroup;
}
