/** What is still on its way to a member that was added, as `GET /api/cluster` says it. */
import { expect, test } from 'vitest';
import type { ReplicaDescription } from '../../repair/records.ts';
import { shardsToCome } from '../../server/http/admin.ts';

const replica = (member: string, more: Partial<ReplicaDescription> = {}): ReplicaDescription => ({
  member,
  name: member,
  live: true,
  owner: true,
  state: 'full',
  young: false,
  ...more,
});

test('shards that a member owns and others have are to come until they are whole there', () => {
  const old = [replica('a'), replica('b')];
  const shards = [
    { replicas: [...old, replica('new', { state: 'absent' })] },
    { replicas: [...old, replica('new', { state: 'filling' })] },
    { replicas: [...old, replica('new', { young: true })] },
    { replicas: [...old, replica('new')] },
    // No owner any more: it will let go.
    { replicas: [...old, replica('former', { owner: false, young: true })] },
    // Nothing has been heard of what that one holds.
    { replicas: [...old, replica('silent', { state: 'unknown' })] },
  ];
  expect(shardsToCome(shards)).toEqual(new Map([['new', 3]]));
});

test('a shard that was just made is as young at all its owners: nothing is to come', () => {
  const young = ['a', 'b', 'c'].map((member) => replica(member, { young: true }));
  expect(shardsToCome([{ replicas: young }])).toEqual(new Map());
});
