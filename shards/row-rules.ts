/**
 * Rows of a body that are refused one by one, whatever their types: of a tag or only a field named `time`, of series beyond
 * a limit, with strings that are too long. `range` has the shard group of each row, and -1 for those that are refused.
 */
import { type Column, STRING } from './column.ts';
import type { ParsedGroup } from './line-protocol.ts';
import { STRING_BYTES_MAX } from './line-protocol-errors.ts';
import type { SeriesCache } from './series-cache.ts';
import type { SeriesHash } from './series-key.ts';

/** Series that are beyond a limit, by the start of the shard group. */
export interface BarredSeries {
  readonly byGroup: ReadonlyMap<bigint, ReadonlySet<SeriesHash>>;
  readonly reason: string;
}

/** What rows may be, beside their types. */
export interface RowRules {
  readonly barred: readonly BarredSeries[];
  readonly stringBytesMax: number;
}

export const ANY_ROWS: RowRules = { barred: [], stringBytesMax: STRING_BYTES_MAX };

/** Marks rows as refused (range -1) and keeps the first reason. */
export class Rejection {
  dropped = 0;
  aged = false;
  reason: string | null = null;

  countAged(range: Int32Array): void {
    for (let row = 0; row < range.length; row++) if (range[row]! < 0) this.dropped++;
    this.aged ||= this.dropped > 0 && range.includes(-1);
  }

  refuse(range: Int32Array, row: number, reason: string): void {
    range[row] = -1;
    this.dropped++;
    this.reason ??= reason;
  }
}

export interface Rejected {
  readonly dropped: number;
  /** InfluxDB's text after `partial write: `, of the first row that was dropped (of another reason than age, if any). */
  readonly reason: string | null;
}

/** A tag named `time` is refused; a field named `time` is left out, and a row that has no other field is refused. */
export function refuseTimeNames(
  group: ParsedGroup,
  columns: readonly Column[],
  range: Int32Array,
  series: SeriesCache,
  rejection: Rejection,
): void {
  const { measurement, rowSeries } = group;
  const tagReason = `invalid tag key: input tag "time" on measurement "${measurement}" is invalid`;
  for (let row = 0; row < group.rows; row++) {
    if (range[row]! >= 0 && series.hasTimeTag(rowSeries[row]!)) rejection.refuse(range, row, tagReason);
  }
  if (columns.length === group.columns.length) return;
  const fieldReason = `invalid field name: input field "time" on measurement "${measurement}" is invalid`;
  for (let row = 0; row < group.rows; row++) {
    if (range[row]! < 0 || columns.some((column) => hasRow(column, row))) continue;
    rejection.refuse(range, row, fieldReason);
  }
}

export function refuseSeries(
  { rows, rowSeries }: ParsedGroup,
  range: Int32Array,
  startOf: (range: number) => bigint,
  series: SeriesCache,
  { byGroup, reason }: BarredSeries,
  rejection: Rejection,
): void {
  for (let row = 0; row < rows; row++) {
    if (range[row]! < 0) continue;
    if (byGroup.get(startOf(range[row]!))?.has(series.hash(rowSeries[row]!)) === true)
      rejection.refuse(range, row, reason);
  }
}

export function hasRow(column: Column, row: number): boolean {
  return column.present === null || column.present[row] === 1;
}

export function refuseLongStrings(
  group: ParsedGroup,
  columns: readonly Column[],
  range: Int32Array,
  bytesMax: number,
  rejection: Rejection,
): void {
  for (const column of columns) {
    if (column.type !== STRING) continue;
    const values = column.values as string[];
    for (let row = 0; row < group.rows; row++) {
      // A UTF-16 unit is at most three bytes of UTF-8.
      if (values[row]!.length * 3 <= bytesMax || range[row]! < 0 || !hasRow(column, row)) continue;
      const bytes = Buffer.byteLength(values[row]!, 'utf8');
      if (bytes <= bytesMax) continue;
      const where = `input field "${column.field}" on measurement "${group.measurement}"`;
      rejection.refuse(range, row, `${where} is too long, ${bytes} > ${bytesMax}`);
    }
  }
}
