import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UNKNOWN_ID } from '../../shards/kernel/series-kernel.ts';
import { storageBytes, storageKernel } from '../../shards/kernel/storage-kernel.ts';
import { SeriesIds } from '../../shards/series-ids.ts';

const hashOf = (n: number): string => createHash('sha256').update(`series ${n}`).digest('hex').slice(0, 32);

/** Ids of the hashes through the kernel's look-up of many; -1 where there is none. */
function findMany(ids: SeriesIds, hashes: readonly string[]): { found: number[]; unknown: number } {
  const kernel = storageKernel();
  const from = kernel.alloc(hashes.length * 16);
  const into = kernel.alloc(hashes.length * 4);
  storageBytes().set(Buffer.from(hashes.join(''), 'hex'), from);
  const unknown = ids.findMany(from, hashes.length, into);
  const bytes = storageBytes();
  const found = [...new Uint32Array(bytes.buffer, into, hashes.length)].map((id) => (id === UNKNOWN_ID ? -1 : id));
  kernel.free(from);
  kernel.free(into);
  return { found, unknown };
}

test('hashes get the ids of their arrival, and are found one by one and many at once, as in a map', () => {
  // Short alphabets make hashes that share slots and marks.
  const hash = fc
    .array(fc.constantFrom('0', '1', 'f'), { minLength: 6, maxLength: 6 })
    .map(
      (digits) => digits.slice(0, 3).join('').repeat(6).slice(0, 16) + digits.slice(3).join('').repeat(6).slice(0, 16),
    );
  fc.assert(
    fc.property(fc.array(hash, { maxLength: 600 }), fc.array(hash, { maxLength: 100 }), (added, asked) => {
      const ids = new SeriesIds();
      const model = new Map<string, number>();
      for (const each of added) {
        expect(ids.find(each)).toBe(model.get(each) ?? -1);
        if (model.has(each)) continue;
        expect(ids.add(each, `m,h=${each}`)).toBe(model.size);
        model.set(each, model.size);
      }
      expect(ids.count).toBe(model.size);
      for (const [each, id] of model) expect([ids.hashOf(id), ids.keyOf(id)]).toEqual([each, `m,h=${each}`]);
      const all = [...added, ...asked];
      const expected = all.map((each) => model.get(each) ?? -1);
      const { found, unknown } = findMany(ids, all);
      expect(found).toEqual(expected);
      expect(unknown).toBe(expected.filter((id) => id < 0).length);
      const order = [...model.keys()];
      for (let i = 1; i < order.length; i++) {
        expect(Math.sign(ids.compare(i - 1, i))).toBe(order[i - 1]! < order[i]! ? -1 : 1);
      }
      ids.close();
    }),
    { numRuns: 60 },
  );
});

test('a hundred thousand hashes: found in any order, unknown ones told apart', () => {
  const ids = new SeriesIds();
  const hashes = Array.from({ length: 100_000 }, (_, n) => hashOf(n));
  for (const hash of hashes) ids.add(hash, 'm');
  expect(findMany(ids, hashes).found).toEqual(hashes.map((_, n) => n));
  const some = Array.from({ length: 5000 }, (_, i) => (i * 7919) % 120_000);
  const { found, unknown } = findMany(ids, some.map(hashOf));
  expect(found).toEqual(some.map((n) => (n < 100_000 ? n : -1)));
  expect(unknown).toBe(some.filter((n) => n >= 100_000).length);
  ids.close();
});

test('a closed table holds nothing and gives its memory back', () => {
  const make = (): SeriesIds => {
    const ids = new SeriesIds();
    for (let n = 0; n < 20_000; n++) ids.add(hashOf(n), 'm');
    return ids;
  };
  make().close();
  const before = storageKernel().memory.buffer.byteLength;
  for (let round = 0; round < 20; round++) {
    const ids = make();
    ids.close();
    ids.close();
    expect([ids.count, ids.find(hashOf(1))]).toEqual([0, -1]);
  }
  expect(storageKernel().memory.buffer.byteLength).toBe(before);
});
