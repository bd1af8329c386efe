/**
 * InfluxDB line protocol, from the bytes of a request body to columns, without an object per point.
 *
 * The fast parser below goes over a line once and takes only what needs no thought: a series whose spelling is known,
 * plain field names, ordinary numbers, booleans, strings, a timestamp, single spacing. It guesses that this line's key
 * follows the last one as it did before, and likewise each field, so that both are compared and not looked up. Anything
 * else (`-1` from a step) takes the row back and gives the whole line to the careful parser, which alone decides what is
 * an error and how it reads. So the fast parser may be incomplete but must never accept what the careful one would read
 * differently; test/ingest holds the two against a third.
 */
import { BOOLEAN, type Column, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from './column.ts';
import { endOfLine, LineSyntaxError, parseLineCarefully, skipBlanks } from './line-protocol-careful.ts';
import {
  putBoolean,
  putFloat,
  putHalves,
  putString,
  type ScratchColumn,
  ScratchFullError,
  type ScratchGroup,
  ScratchGroups,
} from './line-protocol-columns.ts';
import { type LineError, LineErrors, type LineLimits } from './line-protocol-errors.ts';
import {
  endOfBoolean,
  endOfPlainName,
  endOfString,
  fastFloat,
  fastInteger,
  POW10,
  startsWithName,
  typeOfValue,
} from './line-protocol-scan.ts';
import { HASH_START, hashBytes, mixHash, type SeriesCache, type SeriesTable, sameBytes } from './series-cache.ts';

export type Precision = 'n' | 'u' | 'ms' | 's' | 'm' | 'h';

/** The rows of one measurement in a body. */
export interface ParsedGroup {
  readonly measurement: string;
  readonly rows: number;
  /** Per row: SeriesCache id. */
  readonly rowSeries: Uint32Array;
  readonly timesNs: BigInt64Array;
  /** Each (field, type) at most once. A field repeated in a line has its last value of each type. */
  readonly columns: readonly Column[];
}

export interface ParsedPoints {
  readonly groups: readonly ParsedGroup[];
  readonly rows: number;
  /** The first ones, within `errorsMax` and `errorBytesMax`; `failed` counts all. */
  readonly errors: readonly LineError[];
  readonly failed: number;
  /** Lines that are neither empty nor comments. */
  readonly lines: number;
}

/** Nanoseconds. */
export const UNIT_NS: Readonly<Record<Precision, bigint>> = {
  n: 1n,
  u: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const TWO32 = 2 ** 32;
/** Whole seconds up to which nanoseconds certainly fit into 63 bits. */
const FAST_SECONDS_MAX = 9_223_372_035;

/** What bytes that are no UTF-8 decode to. */
const REPLACEMENT = '\ufffd';

const NEWLINE = 10;
const SPACE = 32;
const HASH = 35;
const COMMA = 44;
const MINUS = 45;
const BACKSLASH = 92;

export class LineParser {
  private readonly series: SeriesCache;
  private readonly limits: LineLimits;
  private readonly scratch = new ScratchGroups();
  private body: Buffer = Buffer.alloc(0);
  private table: SeriesTable;
  /** Entry of the last line's key: where to guess from. */
  private entry = -1;
  /** By measurement index of the table. */
  private groupOf: ScratchGroup[] = [];
  private groups: ScratchGroup[] = [];
  private unitNs = 1;
  private unitBig = 1n;
  private defaultLow = 0;
  private defaultHigh = 0;
  private errors: LineErrors;
  private lines = 0;

  constructor(series: SeriesCache, limits: LineLimits) {
    this.series = series;
    this.limits = limits;
    this.table = series.current;
    this.errors = new LineErrors(limits);
  }

  /** Series ids in the result hold until the cache's second next rotation: route before parsing on. */
  parse(body: Uint8Array, precision: Precision, defaultTimeNs: bigint): ParsedPoints {
    this.begin(body, precision, defaultTimeNs);
    const bytes = this.body;
    for (let at = 0; at < bytes.length; ) {
      const c = bytes[at]!;
      if (c === NEWLINE) {
        at++;
        continue;
      }
      const end = c === HASH || c === SPACE ? -1 : this.fastLine(at);
      at = end >= 0 ? end : this.carefulLine(at);
    }
    return this.finish();
  }

  private begin(body: Uint8Array, precision: Precision, defaultTimeNs: bigint): void {
    this.series.rotateWhenFull();
    if (this.table !== this.series.current) {
      this.table = this.series.current;
      this.entry = -1;
    }
    this.body = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    this.groupOf = [];
    this.groups = [];
    this.unitBig = UNIT_NS[precision];
    this.unitNs = Number(this.unitBig);
    const rest = ((defaultTimeNs % this.unitBig) + this.unitBig) % this.unitBig;
    this.defaultLow = lowHalf(defaultTimeNs - rest);
    this.defaultHigh = highHalf(defaultTimeNs - rest);
    this.scratch.budget.bytes = this.limits.scratchBytesMax;
    this.errors = new LineErrors(this.limits);
    this.lines = 0;
  }

  private finish(): ParsedPoints {
    const groups: ParsedGroup[] = [];
    let rows = 0;
    for (const group of this.groups) {
      if (group.rows === 0) {
        group.take();
        continue;
      }
      rows += group.rows;
      groups.push({ measurement: group.measurement, rows: group.rows, ...group.take() });
    }
    this.scratch.trim();
    this.body = Buffer.alloc(0);
    return { groups, rows, errors: this.errors.list, failed: this.errors.failed, lines: this.lines };
  }

  private groupFor(entry: number): ScratchGroup {
    const index = this.table.seriesMeasurement[this.table.entrySeries[entry]!]!;
    let group = this.groupOf[index];
    if (group === undefined) {
      group = this.scratch.of(this.table.measurements[index]!);
      this.groupOf[index] = group;
      this.groups.push(group);
    }
    return group;
  }

  /** Start of the next line, or -1 when the line is not for the fast parser; then nothing of it has been stored. */
  private fastLine(start: number): number {
    const entry = this.fastKey(start);
    if (entry < 0) return -1;
    const table = this.table;
    let at = start + table.entryStart[entry + 1]! - table.entryStart[entry]!;
    const group = this.groupFor(entry);
    let end = -1;
    try {
      end = this.fastFields(group, at, start);
    } catch (error) {
      if (!(error instanceof ScratchFullError)) throw error;
    }
    if (end >= 0 && end - start <= this.limits.lineBytesMax) {
      at = this.fastTime(group, entry, end);
      if (at >= 0) {
        this.lines++;
        return at;
      }
    }
    group.retract();
    return -1;
  }

  /** Entry of the key at `start`, or -1: unknown, odd or broken. */
  private fastKey(start: number): number {
    const { body, table } = this;
    if (this.entry >= 0) {
      const guess = table.entryNext[this.entry]!;
      const from = table.entryStart[guess]!;
      const length = table.entryStart[guess + 1]! - from;
      if (body[start + length] === SPACE && table.entryOdd[guess] === 0) {
        if (sameBytes(table.arena, from, body, start, length)) {
          this.entry = guess;
          return guess;
        }
      }
    }
    let hash = HASH_START;
    let end = start;
    for (let before = 0; ; end++) {
      if (end >= body.length) return -1;
      const c = body[end]!;
      if (c === NEWLINE || (c === SPACE && before !== BACKSLASH)) break;
      hash = Math.imul(hash ^ c, 0x01000193);
      before = c;
    }
    if (body[end] === NEWLINE) return -1;
    const entry = table.find(body, start, end, mixHash(hash));
    if (entry < 0 || table.entryOdd[entry] === 1) return -1;
    this.follow(entry);
    return entry;
  }

  private follow(entry: number): void {
    if (this.entry >= 0) this.table.entryNext[this.entry] = entry;
    this.entry = entry;
  }

  /** Index after the last field, or -1. */
  private fastFields(group: ScratchGroup, keyEnd: number, lineStart: number): number {
    const body = this.body;
    const row = group.rows;
    let at = keyEnd + 1;
    while (body[at] === SPACE) at++;
    let last: ScratchColumn | null = null;
    for (;;) {
      const guess: ScratchColumn | null = last === null ? group.first : last.next;
      let column: ScratchColumn | null = guess !== null && startsWithName(body, at, guess.name) ? guess : null;
      let field = '';
      if (column !== null) {
        at += column.name.length + 1;
      } else {
        const equals = endOfPlainName(body, at);
        if (equals < 0) return -1;
        field = body.toString('utf8', at, equals);
        if (field.includes(REPLACEMENT)) return -1;
        at = equals + 1;
      }
      const type = typeOfValue(body, at);
      if (type < 0) return -1;
      if (column === null || column.type !== type) {
        column = group.column(column === null ? field : column.field, type as FieldType);
        if (group.columns.length > this.limits.columnsMax) return -1;
        if (last === null) group.first = column;
        else last.next = column;
      }
      at = this.fastValue(column, row, at, lineStart);
      if (at < 0) return -1;
      last = column;
      const c = body[at];
      if (c === COMMA) at++;
      else if (at >= body.length || c === SPACE || c === NEWLINE) return at;
      else return -1;
    }
  }

  private fastValue(column: ScratchColumn, row: number, at: number, lineStart: number): number {
    const body = this.body;
    switch (column.type) {
      case FLOAT:
        return fastFloat(body, at, column, row);
      case INTEGER:
      case UNSIGNED:
        return fastInteger(body, at, column, row);
      case BOOLEAN: {
        const end = endOfBoolean(body, at);
        if (end >= 0) putBoolean(column, row, (body[at]! | 32) === 116);
        return end;
      }
      case STRING: {
        const end = endOfString(body, at + 1, lineStart + this.limits.lineBytesMax);
        if (end < 0) return -1;
        const text = body.toString('utf8', at + 1, end);
        if (text.includes(REPLACEMENT)) return -1;
        putString(column, row, text);
        return end + 1;
      }
    }
  }

  /** Adds the row and returns the start of the next line, or -1. */
  private fastTime(group: ScratchGroup, entry: number, fieldsEnd: number): number {
    const body = this.body;
    const length = body.length;
    let at = fieldsEnd;
    while (at < length && body[at] === SPACE) at++;
    const series = this.table.base + this.table.entrySeries[entry]!;
    if (at >= length || body[at] === NEWLINE) {
      group.addRow(series, this.defaultLow, this.defaultHigh);
      return at + 1;
    }
    const negative = body[at] === MINUS;
    if (negative) at++;
    const first = at;
    let upper = 0;
    let lower = 0;
    let digit = 0;
    for (; at < length; at++) {
      digit = body[at]! - 48;
      if (digit < 0 || digit > 9) break;
      if (at - first < 10) upper = upper * 10 + digit;
      else lower = lower * 10 + digit;
    }
    const digits = at - first;
    if (digits === 0 || digits > 19) return -1;
    while (at < length && body[at] === SPACE) at++;
    if (at < length && body[at] !== NEWLINE) return -1;

    // Whole seconds and the nanoseconds beyond them, both exact in a double.
    let seconds = 0;
    let nanos = 0;
    const unit = this.unitNs;
    if (unit === 1) {
      if (digits > 10) {
        const scale = POW10[19 - digits]!;
        seconds = Math.floor(upper / scale);
        nanos = (upper - seconds * scale) * POW10[digits - 10]! + lower;
      } else {
        seconds = Math.floor(upper / 1e9);
        nanos = upper - seconds * 1e9;
      }
    } else {
      if (digits > 16) return -1;
      const value = digits > 10 ? upper * POW10[digits - 10]! + lower : upper;
      // Microseconds of today have 16 digits.
      if (value > Number.MAX_SAFE_INTEGER) return -1;
      if (unit >= 1e9) {
        seconds = value * (unit / 1e9);
      } else {
        const perSecond = 1e9 / unit;
        seconds = Math.floor(value / perSecond);
        nanos = (value - seconds * perSecond) * unit;
      }
    }
    if (seconds > FAST_SECONDS_MAX) return -1;
    const low16 = seconds % 65_536;
    const lowProduct = low16 * 1e9 + nanos;
    const highProduct = ((seconds - low16) / 65_536) * 1e9;
    const middle = highProduct % 65_536;
    const sum = lowProduct + middle * 65_536;
    let high = (highProduct - middle) / 65_536 + Math.floor(sum / TWO32);
    let low = sum % TWO32;
    if (negative) {
      high = low === 0 ? -high : -high - 1;
      low = low === 0 ? 0 : TWO32 - low;
    }
    group.addRow(series, low, high);
    return at + 1;
  }

  /** Start of the next line. */
  private carefulLine(start: number): number {
    const body = this.body;
    let end = endOfLine(body, start);
    const next = end + 1;
    const first = skipBlanks(body, start, end);
    if (first >= end || body[first] === HASH) return next;
    if (body[end - 1] === NEWLINE) end--;
    this.lines++;
    if (end - first > this.limits.lineBytesMax) {
      this.errors.add(body, first, end, `line of ${end - first} bytes exceeds ${this.limits.lineBytesMax}`);
      return next;
    }
    try {
      this.storeCarefully(first, end);
    } catch (error) {
      if (error instanceof LineSyntaxError) {
        this.errors.add(body, first, end, error.message);
      } else if (error instanceof ScratchFullError) {
        for (const group of this.groups) group.retract();
        this.errors.add(body, first, end, 'too many fields for the rows of one body; send it in smaller parts');
      } else {
        throw error;
      }
    }
    return next;
  }

  private storeCarefully(start: number, end: number): void {
    const { body, table } = this;
    const line = parseLineCarefully(body, start, end, this.unitBig, this.limits.keyBytesMax);
    const hash = hashBytes(body, line.keyStart, line.keyEnd);
    let entry = table.find(body, line.keyStart, line.keyEnd, hash);
    if (entry < 0) entry = this.series.add(body, line.keyStart, line.keyEnd, hash);
    this.follow(entry);
    const group = this.groupFor(entry);
    for (const { name, type, value } of line.fields) {
      const column = group.column(name, type);
      if (typeof value === 'number') putFloat(column, group.rows, value);
      else if (typeof value === 'bigint') putHalves(column, group.rows, lowHalf(value), highHalf(value));
      else if (typeof value === 'string') putString(column, group.rows, value);
      else putBoolean(column, group.rows, value);
    }
    if (group.columns.length > this.limits.columnsMax) {
      group.retract();
      throw new LineSyntaxError(`more than ${this.limits.columnsMax} fields in one measurement`);
    }
    const series = table.base + table.entrySeries[entry]!;
    if (line.timeNs === null) group.addRow(series, this.defaultLow, this.defaultHigh);
    else group.addRow(series, lowHalf(line.timeNs), highHalf(line.timeNs));
  }
}

function lowHalf(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

function highHalf(value: bigint): number {
  return Number(BigInt.asIntN(32, value >> 32n));
}
