/**
 * What the outbox keeps count of per shard: what is owed beyond its entries, and how much its entries are.
 * One record a shard: a record for every batch would grow without end while an owner is away.
 */
import {
  type ShardId,
  type ShardKey,
  type ShardKeyJson,
  shardKeyFromJson,
  shardKeyToJson,
} from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';

export interface OutboxDebt {
  readonly id: ShardId;
  /** null: its record was written by a version that named shards by their id alone. */
  readonly key: ShardKey | null;
  /** The newest one owed. */
  readonly version: Version;
  /** Owners that had not acknowledged. */
  readonly to: readonly NodeNumber[];
  readonly batches: number;
}

export interface OutboxTally {
  readonly entries: number;
  readonly bytes: number;
}

/** Of its record; `n` when it stands for all debts of the shard before it, which lie in segments that go. */
interface DebtHeader {
  readonly s: ShardId;
  readonly k?: ShardKeyJson | undefined;
  readonly v: Version;
  readonly m?: NodeNumber[];
  readonly n?: number;
}

export function headerOf({ id, key, version, to, batches }: OutboxDebt): DebtHeader {
  return { s: id, k: key === null ? undefined : shardKeyToJson(key), v: version, m: [...to], n: batches };
}

export function replayDebt(debts: Map<ShardId, OutboxDebt>, { s, k, v, m, n }: DebtHeader): void {
  if (n !== undefined) debts.delete(s);
  noteDebt(debts, s, k === undefined ? null : shardKeyFromJson(k), v, m ?? [], n ?? 1);
}

export function noteDebt(
  debts: Map<ShardId, OutboxDebt>,
  id: ShardId,
  key: ShardKey | null,
  version: Version,
  to: readonly NodeNumber[],
  batches: number,
): void {
  const before = debts.get(id);
  const newest = before !== undefined && before.version > version ? before.version : version;
  const all = before === undefined ? to : [...new Set([...before.to, ...to])];
  debts.set(id, {
    id,
    key: key ?? before?.key ?? null,
    version: newest,
    to: all,
    batches: batches + (before?.batches ?? 0),
  });
}

/** `entries` and `bytes` are added; a shard without entries has no tally. */
export function tally(tallies: Map<ShardId, OutboxTally>, id: ShardId, entries: number, bytes: number): void {
  const before = tallies.get(id) ?? { entries: 0, bytes: 0 };
  if (before.entries + entries === 0) tallies.delete(id);
  else tallies.set(id, { entries: before.entries + entries, bytes: before.bytes + bytes });
}
