/** Who holds a shard, as members list it: their lists are long, and looked through for each of as many shards. */
import { type ShardId, type ShardKey, shardKeyFromJson } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { ClusterSnapshot, HeldShard } from './cluster.ts';
import type { Surroundings } from './surroundings.ts';

/** A member's list is the same object until it has changed. */
const byList = new WeakMap<readonly HeldShard[], ReadonlyMap<ShardId, HeldShard>>();

export function heldIn(list: readonly HeldShard[] | undefined, id: ShardId): HeldShard | undefined {
  if (list === undefined) return undefined;
  let byId = byList.get(list);
  if (byId === undefined) {
    byId = new Map(list.map((held) => [held.id, held]));
    byList.set(list, byId);
  }
  return byId.get(id);
}

/** Which shard that is, as any list says. */
export function keyIn(snapshot: ClusterSnapshot | null, id: ShardId): ShardKey | null {
  const held = Object.values(snapshot?.heldBy ?? {}).flatMap((list) => heldIn(list, id) ?? [])[0];
  return held === undefined ? null : shardKeyFromJson(held.key);
}

/** Other members that can be asked for a copy of it. */
export function liveFullHolders(around: Surroundings, id: ShardId): NodeNumber[] {
  const heldBy = around.snapshot?.heldBy ?? {};
  return Object.keys(heldBy).filter(
    (member) => member !== around.self && around.isLive(member) && heldIn(heldBy[member], id)?.state === 'full',
  );
}
