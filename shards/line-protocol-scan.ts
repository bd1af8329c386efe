/**
 * The fast parser's steps over names and values: each returns the index after what it took, or -1 when that is not for
 * the fast parser. Numbers are exact: digits below 2^53 with a power of ten up to 10^22 are one correctly rounded
 * division (Clinger 1990), all others go through `Number`.
 */
import { BOOLEAN, FLOAT, INTEGER, STRING, UNSIGNED } from './column.ts';
import { putFloat, putHalves, type ScratchColumn } from './line-protocol-columns.ts';

export const POW10 = Float64Array.from({ length: 23 }, (_, i) => Number(`1e${i}`));
const MANTISSA_MAX = 2 ** 53;
const TWO32 = 2 ** 32;

const NEWLINE = 10;
const SPACE = 32;
const QUOTE = 34;
const COMMA = 44;
const MINUS = 45;
const DOT = 46;
const EQUALS = 61;
const BACKSLASH = 92;

export function startsWithName(body: Uint8Array, at: number, name: Uint8Array): boolean {
  const length = name.length;
  if (body[at + length] !== EQUALS) return false;
  for (let i = 0; i < length; i++) if (body[at + i] !== name[i]) return false;
  return true;
}

/** Index of the `=` after a name of ordinary bytes, or -1. */
export function endOfPlainName(body: Uint8Array, start: number): number {
  for (let i = start; i < body.length; i++) {
    const c = body[i]!;
    if (c === EQUALS) return i === start ? -1 : i;
    if (c === COMMA || c === SPACE || c === QUOTE || c === BACKSLASH || c === NEWLINE) return -1;
    if (i === start && (c === 9 || c === 0)) return -1;
  }
  return -1;
}

/** Type of the value at `at` by its first byte and, for numbers, its suffix; -1 when it is none. */
export function typeOfValue(body: Uint8Array, at: number): number {
  const first = body[at]!;
  if (first === QUOTE) return STRING;
  if ((first >= 48 && first <= 57) || first === MINUS || first === DOT) {
    let i = at + 1;
    while (i < body.length && body[i]! >= 48 && body[i]! <= 57) i++;
    const c = body[i];
    return c === 105 ? INTEGER : c === 117 ? UNSIGNED : FLOAT;
  }
  const letter = first | 32;
  return letter === 116 || letter === 102 ? BOOLEAN : -1;
}

/** Digits to double: exact while the digits are below 2^53 and the power of ten is at most 10^22; else by slice. */
export function fastFloat(body: Buffer, start: number, column: ScratchColumn, row: number): number {
  let at = start;
  const negative = body[at] === MINUS;
  if (negative) at++;
  let mantissa = 0;
  const first = at;
  let digit = body[at]! - 48;
  while (digit >= 0 && digit <= 9) {
    mantissa = mantissa * 10 + digit;
    digit = body[++at]! - 48;
  }
  let digits = at - first;
  let decimals = 0;
  if (body[at] === DOT) {
    const point = ++at;
    digit = body[at]! - 48;
    while (digit >= 0 && digit <= 9) {
      mantissa = mantissa * 10 + digit;
      digit = body[++at]! - 48;
    }
    decimals = at - point;
    digits += decimals;
  }
  if (digits === 0) return -1;
  let value = 0;
  const scientific = body[at] === 101 || body[at] === 69;
  if (!scientific && mantissa < MANTISSA_MAX && decimals <= 22) {
    value = mantissa / POW10[decimals]!;
    if (negative) value = -value;
  } else {
    while (at < body.length && body[at] !== COMMA && body[at] !== SPACE && body[at] !== NEWLINE) at++;
    if (!isNumberText(body, start, at)) return -1;
    value = Number(body.toString('latin1', start, at));
    if (!Number.isFinite(value)) return -1;
  }
  putFloat(column, row, value);
  return at;
}

/** Only digits, dot, signs and e: what is left of `Number`'s grammar is then also strconv's. */
function isNumberText(body: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const c = body[i]!;
    const fits = (c >= 48 && c <= 57) || c === DOT || c === MINUS || c === 43 || c === 101 || c === 69;
    if (!fits) return false;
  }
  return true;
}

/** Up to 15 digits; longer ones are for the careful parser. */
export function fastInteger(body: Uint8Array, start: number, column: ScratchColumn, row: number): number {
  let at = start;
  const negative = body[at] === MINUS;
  if (negative) at++;
  const first = at;
  let value = 0;
  let digit = body[at]! - 48;
  while (digit >= 0 && digit <= 9) {
    value = value * 10 + digit;
    digit = body[++at]! - 48;
  }
  const digits = at - first;
  if (digits === 0 || digits > 15 || (negative && column.type === UNSIGNED)) return -1;
  const signed = negative ? -value : value;
  const high = Math.floor(signed / TWO32);
  putHalves(column, row, signed - high * TWO32, high);
  return at + 1;
}

/** t f T F, true True TRUE, false False FALSE; index after it, or -1. */
export function endOfBoolean(body: Uint8Array, start: number): number {
  let at = start + 1;
  while (at < body.length && body[at] !== COMMA && body[at] !== SPACE && body[at] !== NEWLINE) at++;
  const length = at - start;
  if (length === 1) return at;
  const word = body[start]! | 32;
  if (length !== (word === 116 ? 4 : 5)) return -1;
  const upper = (body[start]! & 32) === 0;
  const allUpper = upper && (body[start + 1]! & 32) === 0;
  const letters = word === 116 ? TRUE_LETTERS : FALSE_LETTERS;
  for (let i = 1; i < length; i++) if (body[start + i] !== (allUpper ? letters[i]! - 32 : letters[i])) return -1;
  return at;
}

const TRUE_LETTERS = Uint8Array.from(Buffer.from('true'));
const FALSE_LETTERS = Uint8Array.from(Buffer.from('false'));

/** Index of the closing quote of a string without backslashes, or -1. */
export function endOfString(body: Uint8Array, start: number, limit: number): number {
  const end = Math.min(body.length, limit);
  for (let i = start; i < end; i++) {
    const c = body[i];
    if (c === QUOTE) return i;
    if (c === BACKSLASH) return -1;
  }
  return -1;
}
