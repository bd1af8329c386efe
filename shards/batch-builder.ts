/**
 * From parsed points to one batch per shard.
 *
 * `routePoints` finds for every row its shard group (by time) and its shard in it (by series hash), drops what lies
 * beyond retention or disagrees in type with what the group already stores, and appends the rest to the builders of
 * the shards. Builders take rows from many bodies: requests that wait at the same time share one batch. Columns are
 * moved whole; rows are looked at one by one only where something is refused.
 *
 * One builder, one shard, one version; a builder is used once.
 */
import type { WriteBatch } from './batch.ts';
import { BatchColumns } from './batch-columns.ts';
import { type Column, FIELD_TYPE_NAMES, type FieldType, STRING } from './column.ts';
import type { ParsedGroup, ParsedPoints } from './line-protocol.ts';
import {
  ANY_ROWS,
  hasRow,
  type Rejected,
  Rejection,
  type RowRules,
  refuseLongStrings,
  refuseSeries,
  refuseTimeNames,
} from './row-rules.ts';
import type { ConflictRule } from './row-settle.ts';
import type { SeriesCache } from './series-cache.ts';
import type { SeriesHash } from './series-key.ts';
import { type ShardKey, type ShardLayout, shardRange } from './shard-key.ts';
import type { Version } from './version.ts';

const ROW_BYTES = 12;
const SERIES_BYTES = 16;
const TWO32 = 2 ** 32;

export interface RoutingPolicy extends ShardLayout {
  readonly database: string;
  readonly databaseGeneration: number;
  readonly retentionPolicy: string;
  readonly retentionPolicyGeneration: number;
  /** Points before this instant are dropped; null: kept for ever. */
  readonly oldestNs: bigint | null;
  readonly shardsPerGroup: number;
}

/** Types of the fields of one shard group, as far as the coordinator knows them. */
export interface GroupSchema {
  typeOf(measurement: string, field: string): FieldType | null;
  learn(measurement: string, field: string, type: FieldType): void;
  /** Grows whenever a field gets another type than it had. */
  readonly revision: number;
}

export class BatchBuilder {
  readonly shard: ShardKey;
  private rowCount = 0;
  private byteCount = 0;
  private readonly groups = new Map<string, BatchColumns>();
  private readonly byId = new Map<number, number>();
  private readonly byHash = new Map<SeriesHash, number>();
  private readonly ids: number[] = [];
  private readonly hashes: SeriesHash[] = [];
  private readonly keys: string[] = [];

  constructor(shard: ShardKey) {
    this.shard = shard;
  }

  get rows(): number {
    return this.rowCount;
  }

  /** About the memory that the rows take. */
  get bytes(): number {
    return this.byteCount;
  }

  /** Rows `from` of the group; `times` are offsets from the shard's start, parallel to `from`. */
  append(group: ParsedGroup, columns: readonly Column[], from: Uint32Array, times: Float64Array, series: SeriesCache) {
    const rowSeries = new Uint32Array(from.length);
    for (let i = 0; i < from.length; i++) rowSeries[i] = this.indexOf(group.rowSeries[from[i]!]!, series);
    let target = this.groups.get(group.measurement);
    if (target === undefined) {
      target = new BatchColumns(group.measurement);
      this.groups.set(group.measurement, target);
    }
    target.append(from, rowSeries, times, columns);
    this.rowCount += from.length;
    this.byteCount += from.length * ROW_BYTES;
    for (const column of columns) this.byteCount += bytesOf(column, from);
  }

  /** `seriesIds` (of the SeriesCache) and `keys` are parallel to `batch.series`. */
  build(
    version: Version,
    conflict: ConflictRule = 'last-write-wins',
  ): { batch: WriteBatch; seriesIds: Uint32Array; keys: string[] } {
    const groups = [...this.groups.values()].map((group) => group.build(this.hashes.length, conflict));
    const batch: WriteBatch = { kind: 'write', shard: this.shard, version, series: this.hashes, groups };
    return { batch, seriesIds: Uint32Array.from(this.ids), keys: this.keys };
  }

  /** By id first and then by hash: after a rotation of the cache one series has two ids. */
  private indexOf(id: number, series: SeriesCache): number {
    const known = this.byId.get(id);
    if (known !== undefined) return known;
    const hash = series.hash(id);
    let index = this.byHash.get(hash);
    if (index === undefined) {
      index = this.hashes.length;
      this.byHash.set(hash, index);
      this.ids.push(id);
      this.hashes.push(hash);
      this.keys.push(series.key(id));
      this.byteCount += SERIES_BYTES;
    } else {
      this.ids[index] = id;
    }
    this.byId.set(id, index);
    return index;
  }
}

