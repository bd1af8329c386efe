/** Deletes that later ones stand for: which they are, when they leave the file, and that nothing else changes by it. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { Batch, DeletePredicate } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { addSums } from '../../shards/checksum.ts';
import { deleteShardOf } from '../../shards/delete-shard.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import type { Shard } from '../../shards/shard.ts';
import { shardId, TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import type { KeptTombstone } from '../../shards/shard-tombstones.ts';
import { supersededDeletes } from '../../shards/superseded.ts';
import { STAMP_ZERO, stampOf } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import { Bench, cellsOf, KEY, type VersionSet, versionAt } from './helpers.ts';

const LAST = 'f'.repeat(16);
const DELETES = deleteShardOf(KEY);
const MEASUREMENTS = [null, { name: 'm' }, { name: 'n' }, { regex: '^m' }];
const CONDITIONS = [
  null,
  { op: '=' as const, key: 'host', value: 'a' },
  { op: '!=' as const, key: 'host', value: 'a' },
];

const kept = (n: number, predicate: Partial<DeletePredicate>): KeptTombstone =>
  ({
    version: versionAt(n),
    predicate: { measurement: null, condition: null, minTime: 0, maxTime: 0, ...predicate },
  }) as KeptTombstone;

const times = (minNs: bigint, maxNs: bigint) => ({ times: { minNs, maxNs } });
const numbersOf = (found: readonly KeptTombstone[], all: readonly KeptTombstone[]) =>
  found.map((each) => all.indexOf(each)).sort();

describe('which', () => {
  test('the same, or more, later: by times, measurement and condition', () => {
    const [m, a] = [{ measurement: { name: 'm' } }, { condition: CONDITIONS[1]! }];
    const all = [
      kept(1, { ...m, ...times(5n, 9n) }),
      kept(2, { ...m, ...a, ...times(0n, 9n) }),
      kept(3, { ...m, ...times(5n, 20n) }),
      kept(4, { measurement: { name: 'n' }, ...times(0n, 50n) }),
      kept(5, { ...a, ...times(0n, 10n) }),
    ];
    const { deletes } = supersededDeletes(all, LAST, STAMP_ZERO);
    expect(numbersOf(deletes, all)).toEqual([0, 1]);
  });

  test('none above the floor, and none for the sake of one above it', () => {
    const all = [1, 2, 3].map((n) => kept(n, times(0n, BigInt(n))));
    expect(supersededDeletes(all, stampOf(versionAt(0)), STAMP_ZERO).deletes).toEqual([]);
    expect(supersededDeletes(all, stampOf(versionAt(1)), STAMP_ZERO).deletes).toEqual([]);
    expect(supersededDeletes(all, stampOf(versionAt(2)), STAMP_ZERO).deletes).toEqual([all[0]]);
  });

  test('some at a time, and each later one once', () => {
    const all = Array.from({ length: 250 }, (_, n) => kept(n, times(0n, BigInt(n))));
    let [left, looked] = [all, STAMP_ZERO];
    for (let round = 0; round < 3; round++) {
      const { deletes, lookedThrough } = supersededDeletes(left, LAST, looked);
      left = left.filter((each) => !deletes.includes(each));
      looked = lookedThrough;
    }
    expect([left, looked]).toEqual([[all[249]], LAST]);
  });

  test('whatever a row is, and whenever it was written: it is hidden as before', () => {
    const predicate = fc.record({
      measurement: fc.constantFrom(...MEASUREMENTS),
      condition: fc.constantFrom(...CONDITIONS),
      from: fc.integer({ min: 0, max: 4 }),
      span: fc.integer({ min: 0, max: 4 }),
    });
    fc.assert(
      fc.property(fc.array(predicate, { maxLength: 12 }), fc.integer({ min: 0, max: 13 }), (given, floor) => {
        const all = given.map(({ measurement, condition, from, span }, n) =>
          kept(n + 1, { measurement, condition, ...times(BigInt(from), BigInt(from + span)) }),
        );
        const { deletes } = supersededDeletes(all, stampOf(versionAt(floor)), STAMP_ZERO);
        const left = all.filter((each) => !deletes.includes(each));
        for (const name of ['m', 'mm', 'n'])
          for (const host of ['a', 'b'])
            for (let time = 0n; time < 9n; time++)
              for (let written = 0; written <= all.length; written++) {
                const row = { name, host, time, written };
                if (isHidden(row, all) !== isHidden(row, left)) return false;
              }
        return true;
      }),
      { numRuns: 100 },
    );
  });
});

/** Naively. */
function isHidden(
  { name, host, time, written }: { name: string; host: string; time: bigint; written: number },
  deletes: readonly KeptTombstone[],
): boolean {
  return deletes.some(({ version, predicate: { measurement, condition, times: range } }) => {
    if (version <= versionAt(written) || time < range!.minNs || time > range!.maxNs) return false;
    const isMeasured =
      measurement === null ||
      ('name' in measurement ? measurement.name === name : new RegExp(measurement.regex).test(name));
    const { op, value } = (condition ?? { op: '=', value: host }) as { op: string; value: string };
    return isMeasured && (value === host) === (op === '=');
  });
}

