/**
 * The careful parser: one line of line protocol by the rules of InfluxDB 1.8, with its error texts.
 *
 * InfluxDB reads a line four times, each time with rules of its own: to find its end, to find the end of the key, to
 * check the fields, and to take the fields apart. Where backslashes and quotes stand in odd places these passes
 * disagree, and what clients see is the sum of them. So this parser makes the same passes. The fast parser
 * (line-protocol.ts) takes only lines on which all passes agree and hands everything else here: new series, escapes,
 * odd spacing, extreme numbers, and whatever is wrong.
 *
 * Names and strings have to be well-formed UTF-8, which InfluxDB asks for only with `validate-keys`: other bytes could not
 * be given back in an answer, and two such keys would be one.
 */
import { isUtf8 } from 'node:buffer';
import { BOOLEAN, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from './column.ts';
import { KEY_BYTES_MAX } from './line-protocol-errors.ts';

const FIELD_SEPARATOR_BYTES = 4;
const TIME_RANGE_ERROR = 'time outside range -9223372036854775806 - 9223372036854775806';
const INT64_MAX = 9223372036854775807n;
const INT64_MIN = -9223372036854775808n;
const UINT64_MAX = 18446744073709551615n;
const TIME_MAX = 9223372036854775806n;

const TAB = 9;
const NEWLINE = 10;
const SPACE = 32;
const QUOTE = 34;
const COMMA = 44;
const MINUS = 45;
const PLUS = 43;
const DOT = 46;
const EQUALS = 61;
const BACKSLASH = 92;

/** The reason after `unable to parse '...': `. */
export class LineSyntaxError extends Error {}

export interface CarefulField {
  readonly name: string;
  readonly type: FieldType;
  readonly value: number | bigint | string | boolean;
}

export interface CarefulLine {
  readonly keyStart: number;
  readonly keyEnd: number;
  /** What is behind is the timestamp. */
  readonly fieldsEnd: number;
  readonly fields: readonly CarefulField[];
  /** Nanoseconds; null: the line has no timestamp. */
  readonly timeNs: bigint | null;
}

/** Index of the newline that ends the line starting at `start`, or the length. */
export function endOfLine(body: Uint8Array, start: number): number {
  let quoted = false;
  let inFields = false;
  let equals = 0;
  let commas = 0;
  for (let i = start; i < body.length; i++) {
    const c = body[i]!;
    if (c === BACKSLASH && i + 2 < body.length) {
      i++;
      continue;
    }
    if (c === SPACE) inFields = true;
    if (inFields) {
      if (c === QUOTE && equals > commas) quoted = !quoted;
      else if (!quoted && c === EQUALS) equals++;
      else if (!quoted && c === COMMA) commas++;
    }
    if (c === NEWLINE && !quoted) return i;
  }
  return body.length;
}

export function skipBlanks(body: Uint8Array, start: number, end: number): number {
  let i = start;
  while (i < end && (body[i] === SPACE || body[i] === TAB || body[i] === 0)) i++;
  return i;
}

/** Throws LineSyntaxError. `start` is the first byte that is not blank, `end` is past the last byte of the line. */
export function parseLineCarefully(
  body: Buffer,
  start: number,
  end: number,
  unitNs: bigint,
  keyBytesMax = KEY_BYTES_MAX,
): CarefulLine {
  const keyEnd = scanKey(body, start, end);
  if (keyEnd - start > keyBytesMax) throw tooLong(keyEnd - start, keyBytesMax);
  const fieldsStart = skipBlanks(body, keyEnd, end);
  const fieldsEnd = scanFields(body, fieldsStart, end);
  if (fieldsEnd === fieldsStart) throw new LineSyntaxError('missing fields');
  checkFieldNames(body, fieldsStart, fieldsEnd, keyEnd - start);
  const timeNs = scanTime(body, fieldsEnd, end, unitNs);
  const fields = takeFields(body, fieldsStart, fieldsEnd);
  checkUtf8(body.subarray(start, keyEnd));
  return { keyStart: start, keyEnd, fieldsEnd, fields, timeNs };
}

function checkUtf8(bytes: Buffer): Buffer {
  if (!isUtf8(bytes)) throw new LineSyntaxError('invalid UTF-8');
  return bytes;
}

function tooLong(bytes: number, max: number): LineSyntaxError {
  return new LineSyntaxError(`max key length exceeded: ${bytes} > ${max}`);
}

/** End of measurement and tags. Here a delimiter counts unless the byte before it is a backslash. */
function scanKey(body: Buffer, start: number, end: number): number {
  if (start >= end || body[start] === COMMA) throw new LineSyntaxError('missing measurement');
  let i = start;
  for (;;) {
    i++;
    if (i >= end) throw new LineSyntaxError('missing fields');
    if (body[i - 1] === BACKSLASH) continue;
    if (body[i] === SPACE) return i;
    if (body[i] === COMMA) break;
  }
  const names: Buffer[] = [];
  for (;;) {
    const equals = scanTagKey(body, i + 1, end);
    names.push(body.subarray(i + 1, equals));
    i = scanTagValue(body, equals + 1, end);
    if (body[i] === SPACE) break;
  }
  names.sort(Buffer.compare);
  for (let j = 1; j < names.length; j++) {
    if (names[j - 1]!.equals(names[j]!)) throw new LineSyntaxError('duplicate tags');
  }
  return i;
}

function scanTagKey(body: Buffer, start: number, end: number): number {
  const first = body[start];
  if (start >= end || first === SPACE || first === COMMA || first === EQUALS) {
    throw new LineSyntaxError('missing tag key');
  }
  for (let i = start + 1; ; i++) {
    if (i >= end) throw new LineSyntaxError('missing tag value');
    if (body[i - 1] === BACKSLASH) continue;
    if (body[i] === SPACE || body[i] === COMMA) throw new LineSyntaxError('missing tag value');
    if (body[i] === EQUALS) return i;
  }
}

function scanTagValue(body: Buffer, start: number, end: number): number {
  if (start >= end || body[start] === COMMA || body[start] === SPACE) throw new LineSyntaxError('missing tag value');
  for (let i = start + 1; ; i++) {
    if (i >= end) throw new LineSyntaxError('missing fields');
    if (body[i - 1] === BACKSLASH) continue;
    if (body[i] === EQUALS) throw new LineSyntaxError('invalid tag format');
    if (body[i] === SPACE || body[i] === COMMA) return i;
  }
}

/** Checks the fields and returns their end. Here a backslash hides the byte after it, whatever stood before. */
function scanFields(body: Buffer, start: number, end: number): number {
  let i = start;
  let quoted = false;
  let equals = 0;
  let commas = 0;
  while (i < end) {
    const c = body[i]!;
    if (c === BACKSLASH && i + 1 < end) {
      i += 2;
      continue;
    }
    if (c === QUOTE && equals > commas) {
      quoted = !quoted;
      i++;
      continue;
    }
    if (c === EQUALS && !quoted) {
      equals++;
      const before = body[i - 1];
      if ((before === SPACE || before === COMMA) && body[i - 2] !== BACKSLASH) {
        throw new LineSyntaxError('missing field key');
      }
      const first = body[i + 1]!;
      if (i + 1 >= end || first === COMMA || first === SPACE) throw new LineSyntaxError('missing field value');
      if (isNumberByte(first) || first === MINUS || first === 78 || first === 110) {
        i = scanNumber(body, i + 1, end);
        continue;
      }
      if (first !== QUOTE) {
        i = scanBoolean(body, i + 1, end);
        continue;
      }
    }
    if (c === COMMA && !quoted) commas++;
    if (c === SPACE && !quoted) break;
    i++;
  }
  if (quoted) throw new LineSyntaxError('unbalanced quotes');
  if (equals === 0 || commas !== equals - 1) throw new LineSyntaxError('invalid field format');
  return Math.min(i, end);
}

function isNumberByte(c: number): boolean {
  return (c >= 48 && c <= 57) || c === DOT;
}

function scanNumber(body: Buffer, start: number, end: number): number {
  const invalid = () => new LineSyntaxError('invalid number');
  let i = start;
  if (body[i] === MINUS && ++i === end) throw invalid();
  let suffix = 0;
  let decimal = false;
  let scientific = false;
  for (; i < end && body[i] !== COMMA && body[i] !== SPACE; i++) {
    const c = body[i]!;
    if ((c === 105 || c === 117) && i > start && suffix === 0) {
      suffix = c;
      continue;
    }
    if (c === DOT) {
      if (decimal) throw invalid();
      decimal = true;
    }
    if ((c === 101 || c === 69) && i > start) {
      scientific = true;
      continue;
    }
    const before = body[i - 1];
    if ((c === PLUS || c === MINUS) && (before === 101 || before === 69)) continue;
    if (!isNumberByte(c)) throw invalid();
  }
  if (suffix !== 0 && (decimal || scientific)) throw invalid();
  let digits = i - start;
  if (suffix === 105) digits--;
  if (decimal) digits--;
  if (body[start] === MINUS) digits--;
  if (digits === 0) throw invalid();
  if (suffix !== 0) {
    if (body[i - 1] !== suffix || (suffix === 117 && body[start] === MINUS)) throw invalid();
    const text = body.toString('latin1', start, i - 1);
    const problem = suffix === 105 ? integerProblem(text) : unsignedProblem(text);
    if (problem !== null) throw new LineSyntaxError(`unable to parse ${problem}`);
  } else if (!Number.isFinite(Number(body.toString('latin1', start, i)))) {
    throw new LineSyntaxError('invalid float');
  }
  return i;
}

function integerProblem(text: string): string | null {
  if (!/^-?\d+$/.test(text)) {
    return `integer ${text}: strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`;
  }
  const value = bigDigits(text);
  if (value !== null && value >= INT64_MIN && value <= INT64_MAX) return null;
  return `integer ${text}: strconv.ParseInt: parsing ${JSON.stringify(text)}: value out of range`;
}

function unsignedProblem(text: string): string | null {
  if (!/^\d+$/.test(text)) {
    return `unsigned ${text}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;
  }
  const value = bigDigits(text);
  if (value !== null && value <= UINT64_MAX) return null;
  return `unsigned ${text}: strconv.ParseUint: parsing ${JSON.stringify(text)}: value out of range`;
}

/** null: certainly beyond 64 bits. Long digit strings are cut first: making a bigint of them is quadratic. */
function bigDigits(text: string): bigint | null {
  const digits = text.replace(/^(-?)0+(?=\d)/, '$1');
  return digits.length > 21 ? null : BigInt(digits);
}

function scanBoolean(body: Buffer, start: number, end: number): number {
  let i = start + 1;
  while (i < end && body[i] !== COMMA && body[i] !== SPACE) i++;
  if (i - start > 5 || readBoolean(body.toString('latin1', start, i)) === null)
    throw new LineSyntaxError('invalid boolean');
  return i;
}

function readBoolean(text: string): boolean | null {
  switch (text) {
    case 't':
    case 'T':
    case 'true':
    case 'True':
    case 'TRUE':
      return true;
    case 'f':
    case 'F':
    case 'false':
    case 'False':
    case 'FALSE':
      return false;
    default:
      return null;
  }
}

/** Index of the `=` that ends a field's name, or `end`. */
function endOfName(body: Buffer, start: number, end: number): number {
  let i = start;
  while (i < end && !(body[i] === EQUALS && (i === start || body[i - 1] !== BACKSLASH))) i++;
  return i;
}

function endOfValue(body: Buffer, start: number, end: number): number {
  let quoted = false;
  for (let i = start; i < end; i++) {
    const c = body[i];
    if (c === BACKSLASH && i + 1 < end && (body[i + 1] === QUOTE || body[i + 1] === BACKSLASH)) i++;
    else if (c === QUOTE) quoted = !quoted;
    else if (c === COMMA && !quoted) return i;
  }
  return end;
}

function checkFieldNames(body: Buffer, start: number, end: number, keyBytes: number): void {
  for (let i = start; i < end; ) {
    const equals = endOfName(body, i, end);
    if (equals > end - 2) throw new LineSyntaxError(`invalid value: field-key=${body.toString('utf8', i, equals)}`);
    const bytes = keyBytes + FIELD_SEPARATOR_BYTES + equals - i;
    if (bytes > KEY_BYTES_MAX) throw tooLong(bytes, KEY_BYTES_MAX);
    i = endOfValue(body, equals + 1, end) + 1;
  }
}

function takeFields(body: Buffer, start: number, end: number): CarefulField[] {
  const fields: CarefulField[] = [];
  for (let i = start; i < end; ) {
    const equals = endOfName(body, i, end);
    const stop = endOfValue(body, equals + 1, end);
    const name = checkUtf8(body.subarray(i, equals))
      .toString('utf8')
      .replace(/\\([,"= ])/g, '$1');
    // A field without a name cannot be addressed; InfluxDB skips it.
    if (name !== '') fields.push(takeField(name, body, equals + 1, stop));
    i = stop + 1;
  }
  if (fields.length === 0) throw new LineSyntaxError('missing fields');
  return fields;
}

function takeField(name: string, body: Buffer, start: number, end: number): CarefulField {
  const first = body[start]!;
  if (start >= end) throw new LineSyntaxError(`invalid value: field-key=${name}`);
  if (first === QUOTE) {
    // InfluxDB drops the first and the last byte, whatever the last one is.
    const inner = checkUtf8(body.subarray(start + 1, Math.max(start + 1, end - 1))).toString('utf8');
    return { name, type: STRING, value: inner.includes('\\') ? inner.replace(/\\([\\"])/g, '$1') : inner };
  }
  const text = body.toString('latin1', start, end);
  if (isNumberByte(first) || first === MINUS) {
    const last = text[text.length - 1];
    const digits = text.slice(0, -1);
    if (last === 'i' && integerProblem(digits) === null) return { name, type: INTEGER, value: bigDigits(digits)! };
    if (last === 'u' && unsignedProblem(digits) === null) return { name, type: UNSIGNED, value: bigDigits(digits)! };
    const value = /^[-+.\deE]+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isFinite(value)) return { name, type: FLOAT, value };
    throw new LineSyntaxError(`unable to parse floating point value ${JSON.stringify(text)}`);
  }
  const value = readBoolean(text);
  if (value === null) throw new LineSyntaxError(`unable to parse bool value ${JSON.stringify(text)}`);
  return { name, type: BOOLEAN, value };
}

function scanTime(body: Buffer, fieldsEnd: number, end: number, unitNs: bigint): bigint | null {
  const start = skipBlanks(body, fieldsEnd, end);
  let i = start;
  while (i < end && body[i] !== NEWLINE && body[i] !== SPACE) {
    const c = body[i]!;
    if (!(i === start && c === MINUS) && (c < 48 || c > 57)) throw new LineSyntaxError('bad timestamp');
    i++;
  }
  if (i === start) return null;
  const text = body.toString('latin1', start, i);
  const problem = integerProblem(text);
  if (problem !== null) throw new LineSyntaxError(problem.slice(problem.indexOf('strconv')));
  const timeNs = bigDigits(text)! * unitNs;
  if (timeNs > TIME_MAX || timeNs < -TIME_MAX) throw new LineSyntaxError(TIME_RANGE_ERROR);
  for (; i < end; i++) if (body[i] !== SPACE) throw new LineSyntaxError('point is invalid');
  return timeNs;
}
