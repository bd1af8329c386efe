/** Batches as bytes. */
import type { Batch, SeriesKeyRecord } from './batch.ts';
import type { ShardKey } from './shard-key.ts';
import type { Version } from './version.ts';

export type BatchErrorCode = 'corrupt-batch' | 'future-batch';

export class BatchError extends Error {
  readonly code: BatchErrorCode;
  readonly status: number = 400;
  readonly retry: boolean = false;
  constructor(code: BatchErrorCode, message: string) {
    super(message);
    this.name = 'BatchError';
    this.code = code;
  }
}

export function encodeBatch(_batch: Batch): Uint8Array {
  throw new Error('in construction');
}
/** Throws BatchError. */
export function decodeBatch(_frame: Uint8Array): Batch {
  throw new Error('in construction');
}
/** Reads the head only; the CRC is not checked. Throws BatchError. */
export function peekBatch(_frame: Uint8Array): { kind: Batch['kind']; shard: ShardKey; version: Version } {
  throw new Error('in construction');
}
export function encodeKeys(_records: readonly SeriesKeyRecord[]): Uint8Array {
  throw new Error('in construction');
}
export function decodeKeys(_bytes: Uint8Array): SeriesKeyRecord[] {
  throw new Error('in construction');
}
