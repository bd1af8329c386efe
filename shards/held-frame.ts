/**
 * A frame in the kernel's memory: checked whole, with its content sum, ready to become part of a memtable.
 *
 * `holdFrame` copies the bytes once. Whoever holds a frame either gives it to a shard (Memtable.apply takes the memory
 * over) or releases it. A delete has no part in the kernel: its batch is decoded.
 */
import type { DeleteBatch } from './batch.ts';
import {
  BatchError,
  checkFrame,
  DECODED_BYTES_MAX,
  decodeBatch,
  encodeBatch,
  type FrameHead,
  openFrame,
  peekBatch,
} from './batch-codec.ts';
import { SUM_BYTES, type Sum128, sumAt, tombstoneSum } from './checksum.ts';
import { copyInto } from './kernel/copy.ts';
import { INDEX, NOT_UTF8 } from './kernel/memtable-kernel.ts';
import { storageBuffer, storageBytes, storageKernel, storageWords } from './kernel/storage-kernel.ts';
import { SERIES_HASH_BYTES, type SeriesHash } from './series-key.ts';
import { shapeOf } from './shapes.ts';
import type { ShardId, ShardKey } from './shard-key.ts';
import type { Version } from './version.ts';

/** The content sum of a frame while it is made. */
let sums = 0;

export class HeldFrame {
  readonly kind: 'write' | 'delete';
  readonly shard: ShardKey;
  readonly id: ShardId;
  readonly version: Version;
  readonly content: Sum128;
  readonly rows: number;
  /** Of a delete. */
  readonly deletion: DeleteBatch | null;
  readonly bytes: number;
  /** The table whose ids are filled in, for those series that it had. */
  lookedUpIn: object | null = null;
  /** Made by this process, which takes the measurement of a row from the key of its series. */
  isOwn = false;
  /** Its keys are given in the order of its series, and no id is filled in. */
  isNamed = false;
  /** The table whose ids are filled in for all series. */
  resolvedIn: object | null = null;
  /** The index in the kernel's memory; 0 when it has none or no longer. */
  #index: number;

  constructor(head: FrameHead, index: number, bytes: number, deletion: DeleteBatch | null) {
    this.kind = head.kind;
    this.shard = head.shard;
    this.id = head.id;
    this.version = head.version;
    this.deletion = deletion;
    this.bytes = bytes;
    this.#index = index;
    this.rows = index === 0 ? 0 : storageWords()[(index >>> 2) + INDEX.rows]!;
    this.content = deletion === null ? sumAt(sums) : tombstoneSum(deletion.predicate, head.version);
  }

  get index(): number {
    if (this.#index === 0) throw new Error(`frame of ${this.version} is no longer held`);
    return this.#index;
  }

  get seriesCount(): number {
    return storageWords()[(this.index >>> 2) + INDEX.series]!;
  }

  /** Address of the hashes of its series, 16 bytes each. */
  get hashes(): number {
    const words = storageWords();
    const at = this.index >>> 2;
    return words[at + INDEX.frame]! + words[at + INDEX.hashes]!;
  }

  /** Address of the ids of its series (u32 each), which the shard fills in. */
  get ids(): number {
    return storageKernel().frameIds(this.index);
  }

  hashOf(series: number): SeriesHash {
    const at = this.hashes + series * SERIES_HASH_BYTES;
    return storageBuffer().toString('hex', at, at + SERIES_HASH_BYTES);
  }

  /** The memory is another one's from now on. */
  give(): number {
    const index = this.index;
    this.#index = 0;
    return index;
  }

  /** Gives the memory back, unless somebody else has it by now. */
  release(): void {
    if (this.#index !== 0) storageKernel().frameFree(this.#index);
    this.#index = 0;
  }
}

/** `isWhole`: its bytes have been checked by another CRC, or have just been made here. Throws BatchError. */
export function holdFrame(frame: Uint8Array, isWhole = false): HeldFrame {
  return hold(frame, isWhole ? peekBatch(frame) : openFrame(frame));
}

/** The same of a frame whose head has been read. */
export function holdFrameOf(head: FrameHead, frame: Uint8Array, isWhole = false): HeldFrame {
  if (!isWhole) checkFrame(frame);
  return hold(frame, head);
}

function hold(frame: Uint8Array, head: FrameHead): HeldFrame {
  if (head.kind === 'delete') return new HeldFrame(head, 0, 0, decodeBatch(frame) as DeleteBatch);
  const kernel = storageKernel();
  const address = kernel.alloc(frame.byteLength);
  copyInto(storageBytes(), address, frame);
  const span = Number(head.shard.endNs - head.shard.startNs);
  const index = kernel.frameCheck(address, frame.byteLength, head.body, span, DECODED_BYTES_MAX);
  if (index === 0) {
    kernel.free(address);
    decodeBatch(frame); // says what is wrong
    throw new BatchError('corrupt-batch', 'corrupt batch: its body makes no sense');
  }
  const indexBytes = kernel.indexBytes();
  if ((storageWords()[(index >>> 2) + INDEX.flags]! & NOT_UTF8) !== 0) {
    kernel.frameFree(index);
    return holdFrame(encodeBatch(decodeBatch(frame)));
  }
  const series = storageWords()[(index >>> 2) + INDEX.series]!;
  sumGroups(index);
  return new HeldFrame(head, index, frame.byteLength + indexBytes + series * 4, null);
}

/** Leaves the content sum at `sums`. */
function sumGroups(index: number): void {
  const kernel = storageKernel();
  if (sums === 0) sums = kernel.alloc(SUM_BYTES);
  storageBytes().fill(0, sums, sums + SUM_BYTES);
  for (let group = kernel.frameSum(index, 0, sums); group !== 0; group = kernel.frameSum(index, group, sums)) {
    shapeOf(storageWords()[(index >>> 2) + INDEX.frame]!, group);
  }
}
