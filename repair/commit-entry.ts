/** What waits to get into a worker's log (commit.ts): who offers it says what, and hears what became of it. */
import type { FrameHead } from '../shards/batch-codec.ts';
import type { HeldFrame } from '../shards/held-frame.ts';
import type { GivenKeys } from '../shards/series-keys.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import type { StoredShard } from '../shards/storage.ts';
import type { Version } from '../shards/version.ts';

export type CommitResult =
  /** In the log, synced, applied; or known already; or at or below the floor (rule 7). */
  | { readonly kind: 'stored' }
  /** Readable, not synced yet: `stored` follows. Never given for `durability: fsync`. */
  | { readonly kind: 'applied' }
  | { readonly kind: 'need-keys' }
  | { readonly kind: 'filling' }
  | { readonly kind: 'refused'; readonly code: string; readonly retry: boolean; readonly reason: string };

export interface CommitRequest {
  readonly id: ShardId;
  readonly key: ShardKey;
  readonly version: Version;
  readonly frame: Uint8Array;
  /** Of the frame, where it has been read; null: not yet. */
  readonly head: FrameHead | null;
  readonly keys: GivenKeys;
  readonly durability: 'fsync' | 'interval' | 'none';
  /** Content sum that the frame must have; null when nobody has told one. */
  readonly content: bigint | null;
  /** It was pulled: what applying it costs is repair's. */
  readonly isRepair?: boolean;
  /** This process has just made the frame: its bytes need no check. */
  readonly isOwn?: boolean;
  readonly done: (result: CommitResult) => void;
}

/** Not a copy of the request, whose shape depends on who offers: V8 counts on one. */
export class CommitEntry {
  readonly name: string;
  readonly id: ShardId;
  readonly key: ShardKey;
  readonly version: Version;
  readonly frame: Uint8Array;
  readonly head: FrameHead | null;
  readonly keys: GivenKeys;
  readonly durability: CommitRequest['durability'];
  readonly content: bigint | null;
  readonly isRepair: boolean;
  readonly isOwn: boolean;
  readonly waiters: ((result: CommitResult) => void)[];
  /** Once it has been judged; the shard takes it over when it is applied. */
  held: HeldFrame | null = null;
  /** The shard for which it was judged: a copy that has taken its place since then holds nothing of this. */
  stored: StoredShard | null = null;

  constructor(name: string, request: CommitRequest) {
    this.name = name;
    this.id = request.id;
    this.key = request.key;
    this.version = request.version;
    this.frame = request.frame;
    this.head = request.head;
    this.keys = request.keys;
    this.durability = request.durability;
    this.content = request.content;
    this.isRepair = request.isRepair === true;
    this.isOwn = request.isOwn === true;
    this.waiters = [request.done];
  }
}

/**
 * All that a group has for one shard waits for the sync when some of it does (the durability has just been altered):
 * what comes later may need the keys of what came earlier, and see `applyAll`.
 */
export function byDurability(group: readonly CommitEntry[]): { waiting: CommitEntry[]; unsynced: CommitEntry[] } {
  const ids = new Set<ShardId>();
  for (const { id, durability } of group) if (durability === 'fsync') ids.add(id);
  const waiting: CommitEntry[] = [];
  const unsynced: CommitEntry[] = [];
  for (const entry of group) (ids.has(entry.id) ? waiting : unsynced).push(entry);
  return { waiting, unsynced };
}

/** Of the bytes. */
export function shareOfRepair(entries: readonly CommitEntry[]): number {
  let pulled = 0;
  let all = 0;
  for (const { frame, isRepair } of entries) {
    all += frame.byteLength;
    if (isRepair) pulled += frame.byteLength;
  }
  return pulled === 0 ? 0 : pulled / all;
}
