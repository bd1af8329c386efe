/**
 * Blocks of all shards of a worker that were read lately: heads decoded, bodies in the kernel's memory.
 *
 * The file stays the truth; what is here was checked against its CRC when it was loaded. Bounded by bytes; what was not
 * used for longest goes first, except the block that is being asked for. What was not used for `unusedMs` goes as well,
 * room or not: dashboards look at the newest hours, and without that the cache would grow with whatever was ever read. A block that is replaced, or whose shard is
 * closed, has to be dropped by whoever does that: ids of rows are given again.
 */
import type { BlockEntry } from './block-directory.ts';
import type { BlockHead } from './block-head.ts';
import { KERNEL_SLACK_BYTES } from './codec/kernel-codec.ts';
import { copyInto } from './kernel/copy.ts';
import { storageBytes, storageKernel } from './kernel/storage-kernel.ts';
import { BYTES_PER_PICK, type RememberedPicks } from './remembered-picks.ts';

export interface CachedBlock {
  readonly head: BlockHead;
  /** Address of the body and of the first rows of its series (u32) in the kernel's memory; 0: not loaded. */
  readonly body: number;
  readonly starts: number;
  /** What was remembered of it (remembered-picks.ts). */
  readonly picks: readonly RememberedPicks[];
}

/** What a decoded head takes beside its encoded bytes: the arrays of its series, objects per column, texts of versions. */
const BYTES_PER_SERIES = 8;
const BYTES_PER_COLUMN = 200;
const BYTES_PER_VERSION = 64;

interface Kept {
  readonly entry: BlockEntry;
  /** In the order of use. */
  before: Kept | null;
  behind: Kept | null;
  head: BlockHead;
  body: number;
  starts: number;
  readonly picks: RememberedPicks[];
  bytes: number;
  usedMs: number;
}

/** Memory of caches that were let go with their worker's engine: what a crash in a simulation leaves behind. */
const forgotten = new FinalizationRegistry<ReadonlySet<number>>((addresses) => {
  for (const address of addresses) storageKernel().free(address);
});

export class BlockCache {
  readonly #bytesMax: number;
  readonly #unusedMs: number;
  readonly #blocks = new Map<BlockEntry, Kept>();
  /** Ends of the list in the order of use, which changes with every question for a block: a map would be made anew all the time. */
  #oldest: Kept | null = null;
  #newest: Kept | null = null;
  readonly #addresses = new Set<number>();
  /** Stay whatever the bytes: several blocks are being read at once. */
  #held: ReadonlySet<BlockEntry> = new Set();
  #bytes = 0;
  #clockMs = 0;

  constructor(bytesMax: number, unusedMs: number) {
    this.#bytesMax = bytesMax;
    this.#unusedMs = unusedMs;
    forgotten.register(this, this.#addresses);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(entry: BlockEntry): CachedBlock | null {
    const kept = this.#blocks.get(entry);
    if (kept === undefined) return null;
    if (kept !== this.#newest) {
      this.#unlink(kept);
      this.#append(kept);
    }
    kept.usedMs = this.#clockMs;
    return kept;
  }

  putHead(entry: BlockEntry, head: BlockHead, encodedBytes: number): void {
    this.drop(entry);
    const { series, columns, versionCount } = head;
    // Versions are read when somebody asks for one of them, and then stay: they count from the beginning.
    const tables = series.length * BYTES_PER_SERIES + versionCount * BYTES_PER_VERSION;
    const bytes = encodedBytes + tables + columns.length * BYTES_PER_COLUMN;
    const usedMs = this.#clockMs;
    const kept: Kept = { entry, before: null, behind: null, head, body: 0, starts: 0, picks: [], bytes, usedMs };
    this.#blocks.set(entry, kept);
    this.#append(kept);
    this.#bytes += bytes;
    this.#shrink(entry);
  }

  /** The head is there. `body` has been checked. */
  putBody(entry: BlockEntry, body: Uint8Array): CachedBlock {
    const kept = this.#blocks.get(entry)!;
    const { seriesStart } = kept.head;
    const bytes = body.length + seriesStart.byteLength + 2 * KERNEL_SLACK_BYTES;
    kept.body = this.#alloc(body.length + KERNEL_SLACK_BYTES);
    kept.starts = this.#alloc(seriesStart.byteLength + KERNEL_SLACK_BYTES);
    copyInto(storageBytes(), kept.body, body);
    copyInto(storageBytes(), kept.starts, seriesStart);
    kept.bytes += bytes;
    this.#bytes += bytes;
    this.#shrink(entry);
    return kept;
  }

  /** As long as the block is here, which it has to be now. */
  remember(entry: BlockEntry, remembered: RememberedPicks): void {
    const kept = this.#blocks.get(entry)!;
    kept.picks.push(remembered);
    const bytes = (remembered.picks?.counts.length ?? 0) * BYTES_PER_PICK + BYTES_PER_COLUMN;
    kept.bytes += bytes;
    this.#bytes += bytes;
    this.#shrink(entry);
  }

  /** Time goes on: drops what was not used for long. Times of use are as exact as this is called often. */
  tick(nowMs: number): void {
    // What came before the first tick counts as used then.
    if (this.#clockMs === 0) for (const kept of this.#blocks.values()) kept.usedMs = nowMs;
    this.#clockMs = nowMs;
    for (let kept = this.#oldest; kept !== null && nowMs - kept.usedMs >= this.#unusedMs; ) {
      const { entry, behind } = kept;
      if (!this.#held.has(entry)) this.drop(entry);
      kept = behind;
    }
  }

  /** Until `hold` is called again. */
  hold(entries: ReadonlySet<BlockEntry>): void {
    this.#held = entries;
  }

  drop(entry: BlockEntry): void {
    const kept = this.#blocks.get(entry);
    if (kept === undefined) return;
    this.#blocks.delete(entry);
    this.#unlink(kept);
    this.#bytes -= kept.bytes;
    if (kept.body === 0) return;
    this.#free(kept.body);
    this.#free(kept.starts);
  }

  #alloc(bytes: number): number {
    const address = storageKernel().alloc(bytes);
    this.#addresses.add(address);
    return address;
  }

  #free(address: number): void {
    this.#addresses.delete(address);
    storageKernel().free(address);
  }

  #shrink(except: BlockEntry): void {
    for (let kept = this.#oldest; kept !== null && this.#bytes > this.#bytesMax; ) {
      const { entry, behind } = kept;
      if (entry !== except && !this.#held.has(entry)) this.drop(entry);
      kept = behind;
    }
  }

  #append(kept: Kept): void {
    kept.before = this.#newest;
    kept.behind = null;
    if (this.#newest === null) this.#oldest = kept;
    else this.#newest.behind = kept;
    this.#newest = kept;
  }

  #unlink({ before, behind }: Kept): void {
    if (before === null) this.#oldest = behind;
    else before.behind = behind;
    if (behind === null) this.#newest = before;
    else behind.before = before;
  }
}