/** The starts of all shard groups that the points fall into (those beyond retention left out), ascending. */
export function groupStartsOf(points: ParsedPoints, policy: RoutingPolicy): bigint[] {
  const ranges = new Ranges(policy);
  const starts = new Set<number>();
  for (const group of points.groups) {
    const located = ranges.locate(group.timesNs);
    for (let row = 0; row < group.rows; row++) if (located.range[row]! >= 0) starts.add(located.range[row]!);
  }
  return [...starts].map((range) => ranges.list[range]!.startNs).sort((a, b) => (a < b ? -1 : 1));
}

/** The series of each shard group that the points fall into (as above), in the order in which they come. */
export function seriesOfGroups(points: ParsedPoints, policy: RoutingPolicy): Map<bigint, Set<number>> {
  const ranges = new Ranges(policy);
  const found = new Map<bigint, Set<number>>();
  for (const group of points.groups) {
    const located = ranges.locate(group.timesNs);
    for (let row = 0; row < group.rows; row++) {
      if (located.range[row]! < 0) continue;
      const { startNs } = ranges.list[located.range[row]!]!;
      const series = found.get(startNs);
      if (series === undefined) found.set(startNs, new Set([group.rowSeries[row]!]));
      else series.add(group.rowSeries[row]!);
    }
  }
  return found;
}

/** `schemaOf` must know the group: the coordinator loads what `groupStartsOf` names beforehand. */
export function routePoints(
  points: ParsedPoints,
  policy: RoutingPolicy,
  series: SeriesCache,
  schemaOf: (startNs: bigint) => GroupSchema,
  builderOf: (shard: ShardKey) => BatchBuilder,
  { barred, stringBytesMax }: RowRules = ANY_ROWS,
): Rejected {
  const ranges = new Ranges(policy);
  const rejection = new Rejection();
  for (const group of points.groups) {
    const { range, offset } = ranges.locate(group.timesNs);
    rejection.countAged(range);
    const columns = group.columns.filter((column) => column.field !== 'time');
    refuseTimeNames(group, columns, range, series, rejection);
    for (const each of barred)
      refuseSeries(group, range, (index) => ranges.list[index]!.startNs, series, each, rejection);
    refuseLongStrings(group, columns, range, stringBytesMax, rejection);
    refuseTypes(group, columns, range, (index) => schemaOf(ranges.list[index]!.startNs), rejection);
    distribute(group, columns, range, offset, ranges, policy, series, builderOf);
  }
  return {
    dropped: rejection.dropped,
    reason: rejection.reason ?? (rejection.aged ? 'points beyond retention policy' : null),
  };
}

interface Range {
  readonly startNs: bigint;
  readonly endNs: bigint;
}

/** The shard groups that a body touches. */
class Ranges {
  readonly list: Range[] = [];
  private readonly index = new Map<bigint, number>();
  private readonly policy: RoutingPolicy;

  constructor(policy: RoutingPolicy) {
    this.policy = policy;
  }

  /**
   * Per row the index of its range (-1: beyond retention) and its offset from the range's start. Times are compared as
   * differences of their 32-bit halves, exact in doubles near the current range; a bigint is made only when it changes.
   */
  locate(timesNs: BigInt64Array): { range: Int32Array; offset: Float64Array } {
    const rows = timesNs.length;
    const range = new Int32Array(rows);
    const offset = new Float64Array(rows);
    const high = new Int32Array(timesNs.buffer, timesNs.byteOffset, rows * 2);
    const low = new Uint32Array(timesNs.buffer, timesNs.byteOffset, rows * 2);
    const { oldestNs } = this.policy;
    let current = -1;
    let startHigh = 0;
    let startLow = 0;
    let span = -1;
    let oldest = 0;
    for (let row = 0; row < rows; row++) {
      let at = (high[row * 2 + 1]! - startHigh) * TWO32 + (low[row * 2]! - startLow);
      if (!(at >= 0 && at < span)) {
        current = this.rangeOf(timesNs[row]!);
        const { startNs, endNs } = this.list[current]!;
        startHigh = Number(startNs >> 32n);
        startLow = Number(BigInt.asUintN(32, startNs));
        span = Number(endNs - startNs);
        oldest = oldestNs === null ? 0 : Number(oldestNs - startNs);
        at = (high[row * 2 + 1]! - startHigh) * TWO32 + (low[row * 2]! - startLow);
      }
      offset[row] = at;
      range[row] = at < oldest ? -1 : current;
    }
    return { range, offset };
  }

  private rangeOf(timeNs: bigint): number {
    const range = shardRange(timeNs, this.policy);
    let index = this.index.get(range.startNs);
    if (index === undefined) {
      index = this.list.length;
      this.list.push(range);
      this.index.set(range.startNs, index);
    }
    return index;
  }
}

