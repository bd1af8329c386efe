/**
 * JSON as bytes: one buffer that is written from front to back and handed on in pieces.
 *
 * The buffer is the answers kernel's, which writes numbers into it. It is shared by all answers: whoever writes takes
 * what is there before anybody else can, that is before giving up control.
 */
import { NUMBER_BYTES_MAX, type NumberWriter, numberWriter } from '../../shards/kernel/answers-kernel.ts';
import { copyInto } from '../../shards/kernel/copy.ts';

/** A piece is copied out when it is so large, and is at most twice as large unless a single text is. */
export const PIECE_BYTES = 128 * 1024;
/** Texts up to this length are written character by character: a call into the runtime costs more. */
const SHORT_TEXT = 40;

/** Of more, rows might not fit into the buffer. */
const STAGED_COLUMNS_MAX = 2_000;

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

/** As Go prints float64; JSON has no infinities. */
function numberText(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  return value === 0 && Object.is(value, -0) ? '-0' : String(value);
}

export class JsonWriter {
  readonly #numbers: NumberWriter;
  readonly #bytes: Buffer;
  /** Pieces that did not fit any more. */
  #full: Buffer[] = [];
  #at = 0;
  /** Columns of the table of which rows are staged, and which. */
  #staged: readonly Float64Array[] | null = null;
  #stagedFrom = 0;
  #stagedTo = 0;

  constructor() {
    this.#numbers = numberWriter(PIECE_BYTES * 2);
    const { buffer, byteOffset, length } = this.#numbers.bytes;
    this.#bytes = Buffer.from(buffer, byteOffset, length);
  }

  get isPiece(): boolean {
    return this.#at >= PIECE_BYTES || this.#full.length > 0;
  }

  /** What was written since the last time; the writer is empty afterwards. */
  take(): Buffer {
    const rest = Buffer.from(this.#bytes.subarray(0, this.#at));
    const all = this.#full.length === 0 ? rest : Buffer.concat([...this.#full, rest]);
    this.#full = [];
    this.#at = 0;
    this.#staged = null;
    return all;
  }

  byte(code: number): void {
    if (this.#at === this.#bytes.length) this.#spill();
    this.#bytes[this.#at++] = code;
  }

  /** Text that is JSON already. */
  raw(text: string): void {
    const { length } = text;
    // UTF-8 takes at most three bytes a character of a string.
    if (length * 3 > this.#bytes.length - this.#at) {
      this.#spill();
      if (length * 3 > this.#bytes.length) {
        this.#full.push(Buffer.from(text));
        return;
      }
    }
    if (length > SHORT_TEXT) {
      this.#at += this.#bytes.write(text, this.#at);
      return;
    }
    const bytes = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) {
        this.#at = at + bytes.write(text, at);
        return;
      }
      bytes[at + i] = code;
    }
    this.#at = at + length;
  }

  bytes(text: Uint8Array): void {
    if (text.length > this.#bytes.length - this.#at) this.#spill();
    if (text.length > this.#bytes.length) this.#full.push(Buffer.from(text));
    else {
      copyInto(this.#bytes, this.#at, text);
      this.#at += text.length;
    }
  }

  string(text: string): void {
    const { length } = text;
    if (length > SHORT_TEXT) {
      this.raw(jsonString(text));
      return;
    }
    if (length + 2 > this.#bytes.length - this.#at) this.#spill();
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = 34;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      // Quote, backslash, &, <, >: the escapes below 128 besides control characters.
      if (code < 32 || code > 126 || code === 34 || code === 92 || code === 38 || code === 60 || code === 62) {
        this.raw(jsonString(text));
        return;
      }
      bytes[at++] = code;
    }
    bytes[at++] = 34;
    this.#at = at;
  }

  number(value: number): void {
    if (NUMBER_BYTES_MAX > this.#bytes.length - this.#at) this.#spill();
    const written = this.#numbers.write(value, this.#at);
    if (written > 0) this.#at += written;
    else this.raw(numberText(value));
  }

  /**
   * Writes rows from .. to - 1 of a table of numbers as lists with commas between them, as far as it gets, and returns the
   * first that is left; `from`: that row has to be written number by number. `unit`: of `rowUnit` (response-time.ts).
   */
  rows(times: BigInt64Array, columns: readonly Float64Array[], unit: number, from: number, to: number): number {
    if (columns.length > STAGED_COLUMNS_MAX) return from;
    const { rows } = this.#numbers;
    if (this.#staged !== columns || from < this.#stagedFrom || from >= this.#stagedTo) {
      this.#staged = columns;
      this.#stagedFrom = from;
      this.#stagedTo = rows.stage(times, columns, from);
    }
    const next = rows.write(from, Math.min(to, this.#stagedTo), unit, this.#at, PIECE_BYTES);
    this.#at = rows.end;
    return next;
  }

  #spill(): void {
    if (this.#at > 0) this.#full.push(Buffer.from(this.#bytes.subarray(0, this.#at)));
    this.#at = 0;
  }
}
