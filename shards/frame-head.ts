/**
 * The heads of frames (batch-codec.ts has their layout): what says where a batch belongs, read and written by itself, since
 * most of those who handle a frame look no further.
 */
import { crc32 } from 'node:zlib';
import type { Batch } from './batch.ts';
import { isDeleteShard } from './delete-shard.ts';
import { FrameError } from './frame.ts';
import {
  SHARD_SPAN_MAX_NS,
  type ShardId,
  type ShardKey,
  type ShardKeyJson,
  shardId,
  shardKeyFromJson,
  shardKeyToJson,
} from './shard-key.ts';
import { VERSION_BYTES, type Version } from './version.ts';

const MAGIC = 0x424c_5453;
const FORMAT_VERSION = 1;
const KIND_WRITE = 1;
const KIND_DELETE = 2;
const LENGTH_OFFSET = 8;
/** Where the CRC of all other bytes of a frame stands. */
export const FRAME_CRC_OFFSET = 12;
const VERSION_OFFSET = 16;
const KEY_OFFSET = 32;
const HEAD_BYTES = 36;

export type BatchErrorCode = 'corrupt-batch' | 'future-batch';

export class BatchError extends Error {
  readonly code: BatchErrorCode;
  readonly status = 400;
  readonly retry = false;
  constructor(code: BatchErrorCode, message: string) {
    super(message);
    this.name = 'BatchError';
    this.code = code;
  }
}

export interface FrameHead {
  readonly kind: Batch['kind'];
  readonly shard: ShardKey;
  readonly id: ShardId;
  readonly version: Version;
  /** Where the body begins. */
  readonly body: number;
}

/** Reads the head only; the CRC is not checked. Throws BatchError. */
export function peekBatch(frame: Uint8Array): FrameHead {
  return guarded(() => readHead(frame));
}

/** Reads the head and checks length and CRC of the whole. Throws BatchError. */
export function openFrame(frame: Uint8Array): FrameHead {
  return guarded(() => {
    const head = readHead(frame);
    checkWhole(frame);
    return head;
  });
}

/** Checks length and CRC of a frame whose head has been read. Throws BatchError. */
export function checkFrame(frame: Uint8Array): void {
  guarded(() => checkWhole(frame));
}

/** Runs `read`; a FrameError becomes a BatchError. */
export function guarded<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof FrameError) throw new BatchError('corrupt-batch', `corrupt batch: ${error.message}`);
    throw error;
  }
}

/** Throws FrameError or BatchError. */
export function readHead(frame: Uint8Array): FrameHead {
  if (frame.length < HEAD_BYTES) throw new FrameError(`${frame.length} bytes are no frame`);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const magic = view.getUint32(0, true);
  if (magic !== MAGIC) throw new FrameError(`magic ${magic.toString(16)}`);
  const format = frame[4]!;
  if (format > FORMAT_VERSION) throw new BatchError('future-batch', `batch of format ${format}`);
  const kind = frame[5]!;
  const flags = view.getUint16(6, true);
  if (flags !== 0) throw new BatchError('future-batch', `batch with flags ${flags}`);
  if (format === 0 || (kind !== KIND_WRITE && kind !== KIND_DELETE)) throw new FrameError(`kind ${kind}`);
  const body = HEAD_BYTES + view.getUint32(KEY_OFFSET, true);
  if (body > frame.length) throw new FrameError(`shard key up to ${body} of ${frame.length} bytes`);
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const version = bytes.toString('hex', VERSION_OFFSET, VERSION_OFFSET + VERSION_BYTES);
  const { key: shard, id } = knownShardKey(bytes.toString('utf8', HEAD_BYTES, body));
  if (kind === KIND_WRITE && isDeleteShard(shard)) throw new FrameError('rows for a delete shard');
  return { kind: kind === KIND_WRITE ? 'write' : 'delete', shard, id, version, body };
}