describe('in a delete shard', () => {
  let bench: Bench;
  afterEach(() => bench.remove());

  const deletes = (): Shard => (bench.engine.shards.get(shardId(DELETES)) ?? bench.engine.create(DELETES)) as Shard;
  const values = () => [...cellsOf(bench).values()].sort();
  const stored = () => [...deletes().tombstones.own()].map(({ version }) => version);
  let received = 0n;

  /** Of all before a time, as a cleaning job does it. */
  function deleteBefore(n: number, maxNs: bigint): void {
    const range = { minNs: TIME_MIN_NS, maxNs };
    const predicate = { measurement: null, condition: null, minTime: 0, maxTime: 0, times: range };
    const batch: Batch = { kind: 'delete', shard: DELETES, version: versionAt(n), predicate };
    const shard = deletes();
    const held = holdFrame(encodeBatch(batch));
    shard.apply(held, [], bench.engine.append([{ shard: shard.id, keys: [], frame: encodeBatch(batch) }]));
    (shard.companion as VersionSet).replayed(held);
    bench.sync();
    received = addSums(received, contentSum(batch));
  }

  const write = (n: number, time: number) =>
    bench.writeRows(versionAt(n), [{ key: 'm,host=a', time, fields: { f: n } }]);

  function floorOf(n: number): void {
    (deletes().companion as VersionSet).floor = stampOf(versionAt(n));
    deletes().flush();
  }

  test('they leave with the floor, stay away after a restart, and all is hidden and counted as before', () => {
    bench = new Bench();
    received = 0n;
    write(1, 1000);
    write(2, 5000);
    for (const n of [3, 4, 5]) deleteBefore(n, KEY.startNs + BigInt(n) * 300n);
    deletes().flush();
    expect([stored().length, values()]).toEqual([3, [2]]);
    floorOf(4);
    expect(stored()).toEqual([versionAt(4), versionAt(5)]);
    bench.crash();
    expect(stored()).toEqual([versionAt(4), versionAt(5)]);
    deleteBefore(6, TIME_MAX_NS);
    write(7, 1000);
    floorOf(6);
    expect([stored(), values()]).toEqual([[versionAt(6)], [7]]);
    expect(deletes().recomputeContentThrough(LAST)).toBe(received);
    bench.reopen();
    expect([stored(), values()]).toEqual([[versionAt(6)], [7]]);
    expect(deletes().recomputeContentThrough(LAST)).toBe(received);
    // On its way since before the delete that is gone.
    write(2, 2000);
    expect(values()).toEqual([7]);
  });

  test('whoever reads the file meanwhile begins anew', () => {
    bench = new Bench();
    received = 0n;
    deleteBefore(1, 10n);
    deleteBefore(2, 20n);
    deletes().flush();
    const { rewrites } = deletes().care;
    floorOf(2);
    expect(deletes().care.rewrites).toBe(rewrites + 1);
  });
});
