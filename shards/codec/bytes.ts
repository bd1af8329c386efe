/**
 * Writing and reading the bytes of a block.
 *
 * Everything is little-endian, as are the machines that Node runs on; arrays of 32-bit words are aligned to four bytes
 * from the start of the buffer, so that a reader looks at them in place through a Uint32Array. Every read is checked
 * against the end: bytes whose CRC is right but whose content is hostile give a BlockError, never a crash.
 */
import { BlockError } from '../block-error.ts';
import { copyInto } from '../kernel/copy.ts';

export class ByteWriter {
  private bytes: Uint8Array;
  private view: DataView;
  private used = 0;

  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  get length(): number {
    return this.used;
  }

  private reserve(count: number): void {
    const need = this.used + count;
    if (need <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.bytes.length * 2));
    grown.set(this.bytes);
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.used++] = value;
  }

  u32(value: number): void {
    this.reserve(4);
    this.view.setUint32(this.used, value, true);
    this.used += 4;
  }

  f64(value: number): void {
    this.reserve(8);
    this.view.setFloat64(this.used, value, true);
    this.used += 8;
  }

  i64(value: bigint): void {
    this.reserve(8);
    this.view.setBigInt64(this.used, BigInt.asIntN(64, value), true);
    this.used += 8;
  }

  /** A whole number 0 .. 2^53 - 1 in groups of seven bits, lowest first. */
  varint(value: number): void {
    this.reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.bytes[this.used++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.bytes[this.used++] = rest;
  }

  raw(from: Uint8Array): void {
    this.reserve(from.length);
    copyInto(this.bytes, this.used, from);
    this.used += from.length;
  }

  /** Zeros up to the next multiple of four. */
  align(): void {
    this.reserve(3);
    while (this.used & 3) this.bytes[this.used++] = 0;
  }

  /** `count` words, aligned. The caller fills them before the next write; they start as zeros. */
  words(count: number): Uint32Array {
    this.align();
    this.reserve(count * 4);
    const words = new Uint32Array(this.bytes.buffer, this.used, count);
    this.used += count * 4;
    return words;
  }

  text(value: string): void {
    const encoded = Buffer.from(value, 'utf8');
    this.varint(encoded.length);
    this.raw(encoded);
  }

  /** Takes back everything written after `length`. */
  truncate(length: number): void {
    this.bytes.fill(0, length, this.used);
    this.used = length;
  }

  /** The bytes written so far; valid until the next write. */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.used);
  }
}

export class ByteReader {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly end: number;
  position: number;

  /** `bytes` must start at a multiple of four in its buffer (see `aligned`). */
  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    if (start > end || end > bytes.length) throw damaged(`section ${start}..${end} of ${bytes.length} bytes`);
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = start;
    this.end = end;
  }

  get left(): number {
    return this.end - this.position;
  }

  private take(count: number): number {
    const at = this.position;
    if (count > this.end - at) throw damaged(`${count} bytes wanted at ${at}, section ends at ${this.end}`);
    this.position = at + count;
    return at;
  }

  u8(): number {
    return this.bytes[this.take(1)]!;
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  f64(): number {
    return this.view.getFloat64(this.take(8), true);
  }

  i64(): bigint {
    return this.view.getBigInt64(this.take(8), true);
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.bytes[this.take(1)]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 0x80;
    }
    throw damaged(`number at ${this.position} exceeds 2^53`);
  }

  /** A varint that must not exceed `max`. */
  count(max: number, what: string): number {
    const value = this.varint();
    if (value > max) throw damaged(`${value} ${what}, at most ${max} possible`);
    return value;
  }

  raw(length: number): Uint8Array {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** To the next multiple of four. */
  align(): void {
    const padded = (this.position + 3) & ~3;
    if (padded > this.end) throw damaged(`padding at ${this.position} leaves the section`);
    this.position = padded;
  }

  words(count: number): Uint32Array {
    this.align();
    const at = this.take(count * 4);
    return new Uint32Array(this.bytes.buffer, this.bytes.byteOffset + at, count);
  }

  /** What is left to read, from the last multiple of four at or before the position on. */
  rest(): { bytes: Uint8Array; position: number } {
    return { bytes: this.bytes.subarray(this.position & ~3, this.end), position: this.position };
  }

  text(): string {
    const raw = this.raw(this.count(this.left, 'bytes of text'));
    return Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('utf8');
  }
}

/** The same bytes at an address that is a multiple of four: copied only when they are not there already. */
export function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset & 3 ? new Uint8Array(bytes) : bytes;
}

export function damaged(what: string): BlockError {
  return new BlockError('damaged-block', `damaged block: ${what}`);
}
