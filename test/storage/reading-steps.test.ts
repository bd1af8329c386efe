/** Reading in steps: whatever a shard does between them, what was there when it began is read once and as it was. */
import { afterEach, expect, test } from 'vitest';
import { FLOAT } from '../../shards/column.ts';
import type {
  AggregateCall,
  AggregateRequest,
  AggregateRuns,
  ScanRequest,
  SeriesSlice,
} from '../../shards/queryable.ts';
import type { Steps } from '../../shards/steps.ts';
import { makeStamp, stampOf } from '../../shards/version.ts';
import { deleteEverywhere, deletesOf } from './delete-everywhere.ts';
import { Bench, deleteBatch, HOUR_NS, KEY, type PlainRow, versionAt } from './helpers.ts';
import { randomOf } from './random-batches.ts';

let bench: Bench;
/** Between two steps of a reading, in all tests. */
let merges = 0;
let forgotten = 0;
afterEach(() => bench.remove());

const LIMITS = { blockBytesTarget: 300, transactionBytesMax: 1200, compactionRowsMax: 60 };
const HOSTS = 71;
const SPAN = Number(KEY.endNs) - 1;

/** Rows of three windows; those of one `n` and of another overlap in time. */
const rowsOf = (n: number, hosts: number, prefix = 'h'): PlainRow[] =>
  Array.from({ length: 300 }, (_, i) => ({
    key: `m,host=${prefix}${(n * 5 + i) % hosts}`,
    time: (i % 3) * HOUR_NS + ((i % 5 === 0 ? 500 - n * 7 : 500 + n * 40) * 1000 + i),
    fields: { f: n + i / 10, g: i },
  }));

function scanned(
  shard: ReturnType<Bench['shard']>,
  request: ScanRequest,
): { steps: Steps; found: Map<string, unknown> } {
  const found = new Map<string, unknown>();
  const steps = shard.scanSteps(request, ({ series, times, columns }: SeriesSlice) => {
    times.forEach((time, row) => {
      const name = `${shard.keyOf(series)} ${time}`;
      if (found.has(name)) throw new Error(`${name} came twice`);
      found.set(
        name,
        columns.map((column) => (column === null || column.present?.[row] === 0 ? null : column.values[row])),
      );
    });
    return true;
  });
  return { steps, found };
}

/** Runs of each call in their order; pieces of different calls may come mixed. */
function aggregated(shard: ReturnType<Bench['shard']>, request: AggregateRequest): { steps: Steps; found: string[][] } {
  const found: string[][] = request.calls.map(() => []);
  const steps = shard.aggregateSteps(request, (runs: AggregateRuns) => {
    for (let r = 0; r < runs.length; r++)
      found[runs.call]!.push(
        [runs.series[r], runs.windows[r], runs.counts[r], runs.numbers?.[r], runs.times?.[r]].join(),
      );
  });
  return { steps, found };
}

const likeHost = (regex: string) => ({ op: '=~', key: 'host', regex }) as const;

/** In all shards. */
function deleteBefore(n: number, hosts: string, offset: number): void {
  const times = { minNs: 0n, maxNs: KEY.startNs + BigInt(offset) };
  deleteEverywhere(bench, n, { condition: likeHost(hosts), times });
}

const all = (steps: Steps): number => {
  let count = 0;
  while (steps.next().done !== true) count++;
  return count;
};

