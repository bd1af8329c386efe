/**
 * JSON as bytes: one buffer that is written from front to back and handed on in pieces.
 *
 * The buffer is the answers kernel's, which writes numbers into it. It is shared by all answers: whoever writes takes
 * what is there before anybody else can, that is before giving up control.
 */
import { NUMBER_BYTES_MAX, type NumberWriter, numberWriter } from '../../shards/kernel/answers-kernel.ts';

/** A piece is copied out when it is so large, and is at most twice as large unless a single text is. */
export const PIECE_BYTES = 128 * 1024;
/** Texts up to this length are written character by character: a call into the runtime costs more. */
const SHORT_TEXT = 40;

const COMMA = 44;
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
      this.#bytes.set(text, this.#at);
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

  /** Values of a row with a comma in front of each: a call of the kernel for each would cost as much as the digits. */
  numbers(columns: readonly Float64Array[], row: number): void {
    const { numbers } = this.#numbers;
    for (let from = 0; from < columns.length; from += numbers.length) {
      const count = Math.min(numbers.length, columns.length - from);
      for (let i = 0; i < count; i++) numbers[i] = columns[from + i]![row]!;
      if (count * (NUMBER_BYTES_MAX + 1) > this.#bytes.length - this.#at) this.#spill();
      const written = this.#numbers.writeAll(count, this.#at);
      this.#at += written;
      if (written > 0) continue;
      for (let i = 0; i < count; i++) {
        this.byte(COMMA);
        this.number(columns[from + i]![row]!);
      }
    }
  }

  #spill(): void {
    if (this.#at > 0) this.#full.push(Buffer.from(this.#bytes.subarray(0, this.#at)));
    this.#at = 0;
  }
}
