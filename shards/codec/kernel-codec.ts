/**
 * The codecs of blocks as the workers' kernel provides them (shards/kernel/assembly/codec/, where the layouts are
 * described): arrays are copied into the kernel's memory, coded there, and copied out.
 *
 * The memory that is used for this is kept between calls, up to a size. Whatever bytes are decoded, the kernel reads and
 * writes only what it was given; what is wrong with them comes back as a number and becomes a BlockError here.
 */
import { BOOLEAN, type ColumnValues, type FieldType, FLOAT, INTEGER } from '../column.ts';
import { copyInto, copyOf } from '../kernel/copy.ts';
import type { KernelMemory } from '../kernel/load.ts';
import { storageKernel } from '../kernel/storage-kernel.ts';
import { type ByteReader, type ByteWriter, damaged } from './bytes.ts';

/** What the codecs export (shards/kernel/assembly/codec/entry.ts). */
export interface CodecExports {
  codecPosition(): number;
  encodeOpen(buffer: number, position: number, capacity: number): void;
  encodeAlign(): number;
  encodeNumbers(values: number, starts: number, spans: number): number;
  encodePatterns(values: number, starts: number, series: number): number;
  encodeColumn(
    type: number,
    values: number,
    present: number,
    starts: number,
    series: number,
    statistics: number,
  ): number;
  encodePresence(present: number, rows: number): number;
  decodeNumbers(
    buffer: number,
    position: number,
    limit: number,
    starts: number,
    spans: number,
    fromSpan: number,
    toSpan: number,
    into: number,
  ): number;
  decodePatterns(
    buffer: number,
    position: number,
    limit: number,
    starts: number,
    series: number,
    fromSeries: number,
    toSeries: number,
    into: number,
  ): number;
  decodeIndexes(
    buffer: number,
    position: number,
    limit: number,
    starts: number,
    series: number,
    fromSeries: number,
    toSeries: number,
    below: number,
    into: number,
  ): number;
  decodeColumn(
    buffer: number,
    position: number,
    limit: number,
    type: number,
    starts: number,
    series: number,
    fromSeries: number,
    toSeries: number,
    values: number,
    present: number,
  ): number;
  openScaled(
    buffer: number,
    position: number,
    limit: number,
    starts: number,
    series: number,
    fromSeries: number,
    toSeries: number,
    into: number,
  ): number;
  restoreScaled(starts: number, fromSeries: number, toSeries: number, values: number): void;
  decodedEveryRow(): number;
  decodePresence(
    buffer: number,
    position: number,
    limit: number,
    starts: number,
    series: number,
    present: number,
    denseStarts: number,
  ): number;
}

/** shards/kernel/assembly/codec/failure.ts */
const FAILURES = [
  'nothing is wrong',
  'a section ends before its content',
  'a number beyond what is possible',
  'a form that is not known',
  'counts that contradict each other',
  'no room left',
] as const;

/** Vectors are read and written beyond the ends of arrays: what is handed to the kernel has so much to spare. */
export const KERNEL_SLACK_BYTES = 256;
/** Larger buffers are given back after their call: a worker must not keep the memory of one odd block. */
const KEPT_BYTES_MAX = 4 << 20;

type Bytes = Uint8Array | Float64Array | Uint32Array | BigInt64Array | BigUint64Array;

/** A buffer in the kernel's memory that grows as needed. */
export class KernelBuffer {
  address = 0;
  #capacity = 0;

