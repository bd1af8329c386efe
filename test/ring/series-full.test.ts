/** A replica that has no memory for more series refuses a batch before it logs it, as with a full disk, and gets it by the ring. */
import { expect, test } from 'vitest';
import { StorageError } from '../../shards/errors.ts';
import { Trio } from './trio.ts';

test('writes count at the others; passes leave the batch where it is until there is room, and then all are equal', () => {
  const trio = new Trio();
  const storage = trio.storages[2]!;
  const { admit } = storage;
  storage.admit = () => new StorageError('series-full', 'no room for more series');
  const requests = [trio.write(0), trio.write(2)];
  trio.pass(4_000);
  for (const request of requests) expect(trio.outcomes.get(request)).toEqual({ ok: true });
  expect(trio.counts()).toEqual([2, 2, 0]);
  const all = trio.write(0, 'all');
  trio.pass(1_000);
  // It is said at once: not waited for, as an owner that may answer yet is.
  expect(trio.outcomes.get(all)).toMatchObject({ ok: false, status: 503 });
  trio.hear();
  trio.repair(0, 'ring');
  trio.pass(4_000);
  expect(trio.counts()).toEqual([3, 3, 0]);
  expect(trio.hosts[2]!.counters()).toMatchObject({ commit_refused_series_full: expect.any(Number) });
  storage.admit = admit;
  trio.hear();
  trio.repair(0, 'ring');
  trio.pass(60_000);
  expect(trio.counts()).toEqual([3, 3, 3]);
});