/** Checks columns against the schemas; only where one disagrees are the rows walked in order of arrival. */
function refuseTypes(
  group: ParsedGroup,
  columns: readonly Column[],
  range: Int32Array,
  schemaOf: (range: number) => GroupSchema,
  rejection: Rejection,
): void {
  const ranges = distinctRanges(range);
  const fields = new Set(columns.map((column) => column.field));
  const repeated = fields.size < columns.length;
  const { measurement } = group;
  const schemas = new Map<number, GroupSchema>(ranges.map((index) => [index, schemaOf(index)]));
  const unknown: { column: Column; index: number }[] = [];
  let agreed = !repeated;
  for (const [index, schema] of schemas) {
    for (const column of columns) {
      const known = schema.typeOf(measurement, column.field);
      if (known === null) unknown.push({ column, index });
      else if (known !== column.type) agreed = false;
    }
  }
  if (!agreed) {
    refuseTypesByRow(group, columns, range, schemas, rejection);
    return;
  }
  for (const { column, index } of unknown) {
    if (ranges.length > 1 || column.present !== null) {
      if (!appearsIn(column, range, index)) continue;
    }
    schemas.get(index)!.learn(measurement, column.field, column.type);
  }
}

function distinctRanges(range: Int32Array): number[] {
  const found = new Set<number>();
  let last = -1;
  for (let row = 0; row < range.length; row++) {
    if (range[row] === last || range[row]! < 0) continue;
    last = range[row]!;
    found.add(last);
  }
  return [...found];
}

function appearsIn(column: Column, range: Int32Array, index: number): boolean {
  for (let row = 0; row < range.length; row++) if (range[row] === index && hasRow(column, row)) return true;
  return false;
}

function refuseTypesByRow(
  group: ParsedGroup,
  columns: readonly Column[],
  range: Int32Array,
  schemas: ReadonlyMap<number, GroupSchema>,
  rejection: Rejection,
): void {
  const { measurement } = group;
  for (let row = 0; row < group.rows; row++) {
    if (range[row]! < 0) continue;
    const schema = schemas.get(range[row]!)!;
    const present = columns.filter((column) => hasRow(column, row));
    const types = new Map<string, FieldType>();
    let reason: string | null = null;
    for (const { field, type } of present) {
      const known = schema.typeOf(measurement, field) ?? types.get(field);
      if (known === undefined) types.set(field, type);
      else if (known !== type) reason ??= conflict(measurement, field, type, known);
    }
    if (reason !== null) rejection.refuse(range, row, reason);
    else for (const [field, type] of types) schema.learn(measurement, field, type);
  }
}

function conflict(measurement: string, field: string, type: FieldType, known: FieldType): string {
  const what = `input field "${field}" on measurement "${measurement}"`;
  return `field type conflict: ${what} is type ${FIELD_TYPE_NAMES[type]}, already exists as type ${FIELD_TYPE_NAMES[known]}`;
}

/** Sorts the accepted rows by (range, shard number), stably, and appends each part to its builder. */
function distribute(
  group: ParsedGroup,
  columns: readonly Column[],
  range: Int32Array,
  offset: Float64Array,
  ranges: Ranges,
  policy: RoutingPolicy,
  series: SeriesCache,
  builderOf: (shard: ShardKey) => BatchBuilder,
): void {
  const { shardsPerGroup } = policy;
  const rows = group.rows;
  const target = new Int32Array(rows);
  const counts = new Uint32Array(ranges.list.length * shardsPerGroup);
  for (let row = 0; row < rows; row++) {
    if (range[row]! < 0) {
      target[row] = -1;
      continue;
    }
    const to = range[row]! * shardsPerGroup + series.shardNumber(group.rowSeries[row]!);
    target[row] = to;
    counts[to]!++;
  }
  const parts = new Map<number, { from: Uint32Array; times: Float64Array; used: number }>();
  for (let to = 0; to < counts.length; to++) {
    const count = counts[to]!;
    if (count > 0) parts.set(to, { from: new Uint32Array(count), times: new Float64Array(count), used: 0 });
  }
  for (let row = 0; row < rows; row++) {
    if (target[row]! < 0) continue;
    const part = parts.get(target[row]!)!;
    part.from[part.used] = row;
    part.times[part.used++] = offset[row]!;
  }
  for (const [to, { from, times }] of parts) {
    const { startNs, endNs } = ranges.list[Math.floor(to / shardsPerGroup)]!;
    const { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration } = policy;
    const identity = { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration };
    const shard: ShardKey = { ...identity, startNs, endNs, number: to % shardsPerGroup };
    builderOf(shard).append(group, columns, from, times, series);
  }
}

function bytesOf(column: Column, from: Uint32Array): number {
  if (column.type !== STRING) return from.length * 9;
  const values = column.values as string[];
  let bytes = 0;
  for (let i = 0; i < from.length; i++) bytes += values[from[i]!]!.length + 16;
  return bytes;
}
