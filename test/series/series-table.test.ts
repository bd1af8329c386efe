import { readFileSync } from 'node:fs';
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { storageBytes, storageKernel } from '../../shards/kernel/storage-kernel.ts';
import { addSeriesChunk, encodeSeriesChunk } from '../../shards/series-chunk.ts';
import { SeriesIds } from '../../shards/series-ids.ts';
import { formatSeriesKey, parseSeriesKey } from '../../shards/series-key.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import { matchTags } from '../../shards/tag-matcher.ts';
import { anyKey, hashOf, hostKey } from './keys.ts';

const KEYS = ['a', 'b', 'c', '_name'];
const VALUES = ['', 'x', 'y', 'xy', 'z z'];

const series = fc
  .record({
    measurement: fc.constantFrom('m', 'n', 'o p'),
    a: fc.constantFrom(...VALUES),
    b: fc.constantFrom(...VALUES),
    c: fc.integer({ min: 0, max: 700 }).map(String),
  })
  .map(({ measurement, ...tags }) =>
    formatSeriesKey(
      measurement,
      Object.entries(tags).map(([key, value]) => ({ key, value })),
    ),
  );
const condition: fc.Arbitrary<TagCondition> = fc.letrec<{ condition: TagCondition }>((tie) => ({
  condition: fc.oneof(
    { depthSize: 'small' },
    fc.record({
      op: fc.constantFrom('=' as const, '!=' as const),
      key: fc.constantFrom(...KEYS, 'absent'),
      value: fc.oneof(fc.constantFrom(...VALUES, 'm'), fc.integer({ min: 0, max: 800 }).map(String)),
    }),
    fc.record({
      op: fc.constantFrom('=~' as const, '!~' as const),
      key: fc.constantFrom(...KEYS, 'absent'),
      regex: fc.constantFrom('x', '^x$', '^(x|y|nothing)$', '^$', '1.*2', '.', '^[mn]', ''),
    }),
    fc.record({ op: fc.constantFrom('true' as const, 'false' as const) }),
    fc
      .tuple(
        fc.constantFrom(...KEYS, 'absent'),
        fc.array(fc.oneof(fc.constantFrom(...VALUES, '', 'm'), fc.integer({ min: 0, max: 800 }).map(String)), {
          minLength: 2,
          maxLength: 5,
        }),
      )
      .map(([key, values]): TagCondition => ({ op: 'or', terms: values.map((value) => ({ op: '=', key, value })) })),
    fc.record({
      op: fc.constantFrom('and' as const, 'or' as const),
      terms: fc.array(tie('condition'), { maxLength: 3 }),
    }),
  ),
})).condition;

function naive(keys: readonly string[], measurement: string, where: TagCondition | null): string[] {
  return keys
    .filter((key) => {
      const parsed = parseSeriesKey(key);
      return parsed.measurement === measurement && (where === null || matchTags(where, measurement, parsed.tags));
    })
    .sort((a, b) => (hashOf(a) < hashOf(b) ? -1 : 1));
}

describe('against plain lists', () => {
  test('any condition finds the same series in the order of hash, while series go on being added', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uniqueArray(series, { maxLength: 300 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.tuple(fc.constantFrom('m', 'n', 'o p', 'none'), condition), { minLength: 4, maxLength: 12 }),
        (waves, asked) => {
          const table = new SeriesTable();
          const keys: string[] = [];
          for (const wave of waves) {
            for (const key of wave) {
              if (table.find(hashOf(key)) >= 0) continue;
              table.add(hashOf(key), key);
              keys.push(key);
            }
            for (const [measurement, where] of asked) {
              const found = [...table.match(measurement, where)].map((id) => table.ids.keyOf(id));
              expect(found).toEqual(naive(keys, measurement, where));
            }
          }
          table.close();
        },
      ),
      { numRuns: 120 },
    );
  });

  test('order, ranks, tag keys and values', () => {
    fc.assert(
      fc.property(fc.array(fc.uniqueArray(series, { maxLength: 400 }), { maxLength: 5 }), (waves) => {
        const table = new SeriesTable();
        const keys: string[] = [];
        for (const wave of waves) {
          for (const key of wave) {
            if (table.find(hashOf(key)) >= 0) continue;
            table.add(hashOf(key), key);
            keys.push(key);
          }
          for (const measurement of ['m', 'n', 'o p', 'none']) {
            const expected = naive(keys, measurement, null);
            const sorted = table.sorted(measurement).slice();
            expect([...sorted].map((id) => table.ids.keyOf(id))).toEqual(expected);
            expect([...sorted].map(table.rankOf)).toEqual([...sorted.keys()]);
            const tags = expected.map((key) => new Map(parseSeriesKey(key).tags.map((tag) => [tag.key, tag.value])));
            expect(table.tagKeys(measurement, null)).toEqual(
              [...new Set(tags.flatMap((all) => [...all.keys()]))].sort(),
            );
            const some = sorted.slice(0, 3);
            const someTags = tags.slice(0, 3);
            expect(table.tagKeys(measurement, some)).toEqual(
              [...new Set(someTags.flatMap((all) => [...all.keys()]))].sort(),
            );
            for (const key of ['a', 'b', 'c', 'absent']) {
              const values = (of: typeof tags) => [...new Set(of.flatMap((all) => all.get(key) ?? []))].sort();
              expect(table.tagValues(measurement, key, null).sort()).toEqual(values(tags));
              expect(table.tagValues(measurement, key, some).sort()).toEqual(values(someTags));
              const column = table.tagColumn(measurement, key, sorted);
              expect([...column.codes].map((code) => column.valueOf(code))).toEqual(
                tags.map((all) => all.get(key) ?? ''),
              );
            }
          }
          expect(table.measurements()).toEqual([...new Set(keys.map((key) => parseSeriesKey(key).measurement))].sort());
        }
        table.close();
      }),
      { numRuns: 40 },
    );
  });
});

