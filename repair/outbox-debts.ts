/**
 * What the outbox keeps count of per shard: what is owed beyond its entries, and how much its entries are.
 * One record a shard: a record for every batch would grow without end while an owner is away.
 */
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';

export interface OutboxDebt {
  readonly id: ShardId;
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

export function noteDebt(
  debts: Map<ShardId, OutboxDebt>,
  id: ShardId,
  version: Version,
  to: readonly NodeNumber[],
  batches: number,
): void {
  const before = debts.get(id);
  const newest = before !== undefined && before.version > version ? before.version : version;
  const all = before === undefined ? to : [...new Set([...before.to, ...to])];
  debts.set(id, { id, version: newest, to: all, batches: batches + (before?.batches ?? 0) });
}

/** `entries` and `bytes` are added; a shard without entries has no tally. */
export function tally(tallies: Map<ShardId, OutboxTally>, id: ShardId, entries: number, bytes: number): void {
  const before = tallies.get(id) ?? { entries: 0, bytes: 0 };
  if (before.entries + entries === 0) tallies.delete(id);
  else tallies.set(id, { entries: before.entries + entries, bytes: before.bytes + bytes });
}
