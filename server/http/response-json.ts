/**
 * Results to JSON, byte for byte as InfluxDB (Go's encoding/json) prints them.
 *
 * Written by hand: JSON.stringify knows no int64, and one string per slice of rows is what the socket wants anyway.
 * Rows are rendered in slices so that a large answer is neither one huge string nor one long stop of the event loop.
 */
import { type ResultSeries, type StatementResult, TableRows, type Value } from '../query/result.ts';
import { type Epoch, formatEpoch, formatRfc3339 } from './response-time.ts';

/** Rows rendered at once: some 50 kB of text, a fraction of a millisecond. */
export const ROWS_PER_SLICE = 1_000;

const NEEDS_ESCAPE = /[\u0000-\u001f"\\<>&\u2028\u2029\ud800-\udfff]/;
const GO_ESCAPES = /[<>&\u2028\u2029]/g;

/** A JSON string with Go's escapes: <, >, & and the line separators as \uXXXX. */
export function jsonString(text: string): string {
  if (!NEEDS_ESCAPE.test(text)) return `"${text}"`;
  return JSON.stringify(text.replace(/\p{Surrogate}/gu, '\ufffd'))
    .replace(/\\([\\"bfnrt])/g, (escaped, letter: string) => {
      if (letter === 'b') return '\\u0008';
      return letter === 'f' ? '\\u000c' : escaped;
    })
    .replace(GO_ESCAPES, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function jsonValue(value: Value): string {
  switch (typeof value) {
    case 'number':
      return jsonNumber(value);
    case 'bigint':
      return String(value);
    case 'string':
      return jsonString(value);
    case 'boolean':
      return value ? 'true' : 'false';
    default:
      return 'null';
  }
}

function jsonNumber(value: number): string {
  // JSON has no infinities; -0 keeps its sign as in Go.
  if (!Number.isFinite(value)) return 'null';
  return value === 0 && Object.is(value, -0) ? '-0' : String(value);
}

function jsonTime(value: Value, epoch: Epoch | null): string {
  if (typeof value !== 'bigint') return jsonValue(value);
  return epoch === null ? `"${formatRfc3339(value)}"` : formatEpoch(value, epoch);
}

/** `[..],[..]` for the rows from `start` to `end`. */
export function jsonRows(series: ResultSeries, epoch: Epoch | null, start: number, end: number): string {
  const { timeColumn, values } = series;
  if (values instanceof TableRows) return jsonTable(values.slice(start, end), epoch);
  let text = '';
  for (let index = start; index < end; index++) {
    const row = values[index] as readonly Value[];
    text += index > start ? ',[' : '[';
    for (let column = 0; column < row.length; column++) {
      if (column > 0) text += ',';
      const value = row[column] as Value;
      text += column === timeColumn ? jsonTime(value, epoch) : jsonValue(value);
    }
    text += ']';
  }
  return text;
}

/** Texts of the times of the last series, by row: groups of one statement mostly have the same times. */
const timesSeen: bigint[] = [];
const timeTexts: string[] = [];
let epochSeen: Epoch | null = null;

function jsonTable({ times, columns, from, to }: TableRows, epoch: Epoch | null): string {
  if (epoch !== epochSeen) timesSeen.length = 0;
  epochSeen = epoch;
  let text = '';
  for (let row = from; row < to; row++) {
    const time = times[row]!;
    const place = row - from;
    if (timesSeen[place] !== time) {
      timesSeen[place] = time;
      timeTexts[place] = jsonTime(time, epoch);
    }
    text += row > from ? ',[' : '[';
    text += timeTexts[place]!;
    for (let c = 0; c < columns.length; c++) {
      const column = columns[c]!;
      text += ',';
      text += column instanceof Float64Array ? jsonNumber(column[row]!) : jsonValue(column[row]!);
    }
    text += ']';
  }
  return text;
}

function seriesHead(series: ResultSeries): string {
  const parts: string[] = [];
  if (series.name !== undefined && series.name !== '') parts.push(`"name":${jsonString(series.name)}`);
  const tags = Object.keys(series.tags ?? {}).sort();
  if (series.tags !== undefined && tags.length > 0) {
    const of = series.tags;
    parts.push(`"tags":{${tags.map((key) => `${jsonString(key)}:${jsonString(of[key] as string)}`).join(',')}}`);
  }
  if (series.columns.length > 0) parts.push(`"columns":[${series.columns.map(jsonString).join(',')}]`);
  return parts.join(',');
}

function* seriesPieces(series: ResultSeries, epoch: Epoch | null): Generator<string> {
  const head = seriesHead(series);
  const rows = series.values.length;
  let text = `{${head}`;
  if (rows > 0) text += `${head === '' ? '' : ','}"values":[`;
  for (let start = 0; start < rows; start += ROWS_PER_SLICE) {
    text += jsonRows(series, epoch, start, Math.min(start + ROWS_PER_SLICE, rows));
    if (start + ROWS_PER_SLICE < rows) {
      yield `${text},`;
      text = '';
    }
  }
  if (rows > 0) text += ']';
  if (series.partial === true) text += `${rows > 0 || head !== '' ? ',' : ''}"partial":true`;
  yield `${text}}`;
}

function* resultPieces(result: StatementResult, epoch: Epoch | null): Generator<string> {
  yield `{"statement_id":${result.statementId}`;
  const series = result.series ?? [];
  for (let index = 0; index < series.length; index++) {
    yield index === 0 ? ',"series":[' : ',';
    yield* seriesPieces(series[index] as ResultSeries, epoch);
  }
  let text = series.length > 0 ? ']' : '';
  if (result.messages !== undefined && result.messages.length > 0) {
    const messages = result.messages.map((one) => `{"level":${jsonString(one.level)},"text":${jsonString(one.text)}}`);
    text += `,"messages":[${messages.join(',')}]`;
  }
  if (result.partial === true) text += ',"partial":true';
  if (result.error !== undefined) text += `,"error":${jsonString(result.error)}`;
  if (result.completeness !== undefined) {
    const { complete, missing_shards: missing, converged_through: through } = result.completeness;
    text += `,"completeness":{"complete":${complete},"missing_shards":[${missing.map(jsonString).join(',')}]`;
    text += `,"converged_through":${through === null ? 'null' : jsonValue(through)}}`;
  }
  yield `${text}}`;
}

/** One document with these results and the newline behind it, in pieces that together are the text. */
export function* jsonPieces(results: readonly StatementResult[], epoch: Epoch | null): Generator<string> {
  if (results.length === 0) {
    // A text without statements; InfluxDB leaves the empty list out.
    yield '{}\n';
    return;
  }
  for (let index = 0; index < results.length; index++) {
    yield index === 0 ? '{"results":[' : ',';
    yield* resultPieces(results[index] as StatementResult, epoch);
  }
  yield ']}\n';
}

export function jsonError(message: string): string {
  return `{"error":${jsonString(message)}}\n`;
}

/** Compact JSON with line breaks and four blanks a level, as Go's MarshalIndent prints it. */
export function indentJson(compact: string): string {
  let text = '';
  let depth = 0;
  const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g;
  let opened = false;
  for (let match = token.exec(compact); match !== null; match = token.exec(compact)) {
    const part = match[0];
    const closes = part === '}' || part === ']';
    if (closes) depth--;
    if (opened !== closes) text += `\n${'    '.repeat(depth)}`;
    opened = part === '{' || part === '[';
    if (opened) depth++;
    text += part === ':' ? ': ' : part;
    if (part === ',') text += `\n${'    '.repeat(depth)}`;
  }
  return `${text}\n`;
}
