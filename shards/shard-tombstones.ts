/**
 * The deletes of a shard, and which series they leave visible.
 *
 * They are the shard's own ones, which its file keeps and its ledger counts, and those of its policy's delete shard,
 * which are only looked at: what has come there since is taken over when this is next asked for anything.
 *
 * A tombstone keeps its predicate, so that it also covers series that appear later. Which series it covers is told for
 * all series of a measurement at once, when the measurement is asked for (measurement-deletes.ts); whether a covered
 * series still has a visible row is looked up in the rows (series-marks.ts).
 */
import type { DeleteBatch, DeletePredicate } from './batch.ts';
import { predicateIn } from './delete-shard.ts';
import { compileGoRegex } from './go-regex.ts';
import { type MatchedTombstone, MeasurementDeletes } from './measurement-deletes.ts';
import { SeriesMarks } from './series-marks.ts';
import type { SeriesTable } from './series-table.ts';
import type { ShardKey } from './shard-key.ts';
import { type Superseded, supersededDeletes } from './superseded.ts';
import { compileTagCondition } from './tag-matcher.ts';
import type { Tombstone } from './tombstone.ts';
import { STAMP_ZERO, type Stamp, type Version } from './version.ts';

interface ShardTombstone extends MatchedTombstone {
  /** Covers each row of its measurements (DROP MEASUREMENT), whatever its series and time. */
  readonly isWhole: boolean;
}

/** The shard's own. */
export interface KeptTombstone extends ShardTombstone {
  readonly frame: Uint8Array;
}

export class ShardTombstones {
  readonly #table: SeriesTable;
  readonly #key: ShardKey;
  readonly #spanNs: number;
  readonly #own = new Map<Version, KeptTombstone>();
  /** Of the delete shard; null: there is none here. */
  readonly #ofPolicy: () => ShardTombstones | null;
  /** As they were last looked at, and how many of them were there. */
  #seen: ShardTombstones | null = null;
  #seenCount = 0;
  #seenDrops = 0;
  /** How often some have been dropped here. */
  #drops = 0;
  /** How often another delete shard has taken the place of the one before, or deletes have been dropped. */
  #changes = 0;
  #everywhere: ShardTombstone[] = [];
  /** Those that cover each row of a measurement. */
  #whole: ShardTombstone[] = [];
  readonly #measurements = new Map<string, MeasurementDeletes>();
  /** They cover no stored row, and none that may still come (delete-review.ts). */
  readonly #spent = new Set<Version>();
  #reviews = 0;
  /** Not yet in the file. */
  #fresh: KeptTombstone[] = [];
  #greatest: Version = '';
  #marks = new SeriesMarks();
  /** Deletes up to there have been held against those before them. */
  #lookedThrough: Stamp = STAMP_ZERO;

  constructor(table: SeriesTable, key: ShardKey, ofPolicy: () => ShardTombstones | null) {
    this.#table = table;
    this.#key = key;
    this.#spanNs = Number(key.endNs - key.startNs);
    this.#ofPolicy = ofPolicy;
  }

  get count(): number {
    return this.#all().length;
  }

  /** Another one whenever the deletes are others, or a series may have got its first visible row, or its last one back. */
  get stamp(): string {
    return `${this.count}.${this.#changes}.${this.#reviews}.${this.#marks.wakes}`;
  }

  /** How many cover all rows of a measurement: its fields come back one by one, with newer rows. */
  get coverFields(): number {
    this.#all();
    return this.#whole.length;
  }

