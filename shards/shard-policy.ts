/**
 * What a shard has to know of its database and retention policy, and cannot know from its own file: which of two values
 * of a cell counts, and the deletes that are for all shards of the policy (delete-shard.ts).
 *
 * Settled rows lose their versions, so a delete that is older than they were must not come after that. A shard therefore
 * settles no further than its policy's delete shard is proven to be complete here: up to that one's floor. Where the
 * metadata say that there are such deletes and the delete shard is not here yet, it does not settle at all. While they
 * do not say so, there is none at or below any floor: whoever writes the first one tells the metadata before it draws
 * the version, they are part of the view, and a floor rests on a pass for which all members have spoken under one view
 * (protocol rule 11).
 */
import { deleteShardOf, isDeleteShard } from './delete-shard.ts';
import type { ConflictRule } from './row-settle.ts';
import { type ShardId, type ShardKey, shardId } from './shard-key.ts';
import type { ShardTombstones } from './shard-tombstones.ts';
import { STAMP_ZERO, type Stamp } from './version.ts';

/** As the cluster's metadata have it. */
export interface ShardRules {
  readonly conflict: ConflictRule;
  /** The policy has, or may soon have, deletes in its delete shards. */
  readonly hasDeletes: boolean;
}

/** null: the metadata do not know the policy (any more). */
export type RulesOf = (key: ShardKey) => ShardRules | null;

export const DEFAULT_RULES: ShardRules = { conflict: 'last-write-wins', hasDeletes: false };

export interface ShardPolicy {
  readonly conflict: ConflictRule;
  /** Of the delete shard; null: it is not here. */
  readonly tombstones: ShardTombstones | null;
  /** All deletes of the policy at or below are here. */
  readonly deletesThrough: Stamp;
}

const STAMP_LAST: Stamp = 'f'.repeat(16);

interface DeleteShard {
  readonly tombstones: ShardTombstones;
  readonly companion: { readonly floor: Stamp };
}

/** The policies of a worker's shards. */
export class ShardPolicies {
  readonly #shards: ReadonlyMap<ShardId, DeleteShard>;
  #rulesOf: RulesOf = () => DEFAULT_RULES;
  readonly #known = new Map<ShardKey, ShardRules | null>();

  /** Delete shards are looked up there, whenever they are asked for. */
  constructor(shards: ReadonlyMap<ShardId, DeleteShard>) {
    this.#shards = shards;
  }

  setRules(rulesOf: RulesOf): void {
    this.#rulesOf = rulesOf;
    this.#known.clear();
  }

  of(key: ShardKey): ShardPolicy {
    const own = isDeleteShard(key);
    const id = shardId(deleteShardOf(key));
    const deletes = (): DeleteShard | null => (own ? null : (this.#shards.get(id) ?? null));
    const rules = (): ShardRules | null => this.#rulesFor(key);
    return {
      get conflict() {
        return (rules() ?? DEFAULT_RULES).conflict;
      },
      get tombstones() {
        return deletes()?.tombstones ?? null;
      },
      get deletesThrough() {
        const shard = deletes();
        if (own || shard !== null) return shard?.companion.floor ?? STAMP_LAST;
        const known = rules();
        return known === null || known.hasDeletes ? STAMP_ZERO : STAMP_LAST;
      },
    };
  }

  #rulesFor(key: ShardKey): ShardRules | null {
    let rules = this.#known.get(key);
    if (rules === undefined) {
      rules = this.#rulesOf(key);
      this.#known.set(key, rules);
    }
    return rules;
  }
}
