/** Memory of series tables: counted, refused before it is logged, and made by letting others go. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import { SeriesIds } from '../../shards/series-ids.ts';
import { encodeKeys, SeriesKeys } from '../../shards/series-keys.ts';
import { growthAtMost, SeriesMemory } from '../../shards/series-memory.ts';
import type { Shard } from '../../shards/shard.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';
import { hashOf } from '../series/keys.ts';
import { Bench, HOUR_NS, KEY, keysOf, type PlainRow, SHARD, versionAt, writeBatch } from './helpers.ts';

const seriesKeysOf = (keys: readonly string[]) =>
  SeriesKeys.own(encodeKeys(keys.map((key) => ({ hash: hashOf(key), key }))));
const bodyOf = (keys: readonly string[]) => seriesKeysOf(keys).body;

/** Tag keys of 16 bytes that share a hash in measurement `m` as `hashText` had it with the seed 0x2545f4914f6cdd1d. */
function colliding(count: number): string[] {
  const [bits, spread, seed] = [(1n << 64n) - 1n, 0xd6e8feb86659fd93n, 0x2545f4914f6cdd1dn];
  const mix = (value: bigint) => {
    const product = (value * spread) & bits;
    return product ^ (product >> 32n);
  };
  const lengths = 0x9e3779b97f4a7c15n;
  const name = mix(mix(seed ^ lengths ^ 0x6d6d6dn));
  const start = name ^ seed ^ ((16n * lengths) & bits);
  const found: string[] = [];
  const second = Buffer.alloc(8);
  for (let i = 0; found.length < count; i++) {
    const first = Buffer.from(i.toString(36).padEnd(8, '_'), 'latin1');
    second.writeBigUInt64LE(0x1234567812345678n ^ mix(start ^ first.readBigUInt64LE()));
    if (second.every((byte) => byte > 0x20 && byte < 0x7f && !',=\\'.includes(String.fromCharCode(byte))))
      found.push(first.toString() + second.toString());
  }
  return found.sort();
}

describe('what a table may grow by', () => {
  const name = fc.constantFrom('m', 'cpu', 'disk\\,x', 'n', 'o');
  const tag = fc.tuple(fc.nat(3000), fc.oneof(fc.nat(5), fc.nat(100_000)), fc.constantFrom('', 'x'.repeat(300)));
  const key = fc
    .tuple(name, fc.uniqueArray(tag, { maxLength: 12, selector: ([number]) => number }))
    .map(([measurement, tags]) =>
      [measurement, ...tags.map(([k, v, pad]) => [`t${k}=`, v, pad].join('')).sort()].join(','),
    );

  test('is not less than what keys of any kind take, but for the room that arrays keep', () => {
    fc.assert(
      fc.property(fc.array(fc.uniqueArray(key, { maxLength: 60 }), { maxLength: 6 }), (batches) => {
        const ids = new SeriesIds();
        for (const keys of batches) {
          const before = ids.bytes;
          const given = seriesKeysOf(keys);
          const { body } = given;
          const growth = ids.growthBy(body);
          const ofNew = ids.growthBy(body, true);
          expect(ofNew).toBeLessThanOrEqual(growthAtMost(given, ids.count));
          // Whatever they share with the one before.
          expect(ids.growthBy(bodyOf([...keys].sort()), true)).toBe(ofNew);
          for (const each of keys) if (ids.find(hashOf(each)) < 0) ids.add(hashOf(each), each);
          expect(ids.bytes).toBeLessThanOrEqual(before * 1.5 + Math.min(growth, ofNew));
          expect(ids.growthBy(bodyOf(keys))).toBe(0);
        }
        ids.close();
      }),
      { numRuns: 60 },
    );
  });

  test('is not made small by tag keys whose texts share a hash where its key is known', () => {
    const ids = new SeriesIds();
    const key = `m,${colliding(200)
      .map((tag) => `${tag}=1`)
      .join()}`;
    const growth = ids.growthBy(bodyOf([key]), true);
    ids.add(hashOf(key), key);
    expect(ids.bytes).toBeLessThanOrEqual(growth);
    ids.close();
  });

  test('is little for many series of the same tags, and much for tags that are new in each', () => {
    const ids = new SeriesIds();
    const same = Array.from({ length: 5000 }, (_, i) => `m,dc=${i % 7},host=${i},os=linux`);
    expect(ids.growthBy(bodyOf(same))).toBeLessThan(same.length * 400);
    const other = Array.from(
      { length: 500 },
      (_, i) => `m,${Array.from({ length: 20 }, (_, k) => `${i}-${k}=1`).join()}`,
    );
    const growth = ids.growthBy(bodyOf(other));
    const shortest = seriesKeysOf([
      `m,${Array.from({ length: 5000 }, (_, i) => `${String.fromCodePoint(256 + i)}=1`).join()}`,
    ]);
    expect(ids.growthBy(shortest.body)).toBeLessThanOrEqual(growthAtMost(shortest, ids.count));
    const before = ids.bytes;
    for (const key of other) ids.add(hashOf(key), key);
    expect(ids.bytes - before).toBeGreaterThan(other.length * 20 * 500);
    expect(growth).toBeGreaterThan(ids.bytes - before);
    ids.close();
  });
});

