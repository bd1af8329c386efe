/** What the golden frames (test/golden/frames/) were made of. */
import type { Batch, SeriesKeyRecord } from '../../shards/batch.ts';
import { BOOLEAN, FLOAT, INTEGER, STRING, UNSIGNED } from '../../shards/column.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';

const shard: ShardKey = {
  database: 'metrics',
  databaseGeneration: 2,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 1,
  startNs: 1_699_488_000_000_000_000n,
  endNs: 1_700_092_800_000_000_000n,
  number: 3,
};
export const GOLDEN_SHARD = shardId(shard);

export const GOLDEN_KEYS: readonly SeriesKeyRecord[] = [
  { hash: '00112233445566778899aabbccddeeff', key: 'cpu,host=a,region=eu' },
  { hash: '0f1e2d3c4b5a69788796a5b4c3d2e1f0', key: 'cpu,host=b\\ c,region=eu' },
  { hash: 'ffeeddccbbaa99887766554433221100', key: 'mem' },
];

export const GOLDEN_WRITE: Batch = {
  kind: 'write',
  shard,
  version: '018bcfe568000000a1b2c3d4e5f60718',
  series: GOLDEN_KEYS.map(({ hash }) => hash),
  groups: [
    {
      measurement: 'cpu',
      rowSeries: Uint32Array.of(0, 0, 1, 1),
      times: Float64Array.of(1_000_000_000, 2_000_000_000, 1_000_000_000, 1_000_000_001),
      columns: [
        { field: 'busy', type: FLOAT, present: null, values: Float64Array.of(0.5, -0, 1e300, 12.25) },
        {
          field: 'count',
          type: INTEGER,
          present: null,
          values: BigInt64Array.of(1n, -(2n ** 63n), 2n ** 63n - 1n, 0n),
        },
        { field: 'name', type: STRING, present: null, values: ['', 'ü', 'two words', '𝄞'] },
        { field: 'on', type: BOOLEAN, present: null, values: Uint8Array.of(1, 0, 0, 1) },
        {
          field: 'rare',
          type: UNSIGNED,
          present: Uint8Array.of(0, 1, 0, 1),
          values: BigUint64Array.of(0n, 2n ** 64n - 1n, 0n, 7n),
        },
      ],
    },
    {
      measurement: 'mem',
      rowSeries: Uint32Array.of(2),
      times: Float64Array.of(3_000_000_000),
      columns: [{ field: 'free', type: UNSIGNED, present: null, values: BigUint64Array.of(1n << 40n) }],
    },
  ],
};

export const GOLDEN_DELETE: Batch = {
  kind: 'delete',
  shard,
  version: '018bcfe568010000a1b2c3d4e5f60718',
  predicate: {
    measurement: { name: 'cpu' },
    condition: {
      op: 'and',
      terms: [
        { op: '=', key: 'host', value: 'a' },
        { op: '=~', key: 'region', regex: '^e' },
      ],
    },
    minTime: 1_000_000_000,
    maxTime: 2_000_000_000,
  },
};