/** Throws FrameError. */
export function checkWhole(frame: Uint8Array): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const declared = view.getUint32(LENGTH_OFFSET, true);
  if (declared !== frame.length) throw new FrameError(`frame of ${frame.length} bytes says ${declared}`);
  const crc = view.getUint32(FRAME_CRC_OFFSET, true);
  const actual = frameCrc(frame);
  if (crc !== actual) throw new FrameError(`CRC is ${actual}, the frame says ${crc}`);
}

/** Heads that were written before, with zeros for the version: a shard gets thousands of frames. */
const heads = new WeakMap<ShardKey, Uint8Array>();

/** A frame with this head, and `bodyBytes` to be filled in before it is finished. */
export function newFrame(
  kind: Batch['kind'],
  shard: ShardKey,
  version: Version,
  bodyBytes: number,
): { readonly frame: Uint8Array<ArrayBuffer>; readonly body: number } {
  let head = heads.get(shard);
  if (head === undefined) {
    head = headOf(shard);
    heads.set(shard, head);
  }
  const frame = new Uint8Array(head.length + bodyBytes);
  frame.set(head);
  frame[5] = kind === 'write' ? KIND_WRITE : KIND_DELETE;
  Buffer.from(frame.buffer).write(version, VERSION_OFFSET, VERSION_BYTES, 'hex');
  return { frame, body: head.length };
}

/** Fills in length and CRC. */
export function finishFrame(frame: Uint8Array<ArrayBuffer>): void {
  const view = new DataView(frame.buffer);
  view.setUint32(LENGTH_OFFSET, frame.length, true);
  view.setUint32(FRAME_CRC_OFFSET, frameCrc(frame), true);
}

function headOf(shard: ShardKey): Uint8Array {
  const key = Buffer.from(JSON.stringify(shardKeyToJson(shard)), 'utf8');
  const head = new Uint8Array(HEAD_BYTES + key.length);
  const view = new DataView(head.buffer);
  view.setUint32(0, MAGIC, true);
  head[4] = FORMAT_VERSION;
  view.setUint32(KEY_OFFSET, key.length, true);
  head.set(key, HEAD_BYTES);
  return head;
}

function frameCrc(bytes: Uint8Array): number {
  return crc32(bytes.subarray(FRAME_CRC_OFFSET + 4), crc32(bytes.subarray(0, FRAME_CRC_OFFSET)));
}

/** Keys as frames spell them: thousands of frames name the same few shards. Emptied when it is full. */
const shardKeys = new Map<string, { readonly key: ShardKey; readonly id: ShardId }>();
const SHARD_KEYS_MAX = 4096;

function knownShardKey(text: string): { readonly key: ShardKey; readonly id: ShardId } {
  let known = shardKeys.get(text);
  if (known === undefined) {
    const key = readShardKey(text);
    known = { key, id: shardId(key) };
    if (shardKeys.size >= SHARD_KEYS_MAX) shardKeys.clear();
    shardKeys.set(text, known);
  }
  return known;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new FrameError('JSON that cannot be read');
  }
}

function readShardKey(text: string): ShardKey {
  const json = parseJson(text);
  if (!Array.isArray(json) || json.length !== 7) throw new FrameError('shard key of another form');
  const kinds = json.map((item) => (Number.isSafeInteger(item) && (item as number) >= 0 ? 'number' : typeof item));
  if (kinds.join() !== 'string,number,string,number,string,string,number' || !json.every(isPlainPart)) {
    throw new FrameError('shard key of another form');
  }
  if (!/^-?\d{1,20}$/.test(json[4]) || !/^-?\d{1,20}$/.test(json[5])) throw new FrameError('shard key without times');
  const key = shardKeyFromJson(json as ShardKeyJson);
  const span = key.endNs - key.startNs;
  const isBounded = span > 0n && span <= SHARD_SPAN_MAX_NS;
  if (!isBounded && !isDeleteShard(key)) throw new FrameError(`shard of ${span} ns`);
  return key;
}

function isPlainPart(item: unknown): boolean {
  return typeof item === 'string' || Number.isSafeInteger(item);
}
