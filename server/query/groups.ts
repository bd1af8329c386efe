/**
 * Result groups (measurement and tag values) and what flows through a query per group.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';

/** Made by the thousand: what few ask for is put together when it is asked for. */
export class Group {
  readonly name: string;
  private readonly dimensions: readonly string[];
  private readonly columns: readonly (readonly string[])[];
  private readonly place: number;
  private madeKey: string | null = null;

  /** `columns`: per dimension the values of many groups, of which this one's are at `place`. */
  constructor(name: string, dimensions: readonly string[], columns: readonly (readonly string[])[], place: number) {
    this.name = name;
    this.dimensions = dimensions;
    this.columns = columns;
    this.place = place;
  }

  /** Dimensions in sorted order with their values ('' when missing). */
  get tags(): Readonly<Record<string, string>> {
    const tags: Record<string, string> = {};
    for (let d = 0; d < this.dimensions.length; d++) tags[this.dimensions[d]!] = this.columns[d]?.[this.place] ?? '';
    return tags;
  }

  /** Orders groups as InfluxDB does (name, then tag values) and identifies them. */
  get key(): string {
    this.madeKey ??= groupKey(this.name, this.columns, this.place);
    return this.madeKey;
  }

  /** Orders groups as SLIMIT counts them in InfluxDB: of a measurement by the keys of the tags that are there, then by their values. */
  get countedKey(): string {
    const there = this.dimensions.map((_, d) => d).filter((d) => this.columns[d]![this.place] !== '');
    const keys = there.map((d) => this.dimensions[d]!);
    // One text of all of them: a value that goes on with a space comes before one that ends.
    return `${this.name}\0${[...keys, ...there.map((d) => this.columns[d]![this.place]!)].join('|')}`;
  }
}

export function groupKey(name: string, columns: readonly (readonly string[])[], place: number): string {
  // Without a dimension there is nothing behind the separator.
  let key = `${name}\0`;
  for (let d = 0; d < columns.length; d++) key += d === 0 ? columns[d]![place]! : `\0${columns[d]![place]!}`;
  return key;
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

/** Ascending by key, or descending as ORDER BY time DESC asks. */
export function sortGroups<T extends { readonly group: Group }>(items: T[], descending: boolean): T[] {
  const sign = descending ? -1 : 1;
  let sorted = true;
  for (let i = 1; i < items.length && sorted; i++) {
    const before = items[i - 1]!.group.key;
    const { key } = items[i]!.group;
    sorted = descending ? before >= key : before <= key;
  }
  if (sorted) return items;
  return items.sort((a, b) => (a.group.key < b.group.key ? -sign : a.group.key > b.group.key ? sign : 0));
}
