import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SeriesKeyRecord } from '../../shards/batch.ts';
import { UNKNOWN_ID } from '../../shards/kernel/series-kernel.ts';
import { storageBytes, storageKernel } from '../../shards/kernel/storage-kernel.ts';
import { LineParser } from '../../shards/line-protocol.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { SeriesCache } from '../../shards/series-cache.ts';
import { SeriesIds } from '../../shards/series-ids.ts';
import { formatSeriesKey, hashSeriesKey, parseSeriesKey } from '../../shards/series-key.ts';
import { encodeKeys, SeriesKeys } from '../../shards/series-keys.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { anyKey, followingSeries, hashOf, hostKey } from './keys.ts';

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

const recordsOf = (keys: readonly string[]): Uint8Array =>
  SeriesKeys.own(encodeKeys(keys.map((key) => ({ hash: hashOf(key), key })))).body;

function addMissing(
  ids: SeriesIds,
  hashes: readonly string[],
  records: Uint8Array,
): { found: number[]; missing: number } {
  const kernel = storageKernel();
  const from = kernel.alloc(hashes.length * 16);
  const into = kernel.alloc(hashes.length * 4);
  try {
    storageBytes().set(Buffer.from(hashes.join(''), 'hex'), from);
    ids.findMany(from, hashes.length, into);
    const missing = ids.addMissing(from, hashes.length, into, records);
    return { found: [...new Uint32Array(storageBytes().buffer, into, hashes.length)], missing };
  } finally {
    kernel.free(from);
    kernel.free(into);
  }
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

test('keys come back as they were given, whatever their bytes, and their tags as they are parsed', () => {
  fc.assert(
    fc.property(fc.uniqueArray(anyKey, { maxLength: 60 }), (keys) => {
      const ids = new SeriesIds();
      for (const key of keys) ids.add(hashOf(key), key);
      keys.forEach((key, id) => {
        expect(ids.keyOf(id)).toBe(key);
        const parsed = parseSeriesKey(key);
        expect(ids.tagsOf(id)).toEqual(parsed.tags);
        expect(ids.measurementNames()[ids.measurementOf(id)]).toBe(parsed.measurement);
      });
      ids.close();
    }),
    { numRuns: 200 },
  );
});

test.each([
  'm',
  '',
  ',',
  'm,',
  'm,a',
  'm,a=',
  'm,=b',
  'm,a=1,a=2',
  'm,b=1,a=2',
  'm,a=1,b=,c=3',
  'm,a=b=c',
  'm x,a b=c d',
  'm\\ x,a\\,b=c\\=d',
  'm\\\\,a=\\',
  'm,a=x\\',
  'm\\=,a\\==1',
  'ü,größe=ß',
  `m,a=${'x'.repeat(70_000)}`,
])('the odd key %j is kept', (key) => {
  const ids = new SeriesIds();
  ids.add(hashOf('first'), 'm,a=first');
  ids.add(hashOf(key), key);
  expect([ids.keyOf(1), ids.tagsOf(1)]).toEqual([key, parseSeriesKey(key).tags]);
  expect(ids.keyOf(0)).toBe('m,a=first');
  ids.close();
});

test('new series of a batch are added from records in any order; without all of their keys none is', () => {
  fc.assert(
    fc.property(fc.uniqueArray(anyKey, { minLength: 1, maxLength: 40 }), fc.nat(), fc.nat(), (keys, known, left) => {
      const ids = new SeriesIds();
      const before = keys.slice(0, known % keys.length);
      for (const key of before) ids.add(hashOf(key), key);
      const batch = [...keys, keys.at(-1)!].map(hashOf);
      const fresh = keys.slice(before.length);
      const some = fresh.filter((_, i) => i !== left % fresh.length);
      const partly = addMissing(ids, batch, recordsOf(some));
      const twice = left % fresh.length === fresh.length - 1 ? 2 : 1;
      expect([partly.missing, ids.count]).toEqual([twice, before.length]);
      const shuffled = left % 2 === 0 ? fresh : [...fresh].reverse();
      const { found, missing } = addMissing(ids, batch, recordsOf([...shuffled, 'not,asked=for']));
      expect(missing).toBe(0);
      expect(found.map((id) => ids.keyOf(id))).toEqual([...keys, keys.at(-1)!]);
      expect(ids.count).toBe(keys.length);
      ids.close();
    }),
    { numRuns: 200 },
  );
});

test('a series that is named twice has its key once, wherever it stands', () => {
  const [a, b] = ['m,a=1', 'm,a=2'];
  for (const [batch, given] of [
    [[a, a], [a]],
    [
      [a, b, a],
      [a, b],
    ],
    [
      [a, b, a],
      [b, a],
    ],
    [
      [b, a, a, b],
      [a, b],
    ],
  ] as const) {
    const ids = new SeriesIds();
    const { found, missing } = addMissing(ids, batch.map(hashOf), recordsOf(given));
    expect(missing).toBe(0);
    expect(found.map((id) => ids.keyOf(id))).toEqual(batch);
    ids.close();
  }
});

test('keys that follow one another come back with their own tags, whatever they share with those before', () => {
  fc.assert(
    fc.property(followingSeries, fc.array(anyKey, { maxLength: 8 }), fc.nat(60), (series, odd, at) => {
      const all = series.map(({ measurement, tags }) => formatSeriesKey(measurement, tags));
      const irregular = all[at % all.length]!.replace(/=[^,]*,/, '=,');
      all.splice(at % all.length, 0, ...odd, irregular, `${irregular}0`);
      const keys = [...new Set(all)];
      const ids = new SeriesIds();
      // Some are known by then, and are not added.
      ids.add(hashOf(keys[at % keys.length]!), keys[at % keys.length]!);
      const { found, missing } = addMissing(ids, keys.map(hashOf), recordsOf(keys));
      expect(missing).toBe(0);
      expect(found.map((id) => ids.keyOf(id))).toEqual(keys);
      expect(found.map((id) => ids.tagsOf(id))).toEqual(keys.map((key) => parseSeriesKey(key).tags));
      ids.close();
    }),
    { numRuns: 300 },
  );
});

test('records that end too early are refused', () => {
  const ids = new SeriesIds();
  const records = recordsOf(['m,a=1', 'm,a=2']);
  for (let length = 1; length < records.length; length++) {
    if (length === 24 + 'm,a=1'.length) continue;
    expect(() => addMissing(ids, [hashOf('m,a=1')], records.slice(0, length))).toThrow('not checked');
  }
  expect(ids.count).toBe(0);
});

test('a hundred thousand series: found in any order, unknown ones told apart, and all memory given back', () => {
  const make = (): SeriesIds => {
    const ids = new SeriesIds();
    for (let n = 0; n < 100_000; n++) ids.add(hashOf(hostKey(n)), hostKey(n));
    return ids;
  };
  const ids = make();
  const some = Array.from({ length: 5000 }, (_, i) => (i * 7919) % 120_000);
  const { found, unknown } = findMany(
    ids,
    some.map((n) => hashOf(hostKey(n))),
  );
  expect(found).toEqual(some.map((n) => (n < 100_000 ? n : -1)));
  expect(unknown).toBe(some.filter((n) => n >= 100_000).length);
  expect(ids.bytes / ids.count).toBeLessThan(85);
  ids.close();
  ids.close();
  expect([ids.count, ids.find(hashOf(hostKey(1)))]).toEqual([0, -1]);
  make().close();
  const before = storageKernel().memory.buffer.byteLength;
  for (let round = 0; round < 2; round++) make().close();
  expect(storageKernel().memory.buffer.byteLength).toBe(before);
});

test('series take the same memory whatever the order of tags in their lines', () => {
  const bytesOf = (tagsOf: (n: number) => string[]): number => {
    const cache = new SeriesCache((key) => hashSeriesKey('seed', key), 100_000, 1);
    const lines = Array.from({ length: 3000 }, (_, n) => `cpu,${tagsOf(n).join(',')} f=1 1`);
    const { groups } = new LineParser(cache, LINE_LIMITS).parse(Buffer.from(lines.join('\n')), 'n', 0n);
    const ids = new SeriesIds();
    for (const id of groups[0]!.rowSeries.subarray(0, 3000))
      ids.add(hashSeriesKey('seed', cache.key(id)), cache.key(id));
    expect(ids.count).toBe(3000);
    const { bytes } = ids;
    ids.close();
    return bytes;
  };
  const ordered = bytesOf((n) => [`a=${n % 7}`, `host=h${n}`, `region=r${n % 3}`]);
  expect(bytesOf((n) => [`region=r${n % 3}`, `host=h${n}`, `a=${n % 7}`])).toBe(ordered);
});

test('a million series of ten tags take less than 80 bytes each, and are found by a tag', () => {
  const total = 1_000_000;
  const table = new SeriesTable();
  const kernel = storageKernel();
  const size = 5000;
  const from = kernel.alloc(size * 16);
  const into = kernel.alloc(size * 4);
  let state = 1;
  for (let first = 0; first < total; first += size) {
    const keys: SeriesKeyRecord[] = [];
    const hashes = Buffer.alloc(size * 16);
    for (let i = 0; i < size; i++) {
      for (let word = 0; word < 16; word += 4) {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        hashes.writeUInt32BE((state ^ (state >>> 13)) >>> 0, i * 16 + word);
      }
      keys.push({ hash: hashes.toString('hex', i * 16, i * 16 + 16), key: hostKey(first + i) });
    }
    storageBytes().set(hashes, from);
    table.findMany(from, size, into);
    expect(table.ids.addMissing(from, size, into, SeriesKeys.own(encodeKeys(keys)).body)).toBe(0);
  }
  expect(table.count).toBe(total);
  expect(table.ids.bytes / total).toBeLessThan(80);
  expect(table.match('cpu', { op: '=', key: 'hostname', value: 'host_765432' })).toEqual(Uint32Array.of(765_432));
  expect(table.match('cpu', { op: '=', key: 'region', value: 'eu-west-1' })).toHaveLength(total / 5);
  const sorted = table.sorted('cpu');
  for (let i = 1; i < total; i += 997) expect(table.compare(sorted[i - 1]!, sorted[i]!)).toBeLessThan(0);
  table.close();
  kernel.free(from);
  kernel.free(into);
});
