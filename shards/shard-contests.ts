/**
 * Finds contests (contests.ts) among the stored rows of a shard. Fragments above the floor keep their versions, so what
 * competes is still there when the batches have been applied.
 *
 * Most batches that repair brings compete with nothing. So first only times and versions of the rows that have come, and of
 * those of their series and times, are read; values only where two rows meet, a delete covers one, or a field has several
 * types.
 */
import type { BlockEntry } from './block-directory.ts';
import { type ContestParts, Findings } from './contest-findings.ts';
import type { ContestQuestion, Contests } from './contests.ts';
import { StorageError } from './errors.ts';
import { mergeRowSets } from './row-merge.ts';
import { deadRows } from './row-resolve.ts';
import type { RowSet } from './row-set.ts';
import { pickRows } from './settled-content.ts';
import type { ScanSources } from './shard-scan.ts';
import type { Tombstone } from './tombstone.ts';
import type { Version } from './version.ts';

const NOTHING: readonly string[] = [];

/** Rows of some series and times. */
interface Stretch {
  readonly series: Uint32Array;
  readonly minTime: number;
  readonly maxTime: number;
}

export function findContests(parts: ContestParts, question: ContestQuestion): Contests {
  const found = new Findings(parts, question);
  const { tombstones, table } = parts.sources;
  for (const version of question.versions) {
    const tombstone = tombstones.get(version);
    if (tombstone !== undefined) found.deleteCame(tombstone);
  }
  for (const measurement of measurementsWith(parts.sources, question)) {
    table.sorted(measurement); // ranks
    const came = comeRows(parts.sources, measurement, question.versions);
    if (came !== null) examine(parts, measurement, came, question, found);
  }
  return found;
}

/** Those of whose rows some may have come. */
function measurementsWith({ memtable, store }: ScanSources, { versions }: ContestQuestion): Set<string> {
  const names = new Set(memtable.measurements());
  for (const entry of blocksOfVersions(store, versions)) names.add(entry.measurement);
  return names;
}

/** By the time of the question they are mostly in memory still: then no block is in question. */
function* blocksOfVersions(store: ScanSources['store'], versions: ReadonlySet<Version>): Generator<BlockEntry> {
  let [first, last]: Version[] = [];
  for (const version of versions) {
    if (first === undefined || version < first) first = version;
    if (last === undefined || version > last) last = version;
  }
  if (first === undefined || last === undefined) return;
  for (const entry of store.directory.all()) {
    if (entry.maxVersion < first || entry.minVersion > last || store.damaged.has(entry.id)) continue;
    if (store.head(entry).versionTable.some((version) => versions.has(version))) yield entry;
  }
}

/** Times and versions of what has come. */
function comeRows({ memtable, store, table }: ScanSources, measurement: string, versions: ReadonlySet<Version>) {
  const sets: RowSet[] = [];
  for (const entry of blocksOfVersions(store, versions)) {
    if (entry.measurement !== measurement) continue;
    const want = { series: null, fields: NOTHING, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER };
    const rows = store.wanted(entry, want);
    sets.push(pickRows(rows, (row) => versions.has(rows.versionTable[rows.versions[row]!]!)));
  }
  const memory = memtable.ofVersions(measurement, versions, new Set());
  if (memory !== null) sets.push(memory);
  const filled = sets.filter(({ times }) => times.length > 0);
  return filled.length === 0 ? null : mergeRowSets(filled, table.compare);
}

function examine(
  parts: ContestParts,
  measurement: string,
  came: RowSet,
  question: ContestQuestion,
  found: Findings,
): void {
  const { sources } = parts;
  try {
    const stretch = { series: came.series, ...spanOf(came) };
    const rows = readRows(sources, measurement, stretch, NOTHING, question.rowsMax);
    if (rows === null) {
      found.unexamined += came.times.length;
      return;
    }
    const tombstones = sources.tombstones.among(rows.series, measurement, stretch.minTime, stretch.maxTime);
    const meeting = meetings(rows, question.versions, tombstones);
    if (meeting !== null) {
      const values = readRows(sources, measurement, meeting, null, question.rowsMax);
      if (values === null) found.unexamined += meeting.rows;
      else found.judge(values, tombstones);
    }
    const mixed = parts.mixedFields(measurement);
    if (mixed.length > 0) judgeTypes(parts, measurement, came, mixed, question, found);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    found.unexamined += came.times.length;
  }
}

