/**
 * Parameters of /query: from the URL, a form body or a multipart body; the body's come first, as in InfluxDB.
 *
 * An empty value is an absent one: clients send `epoch=&rp=&params=null`. Text that is no UTF-8 is refused, as in writes.
 */
import { isAscii, isUtf8 } from 'node:buffer';
import type { ReadLevel } from '../../repair/levelling.ts';
import { type Epoch, epochOf } from './response-time.ts';

/** Rows of a chunk when `chunk_size` is absent or no positive number. */
export const CHUNK_ROWS_DEFAULT = 10_000;
/** Bound of what one chunk holds in memory, whatever `chunk_size` asks for. */
export const CHUNK_ROWS_MAX = 1_000_000;

/** What is looked for, or shown: with other characters it would be something else. */
const TEXTS = ['q', 'db', 'rp', 'params'] as const;
const [PERCENT, PLUS, SPACE] = [0x25, 0x2b, 0x20];

/** As for writes; one replica is read anyway. */
const CONSISTENCIES: readonly string[] = ['', 'any', 'one', 'quorum', 'all'];

export interface QueryParameters {
  readonly text: string;
  readonly database: string | undefined;
  readonly retentionPolicy: string | undefined;
  readonly epoch: Epoch | null;
  readonly params: Readonly<Record<string, unknown>> | undefined;
  readonly chunkSize: number | null;
  /** It runs behind its answer. */
  readonly isAsync: boolean;
  readonly pretty: boolean;
  readonly completeness: boolean;
  readonly consistency: ReadLevel | undefined;
}

export type Fields = ReadonlyMap<string, string>;

/** Stands for bytes that are no UTF-8: half of a pair, which no bytes read as. */
export const NO_TEXT = '\ud800';

/** Of the query of a URL, which has no characters beyond ASCII; as URLSearchParams, but for bytes that are no UTF-8. */
export function fieldsOfQuery(query: string): Map<string, string> {
  return fieldsOf(query, unescaped);
}

function fieldsOf(query: string, textOf: (escaped: string) => string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = textOf(equals < 0 ? pair : pair.slice(0, equals));
    if (!fields.has(name)) fields.set(name, equals < 0 ? '' : textOf(pair.slice(equals + 1)));
  }
  return fields;
}

function unescaped(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    // Bytes that are no UTF-8, or a % without digits.
    return unescapedBytes(text);
  }
}

const ESCAPE = /^[0-9a-fA-F]{2}$/;

/** `escaped`: a character for each byte. A % without digits is one. */
function unescapedBytes(escaped: string): string {
  const bytes = Buffer.allocUnsafe(escaped.length);
  let length = 0;
  for (let at = 0; at < escaped.length; at++) {
    const code = escaped.charCodeAt(at);
    const digits = code === PERCENT ? escaped.slice(at + 1, at + 3) : '';
    const isEscape = ESCAPE.test(digits);
    bytes[length++] = isEscape ? Number.parseInt(digits, 16) : code === PLUS ? SPACE : code;
    if (isEscape) at += 2;
  }
  return textOf(bytes.subarray(0, length));
}

function textOf(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString('utf8') : NO_TEXT;
}

/** Fields of the body; none when its type is no form. */
export function fieldsOfBody(contentType: string, body: Buffer): Map<string, string> {
  const type = (contentType.split(';', 1)[0] as string).trim().toLowerCase();
  if (type === 'application/x-www-form-urlencoded')
    return fieldsOf(body.toString('latin1'), isAscii(body) ? unescaped : unescapedBytes);
  const boundary = /;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  if (type !== 'multipart/form-data' || boundary === null) return new Map();
  return fieldsOfMultipart(body, (boundary[1] ?? boundary[2]) as string);
}

/** Values of the parts by name; a file counts as its content (`curl -F "q=<queries.txt"`). */
function fieldsOfMultipart(body: Buffer, boundary: string): Map<string, string> {
  const fields = new Map<string, string>();
  const limit = Buffer.from(`--${boundary}`);
  for (let from = body.indexOf(limit); from >= 0; ) {
    const start = from + limit.length;
    const end = body.indexOf(limit, start);
    if (end < 0) break;
    const headEnd = body.indexOf('\r\n\r\n', start);
    if (headEnd >= 0 && headEnd < end) {
      const name = /name="([^"]*)"/i.exec(body.toString('utf8', start, headEnd))?.[1];
      const value = textOf(body.subarray(headEnd + 4, Math.max(headEnd + 4, end - 2)));
      if (name !== undefined && !fields.has(name)) fields.set(name, value);
    }
    from = end;
  }
  return fields;
}

