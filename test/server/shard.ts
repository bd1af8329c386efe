/** A shard as the tests of the server name it. */
import type { ShardKey } from '../../shards/shard-key.ts';

export const KEY: ShardKey = {
  database: 'd',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: 10n,
  number: 2,
};
