import type { BlockHead } from './block-head.ts';
import type { RowSet } from './row-set.ts';

export interface BlockWant {
  /** Ids of series in any order; null: all. */
  readonly series: Uint32Array | null;
  /** null: all. */
  readonly fields: readonly string[] | null;
  /** Offsets from the shard's start in nanoseconds, both inclusive. */
  readonly minTime: number;
  readonly maxTime: number;
}

export function encodeBlock(rows: RowSet): { head: Uint8Array; body: Uint8Array } {
  throw new Error(`not encoded yet: ${rows.times.length}`);
}

export function decodeBlockHead(head: Uint8Array): BlockHead {
  throw new Error(`not decoded yet: ${head.length}`);
}

export function decodeBlock(head: BlockHead, body: Uint8Array, want: BlockWant): RowSet {
  throw new Error(`not decoded yet: ${[head, body, want].length}`);
}
