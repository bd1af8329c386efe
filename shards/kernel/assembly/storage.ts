/** What a worker thread runs: frames, memtable, blocks, checksums, aggregates. */
export { alloc, free, realloc } from './memory';
export {
  hashIdsAdd,
  hashIdsAddress,
  hashIdsBytes,
  hashIdsCompare,
  hashIdsCount,
  hashIdsFind,
  hashIdsFindMany,
  hashIdsFree,
  hashIdsNew,
} from './series/hash-ids';
