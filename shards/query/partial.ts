/**
 * What a coordinator asks of shards and what they answer: plain data that survives structured cloning and serialisation.
 *
 * A query is answered in four steps: plan (server/query/plan.ts) -> partial answers where the shards are
 * (run-partial.ts) -> merge (server/query/cells.ts, row-table.ts) -> fill, expressions, limits (server/query/grid-table.ts,
 * select.ts). One answer holds one entry per shard that has series for it (a host is in one shard of four), and nothing is
 * added up across shards here: the coordinator merges in the order (startNs, number), so that a float sum does not depend
 * on which place ran which shard.
 */
import type { FieldType } from '../column.ts';
import type { ShardId } from '../shard-key.ts';
import type { TagCondition } from '../tag-condition.ts';
import type { RowFilter } from './filter.ts';
import type { PackedGroups } from './packed-groups.ts';
import type { Windows } from './windows.ts';

/** Which measurements: by name, by Go regular expression, or all (null). */
export type MeasurementPick = { readonly names: readonly string[] } | { readonly regex: string } | null;

/** A column of a row: a stored field read as `type`, or a tag (a missing tag is null). */
export type RowColumn =
  | { readonly kind: 'field'; readonly name: string; readonly type: FieldType }
  | { readonly kind: 'tag'; readonly name: string };

/** Aggregates whose state is small and is kept per (group, window). Everything else is computed from rows. */
export const STATE_FUNCTIONS = ['count', 'sum', 'mean', 'min', 'max', 'first', 'last', 'spread', 'stddev'] as const;
export type StateFunction = (typeof STATE_FUNCTIONS)[number];

export interface StateCall {
  readonly fn: StateFunction;
  readonly field: string;
  readonly type: FieldType;
}

export interface PartialLimits {
  /** Time that a place works for it. */
  readonly msMax: number;
  /** Rows read from a shard, before the filter. */
  readonly rowsScannedMax: number;
  /** Rows handed back by a place. */
  readonly rowsMax: number;
  /** Matching series of a shard. */
  readonly seriesMax: number;
  /** Groups x windows x calls, added up over the shards of a place. */
  readonly cellsMax: number;
  /** Texts and integers (held-bytes.ts) handed back by a place. An older node says nothing of it. */
  readonly bytesMax?: number;
}

/** Fields with types (strongest first) and tag keys per measurement and shard. */
export interface SchemaRequest {
  readonly kind: 'schema';
  readonly measurements: MeasurementPick;
}

/** Series that match: their keys, tags or measurements, each once. */
export interface CatalogRequest {
  readonly kind: 'catalog';
  readonly what: 'measurements' | 'series' | 'tag-keys' | 'tag-values';
  readonly measurements: MeasurementPick;
  readonly condition: TagCondition | null;
  /** Exact condition on tags, or null when `condition` says it all. */
  readonly filter: RowFilter | null;
  /** Tag values: the keys that are wanted, by a condition on the pseudo tag `_tagKey`. */
  readonly tagKeys: TagCondition | null;
  readonly limits: PartialLimits;
}

/** How many series match; which of them are in several shards is told by sketches (sketch.ts). */
export interface CardinalityRequest {
  readonly kind: 'cardinality';
  readonly measurements: MeasurementPick;
  readonly condition: TagCondition | null;
  /** Exact condition on tags, or null when `condition` says it all. */
  readonly filter: RowFilter | null;
  readonly limits: PartialLimits;
}

export interface ShardCardinality {
  readonly startNs: bigint;
  readonly number: number;
  /** With series that match. */
  readonly measurements: number;
  readonly series: number;
}

export interface SelectRequest {
  readonly kind: 'select';
  /** What the plan rests on: a shard with another schema than this answers that it is stale. null: nothing remembered. */
  readonly planned: PlannedSchemas | null;
  readonly measurements: readonly string[];
  /** Both inclusive. */
  readonly minNs: bigint;
  readonly maxNs: bigint;
  /** Holds for every series that can have a row that passes the filter. */
  readonly condition: TagCondition | null;
  /** Exact condition on tags and fields, or null when `condition` says it all. */
  readonly filter: RowFilter | null;
  /** Tag keys that make the group, sorted. */
  readonly dimensions: readonly string[];
  /** null: one window over the whole range. */
  readonly windows: Windows | null;
  readonly states: readonly StateCall[];
  /** Columns of the row that the only state call (a selector) picked. */
  readonly aux: readonly RowColumn[];
  /** Rows as they are; null when the states suffice. Rows without any of the fields in it are left out. */
  readonly rows: {
    readonly columns: readonly RowColumn[];
    /** The first (or last) so many rows per group are enough; null: all. */
    readonly perGroup: number | null;
  } | null;
  readonly descending: boolean;
  readonly limits: PartialLimits;
}

