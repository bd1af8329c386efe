/**
 * Rows that a shard has applied and not yet flushed: the frames themselves, as they came, in the kernel's memory.
 *
 * Truth is the log; a crash loses the memtable and recovery fills it again. Applying a frame decodes nothing: a value
 * takes the two bytes or so that it has in the frame, a series the four of its id (where hashes are a ninth of the frame
 * or more they are let go). Readers decode the rows and columns they ask for (kernel/assembly/memtable/chunks.ts), and rows
 * are put in order only for them and at a flush.
 */
import { BOOLEAN, type Column, type ColumnValues, type FieldType, FLOAT, INTEGER, STRING } from './column.ts';
import type { HeldFrame } from './held-frame.ts';
import { copyInto } from './kernel/copy.ts';
import { INDEX, MEM_GROUP, SCRATCH } from './kernel/memtable-kernel.ts';
import { storageBuffer, storageBytes, storageKernel, storageNumbers, storageWords } from './kernel/storage-kernel.ts';
import { compareColumns, type RowSet } from './row-set.ts';
import type { SeriesTable } from './series-table.ts';
import { type Shape, shapeOf } from './shapes.ts';
import { VERSION_BYTES, type Version } from './version.ts';

/** Rows of a query. */
export interface RowWant {
  /** Ids in order of hash; null: all of the measurement. */
  readonly series: Uint32Array | null;
  /** null: all. */
  readonly fields: ReadonlySet<string> | null;
  /** Offsets from the shard's start in nanoseconds, both inclusive. */
  readonly minTime: number;
  readonly maxTime: number;
}

/** What a frame costs besides its bytes: its version as text, entries in lists, heads of blocks. */
const FRAME_OVERHEAD_BYTES = 160;
const SHAPE_OVERHEAD_BYTES = 400;
const ALL_ROWS = 0xffff_ffff;

export interface MemColumn {
  readonly field: string;
  readonly type: FieldType;
  /** By which the kernel knows it within the measurement. */
  readonly number: number;
}

/** The rows of one measurement. */
export class MemGroup {
  readonly measurement: string;
  /** In the kernel's memory. */
  readonly address: number;
  readonly columns = new Map<string, MemColumn>();

  constructor(measurement: string, address: number) {
    this.measurement = measurement;
    this.address = address;
  }

  get rows(): number {
    return storageWords()[(this.address >>> 2) + MEM_GROUP.rows]!;
  }

  get minTime(): number {
    return storageNumbers()[(this.address >>> 3) + MEM_GROUP.leastTime]!;
  }

  get maxTime(): number {
    return storageNumbers()[(this.address >>> 3) + MEM_GROUP.greatestTime]!;
  }
}

/** Memory of memtables that were let go without `release`: what a crash in a simulation leaves behind. */
const forgotten = new FinalizationRegistry<number>((address) => storageKernel().memtableFree(address));
/** A table by series id for queries, zero between them. */
let places = 0;
let placesRoom = 0;

export class Memtable {
  readonly #table: SeriesTable;
  readonly #groups = new Map<string, MemGroup>();
  /** In the kernel's memory: it owns frames, groups and what it notes of shapes. 0: it was given back. */
  #address = storageKernel().memtableNew();
  /** By the kernel's number of their entries. */
  #shapes: Shape[] = [];
  readonly #versions: Version[] = [];
  #newest: Version = '';
  /** Versions came in ascending order. */
  #ascends = true;
  #rows = 0;
  #bytes = 0;