  /** Keeps the first `kept` bytes. */
  reserve(kernel: KernelMemory, bytes: number, kept = 0): number {
    const need = bytes + KERNEL_SLACK_BYTES;
    if (need > this.#capacity) {
      const capacity = Math.max(need, Math.min(2 * this.#capacity, KEPT_BYTES_MAX));
      if (kept > 0) this.address = kernel.realloc(this.address, capacity);
      else {
        if (this.address !== 0) kernel.free(this.address);
        this.address = kernel.alloc(capacity);
      }
      this.#capacity = capacity;
    }
    return this.address;
  }

  put(kernel: KernelMemory, values: Bytes): number {
    const address = this.reserve(kernel, values.byteLength);
    copyInto(new Uint8Array(kernel.memory.buffer), address, values);
    return address;
  }

  release(kernel: KernelMemory): void {
    if (this.#capacity > KEPT_BYTES_MAX) this.free(kernel);
  }

  free(kernel: KernelMemory): void {
    if (this.address !== 0) kernel.free(this.address);
    this.address = 0;
    this.#capacity = 0;
  }
}

const input = new KernelBuffer();
const spanStarts = new KernelBuffer();
const valueBuffer = new KernelBuffer();
const presentBuffer = new KernelBuffer();
const denseBuffer = new KernelBuffer();
const output = new KernelBuffer();
/** Sequences outside of bodies, which may be written while a body is. */
const numbersOutput = new KernelBuffer();
const statisticsBuffer = new KernelBuffer();
const STATISTICS_BYTES = 40;

/** Throws BlockError unless it is 0. */
export function checkDecoded(failure: number): void {
  if (failure !== 0) throw damaged(FAILURES[failure] ?? `failure ${failure}`);
}

/** Copies of what the kernel made; made from the view, they are not cleared first. */
const copyBytes = (kernel: KernelMemory, address: number, length: number): Uint8Array =>
  new Uint8Array(new Uint8Array(kernel.memory.buffer, address, length));
const copyWords = (kernel: KernelMemory, address: number, length: number): Uint32Array =>
  new Uint32Array(new Uint32Array(kernel.memory.buffer, address, length));
const copyFloats = (kernel: KernelMemory, address: number, length: number): Float64Array =>
  new Float64Array(new Float64Array(kernel.memory.buffer, address, length));

function copyValues(kernel: KernelMemory, address: number, type: FieldType, length: number): ColumnValues {
  if (type === FLOAT) return copyFloats(kernel, address, length);
  if (type === BOOLEAN) return copyBytes(kernel, address, length);
  const { buffer } = kernel.memory;
  if (type === INTEGER) return new BigInt64Array(new BigInt64Array(buffer, address, length));
  return new BigUint64Array(new BigUint64Array(buffer, address, length));
}

/** Least, greatest and sum of a column, as block-head.ts stores them. */
export interface ColumnStatistics {
  readonly count: number;
  readonly min: number | bigint | null;
  readonly max: number | bigint | null;
  readonly sum: bigint | null;
}

/** Bytes that a value may take while the forms of a column are compared, and what a column takes without values. */
const VALUE_BYTES_MAX = 32;
const COLUMN_BYTES_MAX = 1 << 16;

/** Writes the sections of one body in the kernel's memory. */
export class BodyEncoder {
  readonly #kernel = storageKernel();
  readonly #series: number;
  readonly #rows: number;
  #length = 0;

  constructor(starts: Uint32Array) {
    this.#series = starts.length - 1;
    this.#rows = starts[this.#series]!;
    spanStarts.put(this.#kernel, starts);
  }

  get length(): number {
    return this.#length;
  }

  align(): void {
    this.#open(4);
    this.#length = this.#kernel.encodeAlign();
  }

  #open(bytes: number): void {
    const capacity = this.#length + bytes;
    this.#kernel.encodeOpen(output.reserve(this.#kernel, capacity, this.#length), this.#length, capacity);
  }

  #wrote(position: number): void {
    if (position < 0) throw new Error(`a section of ${this.#rows} rows at ${this.#length} does not fit`);
    this.#length = position;
  }

  /** Whole numbers 0 .. 2^53, row by row. */
  patterns(values: Float64Array): void {
    const from = valueBuffer.put(this.#kernel, values);
    this.#open(this.#rows * VALUE_BYTES_MAX + COLUMN_BYTES_MAX);
    this.#wrote(this.#kernel.encodePatterns(from, spanStarts.address, this.#series));
  }

  column(type: FieldType, values: Bytes, present: Uint8Array | null): ColumnStatistics {
    const kernel = this.#kernel;
    const from = valueBuffer.put(kernel, values.subarray(0, this.#rows));
    const flags = present === null ? 0 : presentBuffer.put(kernel, present.subarray(0, this.#rows));
    const statistics = statisticsBuffer.reserve(kernel, STATISTICS_BYTES);
    this.#open(this.#rows * VALUE_BYTES_MAX + COLUMN_BYTES_MAX);
    this.#wrote(kernel.encodeColumn(type, from, flags, spanStarts.address, this.#series, statistics));
    return statisticsOf(new DataView(kernel.memory.buffer, statistics, STATISTICS_BYTES), type);
  }

  /** The front of a column: which rows have it (null: all). */
  presence(present: Uint8Array | null): void {
    const flags = present === null ? 0 : presentBuffer.put(this.#kernel, present);
    this.#open(this.#rows + COLUMN_BYTES_MAX);
    this.#wrote(this.#kernel.encodePresence(flags, this.#rows));
  }

  /** Bytes that were made outside. */
  raw(bytes: Uint8Array): void {
    this.#open(bytes.length);
    copyInto(new Uint8Array(this.#kernel.memory.buffer), output.address + this.#length, bytes);
    this.#length += bytes.length;
  }

  /** The bytes so far, in the kernel's memory: valid until the next call. */
  written(): Buffer {
    return Buffer.from(this.#kernel.memory.buffer, output.address, this.#length);
  }

  close(): void {
    for (const buffer of [output, valueBuffer, presentBuffer, spanStarts]) buffer.release(this.#kernel);
  }
}

function statisticsOf(view: DataView, type: FieldType): ColumnStatistics {
  const count = view.getUint32(4, true);
  const ranged = view.getUint32(0, true) === 1;
  const none = { count, min: null, max: null, sum: null };
  if (type === 4) return { ...none, sum: view.getBigUint64(24, true) };
  if (!ranged) return none;
  if (type === 0) return { ...none, min: view.getFloat64(8, true), max: view.getFloat64(16, true) };
  const [min, max] =
    type === 1
      ? [view.getBigInt64(8, true), view.getBigInt64(16, true)]
      : [view.getBigUint64(8, true), view.getBigUint64(16, true)];
  return { count, min, max, sum: (view.getBigInt64(32, true) << 64n) + view.getBigUint64(24, true) };
}

/** Reads sections of one body. `starts` are the rows of all series of the block. Throws BlockError. */
export class BodyDecoder {
  readonly #kernel = storageKernel();
  readonly #starts: Uint32Array;
  readonly #from: number;
  readonly #to: number;
  readonly #rows: number;
  readonly #bodyAt: number;
  readonly #startsAt: number;

  /** Rows of series from .. to - 1 are wanted; `place`: where body and starts lie in the kernel's memory already. */
  constructor(
    body: Uint8Array | null,
    starts: Uint32Array,
    from: number,
    to: number,
    place: { body: number; starts: number } | null,
  ) {
    this.#starts = starts;
    this.#from = from;
    this.#to = to;
    this.#rows = starts[to]! - starts[from]!;
    this.#bodyAt = place === null ? input.put(this.#kernel, body!) : place.body;
    this.#startsAt = place === null ? spanStarts.put(this.#kernel, starts) : place.starts;
  }

  /** The body's bytes from offset to offset + length, copied. */
  bytes(offset: number, length: number): Uint8Array {
    return copyOf(new Uint8Array(this.#kernel.memory.buffer, this.#bodyAt + offset, length));
  }

  times(offset: number, length: number): Float64Array {
    const kernel = this.#kernel;
    const into = valueBuffer.reserve(kernel, this.#rows * 8);
    const [starts, series] = [this.#startsAt, this.#starts.length - 1];
    checkDecoded(
      kernel.decodePatterns(this.#bodyAt, offset, offset + length, starts, series, this.#from, this.#to, into),
    );
    return copyFloats(kernel, into, this.#rows);
  }

  /** Numbers below `limit`. */
  indexes(offset: number, length: number, limit: number): Uint32Array {
    const kernel = this.#kernel;
    const into = valueBuffer.reserve(kernel, this.#rows * 4);
    const [starts, series] = [this.#startsAt, this.#starts.length - 1];
    checkDecoded(
      kernel.decodeIndexes(this.#bodyAt, offset, offset + length, starts, series, this.#from, this.#to, limit, into),
    );
    return copyWords(kernel, into, this.#rows);
  }

  /** Not for strings. */
  column(offset: number, length: number, type: FieldType): { present: Uint8Array | null; values: ColumnValues } {
    const kernel = this.#kernel;
    const into = valueBuffer.reserve(kernel, this.#rows * 8);
    const flags = presentBuffer.reserve(kernel, this.#rows);
    const [starts, series] = [this.#startsAt, this.#starts.length - 1];
    checkDecoded(
      kernel.decodeColumn(
        this.#bodyAt,
        offset,
        offset + length,
        type,
        starts,
        series,
        this.#from,
        this.#to,
        into,
        flags,
      ),
    );
    const present = kernel.decodedEveryRow() ? null : copyBytes(kernel, flags, this.#rows);
    return { present, values: copyValues(kernel, into, type, this.#rows) };
  }

  /** Bits of all rows of the block, which begin at `offset`, and how many are set before each series; and where they end. */
  presence(offset: number, limit: number): { present: Uint8Array; denseStarts: Uint32Array; end: number } {
    const kernel = this.#kernel;
    const series = this.#starts.length - 1;
    const rows = this.#starts[series]!;
    const flags = presentBuffer.reserve(kernel, rows);
    const dense = denseBuffer.reserve(kernel, (series + 1) * 4);
    checkDecoded(kernel.decodePresence(this.#bodyAt, offset, limit, this.#startsAt, series, flags, dense));
    return {
      present: copyBytes(kernel, flags, rows),
      denseStarts: copyWords(kernel, dense, series + 1),
      end: kernel.codecPosition(),
    };
  }

  close(): void {
    for (const buffer of [input, valueBuffer, presentBuffer, denseBuffer, spanStarts]) buffer.release(this.#kernel);
  }
}

/** Appends whole numbers of a size up to 2^53, none of them -0, in spans. */
export function writeNumbers(writer: ByteWriter, values: Float64Array, starts: Uint32Array): void {
  const kernel = storageKernel();
  // Words are aligned from the writer's start: the same place within four bytes here.
  const phase = writer.length & 3;
  const spans = starts.length - 1;
  const count = starts[spans]!;
  const from = valueBuffer.put(kernel, values.subarray(0, count));
  const startsAt = denseBuffer.put(kernel, starts);
  const capacity = phase + count * VALUE_BYTES_MAX + COLUMN_BYTES_MAX;
  const to = numbersOutput.reserve(kernel, capacity);
  kernel.encodeOpen(to, phase, capacity);
  const end = kernel.encodeNumbers(from, startsAt, spans);
  if (end < 0) throw new Error(`${count} numbers do not fit in ${capacity} bytes`);
  writer.raw(new Uint8Array(kernel.memory.buffer, to + phase, end - phase));
}

/** Spans fromSpan .. toSpan - 1 into `into` from index 0. Leaves the reader behind the numbers. Throws BlockError. */
export function readNumbers(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  into: Float64Array,
): void {
  const kernel = storageKernel();
  const { bytes, position } = reader.rest();
  const phase = position & 3;
  const from = denseBuffer.put(kernel, bytes);
  const startsAt = presentBuffer.put(kernel, starts);
  const count = starts[toSpan]! - starts[fromSpan]!;
  const to = valueBuffer.reserve(kernel, count * 8);
  checkDecoded(kernel.decodeNumbers(from, phase, bytes.length, startsAt, starts.length - 1, fromSpan, toSpan, to));
  reader.position = position - phase + kernel.codecPosition();
  into.set(new Float64Array(kernel.memory.buffer, to, count));
}
