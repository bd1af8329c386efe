/**
 * Merges the rows that shards answered, group by group. Shards are taken in the order (startNs, number).
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { ShardSelect } from '../../shards/query/partial.ts';
import { type Group, makeGroup, type RowGroup, type SourceRow } from './groups.ts';

export function inShardOrder(shards: readonly ShardSelect[]): ShardSelect[] {
  return [...shards].sort((a, b) => (a.startNs !== b.startNs ? (a.startNs < b.startNs ? -1 : 1) : a.number - b.number));
}

/** Rows of all shards per group, ordered by time in the query's direction, then strings, then series key. */
export function mergeRows(
  shards: readonly ShardSelect[],
  dimensions: readonly string[],
  descending: boolean,
): RowGroup[] {
  const merged = new Map<string, { group: Group; rows: SourceRow[] }>();
  const ordered = descending ? [...shards].reverse() : shards;
  for (const shard of ordered) {
    const groups = shard.groups.measurements.map((name, g) => {
      const group = makeGroup(
        name,
        dimensions,
        shard.groups.tagValues.map((column) => column[g]!),
      );
      let entry = merged.get(group.key);
      if (entry === undefined) {
        entry = { group, rows: [] };
        merged.set(group.key, entry);
      }
      return entry;
    });
    const rows = shard.rows;
    if (rows === null) continue;
    for (let r = 0; r < rows.times.length; r++) {
      groups[rows.groups[r]!]!.rows.push({
        time: shard.startNs + BigInt(rows.times[r]!),
        values: rows.columns.map((column) => column[r]!),
        seriesKey: shard.seriesKeys[rows.series[r]!]!,
      });
    }
  }
  const groups = [...merged.values()];
  for (const { rows } of groups) orderRows(rows, descending);
  return groups;
}

export function orderRows(rows: SourceRow[], descending: boolean): void {
  const sign = descending ? -1 : 1;
  const compare = (a: SourceRow, b: SourceRow): number => {
    if (a.time !== b.time) return a.time < b.time ? -sign : sign;
    const strings = sign * compareStrings(a.values, b.values);
    return strings !== 0 ? strings : a.seriesKey < b.seriesKey ? -1 : a.seriesKey > b.seriesKey ? 1 : 0;
  };
  for (let i = 1; i < rows.length; i++) {
    if (compare(rows[i - 1]!, rows[i]!) > 0) {
      rows.sort(compare);
      return;
    }
  }
}

/** InfluxDB's order of rows with equal time: by their strings, up to the first column that is none. */
function compareStrings(a: readonly Scalar[], b: readonly Scalar[]): number {
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    if (typeof x !== 'string' || typeof y !== 'string') return 0;
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}