function spanOf({ times }: RowSet): { minTime: number; maxTime: number } {
  let [minTime, maxTime] = [Number.POSITIVE_INFINITY, 0];
  for (let row = 0; row < times.length; row++) {
    minTime = Math.min(minTime, times[row]!);
    maxTime = Math.max(maxTime, times[row]!);
  }
  return { minTime, maxTime };
}

/** All stored rows of a stretch; `fields` null: with all of them. null: more than `rowsMax` would have to be read. */
function readRows(
  { store, memtable, table, windowNs }: ScanSources,
  measurement: string,
  { series, minTime, maxTime }: Stretch,
  fields: readonly string[] | null,
  rowsMax: number,
): RowSet | null {
  const [first, last] = [table.rankOf(series[0]!), table.rankOf(series.at(-1)!)];
  const blocks: BlockEntry[] = [];
  let rows = 0;
  for (const window of store.directory.windows()) {
    if (window < Math.floor(minTime / windowNs) || window > Math.floor(maxTime / windowNs)) continue;
    for (const entry of store.directory.of(window, measurement)) {
      if (entry.minTime > maxTime || entry.maxTime < minTime) continue;
      if (table.rankOf(entry.first) > last || table.rankOf(entry.last) < first) continue;
      blocks.push(entry);
      rows += entry.rows;
    }
  }
  if (rows > rowsMax) return null;
  const sets = blocks.map((entry) => store.wanted(entry, { series, fields, minTime, maxTime }));
  const names = fields === null ? null : new Set(fields);
  const memory = memtable.select(measurement, { series, fields: names, minTime, maxTime });
  if (memory !== null) sets.push(memory);
  return mergeRowSets(sets, table.compare);
}

/** Where a row that has come meets another one of its time, or is covered by a delete; null: nowhere. */
function meetings(
  rows: RowSet,
  versions: ReadonlySet<Version>,
  tombstones: readonly Tombstone[],
): (Stretch & { rows: number }) | null {
  const isCome = rows.versionTable.map((version) => versions.has(version));
  const series: number[] = [];
  let [minTime, maxTime, count] = [Number.POSITIVE_INFINITY, 0, 0];
  for (let s = 0; s < rows.series.length; s++) {
    const [from, to] = [rows.seriesStart[s]!, rows.seriesStart[s + 1]!];
    const dead = deadRows(rows, rows.series[s]!, from, to, tombstones);
    const before = count;
    for (let row = from; row < to; row++) {
      if (!isCome[rows.versions[row]!]) continue;
      const time = rows.times[row]!;
      const meets = (row > from && rows.times[row - 1] === time) || (row + 1 < to && rows.times[row + 1] === time);
      if (!meets && dead?.[row - from] !== 1) continue;
      minTime = Math.min(minTime, time);
      maxTime = Math.max(maxTime, time);
      count++;
    }
    if (count > before) series.push(rows.series[s]!);
  }
  return count === 0 ? null : { series: Uint32Array.from(series), minTime, maxTime, rows: count };
}

/** In each window that something came into, of each series and field: which values another type hides. */
function judgeTypes(
  parts: ContestParts,
  measurement: string,
  came: RowSet,
  fields: readonly string[],
  { rowsMax }: ContestQuestion,
  found: Findings,
): void {
  const { sources } = parts;
  const windows = new Set(Array.from(came.times, (time) => Math.floor(time / sources.windowNs)));
  for (const window of windows) {
    const minTime = window * sources.windowNs;
    const maxTime = minTime + sources.windowNs - 1;
    const rows = readRows(sources, measurement, { series: came.series, minTime, maxTime }, fields, rowsMax);
    if (rows === null) found.unexamined += came.times.filter((time) => time >= minTime && time <= maxTime).length;
    else found.judgeTypes(rows, sources.tombstones.among(rows.series, measurement, minTime, maxTime));
  }
}
