/**
 * Lines at which the ingest kernel stops: read by the careful parser, which alone decides what is an error and how it
 * reads, and put into the kernel's columns value by value.
 */
import { BOOLEAN } from '../column.ts';
import {
  type CarefulLine,
  endOfLine,
  LineSyntaxError,
  parseLineCarefully,
  skipBlanks,
} from '../line-protocol-careful.ts';
import type { LineErrors, LineLimits } from '../line-protocol-errors.ts';
import { readSpelling } from '../series-cache.ts';
import type { SeriesHash } from '../series-key.ts';
import { copyInto } from './copy.ts';
import {
  type IngestKernel,
  STEP_AGAIN,
  STEP_FULL,
  STEP_OK,
  STEP_SPECIAL,
  STEP_WIDE,
  STEP_WINDOW,
} from './ingest-kernel.ts';

const NEWLINE = 10;
const HASH = 35;
const SCRATCH_BYTES_INITIAL = 4096;
/** What the kernel may read behind a string. */
const PAD_BYTES = 32;
const HASH_BYTES = 16;

export class CarefulLines {
  readonly #kernel: IngestKernel;
  readonly #limits: LineLimits;
  #inputAt = 0;
  #inputBytes = 0;
  #scratch: number;
  #scratchBytes = SCRATCH_BYTES_INITIAL;

  constructor(kernel: IngestKernel, limits: LineLimits) {
    this.#kernel = kernel;
    this.#limits = limits;
    this.#scratch = kernel.alloc(SCRATCH_BYTES_INITIAL + PAD_BYTES);
  }

  /** Where the body lies. */
  input(at: number, bytes: number): void {
    this.#inputAt = at;
    this.#inputBytes = bytes;
  }

  /**
   * Reads the line at the kernel's position and moves behind it: STEP_OK, the line being taken or entered in `errors`;
   * STEP_SPECIAL; or STEP_FULL, unless the body is `alone`: then a line that does not fit is an error.
   */
  take(
    unit: bigint,
    errors: LineErrors,
    addWindow: (timeNs: bigint) => boolean,
    alone: boolean,
  ): typeof STEP_OK | typeof STEP_SPECIAL | typeof STEP_FULL {
    const body = Buffer.from(this.#kernel.memory.buffer, this.#inputAt, this.#inputBytes);
    const start = this.#kernel.position() - this.#inputAt;
    let end = endOfLine(body, start);
    this.#kernel.setPosition(this.#inputAt + Math.min(end + 1, this.#inputBytes));
    const first = skipBlanks(body, start, end);
    if (first >= end || body[first] === HASH) return STEP_OK;
    if (body[end - 1] === NEWLINE) end--;
    if (end - first > this.#limits.lineBytesMax) {
      errors.add(body, first, end, `line of ${end - first} bytes exceeds ${this.#limits.lineBytesMax}`);
      return STEP_OK;
    }
    let line: CarefulLine;
    try {
      line = parseLineCarefully(body, first, end, unit, this.#limits.keyBytesMax);
    } catch (error) {
      if (!(error instanceof LineSyntaxError)) throw error;
      errors.add(body, first, end, error.message);
      return STEP_OK;
    }
    const code = this.#put(line, addWindow);
    if (code === STEP_OK || code === STEP_SPECIAL) return code;
    if (!alone) return STEP_FULL;
    const reason =
      code === STEP_WIDE
        ? `more than ${this.#limits.columnsMax} fields in one measurement`
        : 'too many fields for the rows of one body; send it in smaller parts';
    errors.add(Buffer.from(this.#kernel.memory.buffer, this.#inputAt, this.#inputBytes), first, end, reason);
    return STEP_OK;
  }

  hashOf(key: string): SeriesHash {
    const [at, length] = this.#copyIn(Buffer.from(key, 'utf8'), 0);
    const into = at + ((length + PAD_BYTES) & ~15);
    this.#room(into + HASH_BYTES - at);
    this.#kernel.sipHash(this.#scratch, length, this.#scratch + into - at);
    return Buffer.from(this.#kernel.memory.buffer, this.#scratch + into - at, HASH_BYTES).toString('hex');
  }

  #put(line: CarefulLine, addWindow: (timeNs: bigint) => boolean): number {
    const kernel = this.#kernel;
    const entry = this.#entryOf(line);
    for (;;) {
      const code = this.#putOnce(entry, line);
      if (code === STEP_WINDOW) {
        if (!addWindow(kernel.timeOfRow())) return STEP_SPECIAL;
      } else if (code !== STEP_AGAIN) {
        return code;
      }
    }
  }

  #putOnce(entry: number, { fields, timeNs }: CarefulLine): number {
    const kernel = this.#kernel;
    const opened = kernel.openRow(entry);
    if (opened !== STEP_OK) return opened;
    for (const { name, type, value } of fields) {
      const [nameAt, nameLength] = this.#copyIn(Buffer.from(name, 'utf8'), 0);
      let code = kernel.openField(nameAt, nameLength, type);
      if (code !== STEP_OK) return code;
      if (typeof value === 'number') kernel.putOpenFloat(value);
      else if (typeof value === 'bigint') kernel.putOpenWord(value);
      else if (type === BOOLEAN) kernel.putOpenBoolean(value === true ? 1 : 0);
      else {
        const [at, length] = this.#copyIn(Buffer.from(value as string, 'utf8'), 0);
        code = kernel.putOpenString(at, length);
        if (code !== STEP_OK) return code;
      }
    }
    return kernel.closeOpenRow(timeNs ?? 0n, timeNs === null ? 0 : 1);
  }

  #entryOf({ keyStart, keyEnd }: CarefulLine): number {
    const at = this.#inputAt + keyStart;
    const known = this.#kernel.findSpelling(at, keyEnd - keyStart);
    if (known !== 0) return known;
    const raw = Buffer.from(Buffer.from(this.#kernel.memory.buffer, at, keyEnd - keyStart));
    const { measurement, tags, key } = readSpelling(raw);
    const timeTag = tags.some((tag) => tag.key === 'time') ? 1 : 0;
    const canonical = Buffer.from(key, 'utf8');
    const name = Buffer.from(measurement, 'utf8');
    const nameOffset = (canonical.length + PAD_BYTES) & ~15;
    this.#room(nameOffset + name.length);
    const [keyAt] = this.#copyIn(canonical, 0);
    const [nameAt] = this.#copyIn(name, nameOffset);
    return this.#kernel.enterSpelling(at, raw.length, keyAt, canonical.length, nameAt, name.length, timeTag);
  }

  /** Address and length of a copy in kernel memory; holds until the next larger one. */
  #copyIn(bytes: Uint8Array, offset: number): [number, number] {
    this.#room(offset + bytes.length);
    copyInto(new Uint8Array(this.#kernel.memory.buffer), this.#scratch + offset, bytes);
    return [this.#scratch + offset, bytes.length];
  }

  #room(bytes: number): void {
    if (bytes <= this.#scratchBytes) return;
    this.#scratchBytes = Math.max(bytes, this.#scratchBytes * 2);
    this.#scratch = this.#kernel.realloc(this.#scratch, this.#scratchBytes + PAD_BYTES);
  }
}
