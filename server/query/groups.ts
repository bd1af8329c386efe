/**
 * Result groups (measurement and tag values) and what flows through a query per group.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';

export interface Group {
  readonly name: string;
  /** Dimensions in sorted order with their values ('' when missing). */
  readonly tags: Readonly<Record<string, string>>;
  /** Orders groups as InfluxDB does (name, then tag values) and identifies them. */
  readonly key: string;
}

export interface Point {
  readonly time: bigint;
  /** null: the window has no value (fill). */
  readonly value: Scalar;
  /** Values of further columns from the row that a selector picked. */
  readonly aux: readonly Scalar[] | null;
}

/** What one call gives for one group, in the query's direction. */
export interface Stream {
  readonly group: Group;
  readonly points: readonly Point[];
}

export function makeGroup(name: string, dimensions: readonly string[], values: readonly string[]): Group {
  const tags: Record<string, string> = {};
  dimensions.forEach((dimension, i) => {
    tags[dimension] = values[i] ?? '';
  });
  return { name, tags, key: `${name}\0${values.join('\0')}` };
}

/** Ascending by key, or descending as ORDER BY time DESC asks. */
export function sortGroups<T extends { readonly group: Group }>(items: T[], descending: boolean): T[] {
  const sign = descending ? -1 : 1;
  return items.sort((a, b) => (a.group.key < b.group.key ? -sign : a.group.key > b.group.key ? sign : 0));
}
