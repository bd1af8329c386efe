import type { Batch, WriteBatch } from '../../shards/batch.ts';
import type { RoutingPolicy } from '../../shards/batch-builder.ts';
import type { Column } from '../../shards/column.ts';
import { LineParser, type ParsedPoints, type Precision } from '../../shards/line-protocol.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { SeriesCache } from '../../shards/series-cache.ts';
import { hashSeriesKey, parseSeriesKey } from '../../shards/series-key.ts';
import type { ShardKey } from '../../shards/shard-key.ts';
import { bits, type ReferencePoint } from './reference-parser.ts';

export const WEEK_NS = 604_800_000_000_000n;
export const SHARD: ShardKey = {
  database: 'db',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: WEEK_NS,
  number: 0,
};
export const POLICY: RoutingPolicy = {
  database: 'db',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  shardDurationNs: WEEK_NS,
  oldestNs: null,
  shardsPerGroup: 4,
};
export const VERSION = '018bcfe568000000' + '1234567890abcdef';

export function newParser(max = 10_000) {
  const series = new SeriesCache((key) => hashSeriesKey('seed', key), max, 4);
  return { series, parser: new LineParser(series, LINE_LIMITS) };
}

export function parseOnce(text: string | Buffer, precision: Precision = 'n', defaultTime = 0n): ParsedPoints {
  return newParser().parser.parse(Buffer.from(text as string), precision, defaultTime);
}

export function cellText(column: Column, row: number): string {
  const value = column.values[row]!;
  return column.type === 0 ? bits(value as number) : String(value);
}

/** The rows as the reference parser gives them, in any order. */
export function pointsOf(parsed: ParsedPoints, series: SeriesCache): ReferencePoint[] {
  const points: ReferencePoint[] = [];
  for (const group of parsed.groups) {
    for (let row = 0; row < group.rows; row++) {
      const { measurement, tags } = parseSeriesKey(series.key(group.rowSeries[row]!));
      const key = JSON.stringify([measurement, ...tags.map((tag) => `${tag.key}=${tag.value}`)]);
      const fields = new Map<string, string>();
      for (const column of group.columns) {
        if (column.present !== null && column.present[row] === 0) continue;
        fields.set(JSON.stringify([column.field, column.type]), cellText(column, row));
      }
      points.push({ key, fields, time: group.timesNs[row]!.toString() });
    }
  }
  return points;
}

export function sortedPoints(points: ReferencePoint[]): string[] {
  return points.map(({ key, fields, time }) => JSON.stringify([key, time, [...fields].sort()])).sort();
}

/** Every cell of a batch as text. */
export function cellsOf(batch: Batch): string[] {
  const cells: string[] = [];
  for (const group of (batch as WriteBatch).groups) {
    for (const column of group.columns) {
      for (let row = 0; row < group.times.length; row++) {
        if (column.present !== null && column.present[row] === 0) continue;
        const series = (batch as WriteBatch).series[group.rowSeries[row]!];
        const where = [group.measurement, series, group.times[row], column.field, column.type];
        cells.push(JSON.stringify([...where, cellText(column, row)]));
      }
    }
  }
  return cells.sort();
}
