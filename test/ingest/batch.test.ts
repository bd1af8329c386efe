import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Batch, DeleteBatch, WriteBatch } from '../../shards/batch.ts';
import { BatchBuilder, groupStartsOf, routePoints } from '../../shards/batch-builder.ts';
import { BatchError, decodeBatch, encodeBatch, peekBatch } from '../../shards/batch-codec.ts';
import { addSums, contentByVersion, subtractSums } from '../../shards/checksum.ts';
import { type Column, type FieldType, makeValues } from '../../shards/column.ts';
import type { Precision } from '../../shards/line-protocol.ts';
import type { RowSet } from '../../shards/row-set.ts';
import type { ConflictRule } from '../../shards/row-settle.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { decodeKeys, encodeKeys } from '../../shards/series-keys.ts';
import { shardId } from '../../shards/shard-key.ts';
import { contentSum } from '../support/content-sum.ts';
import { cellsOf, newParser, POLICY, SHARD, VERSION, WEEK_NS } from './support.ts';

function write(
  text: string,
  policy = POLICY,
  types = new Map<string, FieldType>(),
  precision: Precision = 'n',
  conflict: ConflictRule = 'last-write-wins',
) {
  const { series, parser } = newParser();
  const parsed = parser.parse(Buffer.from(text), precision, 0n);
  const builders = new Map<string, BatchBuilder>();
  const schema = {
    typeOf: (measurement: string, field: string) => types.get(`${measurement} ${field}`) ?? null,
    learn: (measurement: string, field: string, type: FieldType) => void types.set(`${measurement} ${field}`, type),
    revision: 0,
  };
  const rejected = routePoints(
    parsed,
    policy,
    series,
    () => schema,
    (shard) => {
      const name = `${shard.startNs} ${shard.number}`;
      const builder = builders.get(name) ?? new BatchBuilder(shard);
      builders.set(name, builder);
      return builder;
    },
  );
  const built = [...builders.values()].map((builder) => builder.build(VERSION, conflict));
  return { rejected, batches: built.map(({ batch }) => batch), built, starts: groupStartsOf(parsed, policy), types };
}

const rowsOf = (batches: WriteBatch[]) =>
  batches.flatMap((b) => b.groups).reduce((sum, group) => sum + group.times.length, 0);

