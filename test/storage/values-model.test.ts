/**
 * Storage against a naive map, with values of every type: random writes (late, twice, overwritten), deletes, stepped
 * flushes and merges, crashes, reopening and copies, from a seed, while the floor below which dead rows may be dropped
 * rises now and then. What a scan shows must be the model's cells to the bit, the aggregates of a shard what the same
 * cells give, and what is stored and dropped together what was written.
 */
import { afterEach, expect, test } from 'vitest';
import type { Batch, WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { addSums } from '../../shards/checksum.ts';
import { type Column, type FieldType, FLOAT } from '../../shards/column.ts';
import { isThrough, STAMP_ZERO, type Stamp, stampOf, type Version } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import { Bench, deleteBatch, HOUR_NS, KEY, type VersionSet, versionAt } from './helpers.ts';
import { keysOfBatches, randomBatch, randomOf } from './random-batches.ts';

const OPTIONS = { rowsMax: 30, series: 5, measurements: 2, fields: 3 };
const KEYS = keysOfBatches(OPTIONS);
const KEY_OF = new Map(KEYS.map(({ hash, key }) => [hash, key]));
const SPAN = Number(KEY.endNs);

let bench: Bench;
afterEach(() => bench.remove());

interface Cell {
  readonly version: Version;
  readonly type: FieldType;
  readonly text: string;
}

/** A value so that equal text is equal bits. */
function textOf(column: Column, row: number): string {
  if (column.type === FLOAT) return floatText(column.values as Float64Array, row);
  return `${column.type}:${String(column.values[row])}`;
}

/** -0 is not 0, and one NaN not another: read as bits, since a NaN that passes through a number may come out as another. */
function floatText({ buffer, byteOffset }: Float64Array, row: number): string {
  return `${FLOAT}:${new DataView(buffer, byteOffset).getBigUint64(row * 8, true).toString(16)}`;
}

function covers(batch: Batch, version: Version, key: string, time: number): boolean {
  if (batch.kind !== 'delete' || batch.version <= version) return false;
  const { measurement, condition, minTime, maxTime } = batch.predicate;
  if (time < minTime || time > maxTime) return false;
  if (measurement !== null && (!('name' in measurement) || !key.startsWith(`${measurement.name},`))) return false;
  return condition === null || (condition.op === '=' && key.endsWith(`,host=${condition.value}`));
}

/** A cell is (series, time, field): a value of another type takes its place, too. In one batch the stronger type does. */
function beats(version: Version, type: FieldType, winner: Cell): boolean {
  return version > winner.version || (version === winner.version && type < winner.type);
}

/** Per cell what has won, whatever the types of its neighbours; by the rules alone. */
function winnersOf(batches: readonly Batch[]): Map<string, Cell> {
  const winners = new Map<string, Cell>();
  for (const batch of batches) {
    if (batch.kind !== 'write') continue;
    for (const { rowSeries, times, columns } of batch.groups) {
      for (const column of columns) {
        for (let row = 0; row < times.length; row++) {
          if (column.present !== null && column.present[row] === 0) continue;
          const key = KEY_OF.get(batch.series[rowSeries[row]!]!)!;
          if (batches.some((other) => covers(other, batch.version, key, times[row]!))) continue;
          const name = `${key}\t${times[row]}\t${column.field}`;
          const winner = winners.get(name);
          if (winner !== undefined && !beats(batch.version, column.type, winner)) continue;
          winners.set(name, { version: batch.version, type: column.type, text: textOf(column, row) });
        }
      }
    }
  }
  return winners;
}

/** Visible cells as `key time field -> value`, by the rules alone. */
function expectedCells(batches: readonly Batch[], windowNs: number): Map<string, string> {
  const winners = winnersOf(batches);
  // Where types of a field disagree in a series' window the strongest is what a reader sees (protocol rule 6).
  const strongest = new Map<string, FieldType>();
  const placeOf = (name: string): string => {
    const [key, time, field] = name.split('\t') as [string, string, string];
    return `${key}\t${Math.floor(Number(time) / windowNs)}\t${field}`;
  };
  for (const [name, { type }] of winners) {
    const place = placeOf(name);
    strongest.set(place, Math.min(strongest.get(place) ?? type, type) as FieldType);
  }
  const cells = new Map<string, string>();
  for (const [name, { type, text }] of winners) {
    if (strongest.get(placeOf(name)) === type) cells.set(name, text);
  }
  return cells;
}

function scannedCells(): Map<string, string> {
  const shard = bench.shard();
  const cells = new Map<string, string>();
  for (const measurement of shard.measurements()) {
    const fields = shard.fields(measurement).map(({ name }) => name);
    const series = shard.series(measurement, null);
    shard.scan({ measurement, series, fields, minTime: 0, maxTime: SPAN - 1 }, (slice) => {
      for (const column of slice.columns) {
        if (column === null) continue;
        for (let row = 0; row < slice.times.length; row++) {
          if (column.present !== null && column.present[row] === 0) continue;
          const name = `${shard.keyOf(slice.series)}\t${slice.times[row]}\t${column.field}`;
          if (cells.has(name)) throw new Error(`${name} came twice`);
          cells.set(name, textOf(column, row));
        }
      }
      return true;
    });
  }
  return cells;
}

const PICKED = ['first', 'last'] as const;

/** Counts of a field, and its first and last values, by series and storage window, from aggregate() and from the cells. */
function checkAggregates(cells: ReadonlyMap<string, string>): void {
  const shard = bench.shard();
  const expected = new Map<string, number>();
  /** By function, series, field and storage window. */
  const ends = new Map<string, { time: number; text: string }>();
  const placeOf = (fn: string, key: string, field: string, time: number): string =>
    `${fn}\t${key}\t${field}\t${Math.floor(time / shard.windowNs)}`;
  for (const [name, text] of cells) {
    const [key, at, field] = name.split('\t') as [string, string, string];
    if (!text.startsWith(`${FLOAT}:`)) continue;
    expected.set(`${key}\t${field}`, (expected.get(`${key}\t${field}`) ?? 0) + 1);
    const time = Number(at);
    for (const fn of PICKED) {
      const place = placeOf(fn, key, field, time);
      const before = ends.get(place)?.time;
      if (before === undefined || (fn === 'first' ? time < before : time > before)) ends.set(place, { time, text });
    }
  }
  const counted = new Map<string, number>();
  for (const measurement of shard.measurements()) {
    const series = shard.series(measurement, null);
    const floats = shard.fields(measurement).filter(({ types }) => types.length === 1 && types[0] === FLOAT);
    const calls = floats.flatMap(({ name }) =>
      (['count', ...PICKED] as const).map((fn) => ({ fn, field: name, type: FLOAT as FieldType })),
    );
    if (calls.length === 0) continue;
    const offsets = Float64Array.of(0, SPAN);
    shard.aggregate(
      { measurement, series, calls, minTime: 0, maxTime: SPAN - 1, offsets, readRows: () => {} },
      (runs) => {
        const { fn, field } = calls[runs.call]!;
        for (let i = 0; i < runs.length; i++) {
          const key = shard.keyOf(series[runs.series[i]!]!);
          if (fn !== 'count') {
            const time = runs.times![i]!;
            const picked = { time, text: floatText(runs.numbers!, i) };
            expect(picked, `${fn} ${field} of ${key}`).toEqual(ends.get(placeOf(fn, key, field, time)));
            continue;
          }
          const name = `${key}\t${field}`;
          counted.set(name, (counted.get(name) ?? 0) + runs.counts[i]!);
        }
      },
    );
  }
  expect([...counted]).toEqual([...counted.keys()].map((name) => [name, expected.get(name) ?? 0]));
}

/** What is stored and what was dropped are together what came; above the floor batch by batch. */
function checkContent(batches: readonly Batch[], floor: Stamp): void {
  const sums = batches.map((batch) => [batch.version, contentSum(batch)] as const);
  const total = sums.reduce((sum, [, content]) => addSums(sum, content), 0n);
  expect(bench.shard().recomputeContentThrough('f'.repeat(16))).toBe(total);
  const above = bench.shard().recomputeContent(floor);
  const newer = sums.filter(([version]) => stampOf(version) > floor);
  expect(newer.map(([version]) => [version, above.get(version) ?? 0n])).toEqual(newer);
}

/** Rows without a value. */
function emptyRows(batches: readonly Batch[]): number {
  let count = 0;
  for (const batch of batches) {
    for (const { times, columns } of batch.kind === 'write' ? batch.groups : []) {
      for (let row = 0; row < times.length; row++) {
        if (columns.every(({ present }) => present !== null && present[row] === 0)) count++;
      }
    }
  }
  return count;
}

/** The shard is replaced by a copy of itself. */
function copyOver(): void {
  const source = bench.shard().snapshot(3000);
  const target = bench.engine.beginFill(KEY, 'source');
  for (let index = 0, page = source.page(0); page !== null; page = source.page(++index)) target.accept(page);
  source.close();
  target.finish();
}

/** Flushes and merges until nothing is left to do. */
function settle(): void {
  bench.nowMs += 700_000;
  while (bench.step());
}

test.each(Array.from({ length: 16 }, (_, i) => i + 1))('values of every type, seed %i', (seed) => {
  const random = randomOf(seed);
  bench = new Bench({
    blockBytesTarget: 400,
    compactionRowsMax: 60,
    transactionBytesMax: 2500,
    segmentBytesMax: 20_000,
    memtableBytesMax: 1 << 20,
  });
  const durable: Batch[] = [];
  let floor = STAMP_ZERO;
  let versions = Array.from({ length: 300 }, (_, n) => n);
  const raise = (to: Stamp): void => {
    floor = to;
    (bench.shard().companion as VersionSet).floor = to;
    versions = versions.filter((n) => !isThrough(versionAt(n), to)); // nothing at or below is accepted any more
  };
  const check = (): void => {
    const cells = expectedCells(durable, bench.shard().windowNs);
    expect(scannedCells()).toEqual(cells);
    checkAggregates(cells);
    checkContent(durable, floor);
  };
  for (let step = 0; step < 100; step++) {
    const version = versionAt(versions.splice(random(Math.min(20, versions.length)), 1)[0]!);
    const action = random(116);
    if (action < 62) {
      const batch = randomBatch(version, random, OPTIONS);
      expect(bench.write(batch, KEYS)).toBeNull();
      durable.push(batch);
    } else if (action < 68) {
      // Never acknowledged: a crash keeps it whole or loses it.
      const batch: WriteBatch = randomBatch(version, random, OPTIONS);
      const frame = encodeBatch(batch);
      bench.engine.append([{ shard: bench.shard().id, keys: KEYS, frame }]);
      bench.crash(() => random(4000), random(4) === 0);
      if (bench.shard().companion.has(version)) durable.push(batch);
    } else if (action < 74) {
      const host = random(2) === 0 ? null : ({ op: '=', key: 'host', value: `h${random(5)}` } as const);
      const batch = deleteBatch(version, {
        measurement: random(2) === 0 ? null : { name: `m${random(2)}` },
        condition: host,
        minTime: random(2) * HOUR_NS,
        maxTime: random(3) * HOUR_NS + 8000,
      });
      expect(bench.write(batch)).toBeNull();
      durable.push(batch);
    } else if (action < 82) bench.shard().flush();
    else if (action < 90) {
      bench.nowMs += 700_000;
      for (let left = random(12); left > 0 && bench.step(); left--);
    } else if (action < 96) bench.crash(() => random(500), random(2) === 0);
    else if (action < 100) bench.reopen();
    else if (action < 112) {
      const newest = durable[random(durable.length)]?.version;
      if (newest !== undefined && stampOf(newest) > floor) raise(stampOf(newest));
    } else copyOver();
    if (step % 16 === 15) check();
  }
  settle();
  check();

  raise(stampOf(versionAt(300)));
  settle();
  settle();
  check();
  const rows = new Set([...winnersOf(durable).keys()].map((name) => name.slice(0, name.lastIndexOf('\t'))));
  // A row of which no field was given, if any, may stay.
  const stored = bench.shard().sizes().rows;
  expect(stored).toBeGreaterThanOrEqual(rows.size);
  expect(stored).toBeLessThanOrEqual(rows.size + emptyRows(durable));
});
