/** Deletes of a policy's delete shard: what they cover in other shards, what waits for them, and what survives a restart. */
import { afterEach, expect, test } from 'vitest';
import type { Batch, DeletePredicate } from '../../shards/batch.ts';
import { BatchError, decodeBatch, encodeBatch } from '../../shards/batch-codec.ts';
import { predicateIn } from '../../shards/delete-shard.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import type { Shard } from '../../shards/shard.ts';
import { shardId, TIME_MAX_NS } from '../../shards/shard-key.ts';
import { STAMP_ZERO, stampOf } from '../../shards/version.ts';
import { ALWAYS, DELETES, deleteEverywhere, deletesOf } from './delete-everywhere.ts';
import { Bench, cellsOf, KEY, keysOf, SHARD, type VersionSet, versionAt, writeBatch } from './helpers.ts';

let bench: Bench;
afterEach(() => bench.remove());

const deletes = (): Shard => deletesOf(bench);
const deleteAll = (n: number, predicate: Partial<DeletePredicate> = {}): void => deleteEverywhere(bench, n, predicate);

const write = (n: number, host = 'a', time = 1000): void => {
  bench.writeRows(versionAt(n), [{ key: `m,host=${host}`, time, fields: { f: n } }]);
};
const values = () => [...cellsOf(bench).values()].sort();

function floorOf(shard: Shard, n: number): void {
  (shard.companion as VersionSet).floor = n < 0 ? STAMP_ZERO : stampOf(versionAt(n));
}

/** What is in memory is flushed, and the windows come to rest. */
function merge(): void {
  for (let round = 0; round < 3; round++) {
    bench.nowMs += 700_000;
    while (bench.step());
  }
}

test('a delete covers older rows of every shard of the policy: those that are there, and those that come later', () => {
  bench = new Bench();
  write(1, 'a');
  write(2, 'b');
  deleteAll(5, { condition: { op: '=', key: 'host', value: 'a' } });
  expect(values()).toEqual([2]);
  write(3, 'a', 2000); // on its way since before the delete
  write(6, 'a', 3000);
  expect(values()).toEqual([2, 6]);
  const later = { ...KEY, startNs: KEY.endNs, endNs: KEY.endNs * 2n };
  const shard = bench.engine.create(later);
  const batch = writeBatch(versionAt(4), [{ key: 'm,host=a', time: 5, fields: { f: 4 } }], later);
  const keys = keysOf([{ key: 'm,host=a', time: 5, fields: {} }]);
  shard.apply(holdFrame(encodeBatch(batch)), keys, bench.engine.append([]));
  expect((shard as Shard).series('m', null).length).toBe(0);
  expect((shard as Shard).measurements()).toEqual([]);
});

test('times are kept as they were given, and mean the right offsets in each shard', () => {
  bench = new Bench();
  write(1, 'a', 1000);
  write(2, 'a', 2000);
  deleteAll(5, { times: { minNs: -7n, maxNs: KEY.startNs + 1000n } });
  expect(values()).toEqual([2]);
  const predicate = { measurement: null, condition: null, minTime: 0, maxTime: 0 };
  expect(predicateIn({ ...predicate, times: { minNs: KEY.endNs, maxNs: TIME_MAX_NS } }, KEY)).toBeNull();
  expect(predicateIn({ ...predicate, times: ALWAYS }, KEY)).toMatchObject({ maxTime: Number(KEY.endNs) - 1 });
});

test('they are there again after a restart, from the log and from the file', () => {
  bench = new Bench();
  write(1);
  deleteAll(5);
  bench.crash();
  expect(values()).toEqual([]);
  deletes().flush();
  bench.reopen();
  expect(values()).toEqual([]);
  write(6);
  expect(values()).toEqual([6]);
});

test('rows are settled no further than the deletes are known to be complete', () => {
  bench = new Bench();
  bench.engine.setRules(() => ({ conflict: 'last-write-wins', hasDeletes: true }));
  write(1);
  write(3);
  floorOf(bench.shard(), 3);
  merge();
  // There is no delete shard yet: a delete between the two may still come.
  expect(bench.shard().sizes().rows).toBe(2);
  floorOf(deletes(), -1);
  merge();
  expect(bench.shard().sizes().rows).toBe(2);
  deleteAll(2);
  floorOf(deletes(), 3);
  merge();
  expect([bench.shard().sizes().rows, values()]).toEqual([1, [3]]);
  deleteAll(4);
  write(5, 'b');
  floorOf(deletes(), 5);
  floorOf(bench.shard(), 5);
  merge();
  expect([bench.shard().sizes().rows, values()]).toEqual([1, [5]]);
});

test('while the metadata know of no deletes for the whole policy, rows are settled without a delete shard', () => {
  bench = new Bench();
  bench.engine.setRules(() => ({ conflict: 'last-write-wins', hasDeletes: false }));
  write(1);
  write(3);
  floorOf(bench.shard(), 3);
  merge();
  expect(bench.shard().sizes().rows).toBe(1);
  bench.engine.setRules(() => null);
  write(4);
  floorOf(bench.shard(), 4);
  merge();
  expect(bench.shard().sizes().rows).toBe(2);
});

test('the first write wins where the database says so: of those that no delete has killed', () => {
  bench = new Bench();
  bench.engine.setRules(() => ({ conflict: 'first-write-wins', hasDeletes: true }));
  for (const n of [1, 3, 4]) write(n);
  expect(values()).toEqual([1]);
  deleteAll(2);
  expect(values()).toEqual([3]);
  bench.shard().flush();
  floorOf(deletes(), 4);
  floorOf(bench.shard(), 4);
  merge();
  expect([bench.shard().sizes().rows, values()]).toEqual([1, [3]]);
  write(5);
  expect(values()).toEqual([3]);
});

test('only deletes with times belong there, and only there', () => {
  bench = new Bench();
  const predicate = { measurement: null, condition: null, minTime: 0, maxTime: 9 };
  const version = versionAt(1);
  const refused = (batch: Batch) => expect(() => decodeBatch(encodeBatch(batch))).toThrow(BatchError);
  refused({ kind: 'delete', shard: DELETES, version, predicate });
  refused({ kind: 'delete', shard: KEY, version, predicate: { ...predicate, times: ALWAYS } });
  refused(writeBatch(version, [{ key: 'm', time: 1, fields: { f: 1 } }], DELETES));
  expect(SHARD).not.toBe(shardId(DELETES));
});
