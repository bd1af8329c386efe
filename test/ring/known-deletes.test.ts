/** Who may answer for shards of a policy with deletes: only who has its deletes as the others have them. */
import { expect, test } from 'vitest';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { deleteShardOf } from '../../shards/delete-shard.ts';
import { shardId, TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import { makeStamp } from '../../shards/version.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

const DELETES = deleteShardOf(KEY);
const DELETES_ID = shardId(DELETES);
const [, , THIRD] = NUMBERS as [string, string, string];

/** Everything that was written before. */
function deleteAll(trio: Trio, at: number): void {
  const version = makeStamp(++trio.now, 0) + NUMBERS[at];
  const times = { minNs: TIME_MIN_NS, maxNs: TIME_MAX_NS };
  const predicate = { measurement: null, condition: null, minTime: 0, maxTime: 0, times };
  const frame = encodeBatch({ kind: 'delete', shard: DELETES, version, predicate });
  const rest = { consistency: 'live', durability: 'fsync', timeoutMs: 3_000, keys: [], allKeys: () => [] } as const;
  trio.hosts[at]!.submit([{ request: trio.nextRequest++, shard: DELETES, version, frame, ...rest }], trio.now);
  trio.pass(100);
}

function ring(trio: Trio, at: number, shard: string): void {
  trio.repair(at, 'ring', shard);
  trio.hear();
}

const isYoung = (trio: Trio, at: number) => trio.hosts[at]!.heldShards().find(({ id }) => id === ID)?.young;
const youth = (trio: Trio) => [0, 1, 2].map((at) => isYoung(trio, at));
const deletes = (trio: Trio, at: number) => trio.storages[at]!.shards.get(DELETES_ID)?.batches.size;

/** The third member, with all that it has proven. */
function restart(trio: Trio): void {
  for (const stored of trio.storages[2]!.shards.values()) stored.flush();
  trio.boot(THIRD, trio.storages[2]!.disk, trio.files[2]);
}

/** Three members with a row, and a delete of which the third has not heard, when it is told that there are deletes. */
function newcomer(): Trio {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  ring(trio, 0, ID);
  expect(youth(trio)).toEqual([false, false, false]);
  trio.cut.add(THIRD);
  trio.hasDeletes = true;
  trio.view = 'w';
  trio.hear();
  deleteAll(trio, 0);
  trio.hear();
  ring(trio, 0, DELETES_ID);
  trio.cut.clear();
  return trio;
}

test('a replica is young until the deletes of its policy are known here, however well it is proven itself', () => {
  const trio = newcomer();
  restart(trio);
  trio.hear();
  expect([deletes(trio, 0), deletes(trio, 2)]).toEqual([1, 0]);
  expect(youth(trio)).toEqual([false, false, true]);
  ring(trio, 0, ID);
  expect(youth(trio)).toEqual([false, false, true]);
  ring(trio, 0, DELETES_ID);
  expect([deletes(trio, 2), ...youth(trio)]).toEqual([1, false, false, false]);
});

test('a member that has been away is young again, whatever it had proven before', () => {
  const trio = newcomer();
  trio.hear();
  ring(trio, 0, DELETES_ID);
  trio.cut.add(THIRD);
  trio.hear();
  deleteAll(trio, 1);
  trio.cut.clear();
  restart(trio);
  trio.hear();
  expect([deletes(trio, 2), ...youth(trio)]).toEqual([1, false, false, true]);
  trio.hear();
  ring(trio, 0, DELETES_ID);
  expect([deletes(trio, 2), ...youth(trio)]).toEqual([2, false, false, false]);
});

test('a proof among no more than half of the members makes nothing known', () => {
  const trio = newcomer();
  restart(trio);
  trio.cut.add(NUMBERS[0]!).add(NUMBERS[1]!);
  trio.hear();
  ring(trio, 2, DELETES_ID);
  expect(trio.passes.at(-1)).toMatchObject({ kind: 'live', outcome: 'proven', order: [THIRD] });
  expect(isYoung(trio, 2)).toBe(true);
});

test('a proof that ends before what the others had closed, when they first knew this member, makes nothing known', () => {
  const trio = newcomer();
  restart(trio);
  trio.cut.add(THIRD);
  trio.hear();
  // As if its proof had been on its way since before the delete.
  let proof: Parameters<Trio['onSend']>[2] | null = null;
  trio.onSend = (_, __, message) => {
    if (message.t === 'proven') proof = message;
  };
  trio.cut.clear();
  trio.hear();
  trio.hosts[2]!.tick(trio.now);
  ring(trio, 0, DELETES_ID);
  expect(proof).not.toBeNull();
  restart(trio);
  trio.now += 1_000;
  trio.hear();
  trio.say(0, 2, proof!);
  trio.settle();
  expect(isYoung(trio, 2)).toBe(true);
  trio.hear();
  ring(trio, 0, DELETES_ID);
  expect(isYoung(trio, 2)).toBe(false);
});

test('a read with a consistency brings the deletes that only others had', () => {
  const trio = newcomer();
  trio.hear();
  expect(deletes(trio, 2)).toBe(0);
  const result = trio.level(2, 'all', { shard: DELETES, viewHash: 'w' });
  expect(result).toMatchObject({ outcome: 'level', owners: 3, batches: 1, missing: [] });
  expect(deletes(trio, 2)).toBe(1);
  // Nothing is proven by it.
  expect(isYoung(trio, 2)).toBe(true);
});

test('that a policy has no deletes is known when more than half have spoken under the same view, twice', () => {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  ring(trio, 0, ID);
  restart(trio);
  // Its metadata are those of before the first delete: the others speak under another view.
  trio.views.set(THIRD, 'older');
  for (let times = 0; times < 3; times++) trio.hear();
  expect(isYoung(trio, 2)).toBe(true);
  trio.views.clear();
  trio.hear();
  expect(isYoung(trio, 2)).toBe(true);
  trio.hear();
  expect(youth(trio)).toEqual([false, false, false]);
});
