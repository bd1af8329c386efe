import { describe, expect, test } from 'vitest';
import type { RetentionPolicyOptions } from '../../repair/databases.ts';
import type { ConflictRule } from '../../shards/row-settle.ts';
import { shardRange } from '../../shards/shard-key.ts';
import { A, Network } from './network.ts';

const HOUR = 3_600_000_000_000n;
const DAY = 24n * HOUR;

function single() {
  const network = new Network();
  const { core } = network.start(network.disk('n1'), A);
  const now = () => network.nowMs;
  return {
    core,
    nowNs: () => BigInt(now()) * 1_000_000n,
    create: (
      name: string,
      policy: (RetentionPolicyOptions & { name?: string }) | null = null,
      conflict?: ConflictRule,
    ) => core.definitions.createDatabase(name, policy, now(), conflict),
    noteDeletes: (name: string, policy: string) => core.definitions.noteDeletes(name, policy, now()),
    drop: (name: string) => core.definitions.dropDatabase(name, now()),
    createPolicy: (db: string, name: string, options: RetentionPolicyOptions) =>
      core.definitions.createRetentionPolicy(db, name, options, now()),
    alterPolicy: (db: string, name: string, options: RetentionPolicyOptions) =>
      core.definitions.alterRetentionPolicy(db, name, options, now()),
    dropPolicy: (db: string, name: string) => core.definitions.dropRetentionPolicy(db, name, now()),
    find: (name: string) => core.snapshot().databases.find((each) => each.name === name),
  };
}

