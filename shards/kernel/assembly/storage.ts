/** What a worker thread runs: frames, memtable, blocks, checksums, aggregates. */
export { alloc, free, pages, realloc } from './memory';
export { seriesChunkAdd, seriesChunkBody, seriesChunkWrite } from './series/chunk';
export { seriesGrowth } from './series/growth';
export { hashIdsAddress, hashIdsCompare, hashIdsFind, hashIdsFindMany } from './series/hash-ids';
export {
  seriesAdd,
  seriesIsKept,
  seriesKeyLength,
  seriesKeyWrite,
  seriesTags,
} from './series/keys';
export { seriesHasNew, seriesMissing, seriesNamed, seriesResolve } from './series/records';
export { measurementMembers, orderBegin, orderEnd, orderRanks, orderStep, orderUpdate } from './series/order';
export {
  codesOf,
  markCodes,
  measurementColumns,
  measurementKeys,
  setAnd,
  setBytes,
  setCount,
  setEqual,
  setFill,
  setIds,
  setNot,
  setOr,
  setVerdict,
} from './series/select';
export {
  measurementOf,
  seriesBytes,
  seriesCount,
  seriesFree,
  seriesHashes,
  seriesNew,
  seriesText,
  seriesTextCount,
  seriesTextFind,
  seriesTextLength,
} from './series/table';
export { copySegments, fillSegments } from './aggregate/append';
export { reduceRuns } from './aggregate/reduce';
export { findRuns, rowsInRuns } from './aggregate/runs';
export { sumOpened } from './aggregate/walk-sums';
export {
  codecPosition,
  decodeColumn,
  decodedEveryRow,
  decodeIndexes,
  decodeNumbers,
  decodePatterns,
  decodePresence,
  encodeAlign,
  encodeColumn,
  encodeNumbers,
  encodeOpen,
  encodePatterns,
  encodePresence,
  openScaled,
  restoreScaled,
} from './codec/entry';
export { frameBelongs } from './memtable/belongs';
export { pickedArrange, pickedVersions } from './memtable/arrange';
export { chunksOfRows, placesClear, placesSet } from './memtable/chunks';
export { pickedColumn, valuesToBytes } from './memtable/columns';
export { frameCheck, frameFree, frameIds, indexBytes } from './memtable/frame';
export {
  memtableApply,
  memtableFree,
  memtableFresh,
  memtableFreshEntry,
  memtableGroup,
  memtableNew,
  memtableNewest,
  memtableShape,
  memtableTold,
  memtableUnknown,
} from './memtable/memtable';
export { mergeAdd, mergeColumnAdd, mergeColumnCount, mergeColumnOpen, mergeHasFolds, mergeOpen } from './memtable/merge';
export { groupCount, groupPart, groupWindows, listBuckets, listSlice } from './memtable/parts';
export { groupPick, groupSelect } from './memtable/pick';
export { scratchAt, scratchTrim } from './memtable/scratch';
export { frameSum, shapeAdd, shapeFind, shapeKeys, shapesForget } from './memtable/shape';
export { storedCells, storedRows, storedTexts, versionKeys } from './memtable/sum';