describe('routing', () => {
  it('rows go to the shard of their time and series, with the key beside its hash', () => {
    const lines = Array.from(
      { length: 200 },
      (_, i) => `cpu,host=h${i % 20} v=${i} ${BigInt(i % 3) * WEEK_NS + BigInt(i)}`,
    );
    const { rejected, batches, built, starts } = write(lines.join('\n'));
    expect(rejected).toEqual({ dropped: 0, reason: null });
    expect(starts).toEqual([0n, WEEK_NS, 2n * WEEK_NS]);
    expect(rowsOf(batches)).toBe(200);
    for (const { batch, keys } of built) {
      expect(batch.series).toEqual(keys.map((key) => hashSeriesKey('seed', key)));
      for (const hash of batch.series) expect(Number.parseInt(hash.slice(0, 8), 16) % 4).toBe(batch.shard.number);
    }
  });

  it('times before 1970 and at the ends of int64 keep their nanoseconds', () => {
    const times = [-9223372036854775806n, -1n, 0n, 9223372036854775806n];
    const { batches } = write(times.map((time) => `m v=1 ${time}`).join('\n'));
    const found = batches.flatMap((b) =>
      b.groups.flatMap((g) => [...g.times].map((at) => b.shard.startNs + BigInt(at))),
    );
    expect(found.sort((a, b) => (a < b ? -1 : 1))).toEqual(times);
  });

  it('rows beyond retention are dropped and the others kept', () => {
    const { rejected, batches } = write('m v=1 5\nm v=2 10\nm v=3 20', { ...POLICY, oldestNs: 10n });
    expect(rejected).toEqual({ dropped: 1, reason: 'points beyond retention policy' });
    expect(rowsOf(batches)).toBe(2);
  });

  it('a field of another type than before refuses its row with the words of InfluxDB', () => {
    const types = new Map<string, FieldType>([['cpu usage', 0]]);
    const { rejected, batches } = write('cpu usage=1i 1\ncpu usage=2 2\ncpu usage=3i,x=1 3', POLICY, types);
    const reason =
      'field type conflict: input field "usage" on measurement "cpu" is type integer, already exists as type float';
    expect(rejected).toEqual({ dropped: 2, reason });
    expect(rowsOf(batches)).toBe(1);
    expect(types.has('cpu x')).toBe(false);
  });

  it('within one body the first type of a new field wins', () => {
    const { rejected, types } = write('m v="a" 1\nm v=1 2\nm v="b" 3');
    expect(rejected.dropped).toBe(1);
    expect(types.get('m v')).toBe(3);
  });

  it('a tag named time is refused, a field named time is left out', () => {
    const { rejected, batches } = write('m,time=1 v=1 1\nm time=1 2\nm time=1,v=2 3');
    expect(rejected.dropped).toBe(2);
    expect(rejected.reason).toBe('invalid tag key: input tag "time" on measurement "m" is invalid');
    expect(batches[0]!.groups[0]!.columns.map((column) => column.field)).toEqual(['v']);
  });

  it('lines of one series and time become one row in which the last value of each field wins', () => {
    const { batches } = write('m,a=1 x=1,y=1 5\nm,a=1 x=2 4\nm,a=1 x=3,z="q" 5\nm,a=1 y=9 4');
    expect(rowsOf(batches)).toBe(2);
    const cells = cellsOf(batches[0]!).map((cell) => JSON.parse(cell).slice(2));
    expect(cells).toEqual([
      [4, 'x', 0, '4000000000000000'],
      [4, 'y', 0, '4022000000000000'],
      [5, 'x', 0, '4008000000000000'],
      [5, 'y', 0, '3ff0000000000000'],
      [5, 'z', 3, 'q'],
    ]);
  });

  it('or the first one, where the database says so', () => {
    const text = 'm,a=1 x=1,y=1 5\nm,a=1 x=2 4\nm,a=1 x=3,z="q" 5\nm,a=1 y=9 4';
    const { batches } = write(text, POLICY, new Map(), 'n', 'first-write-wins');
    const cells = cellsOf(batches[0]!).map((cell) => JSON.parse(cell).slice(2));
    expect(cells).toEqual([
      [4, 'x', 0, '4000000000000000'],
      [4, 'y', 0, '4022000000000000'],
      [5, 'x', 0, '3ff0000000000000'],
      [5, 'y', 0, '3ff0000000000000'],
      [5, 'z', 3, 'q'],
    ]);
  });
});

const SPECIAL = [0, -0, 1, 0.1, -12.34, 1e300, 5e-324, Number.MAX_SAFE_INTEGER, 1e22, Number.POSITIVE_INFINITY, 99.99];
const cellOf: Record<FieldType, fc.Arbitrary<unknown>> = {
  0: fc.oneof(
    fc.constantFrom(...SPECIAL),
    fc.integer({ min: -9999, max: 9999 }).map((n) => n / 100),
    fc.double({ noNaN: true }),
  ),
  1: fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -300n, max: 300n })),
  2: fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 2n ** 64n - 300n, max: 2n ** 64n - 1n })),
  3: fc.oneof(fc.constantFrom('', 'a', 'b'), fc.string({ unit: 'grapheme', maxLength: 12 })),
  4: fc.constantFrom(0, 1),
};

function columnOf(field: string, type: FieldType, cells: readonly (unknown | null)[]): Column {
  const values = makeValues(type, cells.length);
  const present = Uint8Array.from(cells, (cell) => (cell === null ? 0 : 1));
  for (let i = 0; i < cells.length; i++) if (cells[i] !== null) (values as unknown[])[i] = cells[i];
  return { field, type, present: present.includes(0) ? present : null, values };
}

