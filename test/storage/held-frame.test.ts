/** What the kernel takes and refuses, against `decodeBatch` and the definition of content sums. */
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { WriteBatch } from '../../shards/batch.ts';
import { BatchError, decodeBatch, encodeBatch } from '../../shards/batch-codec.ts';
import { addSeries, unknownSeries } from '../../shards/frame-series.ts';
import { type HeldFrame, holdFrame } from '../../shards/held-frame.ts';
import { COLUMN, GROUP, INDEX } from '../../shards/kernel/memtable-kernel.ts';
import { storageWords } from '../../shards/kernel/storage-kernel.ts';
import { hashSeriesKey, parseSeriesKey } from '../../shards/series-key.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { type Shape, shapeOf } from '../../shards/shapes.ts';
import { anyKey } from '../series/keys.ts';
import { contentSum } from '../support/content-sum.ts';
import { deleteBatch, KEY, versionAt } from './helpers.ts';
import { type Random, randomBatch, randomOf } from './random-batches.ts';

const OPTIONS = { rowsMax: 40, series: 9, measurements: 3, fields: 3 };

function fixCrc(frame: Buffer): void {
  frame.writeUInt32LE(crc32(frame.subarray(16), crc32(frame.subarray(0, 12))), 12);
}

/** The frame as both read it; null: both refuse, with the same code. */
function both(frame: Uint8Array): HeldFrame | null {
  let code = '';
  let sum = 0n;
  try {
    sum = contentSum(decodeBatch(frame));
  } catch (error) {
    if (!(error instanceof BatchError)) throw error;
    code = error.code;
  }
  if (code !== '') {
    expect(() => holdFrame(frame)).toThrow(expect.objectContaining({ code }));
    return null;
  }
  const held = holdFrame(frame);
  expect(held.content).toBe(sum);
  return held;
}

function shapesOf({ index }: HeldFrame): Shape[] {
  const words = storageWords();
  const head = index >>> 2;
  let group = index + INDEX.bytes;
  return Array.from({ length: words[head + INDEX.groups]! }, () => {
    const { shape } = shapeOf(words[head + INDEX.frame]!, group);
    group += (GROUP.words + words[(group >>> 2) + GROUP.columns]! * COLUMN.words) * 4;
    return shape;
  });
}

/** One random edit of the body, mostly where numbers are small: widths, counts, types, encodings. */
function damage(frame: Buffer, body: number, random: Random): void {
  for (let edits = random(3) + 1; edits > 0; edits--) {
    const at = body + random(frame.length - body);
    const kind = random(4);
    if (kind === 0) frame[at] = random(256);
    else if (kind === 1) frame[at] = [0, 1, 2, 3, 4, 5, 6, 8, 255][random(9)]!;
    else if (kind === 2) frame[at]! ^= 1 << random(8);
    else frame[at] = frame[at]! + 1 - 2 * random(2);
  }
}

