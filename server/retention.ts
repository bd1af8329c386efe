/**
 * Retention: whole shards are dropped on this node once their time range is older than their policy keeps.
 *
 * Every node drops its own, at about the same time, without asking anybody: an expired shard is neither written to nor
 * queried nor copied, so nothing is lost by doing it late. Shards of dropped databases and policies go with the metadata
 * (repair/replica-host.ts), not here.
 */
import { schedule } from 'node-cron';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { shardKeyFromJson } from '../shards/shard-key.ts';
import { oldestKeptNs, type ShardPlaces } from './shard-places.ts';
import type { WorkerPool } from './threads.ts';

const EVERY_HOUR = '7 * * * *';

export interface RetentionPorts {
  readonly pool: WorkerPool;
  readonly places: ShardPlaces;
  snapshot(): ClusterSnapshot;
  nowMs(): number;
  readonly log: { info(fields: object, text: string): void; error(fields: object, text: string): void };
}

/** Returns what stops it. */
export function startRetention(ports: RetentionPorts): () => Promise<void> {
  const task = schedule(
    EVERY_HOUR,
    async () => {
      try {
        await dropExpired(ports);
      } catch (error) {
        ports.log.error({ problem: (error as Error).message }, 'retention did not finish');
      }
    },
    { noOverlap: true },
  );
  return async () => {
    await task.destroy();
  };
}

/** Ids of the shards that were dropped. */
export async function dropExpired(ports: RetentionPorts): Promise<string[]> {
  const nowMs = ports.nowMs();
  const { databases } = ports.snapshot();
  const expired = ports.places.local().filter((held) => {
    const key = shardKeyFromJson(held.key);
    const database = databases.find((each) => each.name === key.database && each.generation === key.databaseGeneration);
    const policy = database?.retentionPolicies.find(
      (each) => each.name === key.retentionPolicy && each.generation === key.retentionPolicyGeneration,
    );
    const oldestNs = policy === undefined ? null : oldestKeptNs(policy, nowMs);
    return oldestNs !== null && key.endNs <= oldestNs;
  });
  const byWorker = new Map<number, string[]>();
  for (const held of expired) {
    const worker = ports.pool.workerOf(shardKeyFromJson(held.key).number);
    const list = byWorker.get(worker);
    if (list === undefined) byWorker.set(worker, [held.id]);
    else list.push(held.id);
  }
  await Promise.all([...byWorker].map(([worker, ids]) => ports.pool.call(worker, 'dropShards', ids)));
  if (expired.length > 0) ports.log.info({ shards: expired.length }, 'expired shards dropped');
  return expired.map((held) => held.id);
}
