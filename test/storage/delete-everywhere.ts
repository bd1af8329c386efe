/** Deletes of a policy's delete shard, as the caller of the engine writes them. */
import type { Batch, DeletePredicate } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { deleteShardOf } from '../../shards/delete-shard.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import type { Shard } from '../../shards/shard.ts';
import { shardId, TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import { type Bench, KEY, type VersionSet, versionAt } from './helpers.ts';

export const DELETES = deleteShardOf(KEY);
export const ALWAYS = { minNs: TIME_MIN_NS, maxNs: TIME_MAX_NS };

/** The delete shard. */
export function deletesOf({ engine }: Bench): Shard {
  return (engine.shards.get(shardId(DELETES)) ?? engine.create(DELETES)) as Shard;
}

export function deleteEverywhere(bench: Bench, n: number, predicate: Partial<DeletePredicate> = {}): void {
  const whole = { measurement: null, condition: null, minTime: 0, maxTime: 0, times: ALWAYS };
  const batch: Batch = { kind: 'delete', shard: DELETES, version: versionAt(n), predicate: { ...whole, ...predicate } };
  const shard = deletesOf(bench);
  const frame = encodeBatch(batch);
  const position = bench.engine.append([{ shard: shard.id, keys: [], frame }]);
  bench.sync();
  const held = holdFrame(frame);
  shard.apply(held, [], position);
  (shard.companion as VersionSet).replayed(held);
}