describe('a worker whose series take what they may', () => {
  const BYTES_MAX = 400_000;
  let bench: Bench;
  afterEach(() => bench.remove());

  const rowsOf = (from: number, count: number, time = 1): PlainRow[] =>
    Array.from({ length: count }, (_, i) => ({
      key: `m,host=${from + i}${'x'.repeat(1000)}`,
      time,
      fields: { f: from + i },
    }));
  let minted = 0;

  /** As the commit queue does it: the code with which it was refused, or null. */
  function write(rows: readonly PlainRow[], key: ShardKey = KEY): string | null {
    const id = shardId(key);
    const shard = bench.engine.create(key) as Shard;
    const batch = writeBatch(versionAt(++minted), rows, key);
    const held = holdFrame(encodeBatch(batch));
    const refused = bench.engine.admit(id, keysOf(rows));
    if (refused !== null) return refused.code;
    const position = bench.engine.append([{ shard: id, keys: keysOf(rows), frame: encodeBatch(batch) }]);
    expect(bench.sync()).toBe(null);
    shard.apply(held, keysOf(rows), position);
    (shard.companion as unknown as { replayed(frame: typeof held): void }).replayed(held);
    return null;
  }

  const rowsIn = (key: ShardKey) => {
    const shard = bench.engine.shards.get(shardId(key))!;
    let rows = 0;
    const series = shard.series('m', null);
    shard.scan({ measurement: 'm', series, fields: ['f'], minTime: 0, maxTime: HOUR_NS }, (slice) => {
      rows += slice.times.length;
      return true;
    });
    return rows;
  };
  const bytes = () => [...bench.engine.shards.values()].reduce((sum, { table }) => sum + table.bytes, 0);

  test('takes no batch with new series, takes all others, and a start from its log comes up with the same', () => {
    bench = new Bench({ seriesBytesMax: BYTES_MAX });
    let taken = 0;
    while (write(rowsOf(taken, 10)) === null) {
      taken += 10;
      expect(taken).toBeLessThan(1000);
    }
    expect(taken).toBeGreaterThan(100);
    expect(bytes()).toBeLessThan(BYTES_MAX * 1.25);
    expect(write(rowsOf(5000, 5))).toBe('series-full');
    expect(write(rowsOf(0, taken, 2))).toBe(null);
    bench.crash();
    expect(rowsIn(KEY)).toBe(taken * 2);
    expect(write(rowsOf(0, taken, 3))).toBe(null);
    // Arrays that were made at once have kept less room.
    let more = 0;
    while (write(rowsOf(6000 + more, 10)) === null) more += 10;
    expect(more).toBeLessThan(taken / 2);
    expect(bytes()).toBeLessThan(BYTES_MAX * 1.25);
  });

  test('counts what one group of batches brings before any of it is applied', () => {
    bench = new Bench({ seriesBytesMax: BYTES_MAX });
    bench.shard();
    let admitted = 0;
    while (admitted < 400 && bench.engine.admit(SHARD, keysOf(rowsOf(admitted, 10))) === null) admitted += 10;
    expect(admitted).toBeGreaterThan(50);
    expect(admitted).toBeLessThan(400);
  });

  const SHARDS = 6;
  const keyAt = (number: number): ShardKey => ({ ...KEY, number });

  test('reads series by letting others go, those that were not asked for longest first, and flushes what they had alone', () => {
    bench = new Bench({ seriesBytesMax: BYTES_MAX });
    for (let number = 0; number < SHARDS; number++) {
      for (let i = 0; i < 120; i += 10) {
        for (let tries = 0; write(rowsOf(number * 1000 + i, 10), keyAt(number)) !== null; tries++) {
          expect(tries).toBeLessThan(5);
          bench.nowMs += 10_000;
          while (bench.step());
        }
      }
      expect(bytes()).toBeLessThan(BYTES_MAX * 1.25);
    }
    const loaded = () =>
      Array.from({ length: SHARDS }, (_, i) => i).filter(
        (number) => bench.engine.shards.get(shardId(keyAt(number)))!.table.isLoaded,
      );
    expect(loaded()).toContain(SHARDS - 1);
    expect(loaded()).not.toContain(0);
    const held = bench.engine.shards.get(shardId(keyAt(1)))!;
    expect(rowsIn(held.key)).toBe(120);
    held.readings.open++;
    for (let number = 2; number < 5; number++) expect(rowsIn(keyAt(number))).toBe(120);
    expect(held.table.isLoaded).toBe(true);
    held.readings.open--;
    for (let round = 0; round < 2; round++) {
      for (let number = 0; number < SHARDS; number++) {
        expect(rowsIn(keyAt(number))).toBe(120);
        expect(write(rowsOf(number * 1000, 120, 1), keyAt(number))).toBe(null);
        expect(bytes()).toBeLessThan(BYTES_MAX * 1.5);
      }
    }
    bench.crash();
    for (let number = 0; number < SHARDS; number++) expect(rowsIn(keyAt(number))).toBe(120);
  });
});

test('to read the series of many shards one after the other, each table is counted once', () => {
  let asked = 0;
  const shards = new Map<string, Shard>();
  const memory = new SeriesMemory(shards, 1 << 20);
  const COUNT = 500;
  for (let n = 0; n < COUNT; n++) {
    const table = {
      usedMs: n,
      get bytes(): number {
        asked++;
        return 100;
      },
    };
    shards.set(`s${n}`, { id: `s${n}`, table } as unknown as Shard);
    memory.makeRoom(`s${n}`);
  }
  expect(asked).toBe(COUNT - 1);
});
