/**
 * Retention: whole shards are dropped on this node once their time range is older than their policy keeps, or their
 * database or policy was dropped.
 *
 * Every node drops its own, at about the same time, without asking anybody: such a shard is neither written to nor
 * queried nor compared nor copied, so nothing is lost by doing it late.
 */
import { schedule } from 'node-cron';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { isOver } from '../repair/mail-receiver.ts';
import { shardKeyFromJson } from '../shards/shard-key.ts';
import type { ShardPlaces } from './shard-places.ts';
import type { WorkerPool } from './threads.ts';

const EVERY_MINUTE = '* * * * *';

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
    EVERY_MINUTE,
    async () => {
      try {
        await dropDeadShards(ports);
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
export async function dropDeadShards(ports: RetentionPorts): Promise<string[]> {
  const snapshot = ports.snapshot();
  const dead = ports.places.local().filter((held) => isOver(snapshot, shardKeyFromJson(held.key), ports.nowMs()));
  const byWorker = new Map<number, string[]>();
  for (const held of dead) {
    const worker = ports.pool.workerOf(shardKeyFromJson(held.key).number);
    const list = byWorker.get(worker);
    if (list === undefined) byWorker.set(worker, [held.id]);
    else list.push(held.id);
  }
  await Promise.all([...byWorker].map(([worker, ids]) => ports.pool.call(worker, 'dropShards', ids)));
  if (dead.length > 0) ports.log.info({ shards: dead.length }, 'expired and dropped shards removed');
  return dead.map((held) => held.id);
}
