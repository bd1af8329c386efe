import { expect, test } from 'vitest';
import type { ClusterSnapshot, HeldShard } from '../../repair/cluster.ts';
import { ClusterNewsSender, withKept } from '../../server/cluster-news.ts';

const list = (...ids: string[]): HeldShard[] =>
  ids.map((id) => ({ id, key: ['d', 0, 'autogen', 0, '0', '1', 0], state: 'full' }));
const snapshot = (viewHash: string, heldBy: ClusterSnapshot['heldBy']): ClusterSnapshot => ({
  viewHash,
  self: 'a',
  members: [],
  live: [],
  databases: [],
  droppedThrough: {},
  statements: [],
  heldBy,
  heldSequence: {},
});

test('a worker sees every snapshot whole, and lists that did not change are sent once', () => {
  const [a, b] = [list('1', '2'), list('1')];
  const first = snapshot('0', { a });
  const all = [
    snapshot('1', { a, b }),
    snapshot('2', { a, b }),
    snapshot('3', { a: list('1', '2', '3'), b }),
    snapshot('4', { b }),
    snapshot('5', { a, b }),
  ];
  const sender = new ClusterNewsSender(first);
  let seen = first;
  const sent: string[][] = [];
  for (const each of all) {
    const news = sender.next(each);
    sent.push(Object.keys(news.snapshot.heldBy));
    seen = withKept(structuredClone(news), seen);
    expect(seen).toEqual(each);
  }
  expect(sent).toEqual([['b'], [], ['a'], [], ['a']]);
});
