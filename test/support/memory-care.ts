/** What mending asks of a shard in memory: all settled batches are one group of one window. */
import type { SeriesKeyRecord } from '../../shards/batch.ts';
import { decodeBatch } from '../../shards/batch-codec.ts';
import type { DamagedPart, GroupSum, Reading, Replacement, ReplacementRequest, StoredCare } from '../../shards/care.ts';
import type { Sum128 } from '../../shards/checksum.ts';
import type { Contests } from '../../shards/contests.ts';
import { StorageError } from '../../shards/errors.ts';
import { isThrough, type Stamp, type Version } from '../../shards/version.ts';
import type { Kept, MemoryShard } from './memory-storage.ts';

export class MemoryCare implements StoredCare {
  damaged: DamagedPart[] = [];
  /** As many bytes does a reading take; 0: it is over with its first step. */
  readingBytes = 0;
  private readonly shard: MemoryShard;

  constructor(shard: MemoryShard) {
    this.shard = shard;
  }

  read(begun: () => void): Reading {
    const { shard, readingBytes: bytesTotal } = this;
    let bytesRead = 0;
    let above = new Map<Version, Sum128>();
    let through = 0n;
    const damaged: DamagedPart[] = [];
    return {
      bytesTotal,
      get bytesRead() {
        return bytesRead;
      },
      damaged,
      get above() {
        return above;
      },
      get through() {
        return through;
      },
      step(bytesMax) {
        bytesRead += Math.min(bytesMax, bytesTotal - bytesRead);
        if (bytesRead < bytesTotal) return true;
        begun();
        try {
          above = shard.recomputeContent(shard.floor);
          through = shard.recomputeContentThrough(shard.floor);
        } catch (error) {
          if (!(error instanceof StorageError)) throw error;
          damaged.push({ window: 0, measurement: '', groups: [0], rows: 0, message: error.message });
        }
        return false;
      },
      adopt: () => {},
      close: () => {},
    };
  }

  groups({ through }: { through: Stamp }): { groups: GroupSum[]; next: null } {
    const settled = this.settled(through);
    const content = this.shard.recomputeContentThrough(through);
    return { groups: [{ window: 0, measurement: '', group: 0, rows: settled.length, content }], next: null };
  }

  /** Values are not looked into here: nothing was examined. */
  contests(): Contests {
    const decided = { later: 0, node: 0, first: 0, type: 0, deleted: 0 };
    return { decided, same: 0, deletes: 0, unexamined: 0, samples: [], deleteSamples: [] };
  }

  copy({ through }: { through: Stamp }) {
    const settled = this.settled(through);
    const image = settled.map(([version, { frame, keys }]) => [version, Buffer.from(frame).toString('base64'), keys]);
    const page = { frame: Buffer.from(JSON.stringify(image)), keys: new Uint8Array(0) };
    return { page, rows: settled.length, next: null };
  }

  replace({ through, purged }: ReplacementRequest): Replacement {
    const { shard } = this;
    let image: [Version, string, SeriesKeyRecord[]][] | null = null;
    return {
      accept: (page) => {
        image = JSON.parse(Buffer.from(page).toString());
      },
      step: () => {
        for (const version of shard.batches.keys()) {
          if (purged.has(version) || (image !== null && isThrough(version, through))) shard.batches.delete(version);
        }
        for (const [version, frame, keys] of image ?? []) this.put(version, Buffer.from(frame, 'base64'), keys);
        return false;
      },
      abandon: () => {},
    };
  }

  placesOf(): { window: number; measurement: string }[] {
    return [{ window: 0, measurement: '' }];
  }

  restore(batches: readonly { frame: Uint8Array; keys: readonly SeriesKeyRecord[] }[]): void {
    for (const { frame, keys } of batches) this.put(decodeBatch(frame).version, Uint8Array.from(frame), keys);
    this.shard.flush();
  }

  settle(): void {}

  private put(version: Version, frame: Uint8Array, keys: readonly SeriesKeyRecord[]): void {
    for (const { hash, key } of keys) this.shard.keys.set(hash, key);
    this.shard.batches.set(version, { frame, keys: [...keys] });
  }

  private settled(through: Stamp): [Version, Kept][] {
    return [...this.shard.batches].filter(([version]) => isThrough(version, through)).sort();
  }
}