describe('databases and retention policies, as in InfluxDB', () => {
  test('CREATE DATABASE makes autogen with infinite duration, replication 3, 7-day shards, and is idempotent', () => {
    const t = single();
    t.create('db0');
    const view = t.core.snapshot().viewHash;
    t.create('db0');
    expect(t.core.snapshot().viewHash).toBe(view);
    expect(t.find('db0')).toEqual({
      name: 'db0',
      generation: 0,
      conflict: 'last-write-wins',
      durability: 'fsync',
      defaultRetentionPolicy: 'autogen',
      retentionPolicies: [
        {
          name: 'autogen',
          generation: 0,
          durationNs: 0n,
          shardDurationNs: 7n * DAY,
          replication: 3,
          hasDeletes: false,
        },
      ],
    });
  });

  test('CONFLICT is fixed when the database is made', () => {
    const t = single();
    t.create('db0', null, 'first-write-wins');
    t.create('db0');
    t.create('db0', null, 'first-write-wins');
    expect(() => t.create('db0', null, 'last-write-wins')).toThrow('exists with CONFLICT first-write-wins');
    t.alterPolicy('db0', 'autogen', { isDefault: true });
    t.createPolicy('db0', 'other', { durationNs: 0n, replication: 1, isDefault: true });
    expect(t.find('db0')).toMatchObject({ conflict: 'first-write-wins', defaultRetentionPolicy: 'other' });
    t.drop('db0');
    t.create('db0');
    expect(t.find('db0')).toMatchObject({ conflict: 'last-write-wins' });
  });

  test('deletes for a whole policy are part of the view, once, and go with the policy', () => {
    const t = single();
    t.create('db0');
    const view = t.core.snapshot().viewHash;
    t.noteDeletes('db0', 'autogen');
    const after = t.core.snapshot().viewHash;
    expect(after).not.toBe(view);
    expect(t.find('db0')!.retentionPolicies).toMatchObject([{ hasDeletes: true }]);
    t.alterPolicy('db0', 'autogen', { durationNs: 14n * DAY });
    expect(t.find('db0')!.retentionPolicies).toMatchObject([{ hasDeletes: true }]);
    const again = t.core.snapshot().viewHash;
    t.noteDeletes('db0', 'autogen');
    expect(t.core.snapshot().viewHash).toBe(again);
    t.dropPolicy('db0', 'autogen');
    t.createPolicy('db0', 'autogen', { durationNs: 0n, replication: 1 });
    expect(t.find('db0')!.retentionPolicies).toMatchObject([{ hasDeletes: false }]);
    expect(() => t.noteDeletes('db0', 'none')).toThrow('retention policy not found: none');
    expect(() => t.noteDeletes('none', 'autogen')).toThrow('database not found: none');
  });

  test('WITH names the default policy; shard durations below an hour become an hour', () => {
    const t = single();
    t.create('db0', { durationNs: DAY, replication: 2, name: 'daily' });
    t.create('db1', { durationNs: HOUR, shardDurationNs: HOUR / 2n });
    t.create('db2', { shardDurationNs: (61n * HOUR) / 60n });
    expect(t.find('db0')).toMatchObject({
      defaultRetentionPolicy: 'daily',
      retentionPolicies: [{ durationNs: DAY, replication: 2, shardDurationNs: HOUR }],
    });
    expect(t.find('db1')!.retentionPolicies[0]!.shardDurationNs).toBe(HOUR);
    expect(t.find('db2')!.retentionPolicies[0]!.shardDurationNs).toBe((61n * HOUR) / 60n);
  });

  test.each([
    [0n, 7n * DAY],
    [180n * DAY, 7n * DAY],
    [179n * DAY, DAY],
    [2n * DAY, DAY],
    [47n * HOUR, HOUR],
    [HOUR, HOUR],
  ])('a policy of %i ns gets shards of %i ns', (durationNs, shardDurationNs) => {
    const t = single();
    t.create('db0');
    t.createPolicy('db0', 'p', { durationNs, replication: 1, shardDurationNs: 0n });
    expect(t.find('db0')!.retentionPolicies[1]!.shardDurationNs).toBe(shardDurationNs);
  });

  test('errors have the codes and texts of InfluxDB', () => {
    const t = single();
    t.create('db0');
    t.createPolicy('db0', 'rp', { durationNs: HOUR, replication: 1 });
    t.createPolicy('db0', 'rp', { durationNs: HOUR, replication: 1 });
    const cases: [() => void, string, string][] = [
      [() => t.create('.'), 'invalid-name', 'invalid name'],
      [() => t.create(''), 'invalid-name', 'invalid name'],
      [() => t.create('a/b'), 'invalid-name', 'invalid name'],
      [() => t.create('a\nb'), 'invalid-name', 'invalid name'],
      [() => t.create('db9', { name: '..' }), 'invalid-name', 'invalid name'],
      [
        () => t.create('db0', { durationNs: DAY }),
        'retention-policy-conflict',
        'retention policy conflicts with an existing policy',
      ],
      [
        () => t.create('db0', { name: 'rp' }),
        'retention-policy-conflict',
        'retention policy conflicts with an existing policy',
      ],
      [
        () => t.createPolicy('nodb', 'x', { durationNs: HOUR, replication: 1 }),
        'database-not-found',
        'database not found: nodb',
      ],
      [
        () => t.createPolicy('db0', 'rp', { durationNs: DAY, replication: 1 }),
        'retention-policy-exists',
        'retention policy already exists',
      ],
      [
        () => t.createPolicy('db0', 'rp', { durationNs: HOUR, replication: 1, isDefault: true }),
        'retention-policy-conflict',
        'retention policy conflicts with an existing policy',
      ],
      [
        () => t.createPolicy('db0', 'x', { durationNs: 1_000_000_000n, replication: 1 }),
        'retention-policy-duration',
        'retention policy duration must be at least 1h0m0s',
      ],
      [
        () => t.createPolicy('db0', 'x', { durationNs: HOUR, replication: 1, shardDurationNs: DAY }),
        'retention-policy-duration',
        'retention policy duration must be greater than the shard duration',
      ],
      [
        () => t.createPolicy('db0', 'x', { durationNs: HOUR, replication: 0 }),
        'retention-policy-replication',
        'replication factor must be greater than 0',
      ],
      [() => t.alterPolicy('nodb', 'rp', { replication: 2 }), 'database-not-found', 'database not found: nodb'],
      [
        () => t.alterPolicy('db0', 'nope', { replication: 2 }),
        'retention-policy-not-found',
        'retention policy not found: nope',
      ],
      [
        () => t.alterPolicy('db0', 'autogen', { durationNs: DAY }),
        'retention-policy-duration',
        'retention policy duration must be greater than the shard duration',
      ],
    ];
    for (const [act, code, message] of cases) expect(act).toThrow(expect.objectContaining({ code, message }));
  });

  test('ALTER changes what is named and leaves the rest; DEFAULT moves the default', () => {
    const t = single();
    t.create('db0');
    t.createPolicy('db0', 'rp0', { durationNs: HOUR, replication: 1 });
    t.alterPolicy('db0', 'rp0', { durationNs: 2n * HOUR, replication: 3, isDefault: true });
    expect(t.find('db0')).toMatchObject({ defaultRetentionPolicy: 'rp0' });
    expect(t.find('db0')!.retentionPolicies[1]).toMatchObject({
      durationNs: 2n * HOUR,
      shardDurationNs: HOUR,
      replication: 3,
    });
    t.alterPolicy('db0', 'autogen', { durationNs: DAY, shardDurationNs: HOUR });
    expect(t.find('db0')!.retentionPolicies[0]).toMatchObject({
      name: 'autogen',
      durationNs: DAY,
      shardDurationNs: HOUR,
    });
  });

  test('ALTER of the shard duration cuts anew what lies ahead: after the group that is written to in a day', () => {
    const t = single();
    t.create('db0');
    const find = () => t.find('db0')!.retentionPolicies[0]!;
    const before = find();
    t.alterPolicy('db0', 'autogen', { shardDurationNs: HOUR });
    const untilNs = shardRange(t.nowNs() + DAY, before).endNs;
    expect(find()).toMatchObject({ shardDurationNs: HOUR, earlierShards: [{ untilNs, shardDurationNs: 7n * DAY }] });
    t.alterPolicy('db0', 'autogen', { replication: 2 });
    expect(find()).toMatchObject({ replication: 2, earlierShards: [{ untilNs, shardDurationNs: 7n * DAY }] });
    // Nothing was cut by the hour yet.
    t.alterPolicy('db0', 'autogen', { shardDurationNs: 2n * HOUR });
    expect(find()).toMatchObject({
      shardDurationNs: 2n * HOUR,
      earlierShards: [{ untilNs, shardDurationNs: 7n * DAY }],
    });
    t.alterPolicy('db0', 'autogen', { shardDurationNs: 7n * DAY });
    expect(find().earlierShards).toBeUndefined();
  });

  test('dropping is idempotent, also of what never was; a re-created name is another generation', () => {
    const t = single();
    t.drop('db0');
    t.dropPolicy('db0', 'x');
    t.create('db0');
    t.createPolicy('db0', 'rp', { durationNs: HOUR, replication: 1 });
    t.dropPolicy('db0', 'rp');
    t.dropPolicy('db0', 'rp');
    t.createPolicy('db0', 'rp', { durationNs: DAY, replication: 1 });
    expect(t.find('db0')!.retentionPolicies[1]).toMatchObject({ name: 'rp', generation: 1, durationNs: DAY });
    t.drop('db0');
    expect(t.find('db0')).toBeUndefined();
    t.create('db0');
    expect(t.find('db0')).toMatchObject({ generation: 1, retentionPolicies: [{ name: 'autogen' }] });
    expect({ ...t.core.snapshot().droppedThrough }).toEqual({ db0: 0, 'db0\0rp': 0 });
  });

  test('the default policy can be dropped: its name stays the default, and making it again makes it the default again', () => {
    const t = single();
    t.create('db0');
    t.dropPolicy('db0', 'autogen');
    expect(t.find('db0')).toMatchObject({ defaultRetentionPolicy: 'autogen', retentionPolicies: [] });
    t.createPolicy('db0', 'autogen', { durationNs: 0n, replication: 1 });
    expect(t.find('db0')!.retentionPolicies).toHaveLength(1);
  });
});