test.each(Array.from({ length: 6 }, (_, seed) => seed))(
  'writes, flushes and merges between any two steps change nothing of what was there (seed %i)',
  (seed) => {
    const random = randomOf(seed);
    bench = new Bench(LIMITS);
    const shard = bench.shard();
    let version = 0;
    for (let n = 0; n < 7; n++) {
      bench.writeRows(versionAt(version++), rowsOf(n, HOSTS));
      if (n < 5 || seed % 2 === 0) shard.flush();
    }
    bench.write(deleteBatch(versionAt(version++), { condition: likeHost('^h.*[13]$'), maxTime: 2 * HOUR_NS }));
    deleteBefore(version++, '^h.*[579]$', 2 * HOUR_NS);
    const request = { measurement: 'm', series: shard.series('m', null), minTime: 0, maxTime: SPAN };
    const scan = { ...request, fields: ['f', 'g'], descending: seed % 3 === 0 };
    const fns = seed % 4 === 0 ? (['last'] as const) : (['sum', 'count', 'max'] as const);
    const calls = fns.map((fn): AggregateCall => ({ fn, field: 'f', type: FLOAT }));
    const aggregate = { ...request, calls, offsets: Float64Array.of(0, SPAN + 1), readRows: () => {} };
    const expected = { rows: scanned(shard, scan), runs: aggregated(shard, aggregate) };
    all(expected.rows.steps);
    all(expected.runs.steps);
    shard.tick(1);
    shard.tick(1_000_000_000);
    let blocks = shard.sizes().blocks;
    const meddle = (): void => {
      // New series, so that ranks change, and another run.
      if (random(3) === 0) bench.writeRows(versionAt(version++), rowsOf(random(7), 5, `new${version}-`));
      if (random(4) === 0) shard.flush();
      if (random(2) === 0) for (let n = random(200); n > 0 && shard.compactStep(); n--);
      if (shard.sizes().blocks < blocks) merges++;
      blocks = shard.sizes().blocks;
      // Each covers more than the one before it, but no row that is read, and has that one forgotten.
      if (random(4) > 0) return;
      deleteBefore(version++, random(2) === 0 ? 'none' : '^h.*[579]$', 2 * HOUR_NS + version);
      const before = deletesOf(bench).tombstones.count;
      Object.assign(deletesOf(bench).companion, { floor: stampOf(versionAt(version - 1)) });
      if (random(2) === 0) deletesOf(bench).flush();
      forgotten += before - deletesOf(bench).tombstones.count;
      // Somebody asks.
      void shard.schemaStamp;
    };
    const rows = scanned(shard, scan);
    const runs = aggregated(shard, aggregate);
    let steps = 0;
    for (let open = true; open; steps++) {
      const [a, b] = [rows.steps.next(), runs.steps.next()];
      open = a.done !== true || b.done !== true;
      meddle();
    }
    expect(steps).toBeGreaterThan(2);
    expect(rows.found).toEqual(expected.rows.found);
    // Of a cell the newest of them counts: windows that a merge left are read again from where they were.
    if (fns.length > 1) expect(runs.found).toEqual(expected.runs.found);
    else expect(new Set(runs.found[0]!.map((run) => run.split(',')[0]))).toHaveLength(HOSTS);
  },
);

test('merges came between, and deletes that others had overtaken went', () => {
  bench = new Bench();
  expect(merges).toBeGreaterThan(5);
  expect(forgotten).toBeGreaterThan(5);
});

test('many rows in the memtable are read in steps of some, which give the same', () => {
  bench = new Bench();
  const shard = bench.shard();
  const hosts = 30;
  for (let n = 0; n < 40; n++) {
    const rows = Array.from({ length: 10_000 }, (_, i) => ({
      key: `m,host=h${i % hosts}`,
      time: n * 10_000_000 + i * 1000,
      fields: { f: i },
    }));
    bench.writeRows(versionAt(n), rows);
    if (n === 3) shard.flush();
  }
  const request = { measurement: 'm', series: shard.series('m', null), minTime: 0, maxTime: SPAN };
  const calls = [{ fn: 'sum', field: 'f', type: FLOAT }] as const;
  const aggregate = { ...request, calls, offsets: Float64Array.of(0, SPAN + 1), readRows: () => {} };
  const runs = aggregated(shard, aggregate);
  expect(all(runs.steps)).toBeGreaterThan(4);
  const scan = { ...request, fields: ['f'] };
  let least = Number.POSITIVE_INFINITY;
  let rows = 0;
  let inStep = 0;
  const steps = shard.scanSteps(scan, ({ times }) => {
    rows += times.length;
    inStep += times.length;
    return true;
  });
  for (let n = 0; steps.next().done !== true; n++) {
    least = Math.min(least, inStep);
    inStep = 0;
    // What was not picked yet is in blocks from now on.
    if (n === 0) shard.flush();
  }
  expect(rows).toBe(400_000);
  expect(least).toBeLessThan(70_000);
  const settled = aggregated(shard, aggregate);
  all(settled.steps);
  expect(runs.found).toEqual(settled.found);
});

