/** What the memtables of a worker's shards take together, and how they are brought below a maximum at once. */
import type { Shard } from './shard.ts';

export function memtableBytes(shards: Iterable<Shard>): number {
  let bytes = 0;
  for (const shard of shards) bytes += shard.memtableBytes;
  return bytes;
}

/** Flushes the largest ones until all together are below `bytesMax`. */
export function flushAbove(shards: ReadonlyMap<unknown, Shard>, bytesMax: number): void {
  while (memtableBytes(shards.values()) > bytesMax) {
    let largest: Shard | null = null;
    for (const shard of shards.values()) {
      if (largest === null || shard.memtableBytes > largest.memtableBytes) largest = shard;
    }
    largest!.flush();
  }
}
