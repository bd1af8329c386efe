/**
 * How many series a shard has, and which of some it does not have: what a coordinator asks before it lets new series in, for
 * the limit of a database (server/series-limit.ts).
 */
import { attempt } from './errors.ts';
import { UNKNOWN_ID } from './kernel/series-kernel.ts';
import { storageBytes } from './kernel/storage-kernel.ts';
import { kernelRoom } from './series-ids.ts';
import { SERIES_HASH_BYTES, type SeriesHash } from './series-key.ts';
import type { Shard } from './shard.ts';

export interface SeriesCensus {
  /** Of all series that the shard has. */
  readonly count: number;
  /** Places of those among the hashes asked for that it does not have, ascending. */
  readonly unknown: Uint32Array;
}

/** Without reading the series of a shard that has let go of them, nor keeping it from that. null: its file cannot be read. */
export function seriesCountOf(shard: Shard): number | null {
  return attempt(
    () => shard.table.countKept ?? shard.sizes().series,
    () => null,
  );
}

/** Of a shard that is not there yet. */
export function emptyCensus(hashes: Uint8Array): SeriesCensus {
  return { count: 0, unknown: Uint32Array.from({ length: hashes.byteLength / SERIES_HASH_BYTES }, (_, i) => i) };
}

/** `hashes`: one behind the other. null: the shard's series cannot be read, or there is no room for them. */
export function censusOf(shard: Shard, hashes: Uint8Array): SeriesCensus | null {
  return attempt(
    () => ({ count: shard.table.count, unknown: unknownOf(shard, hashes) }),
    () => null,
  );
}

function unknownOf({ table }: Shard, hashes: Uint8Array): Uint32Array {
  const count = hashes.byteLength / SERIES_HASH_BYTES;
  const { ids } = table;
  const at = kernelRoom(count * (SERIES_HASH_BYTES + 4));
  const found = at + count * SERIES_HASH_BYTES;
  storageBytes().set(hashes, at);
  const missing = ids.findMany(at, count, found);
  const unknown = new Uint32Array(missing);
  if (missing === 0) return unknown;
  const each = new Uint32Array(storageBytes().buffer, found, count);
  for (let i = 0, to = 0; i < count; i++) if (each[i] === UNKNOWN_ID) unknown[to++] = i;
  return unknown;
}

export function hashBytesOf(hashes: readonly SeriesHash[]): Uint8Array {
  return new Uint8Array(Buffer.from(hashes.join(''), 'hex'));
}
