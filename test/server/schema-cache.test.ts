/** What a coordinator knows of the types of fields, and when it ends. */
import { expect, test } from 'vitest';
import { type GroupName, SchemaCache, type SchemaShard } from '../../server/schema-cache.ts';
import { type FieldRecord, schemaMark } from '../../server/shard-questions.ts';
import { FLOAT, INTEGER } from '../../shards/column.ts';

const NAME: GroupName = {
  database: 'd',
  databaseGeneration: 0,
  retentionPolicy: 'p',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  shardDurationNs: 3_600_000_000_000n,
};

/** A shard whose fields, and deletes of whole measurements, can be changed. */
function bench() {
  const fields: FieldRecord[] = [{ measurement: 'm', field: 'v', type: FLOAT }];
  const shard = { fields, deletes: 0, isNew: false };
  const asked: (readonly SchemaShard[])[] = [];
  const ask = async (shards: readonly SchemaShard[]) => {
    asked.push(shards);
    const [first] = shards;
    const mark = schemaMark(shard.fields.length, shard.deletes);
    return first === undefined || first.known === mark ? [] : [{ id: first.id, fields: shard.fields, mark }];
  };
  const cache = new SchemaCache({ ask, isNew: () => shard.isNew });
  return { shard, asked, cache };
}

test('types are forgotten when another coordinator has deleted the measurement, also when as many fields came since', async () => {
  const { shard, cache } = bench();
  await cache.load(NAME, 0);
  await cache.refresh(1);
  expect(cache.get(NAME, 1)!.typeOf('m', 'v')).toBe(FLOAT);
  shard.deletes = 1;
  shard.fields = [{ measurement: 'm', field: 'v', type: INTEGER }];
  await cache.refresh(2);
  expect(cache.get(NAME, 2)).toBeNull();
  await cache.load(NAME, 3);
  await cache.refresh(4);
  expect(cache.get(NAME, 4)!.typeOf('m', 'v')).toBe(INTEGER);
});

test('a delete that a group was loaded under does not end with its types', async () => {
  const { shard, cache, asked } = bench();
  shard.deletes = 3;
  await cache.load(NAME, 0);
  await cache.refresh(1);
  expect(cache.get(NAME, 1)!.typeOf('m', 'v')).toBe(FLOAT);
  expect(asked[1]![0]!.known).toBe(schemaMark(1, 3));
});

test('types of a policy are forgotten at once, and of no other one', async () => {
  const { cache } = bench();
  await cache.load(NAME, 0);
  await cache.load({ ...NAME, retentionPolicy: 'pp' }, 0);
  cache.forgetPolicy(NAME);
  expect(cache.get(NAME, 1)).toBeNull();
  expect(cache.get({ ...NAME, retentionPolicy: 'pp' }, 1)).not.toBeNull();
});

test('a group is begun without a question where nobody has a shard of it, and asked for afterwards', async () => {
  const { shard, asked, cache } = bench();
  expect(cache.getOrBegin(NAME, 0)).toBeNull();
  shard.isNew = true;
  const begun = cache.getOrBegin(NAME, 0)!;
  expect(begun.typeOf('m', 'v')).toBeNull();
  expect(cache.getOrBegin(NAME, 1)).toBe(begun);
  expect(asked.length).toBe(0);
  await cache.refresh(1);
  expect(begun.typeOf('m', 'v')).toBe(FLOAT);
});

test('a group that is being asked for is not begun beside that', async () => {
  const { shard, cache } = bench();
  const loading = cache.load(NAME, 0);
  shard.isNew = true;
  expect(cache.getOrBegin(NAME, 0)).toBeNull();
  await loading;
  expect(cache.getOrBegin(NAME, 0)!.typeOf('m', 'v')).toBe(FLOAT);
});