describe('a frame in the kernel', () => {
  test('every batch is taken, with its rows, series and content sum', () => {
    for (let seed = 0; seed < 400; seed++) {
      const batch = randomBatch(versionAt(seed), randomOf(seed), OPTIONS);
      const held = both(encodeBatch(batch))!;
      expect(held.rows).toBe(batch.groups.reduce((sum, group) => sum + group.times.length, 0));
      expect(Array.from({ length: held.seriesCount }, (_, i) => held.hashOf(i))).toEqual(batch.series);
      expect(shapesOf(held)).toEqual(
        batch.groups.map(({ measurement, columns }) => ({
          measurement,
          columns: columns.map(({ field, type }) => ({ field, type })),
        })),
      );
      held.release();
    }
  });

  test('large groups, in widths of one, two and four bytes', () => {
    for (const [series, rowsMax] of [
      [200, 700],
      [300, 2000],
      [70_000, 3000],
    ] as const) {
      const random = randomOf(series);
      both(encodeBatch(randomBatch(versionAt(1), random, { rowsMax, series, measurements: 1, fields: 3 })))?.release();
    }
  });

  test('a damaged frame whose CRC was made to fit is taken or refused as decodeBatch does', () => {
    let taken = 0;
    for (let seed = 0; seed < 6000; seed++) {
      const random = randomOf(seed);
      const batch = randomBatch(versionAt(seed), random, { ...OPTIONS, rowsMax: random(2) === 0 ? 3 : 20 });
      const whole = Buffer.from(encodeBatch(batch));
      damage(whole, 36 + whole.readUInt32LE(32), random);
      let frame = whole;
      if (random(8) === 0) {
        frame = Buffer.from(whole.subarray(0, 40 + random(whole.length - 40)));
        frame.writeUInt32LE(frame.length, 8);
      }
      fixCrc(frame);
      const held = both(frame);
      if (held !== null) taken++;
      held?.release();
    }
    expect(taken).toBeGreaterThan(500);
  });

  test('text that is not UTF-8 counts as what it is decoded to', () => {
    for (const bytes of ['ff', 'c0af', 'eda080', 'f4908080', 'e28200', '80', 'c3']) {
      const text = 'x'.repeat(bytes.length / 2);
      const batch: WriteBatch = {
        kind: 'write',
        shard: KEY,
        version: versionAt(1),
        series: ['0'.repeat(32)],
        groups: [
          {
            measurement: 'm',
            rowSeries: Uint32Array.of(0),
            times: Float64Array.of(1),
            columns: [{ field: 'f', type: 3, present: null, values: [text] }],
          },
        ],
      };
      const frame = Buffer.from(encodeBatch(batch));
      Buffer.from(bytes, 'hex').copy(frame, frame.length - text.length);
      fixCrc(frame);
      both(frame)!.release();
    }
  });

  test('a group of many columns: a field twice is found', () => {
    for (const count of [3, 24, 25, 300]) {
      const columns = Array.from({ length: count }, (_, n) => ({
        field: `f${n}`,
        type: 0 as const,
        present: null,
        values: Float64Array.of(n),
      }));
      const group = { measurement: 'm', rowSeries: Uint32Array.of(0), times: Float64Array.of(1), columns };
      const batch = { kind: 'write', shard: KEY, version: versionAt(1), series: ['0'.repeat(32)] } as const;
      both(encodeBatch({ ...batch, groups: [group] }))!.release();
      const twice = [...columns.slice(0, -1), columns[count - 2]!];
      expect(both(encodeBatch({ ...batch, groups: [{ ...group, columns: twice }] }))).toBeNull();
    }
  });

  test('a delete has its predicate and sum', () => {
    const batch = deleteBatch(versionAt(3), { measurement: { name: 'm' } });
    expect(both(encodeBatch(batch))).toMatchObject({ kind: 'delete', deletion: batch, rows: 0 });
  });
});

describe('rows of one measurement with a series of another one', () => {
  const table = (...keys: string[]): SeriesTable => {
    const made = new SeriesTable();
    for (const key of keys) made.add(hashSeriesKey('seed', key), key);
    return made;
  };
  const frameOf = (measurements: readonly string[], keys: readonly string[]): HeldFrame => {
    const groups = measurements.map((measurement, i) => ({
      measurement,
      rowSeries: Uint32Array.of(i % keys.length),
      times: Float64Array.of(1),
      columns: [],
    }));
    const series = keys.map((key) => hashSeriesKey('seed', key));
    return holdFrame(encodeBatch({ kind: 'write', shard: KEY, version: versionAt(1), series, groups }));
  };
  const key = (text: string) => ({ hash: hashSeriesKey('seed', text), key: text });

  test.each([
    ['a series that is known', table('a,x=1', 'b,x=1'), frameOf(['a'], ['b,x=1']), []],
    ['a series whose key comes with it', table('a,x=1'), frameOf(['a'], ['b,x=1']), [key('b,x=1')]],
    ['a new measurement', table('a,x=1'), frameOf(['new'], ['a,x=1']), []],
    ['a series of two groups', table(), frameOf(['a', 'b'], ['a,x=1']), [key('a,x=1')]],
  ] as const)('is corrupt: %s', (_, series, frame, keys) => {
    expect(() => unknownSeries(series, frame, [keys])).toThrow(expect.objectContaining({ code: 'corrupt-batch' }));
  });

  test('is told from frames that are right', () => {
    const series = table('a,x=1', 'b,x=1');
    expect(unknownSeries(series, frameOf(['a', 'b', 'a'], ['a,x=1', 'b,x=1', 'a,x=1']), [])).toEqual([]);
    expect(unknownSeries(series, frameOf(['c'], ['c']), [[key('c')]])).toEqual([]);
    expect(unknownSeries(series, frameOf(['c'], ['c']), [[], [key('x')], [key('c')]])).toEqual([]);
    expect(unknownSeries(series, frameOf(['c'], ['c']), [])).toEqual([key('c').hash]);
  });
});

