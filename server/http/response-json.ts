/**
 * Results to JSON, byte for byte as InfluxDB (Go's encoding/json) prints them.
 *
 * Written by hand: JSON.stringify knows no int64, and typed arrays go straight to bytes. Answers leave in pieces, so that
 * a large one is neither one huge text nor one long stop of the event loop.
 */
import { type ResultSeries, type StatementResult, TableRows, type Value } from '../query/result.ts';
import { JsonWriter, jsonString } from './json-writer.ts';
import { type Epoch, formatEpoch, formatRfc3339, rowUnit, unitFor, wholeUnits, Zone } from './response-time.ts';

const COMMA = 44;
const OPEN = 91;
const CLOSE = 93;

const NO_HALVES = new Int32Array(0);

let shared: JsonWriter | null = null;

/** Renders one answer; knows what the series of a statement have in common. */
class Renderer {
  readonly #writer: JsonWriter;
  readonly #epoch: Epoch | null;
  /** 0: times are written as texts. */
  readonly #unit: number;
  /** The same where the kernel writes whole rows. */
  readonly #rowUnit: number;
  /** Texts of the times of the last series, by row: groups of one statement mostly have the same times. */
  readonly #timesSeen: bigint[] = [];
  readonly #timeTexts: string[] = [];
  /** Columns of the last table: series of a statement mostly share one. */
  #tableSeen: TableRows['columns'] | null = null;
  #floats: readonly Float64Array[] | null = null;
  /** Times of the last table. */
  #halved: BigInt64Array | null = null;
  #halves: Int32Array = NO_HALVES;
  /** tz() of the series at hand, where times are dates. */
  #zone: Zone | null = null;
  /** Of the last series. */
  #head: Head | null = null;

  constructor(writer: JsonWriter, epoch: Epoch | null) {
    this.#writer = writer;
    this.#epoch = epoch;
    this.#unit = unitFor(epoch);
    this.#rowUnit = rowUnit(epoch);
  }

  /** Yields whenever a piece should leave; the caller takes it from the writer. */
  *results(results: readonly StatementResult[]): Generator<void> {
    const writer = this.#writer;
    if (results.length === 0) {
      // A text without statements; InfluxDB leaves the empty list out.
      writer.raw('{}\n');
      return;
    }
    for (let index = 0; index < results.length; index++) {
      writer.raw(index === 0 ? '{"results":[' : ',');
      yield* this.#result(results[index] as StatementResult);
    }
    writer.raw(']}\n');
  }

  *#result(result: StatementResult): Generator<void> {
    const writer = this.#writer;
    writer.raw(`{"statement_id":${result.statementId}`);
    const series = result.series ?? [];
    for (let index = 0; index < series.length; index++) {
      writer.raw(index === 0 ? ',"series":[' : ',');
      const one = series[index] as ResultSeries;
      const rows = one.values.length;
      this.#begin(one);
      // A generator per series would be most of the garbage of an answer of many short ones.
      for (let row = 0; row < rows; ) {
        row = this.#rows(one, row);
        if (writer.isPiece) yield;
      }
      this.#end(one);
      if (writer.isPiece) yield;
    }
    let text = series.length > 0 ? ']' : '';
    if (result.messages !== undefined && result.messages.length > 0) {
      const messages = result.messages.map(
        (one) => `{"level":${jsonString(one.level)},"text":${jsonString(one.text)}}`,
      );
      text += `,"messages":[${messages.join(',')}]`;
    }
    if (result.partial === true) text += ',"partial":true';
    if (result.error !== undefined) text += `,"error":${jsonString(result.error)}`;
    if (result.completeness !== undefined) {
      text += `,"completeness":${JSON.stringify(result.completeness)}`;
    }
    writer.raw(`${text}}`);
  }

  /** Up to the rows; most of it is what it was for the series before. */
  #begin(series: ResultSeries): void {
    const writer = this.#writer;
    this.#enter(series.timeZone);
    const { keys, before, behind } = this.#headOf(series);
    for (let i = 0; i < keys.length; i++) {
      writer.bytes(before[i]!);
      writer.string(series.tags![keys[i]!]!);
    }
    writer.bytes(behind);
  }

  #enter(timeZone: string | undefined): void {
    const name = this.#epoch === null ? timeZone : undefined;
    if (name === this.#zone?.name) return;
    this.#zone = name === undefined ? null : new Zone(name);
    this.#timesSeen.length = 0;
  }

  #end({ name, tags, columns, values, partial }: ResultSeries): void {
    const writer = this.#writer;
    if (values.length > 0) writer.byte(CLOSE);
    if (partial === true) {
      const isFirst = values.length === 0 && columns.length === 0 && !name && Object.keys(tags ?? {}).length === 0;
      writer.raw(isFirst ? '"partial":true' : ',"partial":true');
    }
    writer.raw('}');
  }

  /** Writes rows until a piece is full, and returns the first one that is left. */
  #rows({ values, timeColumn }: ResultSeries, first: number): number {
    return values instanceof TableRows ? this.#table(values, first) : this.#lists(values, timeColumn, first);
  }

  #headOf(series: ResultSeries): Head {
    let head = this.#head;
    if (head === null || !isHeadOf(head, series)) {
      head = makeHead(series);
      this.#head = head;
    }
    return head;
  }

  #table({ times, columns, from, to }: TableRows, first: number): number {
    const writer = this.#writer;
    // The kernel writes dates of UTC alone.
    const floats = this.#zone === null ? this.#floatsOf(columns) : null;
    let row = from + first;
    while (row < to) {
      if (row > from) writer.byte(COMMA);
      const next = floats === null ? row : writer.rows(times, floats, this.#rowUnit, row, to);
      if (next > row) row = next;
      else {
        this.#row(times, columns, row, row - from);
        row++;
      }
      if (writer.isPiece) break;
    }
    return row - from;
  }

  #row(times: BigInt64Array, columns: TableRows['columns'], row: number, place: number): void {
    const writer = this.#writer;
    const unit = this.#unit;
    writer.byte(OPEN);
    const units = unit === 0 ? -1 : wholeUnits(this.#halvesOf(times), row, unit);
    if (units >= 0) writer.number(units);
    else writer.raw(this.#timeText(times[row]!, place));
    for (let c = 0; c < columns.length; c++) {
      const column = columns[c]!;
      writer.byte(COMMA);
      if (column instanceof Float64Array) writer.number(column[row]!);
      else this.#value(column[row]!);
    }
    writer.byte(CLOSE);
  }

  #lists(rows: readonly (readonly Value[])[], timeColumn: number, first: number): number {
    const writer = this.#writer;
    for (let index = first; index < rows.length; index++) {
      if (index > 0) writer.byte(COMMA);
      writer.byte(OPEN);
      const row = rows[index]!;
      for (let column = 0; column < row.length; column++) {
        if (column > 0) writer.byte(COMMA);
        const value = row[column]!;
        if (column === timeColumn && typeof value === 'bigint') writer.raw(this.#time(value));
        else this.#value(value);
      }
      writer.byte(CLOSE);
      if (writer.isPiece) return index + 1;
    }
    return rows.length;
  }

  #halvesOf(times: BigInt64Array): Int32Array {
    if (times !== this.#halved) {
      this.#halved = times;
      this.#halves = new Int32Array(times.buffer, times.byteOffset, times.length * 2);
    }
    return this.#halves;
  }

  /** The columns when all of them are of numbers, else null. */
  #floatsOf(columns: TableRows['columns']): readonly Float64Array[] | null {
    if (columns !== this.#tableSeen) {
      this.#tableSeen = columns;
      this.#floats = columns.every((column) => column instanceof Float64Array) ? columns : null;
    }
    return this.#floats;
  }

  #timeText(time: bigint, place: number): string {
    if (this.#timesSeen[place] !== time) {
      this.#timesSeen[place] = time;
      this.#timeTexts[place] = this.#time(time);
    }
    return this.#timeTexts[place]!;
  }

  #time(time: bigint): string {
    return this.#epoch === null ? `"${formatRfc3339(time, this.#zone)}"` : formatEpoch(time, this.#epoch);
  }

  #value(value: Value): void {
    const writer = this.#writer;
    if (typeof value === 'number') writer.number(value);
    else if (typeof value === 'string') writer.string(value);
    else if (typeof value !== 'object' || value === null) writer.raw(String(value));
    else {
      writer.byte(OPEN);
      for (const [at, text] of value.entries()) {
        if (at > 0) writer.byte(COMMA);
        writer.string(text);
      }
      writer.byte(CLOSE);
    }
  }
}