test('a table that is let go while it is being read gives back what was read of it', () => {
  const begun: SeriesIds[] = [];
  const load = (ids: SeriesIds) => {
    begun.push(ids);
    let left = 2;
    return () => {
      ids.add(hashOf(hostKey(left)), hostKey(left));
      return --left > 0;
    };
  };
  const table = new SeriesTable(load, false);
  expect(table.readStep()).toBe(true);
  const close = vi.spyOn(begun[0]!, 'close');
  table.unload();
  expect(close).toHaveBeenCalledOnce();
  expect([table.count, begun.length]).toEqual([2, 2]);
  table.close();
});

test('a regular expression of a bad form is refused', () => {
  const table = new SeriesTable();
  table.add(hashOf('m,a=1'), 'm,a=1');
  expect(() => table.match('m', { op: '=~', key: 'a', regex: '(' })).toThrow('error parsing regexp');
  table.close();
});

test('a few new series among many known ones are merged, many are sorted again', () => {
  const table = new SeriesTable();
  const keys: string[] = [];
  const add = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const key = hostKey(keys.length);
      keys.push(key);
      table.add(hashOf(key), key);
    }
  };
  for (const count of [5000, 1, 3, 300, 20_000, 1000, 1]) {
    add(count);
    const sorted = [...table.sorted('cpu')].map((id) => table.ids.hashOf(id));
    expect(sorted).toEqual(keys.map(hashOf).sort());
    expect([...table.sorted('cpu')].every((id, place) => table.rankOf(id) === place)).toBe(true);
  }
  table.close();
});

// The odd factors turn different numbers into different words; all words of a hash look random.
const madeHash = (n: number) =>
  [0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f]
    .map((factor) => (Math.imul(n + 1, factor) >>> 0).toString(16).padStart(8, '0'))
    .join('');

test('a job puts many new series in order in steps, whatever is added and asked in between', () => {
  const add = (table: SeriesTable, from: number, count: number): void => {
    for (let n = from; n < from + count; n++) table.add(madeHash(n), hostKey(n));
  };
  const expectOrder = (table: SeriesTable, count: number): void => {
    const wanted = Array.from({ length: count }, (_, n) => madeHash(n)).sort();
    const sorted = table.sorted('cpu').slice();
    expect([...sorted].map((id) => table.ids.hashOf(id))).toEqual(wanted);
    expect(sorted.every((id, place) => table.rankOf(id) === place)).toBe(true);
  };
  for (const asks of [false, true]) {
    const table = new SeriesTable();
    add(table, 0, 140_000);
    let count = 140_000;
    let steps = 0;
    for (const _ of table.sortSteps('cpu')) {
      if (++steps > 10) continue;
      add(table, count, 7);
      count += 7;
      if (asks && steps === 5) expectOrder(table, count);
    }
    expect(steps).toBeGreaterThan(asks ? 4 : 20);
    expectOrder(table, count);
    expect([...table.sortSteps('cpu')].length).toBe(0);
    table.close();
  }
});

test.each([
  ['half of them are new', 600_000, 1],
  ['their array has to move', 1000, 0],
])('ranks of series that are known hold while many new ones are sorted in steps: %s', (_, known, more) => {
  const table = new SeriesTable();
  let count = 0;
  const addMore = (members: number): void => {
    for (const end = count + members; count < end; count++) table.add(madeHash(count), `cpu,host=${count}`);
  };
  addMore(known);
  table.sorted('cpu');
  addMore(more); // with these there is room for more ranks than are in use
  const order = table.sorted('cpu').slice();
  const kernel = storageKernel();
  const expectRising = (): void => {
    // What others put where the array was.
    const held = Array.from({ length: 300 }, () => kernel.alloc(4000));
    for (const at of held) {
      storageBytes().fill(0xff, at, at + 4000);
      kernel.free(at);
    }
    let wrong = 0;
    for (let place = 1; place < order.length; place++)
      if (table.rankOf(order[place]!) <= table.rankOf(order[place - 1]!)) wrong++;
    expect(wrong).toBe(0);
  };
  addMore(140_000);
  let steps = 0;
  for (const _ of table.sortSteps('cpu')) {
    steps++;
    expectRising();
  }
  expect(steps).toBeGreaterThan(20);
  expectRising();
  expect([...table.sortSteps('cpu')].length).toBe(0);
  table.close();
});