export type PartialRequest = SchemaRequest | CatalogRequest | CardinalityRequest | SelectRequest;

export interface PlannedSchemas {
  readonly measurements: MeasurementPick;
  readonly fingerprints: Readonly<Record<ShardId, string>>;
}

export interface ShardSchema {
  readonly shard: ShardId;
  /** Depends on `schemas` alone. */
  readonly fingerprint: string;
  readonly schemas: readonly MeasurementSchema[];
}

export interface MeasurementSchema {
  readonly measurement: string;
  readonly fields: readonly { readonly name: string; readonly types: readonly FieldType[] }[];
  readonly tagKeys: readonly string[];
}

export interface CatalogEntry {
  readonly measurement: string;
  /** Series keys, tag keys, or tag pairs as `<length of key>:<key><value>`. */
  readonly items: readonly string[];
}

/** The groups of one shard; index = group number in the states and rows of that shard. */
export interface ShardGroups {
  readonly measurements: readonly string[];
  /** Per dimension the values of all groups, '' for a missing tag. */
  readonly tagValues: readonly (readonly string[])[];
}

/** State of one call: arrays over cells (group * windows + window); which of them are there depends on the function. */
export interface StateArrays {
  readonly count: Float64Array;
  readonly numbers: Float64Array | null;
  readonly integers: BigInt64Array | BigUint64Array | null;
  readonly strings: readonly string[] | null;
  /** Selectors: offset of the picked row; spread: unused. */
  readonly times: Float64Array | null;
  /** Second number: spread's maximum, stddev's sum of squared differences. */
  readonly numbers2: Float64Array | null;
  readonly integers2: BigInt64Array | BigUint64Array | null;
  /** Selectors: index into `pickedKeys` of the picked row's series. */
  readonly picked: Uint32Array | null;
}

/** Values of one column over rows: numbers, bigints, strings, booleans, null. */
export type RowValues = readonly (number | bigint | string | boolean | null)[];

/**
 * A column of rows: floats (NaN: the row does not have the field), the value of a tag by index in `seriesKeys`, or values
 * of any kind.
 */
export type RowColumnValues = Float64Array | { readonly ofSeries: readonly (string | null)[] } | RowValues;

export interface ShardRows {
  /** Per row: group number; rows are sorted by (group, time, series key). */
  readonly groups: Uint32Array;
  /** Offsets from the shard's start. */
  readonly times: Float64Array;
  /** Index into seriesKeys. */
  readonly series: Uint32Array;
  readonly columns: readonly RowColumnValues[];
}

export interface ShardSelect {
  readonly startNs: bigint;
  readonly number: number;
  readonly rowsScanned: number;
  readonly seriesMatched: number;
  readonly groups: ShardGroups;
  /** Windows of this shard: `firstWindow` is the index in the request's windows. */
  readonly firstWindow: number;
  readonly windowCount: number;
  readonly states: readonly StateArrays[];
  /** Keys of the series that `picked` and `rows.series` refer to. */
  readonly seriesKeys: readonly string[];
  /** Per aux column the picked row's value per cell. */
  readonly aux: readonly RowValues[];
  readonly rows: ShardRows | null;
  /** What texts and integers in it take (held-bytes.ts). An older node does not say. */
  readonly bytes?: number;
}

/** As it is sent. */
export type TravellingSelect = Omit<ShardSelect, 'groups' | 'states'> & {
  readonly groups: PackedGroups;
  readonly states: PackedStates;
};

/**
 * States of all calls on their way: an array's place follows from the request (state-arrays.ts), and as an object with
 * nine names for each call they would cost more than their numbers.
 */
export interface PackedStates {
  readonly numbers: ArrayBuffer;
  /** Of calls that pick texts; null: none does. */
  readonly strings: readonly (readonly string[] | null)[] | null;
  readonly picked: Uint32Array | null;
}

export type PartialResult =
  | { readonly kind: 'schema'; readonly shards: readonly ShardSchema[] }
  /** A shard has another schema than the plan rests on; the statement is to be planned again. */
  | { readonly kind: 'stale' }
  | { readonly kind: 'catalog'; readonly entries: readonly CatalogEntry[] }
  | { readonly kind: 'cardinality'; readonly shards: readonly ShardCardinality[]; readonly sketch: Uint8Array }
  /** `seriesMatched`: by the request's condition, in all shards; its filter may have left none of them. */
  | { readonly kind: 'select'; readonly shards: readonly TravellingSelect[]; readonly seriesMatched: number }
  /** A limit was hit or the request cannot be answered: the statement's error. */
  | Refused;

export interface Refused {
  readonly kind: 'refused';
  readonly message: string;
  /** More rows, bytes of them or windows than a place may hand over at once: for less time there may be few enough. */
  readonly isTooManyRows?: boolean;
}