const batchOf: fc.Arbitrary<WriteBatch> = fc.nat(30).chain((rows) => {
  const column = fc
    .constantFrom<FieldType>(0, 1, 2, 3, 4)
    .chain((type) =>
      fc.tuple(fc.constant(type), fc.array(fc.option(cellOf[type], { freq: 4 }), { minLength: rows, maxLength: rows })),
    );
  const times = fc.uniqueArray(
    fc.oneof(
      fc.nat(1000).map((n) => n * 1e9),
      fc.nat(),
      fc.constant(Number(WEEK_NS) - 1),
    ),
    {
      minLength: rows,
      maxLength: rows,
    },
  );
  return fc
    .tuple(times, fc.array(column, { maxLength: 4 }), fc.array(fc.nat(2), { minLength: rows, maxLength: rows }))
    .map(
      ([at, columns, rowSeries]): WriteBatch => ({
        kind: 'write',
        shard: SHARD,
        version: VERSION,
        series: ['a', 'b', 'c'].map((key) => hashSeriesKey('s', key)),
        groups: [
          {
            measurement: 'wè',
            rowSeries: Uint32Array.from(rowSeries),
            times: Float64Array.from(at),
            columns: columns.map(([type, cells], i) => columnOf(`f${i}`, type, cells)),
          },
        ],
      }),
    );
});

const DELETE: DeleteBatch = {
  kind: 'delete',
  shard: SHARD,
  version: VERSION,
  predicate: {
    measurement: { regex: '^c' },
    condition: {
      op: 'and',
      terms: [
        { op: '=', key: 'host', value: 'a' },
        { op: 'or', terms: [{ op: '!~', key: 'x', regex: 'b' }, { op: 'true' }] },
      ],
    },
    minTime: 3,
    maxTime: 9,
  },
};

describe('batch frames', () => {
  it('every batch comes back as it went in, with the same content sum', () => {
    fc.assert(
      fc.property(batchOf, (batch) => {
        const frame = encodeBatch(batch);
        const decoded = decodeBatch(frame);
        expect(decoded.shard).toEqual(batch.shard);
        expect(cellsOf(decoded)).toEqual(cellsOf(batch));
        expect(contentSum(decoded)).toBe(contentSum(batch));
        expect(peekBatch(frame)).toMatchObject({ kind: 'write', shard: SHARD, id: shardId(SHARD), version: VERSION });
      }),
      { numRuns: 600, seed: 3 },
    );
  });

  it('a delete and a set of keys come back as they went in', () => {
    expect(decodeBatch(encodeBatch(DELETE))).toEqual(DELETE);
    const keys = ['cpu', 'm,a=\\ b', 'wè'].map((key) => ({ hash: hashSeriesKey('s', key), key }));
    expect(decodeKeys(encodeKeys(keys))).toEqual(keys);
    expect(() => decodeKeys(encodeKeys(keys).subarray(0, 40))).toThrow(BatchError);
  });

  it('two-decimal floats on a grid of times take a few bytes a value', () => {
    const lines = Array.from(
      { length: 4000 },
      (_, i) => `m,h=${i % 40} v=${((i * 7919) % 10000) / 100} ${Math.floor(i / 40) * 10}`,
    );
    const { batches } = write(lines.join('\n'), POLICY, new Map(), 's');
    const bytes = batches.reduce((sum, batch) => sum + encodeBatch(batch).length, 0);
    expect(bytes / 4000).toBeLessThan(5);
  });

  it('a damaged frame is a BatchError, also when its CRC was made to fit', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(batchOf, damage, fc.nat(), fc.boolean(), (batch, edits, cut, mend) => {
        let frame = Buffer.from(encodeBatch(batch));
        for (const [at, byte] of edits) frame[36 + (at % (frame.length - 36))] = byte;
        if (!mend) frame = frame.subarray(0, cut % (frame.length + 1));
        else fixCrc(frame);
        readOrRefuse(frame);
      }),
      { numRuns: 3000, seed: 5 },
    );
  });

  it('a frame that says it unfolds to terabytes is refused before memory is taken', () => {
    const frame = Buffer.from(encodeBatch(write('m v=1 1').batches[0]!));
    const at = frame.indexOf(Buffer.from('m')) + 1;
    const rowsAt = frame.indexOf(Buffer.from([1, 0, 0, 0, 'm'.charCodeAt(0), 1, 0, 0, 0])) + 5;
    expect(rowsAt).toBeGreaterThanOrEqual(at);
    frame.writeUInt32LE(0xffff_ffff, rowsAt);
    fixCrc(frame);
    expect(() => decodeBatch(frame)).toThrow(BatchError);
  });

  it('a frame of a later format is told apart from damage', () => {
    const frame = Buffer.from(encodeBatch(DELETE));
    frame[4] = 2;
    expect(() => decodeBatch(frame)).toThrow(expect.objectContaining({ code: 'future-batch' }));
    frame[4] = 1;
    frame[40] = frame[40]! ^ 1;
    expect(() => decodeBatch(frame)).toThrow(expect.objectContaining({ code: 'corrupt-batch' }));
  });
});

