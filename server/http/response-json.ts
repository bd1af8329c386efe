/**
 * Results to JSON, byte for byte as InfluxDB (Go's encoding/json) prints them.
 *
 * Written by hand: JSON.stringify knows no int64, and typed arrays go straight to bytes. Answers leave in pieces, so that
 * a large one is neither one huge text nor one long stop of the event loop.
 */
import { type ResultSeries, type StatementResult, TableRows, type Value } from '../query/result.ts';
import { JsonWriter, jsonString } from './json-writer.ts';
import { type Epoch, formatEpoch, formatRfc3339 } from './response-time.ts';

const COMMA = 44;
const OPEN = 91;
const CLOSE = 93;

let shared: JsonWriter | null = null;

/** Renders one answer; knows what the series of a statement have in common. */
class Renderer {
  readonly #writer: JsonWriter;
  readonly #epoch: Epoch | null;
  /** Texts of the times of the last series, by row: groups of one statement mostly have the same times. */
  readonly #timesSeen: bigint[] = [];
  readonly #timeTexts: string[] = [];
  /** Tag keys of the last series, as they came and as they are written. */
  #tagNamesSeen: readonly string[] = [];
  #tagKeys: readonly { readonly key: string; readonly text: string }[] = [];
  #columnsSeen: readonly string[] | null = null;
  #columnsText: Buffer = Buffer.alloc(0);

  constructor(writer: JsonWriter, epoch: Epoch | null) {
    this.#writer = writer;
    this.#epoch = epoch;
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
      const { complete, missing_shards: missing, converged_through: through } = result.completeness;
      text += `,"completeness":{"complete":${complete},"missing_shards":[${missing.map(jsonString).join(',')}]`;
      text += `,"converged_through":${through === null ? 'null' : String(through)}}`;
    }
    writer.raw(`${text}}`);
  }

  #begin(series: ResultSeries): void {
    const writer = this.#writer;
    writer.raw('{');
    const hasHead = this.#head(series);
    if (series.values.length > 0) writer.raw(hasHead ? ',"values":[' : '"values":[');
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

  #head({ name, tags, columns }: ResultSeries): boolean {
    const writer = this.#writer;
    let has = false;
    if (name !== undefined && name !== '') {
      writer.raw('"name":');
      writer.string(name);
      has = true;
    }
    if (tags !== undefined) {
      const keys = this.#tagKeysOf(tags);
      for (let i = 0; i < keys.length; i++) {
        const { key, text } = keys[i]!;
        if (i === 0) writer.raw(has ? ',"tags":{' : '"tags":{');
        else writer.byte(COMMA);
        writer.raw(text);
        writer.string(tags[key]!);
      }
      if (keys.length > 0) writer.byte(125);
      has ||= keys.length > 0;
    }
    if (columns.length > 0) {
      if (has) writer.byte(COMMA);
      if (columns !== this.#columnsSeen) {
        this.#columnsText = Buffer.from(`"columns":[${columns.map(jsonString).join(',')}]`);
        this.#columnsSeen = columns;
      }
      writer.bytes(this.#columnsText);
      has = true;
    }
    return has;
  }

  /** The keys in order, with the text in front of each value; those of the last series when it had the same. */
  #tagKeysOf(tags: Readonly<Record<string, string>>): readonly { readonly key: string; readonly text: string }[] {
    const names = this.#tagNamesSeen;
    let same = 0;
    for (const name in tags) {
      if (names[same] !== name) {
        same = -1;
        break;
      }
      same++;
    }
    if (same !== names.length) {
      this.#tagNamesSeen = Object.keys(tags);
      this.#tagKeys = Object.keys(tags)
        .sort()
        .map((key) => ({ key, text: `${jsonString(key)}:` }));
    }
    return this.#tagKeys;
  }

  #table({ times, columns, from, to }: TableRows, first: number): number {
    const writer = this.#writer;
    for (let row = from + first; row < to; row++) {
      if (row > from) writer.byte(COMMA);
      writer.byte(OPEN);
      writer.raw(this.#timeText(times[row]!, row - from));
      for (let c = 0; c < columns.length; c++) {
        const column = columns[c]!;
        writer.byte(COMMA);
        if (column instanceof Float64Array) writer.number(column[row]!);
        else this.#value(column[row]!);
      }
      writer.byte(CLOSE);
      if (writer.isPiece) return row - from + 1;
    }
    return to - from;
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

  #timeText(time: bigint, place: number): string {
    if (this.#timesSeen[place] !== time) {
      this.#timesSeen[place] = time;
      this.#timeTexts[place] = this.#time(time);
    }
    return this.#timeTexts[place]!;
  }

  #time(time: bigint): string {
    return this.#epoch === null ? `"${formatRfc3339(time)}"` : formatEpoch(time, this.#epoch);
  }

  #value(value: Value): void {
    const writer = this.#writer;
    if (typeof value === 'number') writer.number(value);
    else if (typeof value === 'string') writer.string(value);
    else writer.raw(String(value));
  }
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