  get freshBytes(): number {
    let bytes = 0;
    for (const { frame } of this.#fresh) bytes += frame.byteLength;
    return bytes;
  }

  get fresh(): readonly KeptTombstone[] {
    return this.#fresh;
  }

  get(version: Version): KeptTombstone | undefined {
    return this.#own.get(version);
  }

  own(): IterableIterator<KeptTombstone> {
    return this.#own.values();
  }

  all(): readonly Tombstone[] {
    return this.#all();
  }

  add(batch: DeleteBatch, frame: Uint8Array, inFile: boolean): void {
    if (this.#own.has(batch.version)) return;
    const tombstone = { ...this.#make(batch.version, batch.predicate), frame };
    this.#own.set(batch.version, tombstone);
    if (!inFile) this.#fresh.push(tombstone);
    this.#added(tombstone);
  }

  #added(tombstone: ShardTombstone): void {
    this.#everywhere.push(tombstone);
    if (tombstone.isWhole) this.#whole.push(tombstone);
    if (tombstone.version > this.#greatest) this.#greatest = tombstone.version;
  }

  /** Own ones and the policy's, with what has come to the delete shard meanwhile. */
  #all(): readonly ShardTombstone[] {
    const source = this.#ofPolicy();
    const drops = this.#drops + (source === null ? 0 : source.#drops);
    if (source !== this.#seen || drops !== this.#seenDrops) {
      if (source !== this.#seen) this.#reviewAnew();
      this.#seen = source;
      this.#seenCount = 0;
      this.#seenDrops = drops;
      this.#changes++;
      this.#everywhere = [];
      this.#whole = [];
      this.unload();
      for (const own of this.#own.values()) this.#added(own);
    }
    if (source !== null && source.#own.size > this.#seenCount) {
      const fresh = [...source.#own.values()].slice(this.#seenCount);
      this.#seenCount = source.#own.size;
      for (const { version, predicate } of fresh) {
        const here = predicateIn(predicate, this.#key);
        if (here !== null) this.#added(this.#make(version, here));
      }
    }
    return this.#everywhere;
  }

  /** Of a measurement; null: there are none at all. */
  #of(measurement: string): MeasurementDeletes | null {
    const all = this.#all();
    if (all.length === 0) return null;
    let deletes = this.#measurements.get(measurement);
    if (deletes === undefined) {
      deletes = new MeasurementDeletes(measurement, this.#table, this.#marks);
      this.#measurements.set(measurement, deletes);
    }
    deletes.update(all, ({ version }) => this.#spent.has(version));
    return deletes;
  }

  /** Own ones that are not needed any more, when all that come at or below `floor` are here. */
  superseded(floor: Stamp): Superseded {
    return supersededDeletes(this.#own.values(), floor, this.#lookedThrough);
  }

  /** They are in the file no more. */
  drop({ deletes, lookedThrough }: Superseded): void {
    this.#lookedThrough = lookedThrough;
    for (const { version } of deletes) this.#own.delete(version);
    this.#drops += deletes.length;
  }

  /** The oldest `count` of the fresh ones are in the file now. */
  flushed(count: number): void {
    this.#fresh = this.#fresh.slice(count);
  }

  /** Those that may cover stored rows of the measurement in the range, by series; null: none. */
  over(measurement: string, minTime: number, maxTime: number): MeasurementDeletes | null {
    const deletes = this.#of(measurement);
    return deletes?.isOver(minTime, maxTime) === true ? deletes : null;
  }

  /** Those of them that cover any of the series. */
  among(series: Uint32Array, measurement: string, minTime: number, maxTime: number): readonly Tombstone[] {
    return this.over(measurement, minTime, maxTime)?.among(series) ?? [];
  }

  /** Whether it covers any of the measurement's series, which are in order of hash. */
  coversAny(tombstone: Tombstone, measurement: string, series: Uint32Array): boolean {
    return this.#of(measurement)?.coversAny(tombstone, series) === true;
  }

  /**
   * A delete covers no stored row any more, and none that may still come. Readers of rows are spared it from now on. What
   * it has hidden stays hidden for `visible`.
   */
  spent(tombstone: Tombstone): void {
    this.#spent.add(tombstone.version);
    for (const deletes of this.#measurements.values()) deletes.spent(tombstone);
  }

  /** Another number when all deletes have to be held against the rows anew: none is spent any more. */
  get reviews(): number {
    this.#all();
    return this.#reviews;
  }

  /** Rows were put in the place of others, which may have brought some back under the same deletes. */
  replaced(): void {
    this.#reviewAnew();
    this.unload();
  }

  /** What is known of series can be found again. A reading that is under way keeps what it was given, as it was. */
  unload(): void {
    this.#measurements.clear();
    this.#marks = this.#marks.anew();
  }

  #reviewAnew(): void {
    this.#reviews++;
    this.#spent.clear();
  }

  /** Rows of these series were applied. */
  wrote(series: Uint32Array, version: Version): void {
    if (this.#all().length === 0) return;
    this.#marks.reserve(this.#table.count);
    this.#marks.wrote(series, version > this.#greatest);
  }

  /** Those with a visible row. `find` says of the given series (same order) which ones have one. */
  visible(measurement: string, series: Uint32Array, find: (unknown: Uint32Array) => ReadonlySet<number>): Uint32Array {
    return this.#of(measurement) === null ? series : this.#marks.visible(series, find);
  }

  /** False when a delete of the whole measurement is newer than `version`. */
  leaves(measurement: string, version: Version): boolean {
    this.#all();
    return !this.#whole.some((tombstone) => tombstone.version > version && tombstone.isOf(measurement));
  }

  #make(version: Version, predicate: DeletePredicate): ShardTombstone {
    const matches = predicate.condition === null ? null : compileTagCondition(predicate.condition);
    const tombstone: ShardTombstone = {
      version,
      predicate,
      matches,
      isOf: measurementTest(predicate),
      isWhole: matches === null && predicate.minTime <= 0 && predicate.maxTime >= this.#spanNs - 1,
      covers: (series) => this.#covers(tombstone, series),
    };
    return tombstone;
  }

  /** Also one that was dropped meanwhile: a reading that is under way may hold it, without the one that covers it. */
  #covers(tombstone: ShardTombstone, series: number): boolean {
    const measurement = this.#table.measurementOf(series);
    const deletes = this.#of(measurement);
    if (deletes?.knows(tombstone) === true) return deletes.covers(tombstone, series);
    const { matches } = tombstone;
    return tombstone.isOf(measurement) && (matches === null || matches(measurement, this.#table.tagsOf(series)));
  }
}

/** Whether it may cover rows of the measurement in the range: which series, `covers` tells. */
export function mayCover({ predicate }: Tombstone, measurement: string, minTime: number, maxTime: number): boolean {
  if (predicate.minTime > maxTime || predicate.maxTime < minTime) return false;
  const name = predicate.measurement;
  return name === null || !('name' in name) || name.name === measurement;
}

function measurementTest({ measurement }: DeletePredicate): (name: string) => boolean {
  if (measurement === null) return () => true;
  if ('name' in measurement) return (name) => name === measurement.name;
  const regex = compileGoRegex(measurement.regex);
  return (name) => regex.test(name);
}
