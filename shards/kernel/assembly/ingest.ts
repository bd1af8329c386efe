/** What the main thread runs: from the bytes of request bodies to frames. */
export { alloc, free, pages, realloc } from './memory';
export { seedHash } from './ingest/bytes';
export { stageBytes } from './ingest/columns';
export { beginParse, inputOf, parse, position, setPosition } from './ingest/lines';
export {
  closeOpenRow,
  enterSpelling,
  findSpelling,
  openField,
  openRow,
  putOpenBoolean,
  putOpenFloat,
  putOpenString,
  putOpenWord,
  rowsAged,
  rowsRead,
  timeOfRow,
} from './ingest/rows';
export { fieldAt, namesBytes, startMeasurements } from './ingest/measurements';
export { powersOfFive } from './ingest/numbers';
export { batchesNumbered, seriesBytes, seriesCount, startSeries } from './ingest/series';
export { sentStates } from './ingest/sent';
export { keySipHash, sipHash } from './ingest/siphash';
export {
  beginBody,
  beginStage,
  endBody,
  freshFieldCount,
  freshFields,
  hasCells,
  rollBack,
  rowsIn,
  startStage,
  targetsTouched,
  unfoldedBytes,
} from './ingest/stage';
export { outputBlock, outputRoom } from './ingest/output';
export {
  allCommas,
  allKeyBytes,
  allSpelledBytes,
  countUnsent,
  freshCommas,
  freshKeyBytes,
  freshKeys,
  freshSpelledBytes,
  hasDuplicates,
  seal,
  sealedBodyBytes,
  sealedSeries,
} from './ingest/seal';
export { addWindow } from './ingest/windows';
