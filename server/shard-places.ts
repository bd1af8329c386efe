/**
 * Where shards are: in this node's own workers, or on which other members.
 *
 * Known shards are those that live members list (cluster snapshot), those that the own workers hold, and those that this
 * node has just written to as coordinator, whose owners have not listed them yet: a client reads what it wrote.
 */
import type {
  ClusterSnapshot,
  DatabaseDefinition,
  HeldShard,
  Member,
  RetentionPolicyDefinition,
} from '../repair/cluster.ts';
import { heldIn } from '../repair/held-shards.ts';
import { isDeleteShard } from '../shards/delete-shard.ts';
import type { ShardId, ShardKey, ShardKeyJson } from '../shards/shard-key.ts';
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

/** By (startNs, number). */
interface PolicyShards {
  readonly shards: readonly KnownShard[];
  readonly spanNsMax: bigint;
}

const policyName = (database: string, generation: number, policy: string, policyGeneration: number): string =>
  `${database}\0${generation}\0${policy}\0${policyGeneration}`;

export class ShardPlaces {
  #source: PlacesSource;
  #local = new Map<ShardId, HeldShard>();
  #written = new Map<ShardId, { readonly key: ShardKey; acknowledged: boolean }>();
  #keys = new Map<ShardId, ShardKey>();
  /** All known shards by policy, as of a snapshot; null: to be listed again. */
  #listed: {
    readonly snapshot: ClusterSnapshot;
    readonly policies: ReadonlyMap<string, PolicyShards>;
    readonly ids: ReadonlySet<ShardId>;
  } | null = null;

  constructor(source: PlacesSource) {
    this.#source = source;
  }

  /** All shards of all workers of this node. */
  setLocal(held: readonly HeldShard[]): void {
    this.#local = new Map(held.map((shard) => [shard.id, shard]));
    this.#listed = null;
  }

  local(): readonly HeldShard[] {
    return [...this.#local.values()];
  }

  /** True for the first write to a shard. */
  noteWritten(id: ShardId, key: ShardKey): boolean {
    if (this.#written.has(id)) return false;
    if (this.#written.size >= WRITTEN_MAX) {
      this.#written.delete(this.#written.keys().next().value!);
      this.#listed = null;
    }
    this.#written.set(id, { key, acknowledged: false });
    return true;
  }

  /** From the first acknowledged write on an owner has the shard: one that was only tried may exist nowhere. */
  noteAcknowledged(id: ShardId): void {
    const written = this.#written.get(id);
    if (written === undefined || written.acknowledged) return;
    written.acknowledged = true;
    this.#listed = null;
  }

  /** A member has just said that the shard exists; its list may not have come here by itself yet. */
  noteReported(id: ShardId, key: ShardKeyJson): void {
    if (this.isKnown(id)) return;
    this.noteWritten(id, shardKeyFromJson(key));
    this.noteAcknowledged(id);
  }

  /** In full, and nobody else who can be asked may have more. */
  isLocal(id: ShardId): boolean {
    const held = this.#local.get(id);
    if (held?.state !== 'full') return false;
    if (held.young !== true) return true;
    const { self, snapshot } = this.#source;
    const { live, heldBy } = snapshot();
    return !live.some(
      (member) => member !== self && (heldBy[member] === undefined || isGrown(heldIn(heldBy[member], id))),
    );
  }

  /** Here, in whatever state. */
  holds(id: ShardId): boolean {
    return this.#local.has(id);
  }

  /** Here, and to be asked when nobody better is up: damaged, or young. */
  isSecondBest(id: ShardId): boolean {
    const state = this.#local.get(id)?.state;
    return state === 'damaged' || state === 'full';
  }

  /** Live members that can answer for the shard, best first; young replicas and owners that do not list it yet come last. */
  remoteHolders(shard: KnownShard): NodeNumber[] {
    const { self } = this.#source;
    const snapshot = this.#source.snapshot();
    const live = new Set(snapshot.live);
    const found: NodeNumber[] = [];
    const young: NodeNumber[] = [];
    const unlisted: NodeNumber[] = [];
    const owners = this.#source.owners(shard.key).filter((member) => live.has(member));
    for (const member of new Set([...owners, ...snapshot.live])) {
      if (member === self) continue;
      const held = heldIn(snapshot.heldBy[member], shard.id);
      if (isGrown(held)) found.push(member);
      else if (held?.state === 'full') young.push(member);
      else if (held === undefined && owners.includes(member)) unlisted.push(member);
    }
    return [...found, ...young, ...unlisted];
  }

  /**
   * Who may have more than a young replica, and is not up: those that list an older one, and owners whose list has not come
   * since this node started. `failed`: they did not answer just now. An owner that is up, or whose list is without the shard, has no more.
   */
  absentElders({ id, key }: KnownShard, failed: ReadonlySet<NodeNumber>): Member[] {
    const { live, members, heldBy } = this.#source.snapshot();
    const isAway = ({ number, state }: Member) =>
      state !== 'removed' && number !== this.#source.self && (!live.includes(number) || failed.has(number));
    const owners = this.#source.owners(key);
    return members.filter(isAway).filter(({ number }) => {
      const list = heldBy[number];
      if (list === undefined) return owners.includes(number);
      const held = heldIn(list, id);
      return held !== undefined && held.young !== true;
    });
  }

  /** Somebody lists it, or has acknowledged a write to it. */
  isKnown(id: ShardId): boolean {
    return this.#known().has(id);
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
    const from = oldestNs !== null && oldestNs > minNs ? oldestNs : minNs;
    const known = this.#policies().get(policyName(database.name, database.generation, policy.name, policy.generation));
    if (known === undefined) return [];
    const { shards, spanNsMax } = known;
    let end = shards.length;
    while (end > 0 && shards[end - 1]!.key.startNs > maxNs) end--;
    // Shards are by their start: before this one none can reach into the range.
    let first = end;
    while (first > 0 && shards[first - 1]!.key.startNs + spanNsMax > from) first--;
    return shards
      .slice(first, end)
      .filter(({ key }) => key.endNs > minNs && (oldestNs === null || key.endNs > oldestNs));
  }

  #known(): ReadonlySet<ShardId> {
    this.#policies();
    return this.#listed!.ids;
  }

  #policies(): ReadonlyMap<string, PolicyShards> {
    const snapshot = this.#source.snapshot();
    if (this.#listed?.snapshot === snapshot) return this.#listed.policies;
    const policies = new Map<string, { shards: KnownShard[]; spanNsMax: bigint }>();
    const all = this.all();
    for (const shard of all) {
      const { key } = shard;
      if (isDeleteShard(key)) continue;
      const name = policyName(key.database, key.databaseGeneration, key.retentionPolicy, key.retentionPolicyGeneration);
      let known = policies.get(name);
      if (known === undefined) {
        known = { shards: [], spanNsMax: 0n };
        policies.set(name, known);
      }
      known.shards.push(shard);
      if (key.endNs - key.startNs > known.spanNsMax) known.spanNsMax = key.endNs - key.startNs;
    }
    for (const { shards } of policies.values())
      shards.sort((a, b) =>
        a.key.startNs === b.key.startNs ? a.key.number - b.key.number : a.key.startNs < b.key.startNs ? -1 : 1,
      );
    this.#listed = { snapshot, policies, ids: new Set(all.map(({ id }) => id)) };
    return policies;
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

function isGrown(held: HeldShard | undefined): boolean {
  return held?.state === 'full' && held.young !== true;
}

/** Rows before this instant are expired; null when the policy keeps rows for ever. */
export function oldestKeptNs(policy: RetentionPolicyDefinition, nowMs: number): bigint | null {
  return policy.durationNs === 0n ? null : BigInt(Math.floor(nowMs)) * 1_000_000n - policy.durationNs;
}
