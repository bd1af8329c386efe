/**
 * What the storage kernel exports of frames and memtables (assembly/memtable/): addresses and counts in and out. What a
 * call leaves in scratch memory (`scratchAt`) holds until the next call that fills the same block.
 */

/** Blocks of scratch memory that results are read from (assembly/memtable/scratch.ts). */
export const SCRATCH = {
  targets: 10,
  starts: 11,
  times: 13,
  versions: 14,
  values: 20,
  present: 21,
  missing: 26,
} as const;

/** Words of a frame's index (assembly/memtable/frame.ts), counted in words of 4 bytes. */
export const INDEX = {
  frame: 0,
  frameBytes: 1,
  series: 2,
  hashes: 3,
  groups: 4,
  rows: 5,
  flags: 6,
  bytes: 32,
} as const;
export const GROUP = { columns: 7, words: 20 } as const;
export const COLUMN = { nameAt: 0, nameBytes: 1, kind: 2, words: 8 } as const;
/** Of a memtable's group (assembly/memtable/chunks.ts): rows as words of 4 bytes, times as numbers of 8. */
export const MEM_GROUP = { rows: 3, leastTime: 2, greatestTime: 3 } as const;
/** Flag of an index: a text in the frame is not UTF-8. */
export const NOT_UTF8 = 1;

export interface MemtableKernel {
  /** Address of the index, or 0: the frame is refused. */
  frameCheck(frame: number, length: number, body: number, span: number, unfoldedMax: number): number;
  /** Of the index that was made last. */
  indexBytes(): number;
  frameIds(index: number): number;
  frameBelongs(index: number, table: number): number;
  frameFree(index: number): void;
  /** Number of the shape of a group, or 0. */
  shapeFind(frame: number, group: number): number;
  /** Address of the shape. */
  shapeAdd(frame: number, group: number): number;
  shapeKeys(shape: number): number;
  shapesForget(): void;
  /** Address of the group at which it stopped, since its shape is not known; or 0. */
  frameSum(index: number, from: number, sums: number): number;
  storedCells(count: number, isFloat: number, values: number, present: number, key: number, totals: number): void;
  storedTexts(count: number, text: number, ends: number, present: number, key: number, totals: number): void;
  versionKeys(versions: number, count: number): void;
  storedRows(
    count: number,
    series: number,
    hashes: number,
    times: number,
    versions: number,
    versionKeys: number,
    totals: number,
    sums: number,
  ): void;
  memtableNew(): number;
  memtableFree(memtable: number): void;
  memtableGroup(memtable: number): number;
  memtableShape(memtable: number, number: number, group: number, map: number): void;
  /** Address of a group of the frame whose shape the memtable has not met, from `from` on; or 0. */
  memtableUnknown(memtable: number, index: number, from: number): number;
  /** By how many bytes it takes more, the frame itself not counted. */
  memtableApply(memtable: number, index: number, slot: number): number;
  memtableFresh(memtable: number): number;
  memtableFreshEntry(memtable: number, place: number): number;
  memtableNewest(memtable: number, entry: number): number;
  memtableTold(memtable: number): void;
  groupSelect(
    group: number,
    table: number,
    wanted: number,
    count: number,
    minTime: number,
    maxTime: number,
    versions: number,
  ): number;
  groupWindows(group: number, from: number, to: number, windowNs: number, first: number, counts: number): void;
  groupCount(
    group: number,
    from: number,
    to: number,
    table: number,
    minTime: number,
    maxTime: number,
    counts: number,
  ): void;
  groupPart(
    group: number,
    from: number,
    to: number,
    table: number,
    minTime: number,
    maxTime: number,
    partOf: number,
    next: number,
    out: number,
  ): void;
  listBuckets(
    group: number,
    rows: number,
    count: number,
    minTime: number,
    spanNs: number,
    buckets: number,
    counts: number,
  ): void;
  listSlice(
    group: number,
    rows: number,
    count: number,
    minTime: number,
    spanNs: number,
    buckets: number,
    sliceOf: number,
    next: number,
    out: number,
  ): void;
  groupPick(group: number, rows: number, count: number, table: number, firstPlace: number): void;
  chunksOfRows(group: number, chunk: number, rows: number): number;
  placesSet(table: number, ids: number, count: number): void;
  placesClear(table: number, ids: number, count: number): void;
  pickedVersions(slots: number): number;
  pickedArrange(places: number, ranks: number): void;
  pickedColumn(number: number, type: number): number;
  valuesToBytes(count: number): void;
  mergeOpen(rows: number): void;
  mergeAdd(series: number, starts: number, places: number, times: number, versions: number, versionBase: number): void;
  mergeHasFolds(places: number): number;
  mergeColumnOpen(bytes: number, rowsMax: number): number;
  mergeColumnAdd(bytes: number, first: number, count: number, from: number, hasPresent: number): void;
  mergeColumnCount(): number;
  scratchAt(block: number): number;
  scratchTrim(): void;
}
