/** A memtable against the slow way: all batches decoded, put together and sorted. */
import { expect, test } from 'vitest';
import type { WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { type Column, FLOAT, makeValues } from '../../shards/column.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import { Memtable, type RowWant } from '../../shards/memtable.ts';
import type { RowSet } from '../../shards/row-set.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { sortRows } from '../support/sort-rows.ts';
import { HOUR_NS, KEY, versionAt } from './helpers.ts';
import { keysOfBatches, type Random, randomBatch, randomOf } from './random-batches.ts';

const EVERYTHING: RowWant = { series: null, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER };

interface Model {
  readonly batches: WriteBatch[];
  readonly table: SeriesTable;
}

/** The rows of a measurement that `wanted` picks, in order. */
function expected(model: Model, measurement: string, want: RowWant, versions: ReadonlySet<string> | null) {
  const cells: { series: number; time: number; version: number; values: Map<string, unknown> }[] = [];
  const columns = new Map<string, Pick<Column, 'field' | 'type'>>();
  model.batches.forEach((batch, number) => {
    if (versions !== null && !versions.has(batch.version)) return;
    for (const group of batch.groups) {
      if (group.measurement !== measurement) continue;
      group.times.forEach((time, row) => {
        const series = model.table.find(batch.series[group.rowSeries[row]!]!);
        if (time < want.minTime || time > want.maxTime || want.series?.includes(series) === false) return;
        const values = new Map<string, unknown>();
        for (const { field, type, present, values: all } of group.columns) {
          if (want.fields?.has(field) === false || (present !== null && present[row] === 0)) continue;
          columns.set(`${type}${field}`, { field, type });
          values.set(`${type}${field}`, all[row]);
        }
        cells.push({ series, time, version: number, values });
      });
    }
  });
  if (cells.length === 0) return null;
  model.table.sorted(measurement);
  return sortRows(
    {
      rowSeries: Uint32Array.from(cells, ({ series }) => series),
      times: Float64Array.from(cells, ({ time }) => time),
      versions: Uint32Array.from(cells, ({ version }) => version),
      versionTable: model.batches.map(({ version }) => version),
      columns: [...columns].map(([name, { field, type }]) => {
        const present = Uint8Array.from(cells, ({ values }) => (values.has(name) ? 1 : 0));
        const values = makeValues(type, cells.length);
        cells.forEach((cell, row) => {
          if (cell.values.has(name)) (values as unknown[])[row] = cell.values.get(name);
        });
        return { field, type, present: present.includes(0) ? present : null, values };
      }),
    },
    model.table.rankOf,
  );
}

/** As plain values: versions as such, absent cells left out, floats by their bits. */
function plain(rows: RowSet | null): unknown {
  if (rows === null) return null;
  const bits = (value: unknown) => (Object.is(value, -0) ? '-0' : value);
  return {
    series: [...rows.series],
    starts: [...rows.seriesStart],
    times: [...rows.times],
    versions: [...rows.versions].map((version) => rows.versionTable[version]),
    columns: rows.columns.map(({ field, type, present, values }) => [
      field,
      type,
      [...values].map((value, row) => (present !== null && present[row] === 0 ? null : bits(value))),
    ]),
  };
}

function filled(seed: number): { model: Model; memtable: Memtable; random: Random; measurements: number } {
  const random = randomOf(seed);
  const options = {
    rowsMax: [3, 30, 400][random(3)]!,
    series: [2, 12, 400][random(3)]!,
    measurements: 1 + random(3),
    fields: 1 + random(4),
  };
  const table = new SeriesTable();
  const model: Model = { batches: [], table };
  const memtable = new Memtable(table);
  const keys = new Map(keysOfBatches(options).map(({ hash, key }) => [hash, key]));
  const numbers = Array.from({ length: 60 }, (_, n) => n);
  const shuffled = random(2) === 0;
  for (let n = 1 + random(40); n > 0; n--) {
    const version = versionAt(numbers.splice(shuffled ? random(numbers.length) : 0, 1)[0]!);
    const batch = randomBatch(version, random, options);
    for (const hash of batch.series) if (table.find(hash) < 0) table.add(hash, keys.get(hash)!);
    const held = holdFrame(encodeBatch(batch));
    expect(table.findMany(held.hashes, held.seriesCount, held.ids)).toBe(0);
    memtable.apply(held);
    model.batches.push(batch);
  }
  return { model, memtable, random, measurements: options.measurements };
}

test.each(Array.from({ length: 60 }, (_, seed) => seed))('gives the rows that the batches hold (seed %i)', (seed) => {
  const { model, memtable, random, measurements } = filled(seed);
  const { table } = model;
  for (let m = 0; m < measurements; m++) {
    const measurement = `m${m}`;
    expect(plain(memtable.sorted(measurement))).toEqual(plain(expected(model, measurement, EVERYTHING, null)));
    const all = table.sorted(measurement);
    for (let n = 0; n < 8; n++) {
      const share = [1, 2, 5, all.length][random(4)]!;
      const first = random(Math.max(1, all.length));
      const series = random(4) === 0 ? null : all.slice().filter((_, i) => i === first || random(share + 1) === 0);
      const from = random(3) * HOUR_NS;
      const want: RowWant = {
        series,
        fields: random(2) === 0 ? null : new Set(['f0', `f${random(4)}`, 'none']),
        minTime: random(2) === 0 ? 0 : from + random(100) * 1000,
        maxTime: random(2) === 0 ? Number.MAX_SAFE_INTEGER : from + random(200) * 10_000_000_000,
      };
      expect(plain(memtable.select(measurement, want))).toEqual(plain(expected(model, measurement, want, null)));
    }
    const versions = new Set(model.batches.filter(() => random(3) === 0).map(({ version }) => version));
    expect(plain(memtable.ofVersions(measurement, versions))).toEqual(
      plain(expected(model, measurement, EVERYTHING, versions)),
    );
    const times = model.batches.flatMap(({ groups }) =>
      groups.filter((group) => group.measurement === measurement).flatMap((group) => [...group.times]),
    );
    const span = times.length === 0 ? null : { minTime: Math.min(...times), maxTime: Math.max(...times) };
    expect(memtable.span(measurement)).toEqual(span);
  }
  const rows = model.batches.flatMap(({ groups }) => groups).reduce((sum, { times }) => sum + times.length, 0);
  expect(memtable.rows).toBe(rows);
  memtable.release();
  expect(memtable.rows + memtable.bytes).toBe(0);
  table.close();
});

test('shapes that were forgotten between a frame and its memtable, or after it, are met again', () => {
  const table = new SeriesTable();
  const memtable = new Memtable(table);
  const batchOf = (n: number, measurement: string, fields: number): WriteBatch => {
    const key = `${measurement},host=a`;
    const hash = hashSeriesKey('seed', key);
    if (table.find(hash) < 0) table.add(hash, key);
    const column = (field: string): Column => ({ field, type: FLOAT, present: null, values: Float64Array.of(n) });
    const columns = Array.from({ length: fields }, (_, i) => column(`${measurement}-${String(i).padStart(4, '0')}`));
    const group = { measurement, rowSeries: Uint32Array.of(0), times: Float64Array.of(n), columns };
    return { kind: 'write', shard: KEY, version: versionAt(n), series: [hash], groups: [group] };
  };
  const hold = (n: number, measurement: string, fields: number) => {
    const held = holdFrame(encodeBatch(batchOf(n, measurement, fields)));
    expect(table.findMany(held.hashes, held.seriesCount, held.ids)).toBe(0);
    return held;
  };
  memtable.apply(hold(1, 'm', 2));
  const before = hold(2, 'm', 2);
  for (let n = 0; n < 20; n++) hold(100 + n, `wide${n}`, 2000).release();
  memtable.apply(before);
  memtable.apply(hold(3, 'm', 2));
  const fields = new Map<string, string>();
  memtable.drainFields((measurement, field, _type, version) => {
    fields.set(`${measurement} ${field}`, [fields.get(`${measurement} ${field}`) ?? '', version].sort()[1]!);
  });
  expect([...fields]).toEqual([
    ['m m-0000', versionAt(3)],
    ['m m-0001', versionAt(3)],
  ]);
  expect(memtable.group('m')).toMatchObject({ rows: 3, minTime: 1, maxTime: 3 });
  expect(memtable.sorted('m')!.columns.map(({ field, values }) => [field, [...values]])).toEqual([
    ['m-0000', [1, 2, 3]],
    ['m-0001', [1, 2, 3]],
  ]);
  memtable.release();
  memtable.release();
});

test('what a memtable takes is about what its frames take', () => {
  const table = new SeriesTable();
  const memtable = new Memtable(table);
  let frames = 0;
  for (let n = 0; n < 20; n++) {
    const batch = randomBatch(versionAt(n), randomOf(7), { rowsMax: 400, series: 3, measurements: 1, fields: 4 });
    batch.series.forEach((hash, i) => {
      if (table.find(hash) < 0) table.add(hash, `m0,host=h${i}`);
    });
    const frame = encodeBatch(batch);
    frames += frame.byteLength;
    const held = holdFrame(frame);
    table.findMany(held.hashes, held.seriesCount, held.ids);
    memtable.apply(held);
  }
  expect(memtable.bytes).toBeGreaterThan(frames);
  expect(memtable.bytes).toBeLessThan(frames * 1.2 + 20 * 1000);
  memtable.release();
});
