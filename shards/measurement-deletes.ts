/**
 * The deletes that may cover rows of a measurement, by the series that they cover.
 *
 * Deletes are kept for ever, and most of them name a tag: a shard may have thousands, each of which covers a few series.
 * So they are matched once with all series (delete-index.ts), and with those that have come since when they are next
 * asked; and readers ask for the deletes of a series. One that covers no stored row any more, and never
 * will (delete-review.ts), is *spent*: it only marks series that come as covered, for whoever asks what is visible.
 */
import { type ConditionOfDelete, DeleteIndex } from './delete-index.ts';
import type { SeriesMarks } from './series-marks.ts';
import { SeriesSet } from './series-set.ts';
import type { SeriesTable } from './series-table.ts';
import { firstAtRank } from './shard-scan.ts';
import type { TagMatcher } from './tag-matcher.ts';
import type { Tombstone } from './tombstone.ts';
import type { Version } from './version.ts';

/** A delete, and how it tells series. */
export interface MatchedTombstone extends Tombstone {
  isOf(measurement: string): boolean;
  /** null: all of a measurement. */
  readonly matches: TagMatcher | null;
}

interface Entry extends ConditionOfDelete {
  readonly tombstone: MatchedTombstone;
  /** null: it is spent. */
  series: SeriesSet | null;
}

const NONE: readonly Tombstone[] = [];

export class MeasurementDeletes {
  readonly #measurement: string;
  readonly #table: SeriesTable;
  readonly #marks: SeriesMarks;
  readonly #entries = new Map<Version, Entry>();
  readonly #index: DeleteIndex<Entry>;
  /** How many of all deletes have been looked at, and of the shard's series; of these so many are the measurement's. */
  #seen = 0;
  #series = 0;
  #members = 0;
  readonly #live = new Set<Tombstone>();
  /** Live ones that cover few series, by series; the others. */
  readonly #narrow = new Map<number, readonly Tombstone[]>();
  readonly #wide = new Set<Entry>();

  constructor(measurement: string, table: SeriesTable, marks: SeriesMarks) {
    this.#measurement = measurement;
    this.#table = table;
    this.#marks = marks;
    this.#index = new DeleteIndex(measurement, table);
  }

  /** Takes in what has come since: series, and deletes (`all` has become longer). */
  update(all: readonly MatchedTombstone[], isSpent: (tombstone: Tombstone) => boolean): void {
    const { count } = this.#table;
    this.#marks.reserve(count);
    if (count > this.#series) {
      // Mostly they are other measurements'.
      const members = this.#table.memberCount(this.#measurement);
      if (members > this.#members && this.#entries.size > 0) this.#index.match(this.#series, this.#entered);
      this.#members = members;
      this.#series = count;
    }
    if (this.#seen === all.length) return;
    const added = new DeleteIndex<Entry>(this.#measurement, this.#table);
    for (; this.#seen < all.length; this.#seen++) {
      const tombstone = all[this.#seen]!;
      if (!tombstone.isOf(this.#measurement)) continue;
      const { condition } = tombstone.predicate;
      const series = isSpent(tombstone) ? null : new SeriesSet();
      const entry: Entry = { tombstone, condition, matches: tombstone.matches, series };
      this.#entries.set(tombstone.version, entry);
      if (series !== null) this.#live.add(tombstone);
      this.#index.add(entry);
      added.add(entry);
    }
    added.match(0, this.#entered);
  }

  readonly #entered = (entry: Entry, ids: Uint32Array): void => this.#enter(entry, ids);

  /** `ids` are covered. */
  #enter(entry: Entry, ids: Uint32Array): void {
    if (ids.length === 0) return;
    this.#marks.cover(ids);
    const { tombstone, series } = entry;
    if (series === null) return;
    const before = series.few;
    series.add(ids, this.#table.count);
    if (series.few !== null) {
      for (const id of ids) this.#narrow.set(id, [...(this.#narrow.get(id) ?? NONE), tombstone]);
    } else if (before !== null) {
      this.#narrowWithout(tombstone, before);
      this.#wide.add(entry);
    }
  }

  #narrowWithout(tombstone: Tombstone, ids: Iterable<number>): void {
    for (const id of ids) {
      const left = (this.#narrow.get(id) ?? NONE).filter((other) => other !== tombstone);
      if (left.length === 0) this.#narrow.delete(id);
      else this.#narrow.set(id, left);
    }
  }

  /** It covers no stored row any more. */
  spent(tombstone: Tombstone): void {
    const entry = this.#entries.get(tombstone.version);
    if (entry === undefined || entry.series === null) return;
    if (entry.series.few !== null) this.#narrowWithout(entry.tombstone, entry.series.few);
    this.#wide.delete(entry);
    this.#live.delete(entry.tombstone);
    entry.series = null;
  }

  /** Whether any may cover rows in the range that are older than it: of `oldest` or later. */
  isOver(minTime: number, maxTime: number, oldest: Version = ''): boolean {
    for (const { version, predicate } of this.#live)
      if (version > oldest && predicate.minTime <= maxTime && predicate.maxTime >= minTime) return true;
    return false;
  }

  /** Those that cover the series, and may cover stored rows. */
  of(series: number): readonly Tombstone[] {
    if (!this.#marks.isCovered(series)) return NONE;
    const narrow = this.#narrow.get(series) ?? NONE;
    if (this.#wide.size === 0) return narrow;
    const found = [...narrow];
    for (const entry of this.#wide) if (entry.series!.has(series)) found.push(entry.tombstone);
    return found;
  }

  /** Those that cover any of the series. */
  among(series: Uint32Array): Tombstone[] {
    const found = new Set<Tombstone>();
    for (let i = 0; i < series.length; i++) for (const tombstone of this.of(series[i]!)) found.add(tombstone);
    return [...found];
  }

  knows({ version }: Tombstone): boolean {
    return this.#entries.has(version);
  }

  covers(tombstone: Tombstone, series: number): boolean {
    const entry = this.#entries.get(tombstone.version);
    if (entry === undefined) return false;
    if (entry.series !== null) return entry.series.has(series);
    const { matches } = entry.tombstone;
    return matches === null || matches(this.#measurement, this.#table.tagsOf(series));
  }

  /** Whether it covers any of the series, which are in order of hash. */
  coversAny(tombstone: Tombstone, series: Uint32Array): boolean {
    const few = this.#entries.get(tombstone.version)?.series?.few ?? null;
    if (few === null) return series.some((id) => this.covers(tombstone, id));
    const { rankOf } = this.#table;
    for (const id of few) if (series[firstAtRank(series, 0, rankOf(id), rankOf)] === id) return true;
    return false;
  }
}
