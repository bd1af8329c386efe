/** Groups of several shards in one list: merged where shards give them in order, sorted where they do not. */

import { describe, expect, test } from 'vitest';
import { mergeGroups } from '../../server/query/merged-groups.ts';
import type { ShardSelect } from '../../shards/query/partial.ts';
import { placesByValue } from '../../shards/query/value-order.ts';
import type { QueryableShard } from '../../shards/queryable.ts';
import { allSteps } from '../../shards/steps.ts';

function shardOf(measurements: readonly string[], ...tagValues: string[][]): ShardSelect {
  return { groups: { measurements, tagValues } } as unknown as ShardSelect;
}

const ofOne = (...values: string[]): ShardSelect =>
  shardOf(
    values.map(() => 'm'),
    values,
  );

/** For each shard the keys of its groups, looked up in the merged list. */
function keysOf(shards: readonly ShardSelect[], dimensions: readonly string[], measurements: readonly string[]) {
  const { groups, places } = allSteps(mergeGroups(shards, dimensions, measurements));
  return {
    keys: groups.map(({ key }) => key),
    tags: groups.map(({ tags }) => tags),
    places: places.map((p) => [...p]),
  };
}

describe('groups of shards', () => {
  test.each([
    ['in order', [ofOne('a', 'c', 'é'), ofOne(), ofOne('', 'b', 'c')]],
    ['not in order', [ofOne('c', 'a', 'é'), ofOne(), ofOne('', 'c', 'b')]],
    [
      'many shards',
      Array.from({ length: 12 }, (_, i) => ofOne(...['', 'a', 'b', 'c', 'é'].filter((_, k) => k % 4 === i % 4))),
    ],
  ])('%s', (_, shards) => {
    const { keys, tags, places } = keysOf(shards, ['t'], ['m']);
    expect(keys).toEqual(['', 'a', 'b', 'c', 'é'].map((value) => `m\0${value}`));
    expect(tags.map(({ t }) => t)).toEqual(['', 'a', 'b', 'c', 'é']);
    shards.forEach(({ groups }, s) => {
      expect(places[s]!.map((place) => tags[place]!.t)).toEqual(groups.tagValues[0]);
    });
  });

  test('several measurements and tags are told apart', () => {
    const shards = [shardOf(['m', 'n'], ['x', 'x'], ['1', '']), shardOf(['m', 'm'], ['x', 'x'], ['', '1'])];
    const { tags, places } = keysOf(shards, ['a', 'b'], ['m', 'n']);
    expect(tags).toEqual([
      { a: 'x', b: '' },
      { a: 'x', b: '1' },
      { a: 'x', b: '' },
    ]);
    expect(places).toEqual([
      [1, 2],
      [0, 1],
    ]);
  });

  test('without tags there is one group', () => {
    expect(keysOf([shardOf(['m']), shardOf([]), shardOf(['m'])], [], ['m']).places).toEqual([[0], [], [0]]);
  });
});

describe('the order of values in a shard', () => {
  const values = ['', 'm', 'b', 'z', 'a', 'k'];
  const textOf = (code: number): string => values[code]!;
  const shard = {} as QueryableShard;
  const inOrder = (...codes: number[]): string[] => {
    const wanted = Uint32Array.from(codes);
    const places = placesByValue(shard, 't', { codes: wanted, valueOf: textOf }, wanted);
    const sorted: string[] = [];
    places.forEach((place, i) => {
      sorted[place] = textOf(codes[i]!);
    });
    return sorted;
  };

  test('new values take their places among those met before', () => {
    expect(inOrder(3, 1)).toEqual(['m', 'z']);
    expect(inOrder(2, 3, 0)).toEqual(['', 'b', 'z']);
    expect(inOrder(5, 4, 3, 2, 1, 0)).toEqual(['', 'a', 'b', 'k', 'm', 'z']);
    expect(inOrder(4)).toEqual(['a']);
  });

  test('codes that mean other values by now still give each group a place', () => {
    values.reverse();
    expect(inOrder(0, 1, 2, 3, 4, 5).sort()).toEqual([...values].sort());
  });
});
