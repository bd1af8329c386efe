/** Which replica answers: a young one here only when nobody who can be asked may have more. */
import { describe, expect, test } from 'vitest';
import type { ClusterSnapshot, HeldShard } from '../../repair/cluster.ts';
import { ShardPlaces } from '../../server/shard-places.ts';
import { shardId, shardKeyToJson } from '../../shards/shard-key.ts';
import { KEY } from './shard.ts';

const [SELF, OTHER] = ['1'.repeat(16), '2'.repeat(16)] as const;
const ID = shardId(KEY);

const held = (state: HeldShard['state'], young: boolean): HeldShard => ({
  id: ID,
  key: shardKeyToJson(KEY),
  state,
  young,
});

/** `list` undefined: the other member's list has not come. */
function isLocal(own: HeldShard, live: readonly string[], list?: readonly HeldShard[]): boolean {
  const snapshot = { live, heldBy: list === undefined ? {} : { [OTHER]: list } } as unknown as ClusterSnapshot;
  const source = { self: SELF, snapshot: () => snapshot, owners: () => [SELF, OTHER], nowMs: () => 0 };
  const places = new ShardPlaces(source);
  places.setLocal([own]);
  return places.isLocal(ID);
}

describe('a replica here answers', () => {
  const both = [SELF, OTHER];

  test('when it is full and grown, whoever else is up', () => {
    expect(isLocal(held('full', false), both)).toBe(true);
    expect(isLocal(held('filling', false), both)).toBe(false);
    expect(isLocal(held('damaged', false), [SELF])).toBe(false);
  });

  test('when it is young and nobody else is up, or nobody else has a grown one', () => {
    expect(isLocal(held('full', true), [SELF])).toBe(true);
    expect(isLocal(held('full', true), both, [])).toBe(true);
    expect(isLocal(held('full', true), both, [held('full', true)])).toBe(true);
    expect(isLocal(held('full', true), both, [held('filling', false)])).toBe(true);
  });

  test('not when it is young and another has a grown one, or has not said what it has', () => {
    expect(isLocal(held('full', true), both, [held('full', false)])).toBe(false);
    expect(isLocal(held('full', true), both)).toBe(false);
  });
});
