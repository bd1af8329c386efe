/** What this node answers to other nodes about its own shards (query-rpc.ts), from its workers. */
import { shardKeyFromJson } from '../shards/shard-key.ts';
import { localSchemas, runLocal } from './query-backend.ts';
import type { NodeApi } from './query-rpc.ts';
import type { WorkerPool } from './threads.ts';

export function createNodeApi(pool: WorkerPool): NodeApi {
  return {
    partial: (shards, request) => runLocal(pool, shards, request),
    schemas: (shards) => localSchemas(pool, shards),
    describeShard: (shard, throughStamp) =>
      pool.call(pool.workerOf(shard.number), 'describeShard', shard.id, throughStamp),
    async startRepair({ id, mode, shards }) {
      const held = new Set(pool.held().map((each) => each.id));
      const here = shards.filter((shard) => held.has(shard.id));
      await Promise.all(
        here.map((shard) =>
          pool.call(pool.workerOf(shardKeyFromJson(shard.key).number), 'startRepair', {
            id: `${id}.${shard.id}`,
            shard: shard.id,
            mode,
          }),
        ),
      );
      return here.map((shard) => shard.id);
    },
    async controlRepair(id, action) {
      for (let worker = 0; worker < pool.count; worker++) {
        const own = (await pool.call(worker, 'repairs')).filter((each) => each.id.startsWith(`${id}.`));
        await Promise.all(own.map((each) => pool.call(worker, 'controlRepair', each.id, action)));
      }
    },
    async repairs(id) {
      return (await pool.callAll('repairs')).flat().filter((each) => id === '' || each.id.startsWith(`${id}.`));
    },
  };
}
