/**
 * Where shards are: in this node's own workers, or on which other members.
 *
 * Known shards are those that live members list (cluster snapshot), those that the own workers hold, and those that this
 * node has just written to as coordinator, whose owners have not listed them yet: a client reads what it wrote.
 */
import type { ClusterSnapshot, DatabaseDefinition, HeldShard, RetentionPolicyDefinition } from '../repair/cluster.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import { shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';

/** Shards written here lately; the oldest are forgotten, by then their owners list them. */
const WRITTEN_MAX = 10_000;

export interface PlacesSource {
  readonly self: NodeNumber;
  snapshot(): ClusterSnapshot;
  owners(shard: ShardKey): readonly NodeNumber[];
  nowMs(): number;
}

export interface KnownShard {
  readonly id: ShardId;
  readonly key: ShardKey;
}

export class ShardPlaces {
  #source: PlacesSource;
  #local = new Map<ShardId, HeldShard>();
  #written = new Map<ShardId, { readonly key: ShardKey; acknowledged: boolean }>();
  #keys = new Map<ShardId, ShardKey>();

  constructor(source: PlacesSource) {
    this.#source = source;
  }

  /** All shards of all workers of this node. */
  setLocal(held: readonly HeldShard[]): void {
    this.#local = new Map(held.map((shard) => [shard.id, shard]));
  }

  local(): readonly HeldShard[] {
    return [...this.#local.values()];
  }

  /** True for the first write to a shard. */
  noteWritten(id: ShardId, key: ShardKey): boolean {
    if (this.#written.has(id)) return false;
    if (this.#written.size >= WRITTEN_MAX) this.#written.delete(this.#written.keys().next().value!);
    this.#written.set(id, { key, acknowledged: false });
    return true;
  }

  /** From the first acknowledged write on an owner has the shard: one that was only tried may exist nowhere. */
  noteAcknowledged(id: ShardId): void {
    const written = this.#written.get(id);
    if (written !== undefined) written.acknowledged = true;
  }

  isLocal(id: ShardId): boolean {
    return this.#local.get(id)?.state === 'full';
  }

  isDamaged(id: ShardId): boolean {
    return this.#local.get(id)?.state === 'damaged';
  }

  /** Live members that can answer for the shard, best first; owners that do not list it yet come last. */
  remoteHolders(shard: KnownShard): NodeNumber[] {
    const { self } = this.#source;
    const snapshot = this.#source.snapshot();
    const live = new Set(snapshot.live);
    const found: NodeNumber[] = [];
    const unlisted: NodeNumber[] = [];
    for (const member of this.#source.owners(shard.key)) {
      if (member === self || !live.has(member)) continue;
      const state = snapshot.heldBy[member]?.find((held) => held.id === shard.id)?.state;
      if (state === 'full') found.push(member);
      else if (state === undefined) unlisted.push(member);
    }
    for (const member of snapshot.live) {
      if (member === self || found.includes(member)) continue;
      if (snapshot.heldBy[member]?.some((held) => held.id === shard.id && held.state === 'full')) found.push(member);
    }
    return [...found, ...unlisted];
  }

  find(id: ShardId): KnownShard | null {
    return this.all().find((shard) => shard.id === id) ?? null;
  }

  /** Every known shard, expired ones included. */
  all(): KnownShard[] {
    const found = new Map<ShardId, ShardKey>();
    for (const held of this.#local.values()) found.set(held.id, this.#keyOf(held));
    for (const list of Object.values(this.#source.snapshot().heldBy)) {
      for (const held of list) if (!found.has(held.id)) found.set(held.id, this.#keyOf(held));
    }
    for (const [id, { key, acknowledged }] of this.#written) if (acknowledged && !found.has(id)) found.set(id, key);
    return [...found].map(([id, key]) => ({ id, key }));
  }

  /** Existing shards of a policy that overlap [minNs, maxNs], without expired ones, by (startNs, number). */
  targets(database: DatabaseDefinition, policy: RetentionPolicyDefinition, minNs: bigint, maxNs: bigint): KnownShard[] {
    const oldestNs = oldestKeptNs(policy, this.#source.nowMs());
    const targets = this.all().filter(
      ({ key }) =>
        key.database === database.name &&
        key.databaseGeneration === database.generation &&
        key.retentionPolicy === policy.name &&
        key.retentionPolicyGeneration === policy.generation &&
        key.startNs <= maxNs &&
        key.endNs > minNs &&
        (oldestNs === null || key.endNs > oldestNs),
    );
    return targets.sort((a, b) =>
      a.key.startNs === b.key.startNs ? a.key.number - b.key.number : a.key.startNs < b.key.startNs ? -1 : 1,
    );
  }

  #keyOf(held: HeldShard): ShardKey {
    let key = this.#keys.get(held.id);
    if (key === undefined) {
      key = shardKeyFromJson(held.key);
      if (shardId(key) !== held.id) throw new Error(`shard ${held.id} is listed with the key of ${shardId(key)}`);
      if (this.#keys.size > WRITTEN_MAX * 10) this.#keys.clear();
      this.#keys.set(held.id, key);
    }
    return key;
  }
}

/** Rows before this instant are expired; null when the policy keeps rows for ever. */
export function oldestKeptNs(policy: RetentionPolicyDefinition, nowMs: number): bigint | null {
  return policy.durationNs === 0n ? null : BigInt(Math.floor(nowMs)) * 1_000_000n - policy.durationNs;
}