/** The parameters, or the error to answer with status 400. */
export function queryParameters(fields: Fields): QueryParameters | string {
  const get = (name: string): string => fields.get(name) ?? '';
  for (const name of TEXTS) if (fields.get(name) === NO_TEXT) return `invalid UTF-8 in parameter "${name}"`;
  const text = get('q').trim();
  if (text === '') return 'missing required parameter "q"';
  let params: Record<string, unknown> | undefined;
  if (get('params') !== '') {
    const parsed = parseParams(get('params'));
    if (typeof parsed === 'string') return parsed;
    params = parsed;
  }
  const consistency = get('consistency').toLowerCase();
  if (!CONSISTENCIES.includes(consistency)) return 'invalid consistency level';
  return {
    text,
    database: get('db') || undefined,
    retentionPolicy: get('rp') || undefined,
    epoch: epochOf(get('epoch')),
    params,
    chunkSize: get('chunked') === 'true' ? chunkRows(get('chunk_size')) : null,
    pretty: get('pretty') === 'true',
    isAsync: get('async') === 'true',
    completeness: get('completeness') === '1' || get('completeness') === 'true',
    consistency: consistency === 'quorum' || consistency === 'all' ? consistency : undefined,
  };
}

function chunkRows(parameter: string): number {
  if (!/^\+?\d+$/.test(parameter) || Number(parameter) === 0) return CHUNK_ROWS_DEFAULT;
  return Math.min(Number(parameter), CHUNK_ROWS_MAX);
}

/** Numbers without a point are integers of 64 bits, as Go reads them here; what such a one is called until it is one. */
const INTEGER = '\u0000int64:';
const WHOLE = /^-?(?:0|[1-9]\d*)(?:[eE][-+]?\d+)?$/;
const INT64_DIGITS_MAX = 19;
const SHOWN_MAX = 100;
const [QUOTE, BACKSLASH, MINUS] = [0x22, 0x5c, 0x2d];
const NUMBER_PART = /[-+.0-9eE]/;

/** A number without a point that is no integer of 64 bits. */
class NoInteger {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }

  get problem(): string {
    const why = /e/i.test(this.text) ? 'invalid syntax' : 'value out of range';
    return `strconv.ParseInt: parsing "${this.text.slice(0, SHOWN_MAX)}": ${why}`;
  }
}

/** Numbers without a point as strings that say so. By hand: an expression for strings takes the square of their length. */
function withIntegers(json: string): string {
  let text = '';
  let from = 0;
  let isText = false;
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === BACKSLASH) at++;
    else if (code === QUOTE) isText = !isText;
    if (isText || !(code === MINUS || isDigit(code))) continue;
    const start = at;
    while (at + 1 < json.length && NUMBER_PART.test(json[at + 1]!)) at++;
    const number = json.slice(start, at + 1);
    if (!WHOLE.test(number)) continue;
    text += json.slice(from, start) + JSON.stringify(INTEGER + number);
    from = at + 1;
  }
  return text + json.slice(from);
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function integerOf(text: string): bigint | NoInteger {
  if (/e/i.test(text) || text.length > INT64_DIGITS_MAX + 1) return new NoInteger(text);
  const value = BigInt(text);
  return BigInt.asIntN(64, value) === value ? value : new NoInteger(text);
}

/** The values by name, or the error. */
function parseParams(json: string): Record<string, unknown> | string {
  const marked = withIntegers(json);
  let value: unknown;
  try {
    value = JSON.parse(marked, (key, inner: unknown) => {
      if (key.startsWith(INTEGER)) throw new SyntaxError('a number is no name');
      return typeof inner === 'string' && inner.startsWith(INTEGER) ? integerOf(inner.slice(INTEGER.length)) : inner;
    });
  } catch (error) {
    return `error parsing query parameters: ${isCutOff(error as Error, marked) ? 'unexpected EOF' : 'invalid JSON'}`;
  }
  if (value === null) return {};
  if (typeof value === 'object' && !Array.isArray(value) && !(value instanceof NoInteger)) return valuesIn(value);
  const isNumber = typeof value === 'bigint' || value instanceof NoInteger;
  const type = Array.isArray(value)
    ? 'array'
    : typeof value === 'boolean'
      ? 'bool'
      : isNumber
        ? 'number'
        : typeof value;
  return `error parsing query parameters: json: cannot unmarshal ${type} into Go value of type map[string]interface {}`;
}

function isCutOff({ message }: Error, json: string): boolean {
  const position = /at position (\d+)/.exec(message)?.[1];
  return /end of JSON input|Unterminated/.test(message) || (position !== undefined && Number(position) >= json.length);
}

/** Numbers inside of values may be any: `{"float": 1e3}`. */
function valuesIn(params: object): Record<string, unknown> | string {
  const values: [string, unknown][] = [];
  for (const [name, value] of Object.entries(params)) {
    if (value instanceof NoInteger) return `error parsing json value: ${value.problem}`;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    values.push([name, isObject ? withNumbers(value) : value]);
  }
  // Not one by one: `__proto__` may be among the names.
  return Object.fromEntries(values);
}

function withNumbers(value: object): object {
  const numbers = Object.entries(value).map(([name, inner]) => [
    name,
    inner instanceof NoInteger ? Number(inner.text) : inner,
  ]);
  return Object.fromEntries(numbers);
}
