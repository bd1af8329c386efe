/** What the storage kernel exports of series (assembly/series/): addresses and counts in, no view ever out. */

/** In the place of an id: there is none. */
export const UNKNOWN_ID = 0xffff_ffff;

export interface SeriesKernel {
  hashIdsNew(): number;
  hashIdsFree(table: number): void;
  hashIdsCount(table: number): number;
  hashIdsBytes(table: number): number;
  /** Where the 16 bytes of the hash of an id are; 0: no such id. */
  hashIdsAddress(table: number, id: number): number;
  /** The id of the hash at the address; -1 (UNKNOWN_ID as an i32): there is none. */
  hashIdsFind(table: number, hash: number): number;
  /** Looks up `count` hashes, writes their ids (u32; UNKNOWN_ID where there is none) and returns how many have none. */
  hashIdsFindMany(table: number, hashes: number, count: number, ids: number): number;
  hashIdsAdd(table: number, hash: number): number;
  hashIdsCompare(table: number, a: number, b: number): number;
}
