/**
 * Results to CSV as InfluxDB prints them: a header line per statement, `name` and `tags` before the columns.
 */
import type { ResultSeries, StatementResult, Value } from '../query/result.ts';
import { type Epoch, formatEpoch } from './response-time.ts';

/** Rows rendered at once: some 50 kB of text, a fraction of a millisecond. */
const ROWS_PER_SLICE = 1_000;

/** Keeps which statement's header was printed last, for answers that come in chunks. */
export class CsvPrinter {
  private statementId = -1;
  private readonly epoch: Epoch;

  /** Without an epoch times are nanoseconds, never RFC 3339. */
  constructor(epoch: Epoch | null) {
    this.epoch = epoch ?? 'ns';
  }

  *pieces(results: readonly StatementResult[]): Generator<string> {
    for (const result of results) {
      const series = result.series ?? [];
      let previous: ResultSeries | null = null;
      for (const one of series) {
        if (previous === null) {
          if (result.statementId !== this.statementId) yield this.header(one, this.statementId >= 0);
          this.statementId = result.statementId;
        } else if (!sameColumns(previous, one)) yield this.header(one, true);
        previous = one;
        yield* this.rows(one);
      }
      // InfluxDB prints none: behind rows that have left the rest would seem to be there.
      const { error } = result;
      if (error !== undefined && result.statementId === this.statementId) yield `\n${csvError(error)}`;
    }
  }

  private header(series: ResultSeries, apart: boolean): string {
    return `${apart ? '\n' : ''}${['name', 'tags', ...series.columns].map(csvField).join(',')}\n`;
  }

  private *rows(series: ResultSeries): Generator<string> {
    const start = `${csvField(series.name ?? '')},${csvField(csvTags(series.tags ?? {}))}`;
    let text = '';
    let index = 0;
    for (const row of series.values) {
      text += start;
      for (let column = 0; column < row.length; column++) {
        const value = row[column] as Value;
        const isTime = column === series.timeColumn && typeof value === 'bigint';
        text += `,${isTime ? formatEpoch(value, this.epoch) : csvValue(value)}`;
      }
      text += '\n';
      if (index++ % ROWS_PER_SLICE === ROWS_PER_SLICE - 1) {
        yield text;
        text = '';
      }
    }
    if (text !== '') yield text;
  }
}

export function csvError(message: string): string {
  return `error\n${csvField(message)}\n`;
}

function sameColumns(a: ResultSeries, b: ResultSeries): boolean {
  return a.columns.length === b.columns.length && a.columns.every((column, index) => column === b.columns[index]);
}

/** As in a series key: sorted, escaped like line protocol, empty values left out. */
function csvTags(tags: Readonly<Record<string, string>>): string {
  const escaped = (text: string): string => text.replace(/[,= ]/g, '\\$&');
  return Object.keys(tags)
    .sort()
    .filter((key) => tags[key] !== '')
    .map((key) => `${escaped(key)}=${escaped(tags[key] as string)}`)
    .join(',');
}

function csvValue(value: Value): string {
  if (value === null) return '';
  if (typeof value === 'string') return csvField(value);
  if (typeof value === 'object') return csvField(value.join(' '));
  return typeof value === 'number' ? csvNumber(value) : String(value);
}

/** Shortest decimal digits and never an exponent. */
function csvNumber(value: number): string {
  if (Object.is(value, -0)) return '-0';
  const text = String(value);
  const match = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (match === null) return text;
  const [, sign = '', whole = '', decimals = '', power] = match;
  const digits = whole + decimals;
  const point = 1 + Number(power);
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  return sign + digits.padEnd(point, '0');
}

/** Go's rule for quotes: separators, quotes, line ends, a blank in front, and the text `\.`. */
function csvField(text: string): string {
  if (text === '' || (!/[",\r\n]/.test(text) && !/^\s/u.test(text) && text !== '\\.')) return text;
  return `"${text.replaceAll('"', '""')}"`;
}