describe('chunks', () => {
  const filled = (count: number): SeriesIds => {
    const ids = new SeriesIds();
    for (let n = 0; n < count; n++) ids.add(hashOf(hostKey(n)), hostKey(n));
    return ids;
  };

  test('series come back from their chunks', () => {
    const ids = filled(1000);
    const other = new SeriesIds();
    for (const [first, count] of [
      [0, 512],
      [512, 488],
    ] as const) {
      addSeriesChunk(other, encodeSeriesChunk(ids, first, count), count);
    }
    expect(other.count).toBe(1000);
    for (let id = 0; id < 1000; id++) {
      expect([other.hashOf(id), other.keyOf(id)]).toEqual([ids.hashOf(id), ids.keyOf(id)]);
    }
  });

  test('any keys come back, also in the second chunk of their measurements', () => {
    fc.assert(
      fc.property(fc.uniqueArray(anyKey, { minLength: 2, maxLength: 80 }), fc.nat(), (keys, cut) => {
        const ids = new SeriesIds();
        const other = new SeriesIds();
        for (const key of keys) ids.add(hashOf(key), key);
        const first = 1 + (cut % (keys.length - 1));
        addSeriesChunk(other, encodeSeriesChunk(ids, 0, first), first);
        addSeriesChunk(other, encodeSeriesChunk(ids, first, keys.length - first), keys.length - first);
        keys.forEach((key, id) => {
          expect([other.hashOf(id), other.keyOf(id), other.tagsOf(id)]).toEqual([hashOf(key), key, ids.tagsOf(id)]);
        });
        ids.close();
        other.close();
      }),
      { numRuns: 300 },
    );
  });

  test('whatever a body says, it is read or refused, and nothing else', () => {
    const ids = new SeriesIds();
    for (const key of ['m,a=1', 'm,a=1,b=2', 'n', 'm,a=2,b=2', 'n,c=x y', 'odd,a=1,a=2', 'm,a=3'])
      ids.add(hashOf(key), key);
    const chunk = encodeSeriesChunk(ids, 0, 7);
    const body = inflateRawSync(chunk.subarray(1 + 7 * 16, -4));
    const change = fc.record({ at: fc.nat(body.length - 1), byte: fc.integer({ min: 0, max: 255 }) });
    let read = 0;
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), fc.option(fc.nat(body.length + 3)), (changes, length) => {
        const changed = Buffer.alloc(length ?? body.length);
        body.copy(changed);
        for (const { at, byte } of changes) if (at < changed.length) changed[at] = byte;
        const whole = Buffer.concat([chunk.subarray(0, 1 + 7 * 16), deflateRawSync(changed), Buffer.alloc(4)]);
        whole.writeUInt32LE(crc32(whole.subarray(0, -4)), whole.length - 4);
        const other = new SeriesIds();
        try {
          addSeriesChunk(other, whole, 7);
          read++;
          for (let id = 0; id < 7; id++)
            expect(other.keyOf(id).length + other.tagsOf(id).length).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect(error).toMatchObject({ code: 'damaged-file', message: 'a chunk does not hold 7 series' });
        } finally {
          other.close();
        }
      }),
      { numRuns: 700 },
    );
    expect(read).toBeGreaterThan(5);
  });

  test('a chunk as it was first written can be read for ever', () => {
    const golden = Buffer.from(readFileSync(new URL('../golden/series/v2.hex', import.meta.url), 'utf8').trim(), 'hex');
    const keys = [
      'cpu,host=a,region=eu',
      'cpu,host=b,region=eu',
      'mem,host=a',
      'cpu',
      'disk,path=/\\ x',
      'odd,b=1,a=2',
    ];
    const ids = new SeriesIds();
    addSeriesChunk(ids, golden, keys.length);
    expect(keys.map((_, id) => ids.keyOf(id))).toEqual(keys);
    expect(keys.map((_, id) => ids.hashOf(id))).toEqual(keys.map(hashOf));
    const later = Buffer.from(golden);
    later[0] = 3;
    later.writeUInt32LE(crc32(later.subarray(0, -4)), later.length - 4);
    expect(() => addSeriesChunk(new SeriesIds(), later, keys.length)).toThrow('has format 3');
  });

  test('a chunk with any byte changed, cut, or with another count is damaged', () => {
    const ids = filled(20);
    const chunk = encodeSeriesChunk(ids, 0, 20);
    for (let at = 0; at < chunk.length; at += 3) {
      const changed = Buffer.from(chunk);
      changed[at]! ^= 1 << (at % 8);
      expect(() => addSeriesChunk(new SeriesIds(), changed, 20)).toThrow('fails its checksum');
      expect(() => addSeriesChunk(new SeriesIds(), chunk.subarray(0, at), 20)).toThrow();
    }
    for (const count of [0, 1, 19, 21, 1000]) expect(() => addSeriesChunk(new SeriesIds(), chunk, count)).toThrow();
    expect(() => addSeriesChunk(ids, chunk, 20)).toThrow('does not hold 20 series');
  });
});