/** What a series has in front of its rows, but for the values of its tags. */
interface Head {
  readonly name: string | undefined;
  readonly columns: readonly string[];
  /** Tag keys as they came. */
  readonly names: readonly string[];
  readonly hasRows: boolean;
  /** Tag keys as they are written, and the text in front of each one's value. */
  readonly keys: readonly string[];
  readonly before: readonly Buffer[];
  /** The text behind the last one's. */
  readonly behind: Buffer;
}

function isHeadOf(head: Head, { name, tags, columns, values }: ResultSeries): boolean {
  if (name !== head.name || columns !== head.columns || values.length > 0 !== head.hasRows) return false;
  let same = 0;
  for (const key in tags) if (head.names[same++] !== key) return false;
  return same === head.names.length;
}

function makeHead({ name, tags, columns, values }: ResultSeries): Head {
  const names = Object.keys(tags ?? {});
  const keys = [...names].sort();
  const hasRows = values.length > 0;
  const named = name !== undefined && name !== '' ? [`"name":${jsonString(name)}`] : [];
  const open = named.length > 0 ? `{${named[0]!},"tags":{` : '{"tags":{';
  const before = keys.map((key, i) => Buffer.from(`${i === 0 ? open : ','}${jsonString(key)}:`));
  const members = [
    ...(columns.length > 0 ? [`"columns":[${columns.map(jsonString).join(',')}]`] : []),
    ...(hasRows ? ['"values":['] : []),
  ];
  const behind =
    keys.length > 0 ? ['}', ...members.map((text) => `,${text}`)].join('') : `{${[...named, ...members].join(',')}`;
  return { name, columns, names, hasRows, keys, before, behind: Buffer.from(behind) };
}

/** One document with these results and the newline behind it, in pieces that together are the text. */
export function* jsonPieces(results: readonly StatementResult[], epoch: Epoch | null): Generator<Buffer> {
  shared ??= new JsonWriter();
  const writer = shared;
  // Nothing of an answer that broke off is left for this one.
  writer.take();
  for (const _ of new Renderer(writer, epoch).results(results)) yield writer.take();
  yield writer.take();
}

export function jsonError(message: string): string {
  return `{"error":${jsonString(message)}}\n`;
}

/** Compact JSON with line breaks and four blanks a level, as Go's MarshalIndent prints it. */
export function indentJson(compact: string): string {
  return [...indented([Buffer.from(compact)])].join('');
}

/** The same piece by piece; each ends behind a token. */
export function* indented(pieces: Iterable<Buffer>): Generator<string> {
  const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g;
  let depth = 0;
  let opened = false;
  for (const piece of pieces) {
    const compact = piece.toString();
    let text = '';
    token.lastIndex = 0;
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
    yield text;
  }
  yield '\n';
}
