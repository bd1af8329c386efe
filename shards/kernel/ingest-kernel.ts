/**
 * The ingest kernel as its host sees it: what it exports, and how an instance is made.
 *
 * Addresses are byte offsets into `memory`, which ends at 2 GiB: they are never negative. Any call may grow the memory:
 * views over it are made anew after each call.
 */
import type { LineLimits } from '../line-protocol-errors.ts';
import { sipHashKeyOf } from '../siphash.ts';
import { powersOfFive } from './ingest-powers.ts';
import { type KernelMemory, loadKernel } from './load.ts';

/** Ends of a step over a line (assembly/ingest/layout.ts). */
export const STEP_OK = -1;
export const STEP_DONE = 0;
export const STEP_CAREFUL = 1;
export const STEP_WINDOW = 2;
export const STEP_FULL = 3;
export const STEP_SPECIAL = 4;
export const STEP_WIDE = 5;
/** The row was taken back, its window is set now: to be put once more. */
export const STEP_AGAIN = -2;
export const WINDOWS_MAX = 8;

interface Variable {
  readonly value: number;
}

export interface IngestKernel extends KernelMemory {
  seedHash(seed: bigint): void;
  keySipHash(low: bigint, high: bigint): void;
  powersOfFive(): number;
  startSeries(shardsPerGroup: number, keyBytesMax: number): void;
  startMeasurements(): void;
  startStage(shardsPerGroup: number, columnsMax: number, stringBytesMax: number, unfoldedBytesMax: bigint): void;

  seriesCount(): number;
  seriesBytes(): number;
  namesBytes(): number;
  stageBytes(): number;
  batchesNumbered(): number;
  /** What series have in common about where they were sent, as far as it differs. */
  sentStates(): number;
  /** 16 bytes to `into`. */
  sipHash(at: number, length: number, into: number): void;

  beginStage(): void;
  addWindow(start: bigint, end: bigint): void;
  beginBody(): void;
  endBody(): void;
  rollBack(): void;
  freshFields(): number;
  freshFieldCount(): number;
  hasCells(field: number, window: number): number;
  rowsIn(target: number): number;
  unfoldedBytes(): number;
  /** A bit for each target that the body has rows in. */
  targetsTouched(): number;
  /** Record of a field (assembly/ingest/measurements.ts). */
  fieldAt(number: number): number;

  inputOf(bytes: number): number;
  beginParse(unitNs: bigint, defaultTimeNs: bigint, oldestNs: bigint, lineBytesMax: number): void;
  parse(): number;
  position(): number;
  setPosition(at: number): void;
  timeOfRow(): bigint;
  rowsRead(): number;
  rowsAged(): number;
  findSpelling(at: number, length: number): number;
  enterSpelling(
    at: number,
    length: number,
    canonical: number,
    canonicalLength: number,
    measurement: number,
    measurementLength: number,
    timeTag: number,
  ): number;
  openRow(entry: number): number;
  openField(name: number, length: number, type: number): number;
  putOpenFloat(value: number): void;
  putOpenWord(value: bigint): void;
  putOpenBoolean(value: number): void;
  putOpenString(at: number, length: number): number;
  closeOpenRow(timeNs: bigint, hasTime: number): number;

  hasDuplicates(): number;
  countUnsent(target: number, token: number): number;
  seal(target: number, token: number, destinations: number, everyKey: number, allKeys: number): void;
  outputBlock(): number;
  readonly sealedSeries: Variable;
  readonly sealedBodyBytes: Variable;
  readonly freshKeys: Variable;
  readonly freshKeyBytes: Variable;
  readonly allKeyBytes: Variable;
  readonly freshSpelledBytes: Variable;
  readonly freshCommas: Variable;
  readonly allSpelledBytes: Variable;
  readonly allCommas: Variable;
}

export function newIngestKernel(
  seed: string,
  shardsPerGroup: number,
  { columnsMax, keyBytesMax, stringBytesMax, scratchBytesMax }: LineLimits,
): IngestKernel {
  const kernel = loadKernel<IngestKernel>('ingest');
  const key = Buffer.from(sipHashKeyOf(seed));
  const [low, high] = [key.readBigUInt64LE(0), key.readBigUInt64LE(8)];
  kernel.keySipHash(low, high);
  kernel.seedHash(low ^ (high << 1n));
  kernel.startSeries(shardsPerGroup, keyBytesMax);
  kernel.startMeasurements();
  kernel.startStage(shardsPerGroup, columnsMax, stringBytesMax, BigInt(scratchBytesMax));
  const powers = powersOfFive();
  const at = kernel.powersOfFive();
  new Uint8Array(kernel.memory.buffer, at, powers.length).set(powers);
  return kernel;
}
