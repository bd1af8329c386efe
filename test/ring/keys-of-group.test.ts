/** A batch whose keys another batch of its group was to bring, which could not be applied. */
import { expect, test } from 'vitest';
import { Ledger } from '../../repair/ledger.ts';
import { DecodedLists } from '../../repair/ledger-epoch.ts';
import type { ReplicaHost } from '../../repair/replica-host.ts';
import type { Surroundings } from '../../repair/surroundings.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { FLOAT } from '../../shards/column.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { makeStamp, type NodeNumber } from '../../shards/version.ts';
import { UnreadLists } from '../sim/unread-lists.ts';
import { Engines } from './engine-trio.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

type Submitted = Parameters<ReplicaHost['submit']>[0][number];

function holds(host: ReplicaHost, number: NodeNumber): boolean {
  return (host as unknown as { around: Surroundings }).around.owners(KEY).includes(number);
}

function batchOf(trio: Trio, ms: number, host: string, hasKeys = true): Submitted {
  const version = makeStamp(ms, 0) + NUMBERS[0]!;
  const key = `cpu,host=${host}`;
  const keys = [{ hash: hashSeriesKey('s', key), key }];
  const columns = [{ field: 'usage', type: FLOAT, present: null, values: Float64Array.of(1) }] as const;
  const group = { measurement: 'cpu', rowSeries: Uint32Array.of(0), times: Float64Array.of(ms % 100_000), columns };
  const frame = encodeBatch({
    kind: 'write',
    shard: KEY,
    version,
    series: keys.map(({ hash }) => hash),
    groups: [group],
  });
  return {
    request: trio.nextRequest++,
    shard: KEY,
    version,
    frame,
    keys: hasKeys ? keys : [],
    allKeys: () => keys,
    consistency: 'one',
    durability: 'fsync',
    timeoutMs: 3_000,
  };
}

test('the batch that brings a key cannot be entered for now: the next one, which needs it, comes again with its keys', () => {
  const lists: UnreadLists[] = [];
  const decoded = new DecodedLists(1);
  const engines = new Engines({}, () => {
    const unread = new UnreadLists();
    lists.push(unread);
    return unread.watch(new Ledger(0, decoded));
  });
  try {
    const trio = new Trio(1, {}, engines.open);
    const own = NUMBERS.findIndex((number, i) => holds(trio.hosts[i]!, number));
    const host = trio.hosts[own]!;
    const send = (...batches: Submitted[]) => {
      host.submit(batches, trio.now);
      trio.settle();
    };
    const nowMs = trio.now;
    send(batchOf(trio, nowMs - 40_000, 'old'));
    send(batchOf(trio, nowMs - 20_000, 'old'));
    engines.all[own]!.shards.get(ID)!.flush();
    const needy = batchOf(trio, nowMs, 'new', false);
    // They are judged, and logged. Of two old epochs, since the list that was read last stays decoded.
    host.submit([batchOf(trio, nowMs - 39_999, 'new'), batchOf(trio, nowMs - 19_999, 'old'), needy], trio.now);
    for (const list of lists) list.failing = true;
    trio.settle();
    for (const list of lists) list.failing = false;
    trio.pass(1_000);
    expect(trio.outcomes.get(needy.request)).toMatchObject({ ok: true });
    expect(engines.ledger(own).lists(needy.version)).toBe(true);
  } finally {
    engines.remove();
  }
});