test('a delete that is done with between two steps hides what was read before', () => {
  bench = new Bench();
  const shard = bench.shard();
  const rows = [0, 1].flatMap((window) =>
    Array.from({ length: 20 }, (_, i) => ({ key: `m,host=h${i % 4}`, time: window * HOUR_NS + i, fields: { f: i } })),
  );
  bench.writeRows(versionAt(0), rows);
  bench.write(deleteBatch(versionAt(1), { condition: { op: '=', key: 'host', value: 'h1' }, maxTime: HOUR_NS + 15 }));
  const series = shard.series('m', null);
  const { steps, found } = scanned(shard, { measurement: 'm', series, fields: ['f'], minTime: 0, maxTime: SPAN });
  steps.next();
  Object.assign(shard.companion, { floor: makeStamp(1_700_000_001_000, 0) });
  shard.flush();
  shard.tick(1);
  shard.tick(1_000_000_000);
  while (shard.compactStep());
  expect(shard.tombstones.over('m', 0, SPAN)).toBeNull();
  all(steps);
  const left = rows.filter(({ key, time }) => key !== 'm,host=h1' || time > HOUR_NS + 15);
  expect([...found.keys()].sort()).toEqual(left.map(({ key, time }) => `${key} ${time}`).sort());
});

test.each([
  ['the first delete of the policy', [], () => deleteBefore(2, 'none', SPAN)],
  [
    'one of the policy that goes, covered by another',
    [1, 399],
    () => {
      Object.assign(deletesOf(bench).companion, { floor: stampOf(versionAt(9)) });
      deletesOf(bench).flush();
    },
  ],
] as const)(
  'what was deleted stays hidden when deletes are looked through anew between two steps: %s',
  (_, ends, between) => {
    bench = new Bench(LIMITS);
    const shard = bench.shard();
    const rows = Array.from({ length: 800 }, (_, i) => ({
      key: `m,host=h${i % 40}`,
      time: i,
      fields: { f: Math.sin(i) },
    }));
    bench.writeRows(versionAt(0), rows);
    shard.flush();
    const odd = '[13579]$';
    if (ends.length === 0) bench.write(deleteBatch(versionAt(1), { condition: likeHost(odd), maxTime: 399 }));
    ends.forEach((end, n) => {
      deleteBefore(n + 1, odd, end);
    });
    const request = { measurement: 'm', series: shard.series('m', null), minTime: 0, maxTime: SPAN };
    const scan = scanned(shard, { ...request, fields: ['f'] });
    const calls = [{ fn: 'count', field: 'f', type: FLOAT }] as const;
    const runs = aggregated(shard, { ...request, calls, offsets: Float64Array.of(0, SPAN + 1), readRows: () => {} });
    for (const { steps } of [scan, runs]) steps.next();
    const changes = shard.tombstones.stamp;
    between();
    expect(shard.tombstones.stamp).not.toBe(changes);
    for (const { steps } of [scan, runs]) expect(all(steps)).toBeGreaterThan(0);
    expect(scan.found).toHaveLength(600);
    expect(runs.found[0]!.reduce((sum, run) => sum + Number(run.split(',')[2]), 0)).toBe(600);
  },
);

test('series and blocks stay in memory while they are read, however long nobody asks, and go behind that', () => {
  bench = new Bench({ ...LIMITS, unusedMs: 1000 });
  const shard = bench.shard();
  for (let n = 0; n < 3; n++) bench.writeRows(versionAt(n), rowsOf(n, HOSTS));
  shard.flush();
  let nowMs = 1;
  shard.tick(nowMs);
  const rest = (): void => {
    shard.tick(++nowMs);
    nowMs += 5000;
    shard.tick(nowMs);
    for (let n = 0; n < 200 && shard.compactStep(); n++);
  };
  const request = { measurement: 'm', series: shard.series('m', null), minTime: 0, maxTime: SPAN };
  const calls = [{ fn: 'count', field: 'f', type: FLOAT }] as const;
  const aggregate = { ...request, calls, offsets: Float64Array.of(0, SPAN + 1), readRows: () => {} };
  const whole = [scanned(shard, { ...request, fields: ['f'] }), aggregated(shard, aggregate)] as const;
  for (const { steps } of whole) all(steps);
  const turns = [scanned(shard, { ...request, fields: ['f'] }), aggregated(shard, aggregate)] as const;
  turns.forEach(({ steps, found }, n) => {
    steps.next();
    rest();
    expect(shard.isResident).toBe(true);
    all(steps);
    expect(found).toEqual(whole[n]!.found);
    rest();
    expect(shard.isResident).toBe(false);
  });
  const given = scanned(shard, { ...request, fields: ['f'] });
  given.steps.next();
  given.steps.return();
  rest();
  expect(shard.isResident).toBe(false);
});
