/**
 * The stored content of a shard by version: sums for comparing replicas, and batches made again for repair.
 *
 * Rows keep the version they came with, and nothing here depends on which block or memtable they lie in.
 */
import type { BatchGroup, SeriesKeyRecord } from './batch.ts';
import { encodeBatch } from './batch-codec.ts';
import type { BlockEntry } from './block-directory.ts';
import { addSums, contentByVersion, type Sum128, tombstoneSum } from './checksum.ts';
import type { Column } from './column.ts';
import { gatherRows } from './row-gather.ts';
import { mergeRowSets } from './row-merge.ts';
import type { RowSet } from './row-set.ts';
import type { SeriesHash } from './series-key.ts';
import type { ShardKey } from './shard-key.ts';
import type { ScanSources } from './shard-scan.ts';
import { isThrough, type Stamp, stampOf, type Version } from './version.ts';

export interface RebuiltBatch {
  version: Version;
  frame: Uint8Array;
  keys: SeriesKeyRecord[];
}

const EVERYTHING = { series: null, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER } as const;

/**
 * Row sets that may hold wanted rows: blocks by window, then of the memtable the rows of `versions` (null: all).
 * Throws StorageError `damaged-block`.
 */
function* storedRows(
  { store, memtable }: ScanSources,
  wanted: (entry: BlockEntry) => boolean,
  versions: ReadonlySet<Version> | null,
): Generator<{ measurement: string; rows: RowSet }> {
  for (const entry of store.directory.all()) {
    if (wanted(entry)) yield { measurement: entry.measurement, rows: store.rows(entry, EVERYTHING) };
  }
  for (const measurement of memtable.measurements()) {
    const rows = versions === null ? memtable.sorted(measurement) : memtable.ofVersions(measurement, versions);
    if (rows !== null) yield { measurement, rows };
  }
}

/** Sums of all versions with a stamp above `floor`. */
export function contentAbove(sources: ScanSources, floor: Stamp): Map<Version, Sum128> {
  return sumContent(
    sources,
    (entry) => stampOf(entry.maxVersion) > floor,
    (version) => stampOf(version) > floor,
  );
}

/** The sum of all versions with a stamp at or below `through`. */
export function contentThrough(sources: ScanSources, through: Stamp): Sum128 {
  const sums = sumContent(
    sources,
    (entry) => isThrough(entry.minVersion, through),
    (version) => isThrough(version, through),
  );
  let total = 0n;
  for (const sum of sums.values()) total = addSums(total, sum);
  return total;
}

function sumContent(
  sources: ScanSources,
  wanted: (entry: BlockEntry) => boolean,
  counts: (version: Version) => boolean,
): Map<Version, Sum128> {
  const sums = new Map<Version, Sum128>();
  const add = (version: Version, sum: Sum128): void => {
    if (counts(version)) sums.set(version, addSums(sums.get(version) ?? 0n, sum));
  };
  const hashOf = (id: number): SeriesHash => sources.table.ids.hashOf(id);
  for (const { rows } of storedRows(sources, wanted, null)) {
    for (const [version, sum] of contentByVersion(rows, hashOf)) add(version, sum);
  }
  for (const { version, predicate } of sources.tombstones.own()) add(version, tombstoneSum(predicate, version));
  return sums;
}

/** The batches of these versions that are stored here; versions that are not are left out. */
export function rebuildBatches(sources: ScanSources, key: ShardKey, versions: ReadonlySet<Version>): RebuiltBatch[] {
  const ordered = [...versions].sort();
  if (ordered.length === 0) return [];
  const first = ordered[0]!;
  const last = ordered.at(-1)!;
  const found = new Map<Version, Map<string, RowSet[]>>();
  const wanted = (entry: BlockEntry): boolean =>
    entry.maxVersion >= first &&
    entry.minVersion <= last &&
    sources.store.head(entry).versionTable.some((version) => versions.has(version));
  for (const { measurement, rows } of storedRows(sources, wanted, versions)) {
    for (const [version, part] of rowsByVersion(rows, versions)) {
      const measurements = mapIn(found, version);
      const parts = measurements.get(measurement);
      if (parts === undefined) measurements.set(measurement, [part]);
      else parts.push(part);
    }
  }
  const rebuilt: RebuiltBatch[] = [];
  const keyOf = rememberedKeys(sources);
  for (const version of ordered) {
    const tombstone = sources.tombstones.get(version);
    const measurements = found.get(version);
    if (tombstone !== undefined) rebuilt.push({ version, frame: tombstone.frame, keys: [] });
    else if (measurements !== undefined) rebuilt.push(rebuildWrite(sources, keyOf, key, version, measurements));
  }
  return rebuilt;
}