function fixCrc(frame: Buffer): void {
  frame.writeUInt32LE(crcOf(frame), 12);
}

function crcOf(frame: Buffer): number {
  let crc = -1;
  for (let i = 0; i < frame.length; i++) {
    if (i >= 12 && i < 16) continue;
    crc ^= frame[i]!;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function readOrRefuse(frame: Buffer): Batch | null {
  try {
    return decodeBatch(frame);
  } catch (error) {
    if (!(error instanceof BatchError)) throw error;
    return null;
  }
}

/** The rows of one group as a row set; `keep` picks rows, `split` separates columns as well. */
function rowSetOf(batch: WriteBatch, keep: (row: number, column: number) => boolean): RowSet {
  const [group] = batch.groups;
  const order = [...group!.times.keys()].sort((a, b) => group!.rowSeries[a]! - group!.rowSeries[b]! || a - b);
  const columns = group!.columns.map(({ field, type, present, values }, index): Column => {
    const cells = order.map((row) => {
      const there = (present === null || present[row] === 1) && keep(row, index);
      return there ? values[row] : null;
    });
    return columnOf(field, type, cells);
  });
  return {
    series: Uint32Array.from([0, 1, 2]),
    seriesStart: Uint32Array.from([0, 1, 2, 3], (s) => order.filter((row) => group!.rowSeries[row]! < s).length),
    times: Float64Array.from(order, (row) => group!.times[row]!),
    versions: new Uint32Array(order.length),
    versionTable: [batch.version],
    columns,
  };
}

describe('content sums', () => {
  it('the parts of a batch, split by row and by field, add up to the batch', () => {
    fc.assert(
      fc.property(batchOf, fc.nat(1000), (batch, salt) => {
        const pick = (row: number, column: number) => (row * 7 + column * 3 + salt) % 3;
        let sum = 0n;
        for (let part = 0; part < 3; part++) {
          const rows = rowSetOf(batch, (row, column) => pick(row, column) === part);
          const byVersion = contentByVersion(rows, (id) => batch.series[id]!);
          sum = addSums(sum, byVersion.get(VERSION) ?? 0n);
        }
        expect(sum).toBe(contentSum(batch));
      }),
      { numRuns: 400, seed: 9 },
    );
  });

  it('every change of a value, time, series, field, type or version changes the sum', () => {
    const sums = new Set<bigint>();
    const base = write('m,a=1 v=0 1').batches[0]!;
    const withColumn = (column: Partial<Column>): WriteBatch => ({
      ...base,
      groups: base.groups.map((group) => ({ ...group, columns: [{ ...group.columns[0]!, ...column }] })),
    });
    sums.add(contentSum(base));
    sums.add(contentSum(withColumn({ values: Float64Array.of(-0) })));
    sums.add(contentSum(withColumn({ values: Float64Array.of(5e-324) })));
    sums.add(contentSum(withColumn({ field: 'w' })));
    sums.add(contentSum(withColumn({ type: 1, values: BigInt64Array.of(0n) })));
    sums.add(contentSum(withColumn({ type: 3, values: [''] })));
    sums.add(contentSum(withColumn({ type: 3, values: ['\0'] })));
    sums.add(contentSum({ ...base, version: `${VERSION.slice(0, 31)}0` }));
    sums.add(contentSum({ ...base, series: [hashSeriesKey('s', 'other')] }));
    sums.add(contentSum({ ...base, groups: base.groups.map((group) => ({ ...group, times: Float64Array.of(2) })) }));
    sums.add(contentSum(DELETE));
    sums.add(contentSum({ ...DELETE, predicate: { ...DELETE.predicate, maxTime: 10 } }));
    expect(sums.size).toBe(12);
    const nan = (bits: bigint) => withColumn({ values: new Float64Array(BigUint64Array.of(bits).buffer) });
    expect(contentSum(nan(0x7ff8000000000000n))).toBe(contentSum(nan(0xfff0000000000123n)));
    expect(subtractSums(addSums(5n, -7n), -7n)).toBe(5n);
  });
});
