/** Which members may know of shards that this node does not know. */
import { describe, expect, test } from 'vitest';
import type { ClusterSnapshot, MemberState } from '../../repair/cluster.ts';
import { type BackendPorts, createQueryBackend } from '../../server/query-backend.ts';
import { ShardPlaces } from '../../server/shard-places.ts';
import { shardId, shardKeyToJson } from '../../shards/shard-key.ts';
import { KEY } from './shard.ts';

const SELF = '1'.repeat(16);

function snapshotOf(states: readonly MemberState[], heard: readonly number[]): ClusterSnapshot {
  const members = states.map((state, i) => ({
    number: String(i + 1).repeat(16),
    name: `n${i + 1}`,
    address: '',
    state,
  }));
  return {
    viewHash: 'v',
    self: SELF,
    members,
    live: [SELF],
    databases: [],
    droppedThrough: {},
    statements: [],
    heldBy: Object.fromEntries(heard.map((i) => [String(i).repeat(16), []])),
    heldSequence: {},
  };
}

function unheard(states: readonly MemberState[], heard: readonly number[], replication: number): readonly string[] {
  const ports = { snapshot: () => snapshotOf(states, heard) } as unknown as BackendPorts;
  const policy = {
    name: 'autogen',
    generation: 0,
    durationNs: 0n,
    shardDurationNs: 1n,
    replication,
    hasDeletes: false,
  };
  return createQueryBackend(ports).unheard(policy);
}

describe('members that have not said which shards they hold', () => {
  test('count where they may be all owners of a shard', () => {
    expect(unheard(['up', 'up', 'up'], [1, 2, 3], 1)).toEqual([]);
    expect(unheard(['up', 'up', 'up'], [1, 2], 1)).toEqual(['n3']);
    expect(unheard(['up', 'up', 'up'], [1, 2], 2)).toEqual([]);
    expect(unheard(['up', 'up', 'up'], [1], 2)).toEqual(['n2', 'n3']);
    expect(unheard(['up', 'up', 'up'], [], 3)).toEqual([]);
    expect(unheard(['up', 'up', 'up'], [], 9)).toEqual([]);
  });

  test('joining ones own nothing yet, removed ones nothing any more, leaving ones may', () => {
    expect(unheard(['up', 'joining', 'removed'], [1], 1)).toEqual([]);
    expect(unheard(['up', 'leaving'], [1], 1)).toEqual(['n2']);
  });
});

test('a shard that a member has just told of is known at once, and once', () => {
  const snapshot = snapshotOf(['up', 'up'], []);
  const places = new ShardPlaces({ self: SELF, snapshot: () => snapshot, owners: () => [SELF], nowMs: () => 0 });
  const policy = {
    name: 'autogen',
    generation: 0,
    durationNs: 0n,
    shardDurationNs: 10n,
    replication: 1,
    hasDeletes: false,
  };
  const database = {
    name: 'd',
    generation: 0,
    durability: 'fsync' as const,
    conflict: 'last-write-wins' as const,
    defaultRetentionPolicy: 'autogen',
    retentionPolicies: [policy],
  };
  expect(places.targets(database, policy, 0n, 5n)).toEqual([]);
  for (let i = 0; i < 2; i++) places.noteReported(shardId(KEY), ['d', 0, 'autogen', 0, '0', '10', 2]);
  expect(places.targets(database, policy, 0n, 5n)).toEqual([{ id: shardId(KEY), key: KEY }]);
});

describe('a young replica here is read', () => {
  const [N2, N3] = ['2'.repeat(16), '3'.repeat(16)] as const;
  const id = shardId(KEY);
  const listed = (young: boolean) => [{ id, key: shardKeyToJson(KEY), state: 'full' as const, young }];

  async function readYoung(
    lists: Readonly<Record<string, ReturnType<typeof listed> | []>>,
    { live = [SELF], states = ['up', 'up', 'up'] as MemberState[], young = [id] } = {},
  ) {
    const snapshot = { ...snapshotOf(states, []), live, heldBy: lists };
    const places = new ShardPlaces({
      self: SELF,
      snapshot: () => snapshot,
      owners: () => [SELF, N2],
      nowMs: () => 0,
    });
    places.setLocal([{ id, key: shardKeyToJson(KEY), state: 'full', young: true }]);
    const nothing = {
      results: [],
      absent: [],
      damaged: [],
      losses: [],
      convergedThroughMs: null,
      liveConvergedThroughMs: null,
    };
    const pool = {
      workerOf: () => 0,
      ask: (_worker: number, _method: string, _args: unknown, done: (answer: unknown) => void) =>
        done({ ...nothing, young, nothingAsOf: null }),
    };
    const ports = { snapshot: () => snapshot, places, pool, clusterId: () => 'c', queryTimeoutMs: 100 };
    const backend = createQueryBackend(ports as unknown as BackendPorts);
    const { missing, silent = [] } = await backend.run([{ id, key: KEY }], { kind: 'show' } as never);
    return [missing.map((target) => target.id), silent];
  }

  test('while an older one is listed by a member that is not up: that one is named', async () => {
    expect(await readYoung({ [N2]: listed(false), [N3]: [] })).toEqual([[], ['n2']]);
    expect(await readYoung({ [N2]: [], [N3]: listed(false) })).toEqual([[], ['n3']]);
    // It cannot be asked, though it was heard a moment ago.
    expect(await readYoung({ [N2]: listed(false), [N3]: [] }, { live: [SELF, N2] })).toEqual([[], ['n2']]);
  });

  test('an owner that is not up and has not said what it has is named', async () => {
    expect(await readYoung({ [N3]: [] })).toEqual([[], ['n2']]);
    expect(await readYoung({ [N2]: [] })).toEqual([[], []]);
  });

  test('and has all where nobody has an older one, or the members with one are removed', async () => {
    expect(await readYoung({ [N2]: listed(true), [N3]: [] })).toEqual([[], []]);
    expect(await readYoung({ [N2]: listed(false) }, { states: ['up', 'removed', 'up'] })).toEqual([[], []]);
    expect(await readYoung({ [N2]: listed(false), [N3]: [] }, { young: [] })).toEqual([[], []]);
  });
});
