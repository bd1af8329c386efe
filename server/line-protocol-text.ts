/** Batches as line protocol, one line a row, with times in nanoseconds; deletes as InfluxQL. */
import type { Batch, DeleteBatch, SeriesKeyRecord, WriteBatch } from '../shards/batch.ts';
import { BOOLEAN, type Column, FLOAT, INTEGER, STRING } from '../shards/column.ts';
import { escapeTag } from '../shards/series-key.ts';
import type { TagCondition } from '../shards/tag-condition.ts';
import { printRegex, quoteIdentifier, quoteString } from './influxql/printer.ts';

/** A row whose series is not named among `keys` cannot be written: `unnamed` counts them. */
export function linesOf(batch: WriteBatch, keys: readonly SeriesKeyRecord[]): { lines: string[]; unnamed: number } {
  const keyOf = new Map(keys.map(({ hash, key }) => [hash, key]));
  const lines: string[] = [];
  let unnamed = 0;
  for (const { rowSeries, times, columns } of batch.groups) {
    const names = columns.map(({ field }) => escapeTag(field));
    for (const [row, series] of rowSeries.entries()) {
      const key = keyOf.get(batch.series[series]!);
      if (key === undefined) {
        unnamed++;
        continue;
      }
      const fields = columns.flatMap((column, at) => {
        const isPresent = column.present === null || column.present[row] === 1;
        return isPresent ? [`${names[at]}=${valueText(column, row)}`] : [];
      });
      lines.push(`${key} ${fields.join(',')} ${batch.shard.startNs + BigInt(times[row]!)}`);
    }
  }
  return { lines, unnamed };
}

function valueText({ type, values }: Column, row: number): string {
  const value = values[row]!;
  switch (type) {
    case FLOAT:
      return floatText(value as number);
    case INTEGER:
      return `${value}i`;
    case STRING:
      return stringText(value as string);
    case BOOLEAN:
      return booleanText(value === 1);
    default:
      return `${value}u`;
  }
}

export const floatText = (value: number): string => (Object.is(value, -0) ? '-0' : String(value));

export const stringText = (value: string): string => `"${value.replace(/["\\]/g, '\\$&')}"`;

export const booleanText = (value: boolean): string => (value ? 'true' : 'false');

export function deleteText({ shard, predicate }: DeleteBatch): string {
  const { measurement, condition, minTime, maxTime, times } = predicate;
  const first = times?.minNs ?? shard.startNs + BigInt(minTime);
  const last = times?.maxNs ?? shard.startNs + BigInt(maxTime);
  const from =
    measurement === null
      ? ''
      : ` FROM ${'name' in measurement ? quoteIdentifier(measurement.name) : printRegex(measurement.regex)}`;
  const tags = condition === null ? '' : `${conditionText(condition)} AND `;
  return `DELETE${from} WHERE ${tags}time >= ${first} AND time <= ${last}`;
}

function conditionText(condition: TagCondition): string {
  switch (condition.op) {
    case 'and':
    case 'or':
      return `(${condition.terms.map(conditionText).join(` ${condition.op.toUpperCase()} `)})`;
    case '=':
    case '!=':
      return `${quoteIdentifier(condition.key)} ${condition.op} ${quoteString(condition.value)}`;
    case '=~':
    case '!~':
      return `${quoteIdentifier(condition.key)} ${condition.op} ${printRegex(condition.regex)}`;
    default:
      return condition.op;
  }
}

/** A comment in line protocol is one line. */
export function commentOf(text: string): string {
  return `# ${text.replace(/[\r\n]+/g, ' ')}`;
}

export function textOf(batch: Batch, keys: readonly SeriesKeyRecord[]): { lines: string[]; unnamed: number } {
  if (batch.kind === 'write') return linesOf(batch, keys);
  return { lines: [commentOf(deleteText(batch))], unnamed: 0 };
}
