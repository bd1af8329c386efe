/**
 * Bytes out and bytes in: a writer that grows, a reader that checks every step, and offsets in the narrowest width.
 * Everything is little-endian. The reader throws FrameError where data end too early or a number makes no sense; who
 * owns a format turns that into an error of its own.
 */
const WIDTHS = [0, 1, 2, 4, 8] as const;
export type Width = (typeof WIDTHS)[number];
const TWO32 = 2 ** 32;

export class FrameError extends Error {}

export class FrameWriter {
  bytes = new Uint8Array(4096);
  length = 0;
  private view = new DataView(this.bytes.buffer);

  /** Makes room and returns the position; the caller writes into `bytes` there. */
  reserve(count: number): number {
    const at = this.length;
    const needed = at + count;
    if (needed > this.bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.bytes.length * 2));
      larger.set(this.bytes.subarray(0, at));
      this.bytes = larger;
      this.view = new DataView(larger.buffer);
    }
    this.length = needed;
    return at;
  }

  u8(value: number): void {
    const at = this.reserve(1);
    this.bytes[at] = value;
  }

  u32(value: number): void {
    const at = this.reserve(4);
    this.view.setUint32(at, value, true);
  }

  setU32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  i64(value: bigint): void {
    const at = this.reserve(8);
    this.view.setBigInt64(at, BigInt.asIntN(64, value), true);
  }

  f64(value: number): void {
    const at = this.reserve(8);
    this.view.setFloat64(at, value, true);
  }

  raw(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
  }

  /** Hexadecimal digits as bytes. */
  hex(digits: string): void {
    this.raw(Buffer.from(digits, 'hex'));
  }

  text(text: string): void {
    const bytes = Buffer.from(text, 'utf8');
    this.u32(bytes.length);
    this.raw(bytes);
  }

  /** A copy of exactly what was written. */
  finish(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}

export class FrameReader {
  at: number;
  readonly end: number;
  private readonly buffer: Buffer;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = start;
    this.end = end;
  }

  /** Checks that `count` bytes are left and steps over them. */
  take(count: number): number {
    const at = this.at;
    if (!(count >= 0 && count <= this.end - at)) {
      throw new FrameError(`${count} bytes wanted at ${at}, ${this.end - at} left`);
    }
    this.at = at + count;
    return at;
  }

  u8(): number {
    return this.buffer[this.take(1)]!;
  }

  u32(): number {
    return this.buffer.readUInt32LE(this.take(4));
  }

  i64(): bigint {
    return this.buffer.readBigInt64LE(this.take(8));
  }

  f64(): number {
    return this.buffer.readDoubleLE(this.take(8));
  }

  raw(count: number): Buffer {
    const at = this.take(count);
    return this.buffer.subarray(at, at + count);
  }

  hex(count: number): string {
    const at = this.take(count);
    return this.buffer.toString('hex', at, at + count);
  }

  text(): string {
    const length = this.u32();
    const at = this.take(length);
    return this.buffer.toString('utf8', at, at + length);
  }

  /** A count of things that take at least `bytesEach` bytes each. */
  count(bytesEach: number): number {
    const count = this.u32();
    if (count * bytesEach > this.end - this.at)
      throw new FrameError(`count ${count} at ${this.at - 4} exceeds the data`);
    return count;
  }
}

/** The narrowest width that holds whole numbers from 0 to `max`; 8 when none of the others does. */
export function widthFor(max: number): Width {
  if (max === 0) return 0;
  if (max < 256) return 1;
  if (max < 65_536) return 2;
  return max < TWO32 ? 4 : 8;
}

/** Whole numbers from 0 to below 2^53 in the given width (8: low and high half). */
export function writeOffsets(
  writer: FrameWriter,
  values: Float64Array | Uint32Array,
  count: number,
  width: Width,
): void {
  let at = writer.reserve(count * width);
  const bytes = writer.bytes;
  if (width === 0) return;
  for (let i = 0; i < count; i++) {
    const value = values[i]!;
    bytes[at++] = value;
    if (width === 1) continue;
    bytes[at++] = value >>> 8;
    if (width === 2) continue;
    bytes[at++] = value >>> 16;
    bytes[at++] = value >>> 24;
    if (width === 4) continue;
    const high = Math.floor(value / TWO32);
    bytes[at++] = high;
    bytes[at++] = high >>> 8;
    bytes[at++] = high >>> 16;
    bytes[at++] = high >>> 24;
  }
}

export function readOffsets(reader: FrameReader, count: number, width: number): Float64Array {
  if (!WIDTHS.includes(width as Width)) throw new FrameError(`width ${width} at ${reader.at}`);
  const data = reader.raw(count * width);
  const values = new Float64Array(count);
  let at = 0;
  switch (width) {
    case 0:
      break;
    case 1:
      for (let i = 0; i < count; i++) values[i] = data[i]!;
      break;
    case 2:
      for (let i = 0; i < count; i++, at += 2) values[i] = data[at]! | (data[at + 1]! << 8);
      break;
    case 4:
      for (let i = 0; i < count; i++, at += 4) values[i] = word(data, at);
      break;
    default:
      for (let i = 0; i < count; i++, at += 8) values[i] = word(data, at) + word(data, at + 4) * TWO32;
  }
  return values;
}

function word(data: Uint8Array, at: number): number {
  return (data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24)) >>> 0;
}
