/**
 * What an explanation of a repair needs of a stored shard: which values of batches that have just come compete with
 * values or deletes that are here, and which rule has decided. `shard-contests.ts` provides it.
 *
 *   `later`    the value of the version with the greater stamp counts (protocol rule 4)
 *   `node`     equal stamps: the greater node number
 *   `first`    first-write-wins: the lower version
 *   `type`     values of a field, a series and a window of different types: float before integer before unsigned before
 *              string before boolean (protocol rule 6)
 *   `deleted`  a delete of a greater version covers the row
 *
 * Counts are of values (cells) that do not count because of it, each once. Equal values of two versions are no contest: `same`.
 */
import type { Version } from './version.ts';

export const DECIDING_RULES = ['later', 'node', 'first', 'type', 'deleted'] as const;
export type DecidingRule = (typeof DECIDING_RULES)[number];

export interface ContestedValue {
  readonly version: Version;
  /** InfluxDB's name of the type. */
  readonly type: string;
  /** As text, cut off. */
  readonly value: string;
  /** It is of one of the batches that have come; otherwise it was here. */
  readonly came: boolean;
  /** At or below the floor: rows have no version of their own any more, `version` is that of the floor. */
  readonly settled: boolean;
}

/** `predicate`: as a delete spells it in its batch. */
export interface ContestedDelete {
  readonly version: Version;
  readonly predicate: string;
}

export interface Contest {
  readonly rule: DecidingRule;
  /** Canonical key, cut off. */
  readonly series: string;
  readonly field: string;
  /** Nanoseconds since 1970, decimal. */
  readonly time: string;
  readonly winner: ContestedValue | ContestedDelete;
  readonly loser: ContestedValue;
}

export interface Contests {
  readonly decided: Readonly<Record<DecidingRule, number>>;
  readonly same: number;
  /** Deletes that have come; which rows of this and other shards they cover is not looked up. */
  readonly deletes: number;
  /** Rows that have come and were not held against what is here: it would have been too much to read, or is damaged. */
  readonly unexamined: number;
  /** Some of the contests, the first ones of each rule. */
  readonly samples: readonly Contest[];
  readonly deleteSamples: readonly ContestedDelete[];
}

export interface ContestQuestion {
  /** Of the batches that have come. */
  readonly versions: ReadonlySet<Version>;
  /** Stored rows that may be read for each measurement. */
  readonly rowsMax: number;
  /** Of each rule, and of deletes. */
  readonly samplesMax: number;
}
