/** What the storage kernel exports of series (assembly/series/): addresses and counts in, no view ever out. */

/** In the place of an id or a code: there is none. The kernel's functions return it as -1. */
export const UNKNOWN_ID = 0xffff_ffff;
/** Named in the place of a tag key where texts are asked for: the tag keys, and the measurements. */
export const TAG_KEYS = -1;
export const MEASUREMENTS = -2;

export interface SeriesKernel {
  hashIdsAddress(hashes: number, id: number): number;
  hashIdsFind(hashes: number, hash: number): number;
  hashIdsFindMany(hashes: number, hash: number, count: number, ids: number): number;
  hashIdsCompare(hashes: number, a: number, b: number): number;

  seriesNew(): number;
  seriesFree(table: number): void;
  seriesBytes(table: number): number;
  seriesCount(table: number): number;
  seriesHashes(table: number): number;
  seriesAdd(table: number, hash: number, key: number, length: number): number;
  seriesResolve(table: number, hashes: number, count: number, ids: number, records: number, bytes: number): number;
  seriesNamed(hashes: number, count: number, ids: number, records: number, bytes: number): number;
  seriesMissing(table: number, index: number, records: number, bytes: number): number;
  seriesHasNew(table: number, records: number, bytes: number): number;
  /** Bytes by which the table may grow when these keys are added; `areNew` = 1: as if it had none of them. */
  seriesGrowth(table: number, records: number, bytes: number, areNew: number): number;
  seriesKeyLength(table: number, id: number): number;
  seriesKeyWrite(table: number, id: number, out: number): number;
  seriesIsKept(table: number, id: number): number;
  seriesTags(table: number, id: number, out: number): number;
  /** Writes the hashes; returns the length of the body, which is at `seriesChunkBody` until the next call. */
  seriesChunkWrite(table: number, first: number, count: number, hashes: number): number;
  seriesChunkBody(): number;
  /** 0: the bytes do not hold the series. */
  seriesChunkAdd(table: number, hashes: number, count: number, body: number, bytes: number): number;
  /** `key`: number of a tag key (its values), TAG_KEYS or MEASUREMENTS. */
  seriesText(table: number, key: number, code: number): number;
  seriesTextLength(table: number, key: number, code: number): number;
  seriesTextCount(table: number, key: number): number;
  seriesTextFind(table: number, key: number, text: number, length: number): number;

  measurementOf(table: number, id: number): number;
  measurementMembers(table: number, measurement: number): number;
  measurementColumns(table: number, measurement: number): number;
  measurementKeys(table: number, measurement: number, out: number): void;
  codesOf(table: number, measurement: number, key: number, ids: number, count: number, out: number): void;
  markCodes(table: number, measurement: number, key: number, marks: number): void;

  orderUpdate(table: number, measurement: number): number;
  /** A job, or 0: there is too little to do for steps. */
  orderBegin(table: number, measurement: number): number;
  /** 1 when more remains. */
  orderStep(job: number): number;
  orderEnd(job: number): void;
  orderRanks(table: number): number;

  setBytes(table: number, measurement: number): number;
  setFill(table: number, measurement: number, all: number, out: number): void;
  setAnd(into: number, other: number, bytes: number): void;
  setOr(into: number, other: number, bytes: number): void;
  setNot(table: number, measurement: number, set: number): void;
  setCount(set: number, bytes: number): number;
  setEqual(table: number, measurement: number, key: number, code: number, out: number): void;
  setVerdict(table: number, measurement: number, key: number, verdicts: number, count: number, out: number): void;
  setIds(table: number, measurement: number, set: number, out: number): number;
}
