/**
 * The deletes of a shard, and which series they leave visible.
 *
 * They are the shard's own ones, which its file keeps and its ledger counts, and those of its policy's delete shard,
 * which are only looked at: what has come there since is taken over when this is next asked for anything.
 *
 * A tombstone keeps its predicate, so that it also covers series that appear later. Whether it covers a series is
 * decided once per series and kept; whether a covered series still has a visible row is looked up in the rows when
 * asked and kept until something changes it.
 */
import type { DeleteBatch, DeletePredicate } from './batch.ts';
import { predicateIn } from './delete-shard.ts';
import { compileGoRegex } from './go-regex.ts';
import type { SeriesTable } from './series-table.ts';
import type { ShardKey } from './shard-key.ts';
import { type Superseded, supersededDeletes } from './superseded.ts';
import { compileTagCondition } from './tag-matcher.ts';
import type { Tombstone } from './tombstone.ts';
import { STAMP_ZERO, type Stamp, type Version } from './version.ts';

const UNKNOWN = 0;
const YES = 1;
const NO = 2;

interface ShardTombstone extends Tombstone {
  /** Covers each row of a measurement (DROP MEASUREMENT), whatever its series and time. */
  coversAllOf(measurement: string): boolean;
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
  /** Not yet in the file. */
  #fresh: KeptTombstone[] = [];
  #greatest: Version = '';
  /** By series: whether it has a visible row. */
  #visible = new Uint8Array(0);
  #replacements = 0;
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

  /** Another one whenever the deletes are others. */
  get stamp(): string {
    return `${this.count}.${this.#changes}`;
  }

  get freshBytes(): number {
    return this.#fresh.reduce((sum, { frame }) => sum + frame.byteLength, 0);
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
    const tombstone = { ...makeTombstone(batch.version, batch.predicate, this.#table, this.#spanNs), frame };
    this.#own.set(batch.version, tombstone);
    if (!inFile) this.#fresh.push(tombstone);
    this.#added(tombstone);
  }

  #added(tombstone: ShardTombstone): void {
    this.#everywhere.push(tombstone);
    if (tombstone.version > this.#greatest) this.#greatest = tombstone.version;
    this.#visible.fill(UNKNOWN);
  }

  /** Own ones and the policy's, with what has come to the delete shard meanwhile. */
  #all(): readonly ShardTombstone[] {
    const source = this.#ofPolicy();
    const drops = this.#drops + (source === null ? 0 : source.#drops);
    if (source !== this.#seen || drops !== this.#seenDrops) {
      this.#seen = source;
      this.#seenCount = 0;
      this.#seenDrops = drops;
      this.#changes++;
      this.#everywhere = [...this.#own.values()];
      this.#visible.fill(UNKNOWN);
    }
    if (source !== null && source.#own.size > this.#seenCount) {
      const fresh = [...source.#own.values()].slice(this.#seenCount);
      this.#seenCount = source.#own.size;
      for (const { version, predicate } of fresh) {
        const here = predicateIn(predicate, this.#key);
        if (here !== null) this.#added(makeTombstone(version, here, this.#table, this.#spanNs));
      }
    }
    return this.#everywhere;
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

  /** Those that may cover rows of the measurement in the range. */
  over(measurement: string, minTime: number, maxTime: number): Tombstone[] {
    const found: Tombstone[] = [];
    for (const tombstone of this.#all()) {
      if (mayCover(tombstone, measurement, minTime, maxTime)) found.push(tombstone);
    }
    return found;
  }

  covers(series: number): boolean {
    return this.#all().some((tombstone) => tombstone.covers(series));
  }

  /** How often rows were put in the place of others, which may have brought some back under the same deletes. */
  get replacements(): number {
    return this.#replacements;
  }

  replaced(): void {
    this.#replacements++;
    this.#visible.fill(UNKNOWN);
  }

  /** Rows of these series were applied. */
  wrote(series: Uint32Array, version: Version): void {
    if (this.#all().length === 0) return;
    this.#reserve();
    const now = version > this.#greatest ? YES : UNKNOWN;
    for (let i = 0; i < series.length; i++) if (this.#visible[series[i]!] !== YES) this.#visible[series[i]!] = now;
  }

  /** Those with a visible row. `find` says of the given series (same order) which ones have one. */
  visible(series: Uint32Array, find: (unknown: Uint32Array) => ReadonlySet<number>): Uint32Array {
    if (this.#all().length === 0) return series;
    this.#reserve();
    const unknown: number[] = [];
    for (const id of series) {
      if (this.#visible[id] !== UNKNOWN) continue;
      if (this.covers(id)) unknown.push(id);
      else this.#visible[id] = YES;
    }
    if (unknown.length > 0) {
      const found = find(Uint32Array.from(unknown));
      for (const id of unknown) this.#visible[id] = found.has(id) ? YES : NO;
    }
    return series.filter((id) => this.#visible[id] === YES);
  }

  /** False when a delete of the whole measurement is newer than `version`. */
  leaves(measurement: string, version: Version): boolean {
    return !this.#all().some((tombstone) => tombstone.version > version && tombstone.coversAllOf(measurement));
  }

  #reserve(): void {
    if (this.#visible.length >= this.#table.count) return;
    const visible = new Uint8Array(Math.max(this.#table.count, this.#visible.length * 2));
    visible.set(this.#visible);
    this.#visible = visible;
  }
}

/** Whether it may cover rows of the measurement in the range: which series, `covers` tells. */
export function mayCover({ predicate }: Tombstone, measurement: string, minTime: number, maxTime: number): boolean {
  if (predicate.minTime > maxTime || predicate.maxTime < minTime) return false;
  const name = predicate.measurement;
  return name === null || !('name' in name) || name.name === measurement;
}

function makeTombstone(
  version: Version,
  predicate: DeletePredicate,
  table: SeriesTable,
  spanNs: number,
): ShardTombstone {
  const isMeasured = measurementTest(predicate);
  const matches = predicate.condition === null ? null : compileTagCondition(predicate.condition);
  let verdicts = new Uint8Array(0);
  const covers = (series: number): boolean => {
    if (series >= verdicts.length) {
      const more = new Uint8Array(Math.max(table.count, series + 1));
      more.set(verdicts);
      verdicts = more;
    }
    if (verdicts[series] === UNKNOWN) {
      const measurement = table.measurementOf(series);
      const hit = isMeasured(measurement) && (matches === null || matches(measurement, table.tagsOf(series)));
      verdicts[series] = hit ? YES : NO;
    }
    return verdicts[series] === YES;
  };
  const whole = matches === null && predicate.minTime <= 0 && predicate.maxTime >= spanNs - 1;
  return { version, predicate, covers, coversAllOf: (measurement) => whole && isMeasured(measurement) };
}

function measurementTest({ measurement }: DeletePredicate): (name: string) => boolean {
  if (measurement === null) return () => true;
  if ('name' in measurement) return (name) => name === measurement.name;
  const regex = compileGoRegex(measurement.regex);
  return (name) => regex.test(name);
}