describe('frames that this process has made', () => {
  const ofSeed = (text: string) => ({ hash: hashSeriesKey('seed', text), key: text });
  const frameOf = (keys: readonly string[]): HeldFrame => {
    const groups = keys.map((key, i) => ({
      measurement: parseSeriesKey(key).measurement,
      rowSeries: Uint32Array.of(i),
      times: Float64Array.of(1),
      columns: [],
    }));
    const series = keys.map((key) => hashSeriesKey('seed', key));
    const frame = holdFrame(encodeBatch({ kind: 'write', shard: KEY, version: versionAt(1), series, groups }));
    frame.isOwn = true;
    return frame;
  };

  test('get the ids of their series, whichever of them are known, and with whichever keys, in any order', () => {
    const someKeys = fc.uniqueArray(
      fc.oneof(
        anyKey,
        fc.nat(30).map((n) => `m,host=${n},os=linux`),
      ),
      { minLength: 1, maxLength: 30 },
    );
    fc.assert(
      fc.property(someKeys, fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }), fc.nat(5), (keys, known, way) => {
        const series = new SeriesTable();
        const isKnown = (_: string, i: number) => known[i]!;
        for (const key of keys.filter(isKnown)) series.add(hashSeriesKey('seed', key), key);
        const unknown = keys.filter((_, i) => !known[i]);
        const given = [keys, [...keys].reverse(), unknown, ['z,not=there', ...keys], keys.slice(1), []][way]!;
        const earlier = way === 4 ? [ofSeed(keys[0]!)] : way === 5 ? unknown.map(ofSeed) : [];
        const frame = frameOf(keys);
        expect(unknownSeries(series, frame, [given.map(ofSeed), earlier])).toEqual([]);
        if (earlier.length > 0) for (const { hash, key } of earlier) if (series.find(hash) < 0) series.add(hash, key);
        addSeries(series, frame, given.map(ofSeed));
        const ids = [...new Uint32Array(storageWords().buffer, frame.ids, keys.length)];
        expect(ids.map((id) => series.ids.keyOf(id))).toEqual(keys);
        expect(series.count).toBe(keys.length);
        frame.release();
        series.close();
      }),
      { numRuns: 300 },
    );
  });

  test('are refused where a series has another key here, which a faulty node has given', () => {
    const series = new SeriesTable();
    series.add(hashSeriesKey('seed', 'm,x=1'), 'other,x=1');
    const known = frameOf(['m,x=1']);
    expect(() => unknownSeries(series, known, [])).toThrow(expect.objectContaining({ code: 'corrupt-batch' }));
    const named = frameOf(['m,x=1', 'm,x=2']);
    const keys = ['m,x=1', 'm,x=2'].map(ofSeed);
    expect(unknownSeries(series, named, [keys])).toEqual([]);
    expect(() => addSeries(series, named, keys)).toThrow(expect.objectContaining({ code: 'unknown-series' }));
  });

  test('that are judged together get their ids one after the other, with what those before have brought', () => {
    const series = new SeriesTable();
    const given = [['a,x=1', 'a,x=2'], ['a,x=2', 'a,x=3'], ['a,x=1', 'a,x=2'], ['a,x=3']];
    const names = [['a,x=1', 'a,x=2'], ['a,x=1', 'a,x=2', 'a,x=3'], ['a,x=1', 'a,x=2'], ['a,x=3']];
    const frames = names.map(frameOf);
    const keys = given.map((some) => some.map(ofSeed));
    for (const [i, frame] of frames.entries())
      expect(unknownSeries(series, frame, [keys[i]!, ...keys.slice(0, i)])).toEqual([]);
    frames.forEach((frame, i) => {
      addSeries(series, frame, keys[i]!);
      const ids = [...new Uint32Array(storageWords().buffer, frame.ids, names[i]!.length)];
      expect(ids.map((id) => series.ids.keyOf(id))).toEqual(names[i]);
    });
    expect(series.count).toBe(3);
  });

  test('lack what nobody has given', () => {
    const series = new SeriesTable();
    expect(unknownSeries(series, frameOf(['a,x=1', 'a,x=2']), [[ofSeed('a,x=1')]])).toEqual([ofSeed('a,x=2').hash]);
    expect(unknownSeries(series, frameOf(['a,x=1', 'a,x=2']), [[ofSeed('a,x=1'), ofSeed('a,x=3')]])).toEqual([
      ofSeed('a,x=2').hash,
    ]);
  });
});