  constructor(table: SeriesTable) {
    this.#table = table;
    forgotten.register(this, this.#address, this);
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get versions(): readonly Version[] {
    return this.#versions;
  }

  /** '': there is none. */
  get newest(): Version {
    return this.#newest;
  }

  measurements(): string[] {
    return [...this.#groups.keys()].sort();
  }

  group(measurement: string): MemGroup | undefined {
    return this.#groups.get(measurement);
  }

  /** Takes over the frame's memory. Its ids are those of the shard. */
  apply(frame: HeldFrame): void {
    const kernel = storageKernel();
    const version = this.#versions.length;
    if (version > 0 && frame.version <= this.#versions[version - 1]!) this.#ascends = false;
    this.#versions.push(frame.version);
    if (frame.version > this.#newest) this.#newest = frame.version;
    const index = frame.give();
    const { frame: address } = INDEX;
    let group = kernel.memtableUnknown(this.#address, index, 0);
    for (; group !== 0; group = kernel.memtableUnknown(this.#address, index, group)) {
      this.#addShape(storageWords()[(index >>> 2) + address]!, group);
    }
    this.#rows += frame.rows;
    this.#bytes += frame.bytes + kernel.memtableApply(this.#address, index, version) + FRAME_OVERHEAD_BYTES;
  }

  #addShape(frame: number, words: number): void {
    const { shape, number } = shapeOf(frame, words);
    const group = this.#groupOf(shape.measurement);
    const pairs: (readonly [number, number])[] = [];
    for (const [position, { field, type }] of shape.columns.entries()) {
      const name = `${type}${field}`;
      let column = group.columns.get(name);
      if (column === undefined) {
        column = { field, type, number: group.columns.size };
        group.columns.set(name, column);
      }
      pairs.push([column.number, position]);
    }
    pairs.sort((a, b) => a[0] - b[0]);
    const bytes = 4 + pairs.length * 8;
    const kernel = storageKernel();
    const map = kernel.alloc(bytes);
    storageWords().set([pairs.length, ...pairs.flat()], map >>> 2);
    kernel.memtableShape(this.#address, number, group.address, map);
    this.#shapes.push(shape);
    this.#bytes += bytes + SHAPE_OVERHEAD_BYTES;
  }

  #groupOf(measurement: string): MemGroup {
    let group = this.#groups.get(measurement);
    if (group === undefined) {
      group = new MemGroup(measurement, storageKernel().memtableGroup(this.#address));
      this.#groups.set(measurement, group);
    }
    return group;
  }

  /** Tells of fields with versions that have come with them since the last call. */
  drainFields(note: (measurement: string, field: string, type: FieldType, version: Version) => void): void {
    const kernel = storageKernel();
    const fresh = this.#address === 0 ? 0 : kernel.memtableFresh(this.#address);
    if (fresh === 0) return;
    const all = storageBuffer();
    for (let i = 0; i < fresh; i++) {
      const entry = kernel.memtableFreshEntry(this.#address, i);
      const at = kernel.memtableNewest(this.#address, entry);
      const newest = all.toString('hex', at, at + VERSION_BYTES);
      const { measurement, columns } = this.#shapes[entry]!;
      for (const { field, type } of columns) note(measurement, field, type, newest);
    }
    kernel.memtableTold(this.#address);
  }

  /** The offsets that rows of the measurement lie in, or null when there are none. */
  span(measurement: string): { minTime: number; maxTime: number } | null {
    const group = this.#groups.get(measurement);
    return group === undefined || group.rows === 0 ? null : { minTime: group.minTime, maxTime: group.maxTime };
  }

  /** Rows of a measurement by window: window w is [w, w + 1) * windowNs from the shard's start. */
  windowRows(measurement: string, windowNs: number): Map<number, number> {
    const found = new Map<number, number>();
    const group = this.#groups.get(measurement);
    if (group === undefined || group.rows === 0) return found;
    const { address, minTime, maxTime } = group;
    const kernel = storageKernel();
    const first = Math.floor(minTime / windowNs);
    const windows = Math.floor(maxTime / windowNs) - first + 1;
    const counts = kernel.alloc(windows * 4);
    storageBytes().fill(0, counts, counts + windows * 4);
    kernel.groupWindows(address, 0, kernel.chunksOfRows(address, 0, ALL_ROWS), windowNs, first, counts);
    const words = storageWords();
    for (let i = 0; i < windows; i++) {
      const rows = words[(counts >>> 2) + i]!;
      if (rows > 0) found.set(first + i, rows);
    }
    kernel.free(counts);
    return found;
  }

  /** All rows of a measurement, sorted, or null when there are none. */
  sorted(measurement: string): RowSet | null {
    return this.select(measurement, { series: null, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER });
  }

  /** The wanted rows, sorted, or null when there are none. */
  select(measurement: string, want: RowWant): RowSet | null {
    return this.#pick(measurement, want, null);
  }

  /** The rows that came with these versions, sorted, or null when there are none. */
  ofVersions(
    measurement: string,
    versions: ReadonlySet<Version>,
    fields: ReadonlySet<string> | null = null,
  ): RowSet | null {
    const wanted = Uint8Array.from(this.#versions, (version) => (versions.has(version) ? 1 : 0));
    if (wanted.indexOf(1) < 0) return null;
    const want = { series: null, fields, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER };
    return this.#pick(measurement, want, wanted);
  }

  #pick(measurement: string, want: RowWant, versions: Uint8Array | null): RowSet | null {
    const group = this.#groups.get(measurement);
    if (group === undefined || group.maxTime < want.minTime || group.minTime > want.maxTime) return null;
    // A copy: the table may give a view of the kernel's memory.
    const series = want.series ?? this.#table.sorted(measurement).slice();
    if (series.length === 0) return null;
    const kernel = storageKernel();
    reservePlaces(this.#table.count);
    const wanted = kernel.alloc(series.length * 4);
    copyInto(storageBytes(), wanted, series);
    const mask = versions === null ? 0 : kernel.alloc(versions.length);
    if (versions !== null) storageBytes().set(versions, mask);
    kernel.placesSet(places, wanted, series.length);
    const { address } = group;
    const count = kernel.groupSelect(address, places, wanted, series.length, want.minTime, want.maxTime, mask);
    kernel.placesClear(places, wanted, series.length);
    kernel.free(wanted);
    if (mask !== 0) kernel.free(mask);
    const rows = count === 0 ? null : this.readPicked(group, count, series, want.fields);
    kernel.scratchTrim();
    return rows;
  }

  /**
   * The rows that the kernel has picked: `count` of them, places being those in `series`. `take` gives the memory of
   * the columns.
   */
  readPicked(
    group: MemGroup,
    count: number,
    series: Uint32Array,
    fields: ReadonlySet<string> | null,
    take: (bytes: number) => Uint8Array<ArrayBuffer> = newBytes,
  ): RowSet {
    const kernel = storageKernel();
    const versionTable = this.#arrange(series.length);
    const startsAt = kernel.scratchAt(SCRATCH.starts) >>> 2;
    const starts = storageWords().subarray(startsAt, startsAt + series.length + 1);
    const { present: found, seriesStart } = withRows(series, starts);
    const timesAt = kernel.scratchAt(SCRATCH.times) >>> 3;
    const versionsAt = kernel.scratchAt(SCRATCH.versions) >>> 2;
    const times = storageNumbers().slice(timesAt, timesAt + count);
    const versions = storageWords().slice(versionsAt, versionsAt + count);
    const columns: Column[] = [];
    for (const column of group.columns.values()) {
      if (fields !== null && !fields.has(column.field)) continue;
      const there = kernel.pickedColumn(column.number, column.type);
      if (there > 0) columns.push(takeColumn(column, count, there, take));
    }
    columns.sort(compareColumns);
    return { series: found, seriesStart, times, versions, versionTable, columns };
  }

  /** Has the kernel arrange the picked rows, and returns the table that their versions are indexes into. */
  #arrange(seriesCount: number): readonly Version[] {
    const kernel = storageKernel();
    const slots = this.#versions.length;
    const used = kernel.pickedVersions(slots);
    const listAt = kernel.scratchAt(SCRATCH.versions) >>> 2;
    const list = storageWords().slice(listAt, listAt + used);
    const all = this.#versions;
    if (!this.#ascends) list.sort((a, b) => (all[a]! < all[b]! ? -1 : all[a]! > all[b]! ? 1 : a - b));
    const ranks = kernel.alloc(Math.max(slots, 1) * 4);
    const words = storageWords();
    const versionTable: Version[] = [];
    for (let i = 0; i < used; i++) {
      const version = all[list[i]!]!;
      // A version may have come with two frames of one batch: it is one entry.
      if (versionTable.length === 0 || versionTable[versionTable.length - 1] !== version) versionTable.push(version);
      words[(ranks >>> 2) + list[i]!] = versionTable.length - 1;
    }
    kernel.pickedArrange(seriesCount, ranks);
    kernel.free(ranks);
    return versionTable;
  }

  /** Gives the memory back. The memtable is not to be used afterwards. */
  release(): void {
    if (this.#address === 0) return;
    forgotten.unregister(this);
    storageKernel().memtableFree(this.#address);
    this.#address = 0;
    this.#groups.clear();
    this.#shapes = [];
    this.#rows = 0;
    this.#bytes = 0;
  }
}

function reservePlaces(series: number): void {
  if (series <= placesRoom) return;
  const kernel = storageKernel();
  if (places !== 0) kernel.free(places);
  placesRoom = Math.max(1024, Math.ceil(series * 1.25));
  places = kernel.alloc(placesRoom * 4);
  storageBytes().fill(0, places, places + placesRoom * 4);
}

/** The series that have rows, and where those begin. */
function withRows(series: Uint32Array, starts: Uint32Array): { present: Uint32Array; seriesStart: Uint32Array } {
  let count = 0;
  for (let i = 0; i < series.length; i++) if (starts[i + 1]! > starts[i]!) count++;
  if (count === series.length) return { present: series.slice(), seriesStart: starts.slice() };
  const present = new Uint32Array(count);
  const seriesStart = new Uint32Array(count + 1);
  for (let i = 0, at = 0; i < series.length; i++) {
    if (starts[i + 1] === starts[i]) continue;
    present[at++] = series[i]!;
    seriesStart[at] = starts[i + 1]!;
  }
  return { present, seriesStart };
}

/** A copy of the column that the kernel has read. */
function takeColumn({ field, type }: MemColumn, rows: number, there: number, take: typeof newBytes): Column {
  const kernel = storageKernel();
  let present: Uint8Array | null = null;
  if (there < rows) {
    const at = kernel.scratchAt(SCRATCH.present);
    present = take(rows);
    copyInto(present, 0, storageBytes().subarray(at, at + rows));
  }
  return { field, type, present, values: takeValues(type, rows, present, take) };
}

function takeValues(type: FieldType, rows: number, present: Uint8Array | null, take: typeof newBytes): ColumnValues {
  const kernel = storageKernel();
  const at = kernel.scratchAt(SCRATCH.values);
  if (type === STRING) return takeStrings(at, rows, present);
  if (type === BOOLEAN) kernel.valuesToBytes(rows);
  const bytes = take(type === BOOLEAN ? rows : rows * 8);
  copyInto(bytes, 0, storageBytes().subarray(at, at + bytes.length));
  if (type === BOOLEAN) return bytes;
  if (type === FLOAT) return new Float64Array(bytes.buffer, bytes.byteOffset, rows);
  if (type === INTEGER) return new BigInt64Array(bytes.buffer, bytes.byteOffset, rows);
  return new BigUint64Array(bytes.buffer, bytes.byteOffset, rows);
}

function newBytes(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/** A string that many rows share (one of a dictionary) becomes one string. */
function takeStrings(at: number, rows: number, present: Uint8Array | null): string[] {
  const buffer = storageBuffer();
  const words = storageWords();
  const known = new Map<number, string>();
  const values = new Array<string>(rows).fill('');
  for (let row = 0; row < rows; row++) {
    if (present !== null && present[row] === 0) continue;
    const start = words[(at >>> 2) + row * 2]!;
    const length = words[(at >>> 2) + row * 2 + 1]!;
    if (length === 0) continue;
    let text = known.get(start);
    if (text === undefined) {
      text = buffer.toString('utf8', start, start + length);
      known.set(start, text);
    }
    values[row] = text;
  }
  return values;
}
