/** A write over many shards that are new: their files are made some at a time. */
import { expect, test } from 'vitest';
import { KEY, Trio } from './trio.ts';

test.each(['fsync', 'none'] as const)('of a database with durability %s', (durability) => {
  const trio = new Trio();
  const [storage, host] = [trio.storages[0]!, trio.hosts[0]!];
  const span = KEY.endNs - KEY.startNs;
  const writes = Array.from({ length: 50 }, (_, i) => {
    const startNs = span * BigInt(i);
    const shard = { ...KEY, startNs, endNs: startNs + span };
    return { ...trio.prepare(0, 'one', true, shard), durability };
  });
  let most = 0;
  let before = storage.shards.size;
  const look = (): void => {
    most = Math.max(most, storage.shards.size - before);
    before = storage.shards.size;
  };
  const synced: ((error: Error | null) => void)[] = [];
  storage.sync = (done) => void synced.push(done);
  host.submit(writes, trio.now);
  look();
  for (let turn = 0; turn < 20; turn++) {
    for (const done of synced.splice(0)) done(null);
    look();
    host.tick(trio.now);
    look();
  }
  expect(storage.shards.size).toBe(50);
  // A turn forms a group when it is asked to, and what could still be taken at its end.
  expect(most).toBeLessThanOrEqual(32);
  expect(writes.map(({ request }) => trio.outcomes.get(request))).toEqual(Array(50).fill({ ok: true }));
});