function mapIn<A, B, C>(maps: Map<A, Map<B, C>>, name: A): Map<B, C> {
  let map = maps.get(name);
  if (map === undefined) {
    map = new Map();
    maps.set(name, map);
  }
  return map;
}

/** Row ranges of one version while they are collected. */
interface Ranges {
  readonly series: number[];
  readonly from: number[];
  readonly to: number[];
}

/**
 * The rows of each wanted version, still sorted by series and time. One look at each row, however many versions are
 * wanted: a replica that was away for an hour asks for thousands.
 */
function rowsByVersion(rows: RowSet, versions: ReadonlySet<Version>): Map<Version, RowSet> {
  const ranges: (Ranges | null)[] = rows.versionTable.map((version) =>
    versions.has(version) ? { series: [], from: [], to: [] } : null,
  );
  for (let s = 0; s < rows.series.length; s++) {
    const series = rows.series[s]!;
    for (let row = rows.seriesStart[s]!; row < rows.seriesStart[s + 1]!; row++) {
      const range = ranges[rows.versions[row]!];
      if (range === null || range === undefined) continue;
      const last = range.to.length - 1;
      if (last >= 0 && range.series[last] === series && range.to[last] === row) range.to[last] = row + 1;
      else {
        range.series.push(series);
        range.from.push(row);
        range.to.push(row + 1);
      }
    }
  }
  const parts = new Map<Version, RowSet>();
  ranges.forEach((range, index) => {
    if (range === null || range.series.length === 0) return;
    const gathered = gatherRows(rows, {
      series: Uint32Array.from(range.series),
      from: Uint32Array.from(range.from),
      to: Uint32Array.from(range.to),
      count: range.series.length,
    });
    parts.set(rows.versionTable[index]!, oneEntryPerSeries(gathered));
  });
  return parts;
}

/** Ranges of one series that were not adjacent stand as several entries: they become one. */
function oneEntryPerSeries(rows: RowSet): RowSet {
  const series: number[] = [];
  const starts: number[] = [];
  for (let s = 0; s < rows.series.length; s++) {
    if (s > 0 && rows.series[s] === rows.series[s - 1]) continue;
    series.push(rows.series[s]!);
    starts.push(rows.seriesStart[s]!);
  }
  starts.push(rows.times.length);
  const { times, versions, versionTable, columns } = rows;
  return {
    series: Uint32Array.from(series),
    seriesStart: Uint32Array.from(starts),
    times,
    versions,
    versionTable,
    columns,
  };
}

/** Keys by series id: batches of one shard mostly hold the same series. */
export function rememberedKeys({ table }: ScanSources): (id: number) => SeriesKeyRecord {
  const known = new Map<number, SeriesKeyRecord>();
  return (id) => {
    let record = known.get(id);
    if (record === undefined) {
      record = { hash: table.ids.hashOf(id), key: table.ids.keyOf(id) };
      known.set(id, record);
    }
    return record;
  };
}

export function rebuildWrite(
  { table }: ScanSources,
  keyOf: (id: number) => SeriesKeyRecord,
  shard: ShardKey,
  version: Version,
  measurements: ReadonlyMap<string, RowSet[]>,
): RebuiltBatch {
  const series: SeriesHash[] = [];
  const keys: SeriesKeyRecord[] = [];
  const groups: BatchGroup[] = [];
  for (const measurement of [...measurements.keys()].sort()) {
    const rows = mergeRowSets(measurements.get(measurement)!, table.compare);
    const rowSeries = new Uint32Array(rows.times.length);
    for (let s = 0; s < rows.series.length; s++) {
      const record = keyOf(rows.series[s]!);
      rowSeries.fill(series.length, rows.seriesStart[s]!, rows.seriesStart[s + 1]!);
      series.push(record.hash);
      keys.push(record);
    }
    groups.push({ measurement, rowSeries, times: rows.times, columns: rows.columns.filter(hasValues) });
  }
  const frame = encodeBatch({ kind: 'write', shard, version, series, groups });
  return { version, frame, keys };
}

function hasValues(column: Column): boolean {
  return column.present === null || column.present.includes(1);
}
