/** SHOW SHARDS, SHOW SHARD GROUPS and DROP SHARD: InfluxDB's tables, with ids and owners of a cluster. */
import { expect, test } from 'vitest';
import { numericShardId } from '../../server/query/shards.ts';
import { shardId } from '../../shards/shard-key.ts';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const SECOND = 1_000_000_000n;
const COLUMNS = [
  'id',
  'database',
  'retention_policy',
  'shard_group',
  'start_time',
  'end_time',
  'expiry_time',
  'owners',
];

async function filled(): Promise<MemoryBackend> {
  const memory = new MemoryBackend({ shardsPerGroup: 2 });
  await ask(memory, 'CREATE DATABASE db1; CREATE DATABASE db0');
  await ask(memory, 'CREATE RETENTION POLICY short ON db0 DURATION 3h REPLICATION 1');
  memory.write('db0', `m v=2 ${-5n * SECOND}\nm v=3 ${1_500_000_000n * SECOND}`);
  memory.write('db0', `m,h=a v=1 ${1_700_000_000n * SECOND}\nm,h=b v=1 ${1_700_000_000n * SECOND}`, 'short');
  return memory;
}

const rowsOf = async (memory: MemoryBackend, text: string): Promise<Record<string, unknown>[]> =>
  (await ask(memory, text))[0]!.series!.flatMap(({ columns, values = [] }) =>
    values.map((row) => Object.fromEntries(columns.map((column, at) => [column, row[at]]))),
  );

test('one table for each database, also of one without shards, with texts of times whatever the epoch', async () => {
  const memory = await filled();
  const [result] = await ask(memory, 'SHOW SHARDS', { epoch: 'ms' });
  expect(result!.series!.map(({ name, columns }) => [name, columns])).toEqual([
    ['db0', COLUMNS],
    ['db1', COLUMNS],
  ]);
  expect(result!.series![1]).not.toHaveProperty('values');
  const rows = await rowsOf(memory, 'SHOW SHARDS');
  expect(rows.map((row) => [row.retention_policy, row.start_time, row.end_time, row.expiry_time, row.owners])).toEqual([
    ['autogen', '1969-12-25T00:00:00Z', '1970-01-01T00:00:00Z', '1970-01-01T00:00:00Z', 'a1,b2'],
    ['autogen', '2017-07-13T00:00:00Z', '2017-07-20T00:00:00Z', '2017-07-20T00:00:00Z', 'a1,b2'],
    ...Array(2).fill(['short', '2023-11-14T22:00:00Z', '2023-11-14T23:00:00Z', '2023-11-15T02:00:00Z', 'a1,b2']),
  ]);
});

test('ids are numbers that any client reads exactly, and shards of one time have one group', async () => {
  const memory = await filled();
  const shards = await rowsOf(memory, 'SHOW SHARDS');
  const ids = shards.map(({ id }) => id as number);
  expect(new Set(ids).size).toBe(4);
  expect(ids.every(Number.isSafeInteger)).toBe(true);
  expect(ids.toSorted()).toEqual([...memory.shards.values()].map(({ key }) => numericShardId(shardId(key))).toSorted());
  const groups = await rowsOf(memory, 'SHOW SHARD GROUPS');
  expect(groups.map(({ id, ...rest }) => rest)).toEqual(
    [0, 1, 2].map((at) => {
      const { database, retention_policy, start_time, end_time, expiry_time } = shards[at]!;
      return { database, retention_policy, start_time, end_time, expiry_time };
    }),
  );
  expect(groups.map(({ id }) => id)).toEqual([0, 1, 2].map((at) => shards[at]!.shard_group));
  expect(shards[3]!.shard_group).toBe(shards[2]!.shard_group);
});

test('DROP SHARD deletes what is in that shard alone, and an unknown one is no error', async () => {
  const memory = await filled();
  const [, later, first] = await rowsOf(memory, 'SHOW SHARDS');
  expect(await ask(memory, 'DROP SHARD 7')).toEqual([{ statement_id: 0 }]);
  expect(await ask(memory, `DROP SHARD ${later!.id}`)).toEqual([{ statement_id: 0 }]);
  expect(await ask(memory, `DROP SHARD ${first!.id}`)).toEqual([{ statement_id: 0 }]);
  const times = (await rowsOf(memory, 'SELECT v FROM db0..m')).map(({ time }) => time);
  expect(times).toEqual(['1969-12-31T23:59:55Z']);
  expect((await rowsOf(memory, 'SELECT v, h FROM db0.short.m')).length).toBe(1);
});

test('shards that only silent members may know are no empty answer', async () => {
  const memory = await filled();
  Object.assign(memory.backend, { unheard: () => ['n2'] });
  expect((await ask(memory, 'SHOW SHARDS'))[0]!.error).toContain('shards unknown: n2');
});
