/**
 * The memtables of a shard: the one that is written to, and while a flush runs the frozen one that it puts into the file.
 * Readers see the rows of both as one.
 */
import { Memtable, type RowWant } from './memtable.ts';
import { mergeRowSets } from './row-merge.ts';
import type { RowSet } from './row-set.ts';
import type { SeriesTable } from './series-table.ts';
import type { Version } from './version.ts';

export class Memtables {
  readonly #table: SeriesTable;
  #active: Memtable;
  #frozen: Memtable | null = null;
  #drops = 0;

  constructor(table: SeriesTable) {
    this.#table = table;
    this.#active = new Memtable(table);
  }

  get active(): Memtable {
    return this.#active;
  }

  /** How often rows have left for the file, where they may have been settled since. */
  get drops(): number {
    return this.#drops;
  }

  get rows(): number {
    return this.#active.rows + (this.#frozen?.rows ?? 0);
  }

  get bytes(): number {
    return this.#active.bytes + (this.#frozen?.bytes ?? 0);
  }

  /** Nothing is added any more to what has come so far. There must not be a frozen one. */
  freeze(): Memtable {
    if (this.#frozen !== null) throw new Error('a memtable is frozen already');
    this.#frozen = this.#active;
    this.#active = new Memtable(this.#table);
    return this.#frozen;
  }

  /** The rows of the frozen one are in the file. */
  dropFrozen(): void {
    this.#frozen?.release();
    this.#frozen = null;
    this.#drops++;
  }

  release(): void {
    this.dropFrozen();
    this.#active.release();
  }

  measurements(): string[] {
    return [...new Set(this.#each((memtable) => memtable.measurements()).flat())].sort();
  }

  /** The offsets that rows of the measurement lie in, or null when there are none. */
  span(measurement: string): { minTime: number; maxTime: number } | null {
    const spans = this.#each((memtable) => memtable.span(measurement)).filter((span) => span !== null);
    if (spans.length < 2) return spans[0] ?? null;
    return {
      minTime: Math.min(...spans.map(({ minTime }) => minTime)),
      maxTime: Math.max(...spans.map(({ maxTime }) => maxTime)),
    };
  }

  rowsOf(measurement: string): number {
    return this.#each((memtable) => memtable.group(measurement)?.rows ?? 0).reduce((sum, rows) => sum + rows, 0);
  }

  /** Rows of a measurement by window: window w is [w, w + 1) * windowNs from the shard's start. */
  windowRows(measurement: string, windowNs: number): Map<number, number> {
    const counts = new Map<number, number>();
    for (const found of this.#each((memtable) => memtable.windowRows(measurement, windowNs)))
      for (const [window, rows] of found) counts.set(window, (counts.get(window) ?? 0) + rows);
    return counts;
  }

  /** All rows of a measurement, sorted, or null when there are none. */
  sorted(measurement: string): RowSet | null {
    return this.#merged((memtable) => memtable.sorted(measurement));
  }

  /** The wanted rows, sorted, or null when there are none. */
  select(measurement: string, want: RowWant): RowSet | null {
    return this.#merged((memtable) => memtable.select(measurement, want));
  }

  /** The rows that came with these versions, sorted, or null when there are none. */
  ofVersions(
    measurement: string,
    versions: ReadonlySet<Version>,
    fields: ReadonlySet<string> | null = null,
  ): RowSet | null {
    return this.#merged((memtable) => memtable.ofVersions(measurement, versions, fields));
  }

  #each<T>(read: (memtable: Memtable) => T): T[] {
    return this.#frozen === null ? [read(this.#active)] : [read(this.#frozen), read(this.#active)];
  }

  #merged(read: (memtable: Memtable) => RowSet | null): RowSet | null {
    const sets = this.#each(read).filter((rows) => rows !== null);
    if (sets.length < 2) return sets[0] ?? null;
    return mergeRowSets(sets, this.#table.compare);
  }
}
