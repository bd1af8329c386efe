/** Deletes that name tags: what they cover among many series, and what readers have to do for those that are kept. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, expect, test, vi } from 'vitest';
import type { Batch, DeletePredicate } from '../../shards/batch.ts';
import { BlockStore } from '../../shards/block-store.ts';
import { FLOAT } from '../../shards/column.ts';
import { aggregateByScan } from '../../shards/query/aggregate-by-scan.ts';
import type { AggregateCall, AggregateRequest, AggregateRuns } from '../../shards/queryable.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { stampOf } from '../../shards/version.ts';
import { randomFrom } from '../blocks/rows.ts';
import { Bench, cellsOf, deleteBatch, HOUR_NS, type PlainRow, SHARD, type VersionSet, versionAt } from './helpers.ts';

let bench: Bench;
afterEach(() => {
  vi.restoreAllMocks();
  bench.remove();
});

const SECOND = 1e9;

function deleteRows(n: number, predicate: Partial<DeletePredicate>): void {
  expect(bench.write(deleteBatch(versionAt(n), predicate) as Batch)).toBeNull();
}

function requestOf(calls: readonly AggregateCall[], offsets: readonly number[]): AggregateRequest {
  const series = bench.shard().series('m', null);
  const [minTime, maxTime] = [offsets[0]!, offsets.at(-1)! - 1];
  return {
    measurement: 'm',
    series,
    calls,
    minTime,
    maxTime,
    offsets: Float64Array.from(offsets),
    readRows: () => {},
  };
}

type Aggregate = (visit: (runs: AggregateRuns) => void) => void;

/** By call: series, window, count and number of each run. */
function runsOf(aggregate: Aggregate): number[][][] {
  const found: number[][][] = [];
  aggregate(({ call, length, series, windows, counts, numbers }) => {
    found[call] ??= [];
    for (let r = 0; r < length; r++) found[call].push([series[r]!, windows[r]!, counts[r]!, numbers?.[r] ?? 0]);
  });
  return found;
}

const countOf = (request: AggregateRequest): number =>
  runsOf((visit) => bench.shard().aggregate(request, visit))
    .flat()
    .reduce((sum, [, , count]) => sum + count!, 0);

/** The floor passes everything, and all windows come to rest. */
function settle(): void {
  (bench.shard().companion as VersionSet).floor = stampOf(versionAt(1e6));
  for (let round = 0; round < 3; round++) {
    bench.nowMs += 700_000;
    while (bench.step());
  }
}

test('after a thousand deletes of a host each a count reads no more blocks and judges no series, before and after they are settled', () => {
  bench = new Bench();
  const [hosts, deletes] = [2000, 1000];
  const rows = Array.from({ length: hosts }, (_, n) => ({ key: `m,host=h${n}`, time: SECOND, fields: { f: n } }));
  bench.writeRows(versionAt(1), rows);
  bench.shard().flush();
  // Hosts that never were are among them: those deletes cover nothing.
  for (let n = 0; n < deletes; n++) {
    deleteRows(2 + n, { measurement: { name: 'm' }, condition: { op: '=', key: 'host', value: `h${2 * n + 1000}` } });
  }
  const left = hosts - 500;
  const request = (): AggregateRequest => requestOf([{ fn: 'count', field: 'f', type: FLOAT }], [0, HOUR_NS]);
  const count = (): number => countOf(request());
  const matches = vi.spyOn(SeriesTable.prototype, 'match');
  const tags = vi.spyOn(SeriesTable.prototype, 'tagsOf');
  const scanned = vi.spyOn(BlockStore.prototype, 'wanted');
  const asked = (): number[] => {
    const calls = [matches, tags, scanned].map((spy) => spy.mock.calls.length);
    for (const spy of [matches, tags, scanned]) spy.mockClear();
    return calls;
  };
  expect(count()).toBe(left);
  // The deletes are looked up together; whether the deleted hosts have a row left is looked up in the block.
  expect(asked()).toEqual([1, 0, 1]);
  expect(count()).toBe(left);
  expect(asked()).toEqual([1, 0, 0]);
  bench.writeRows(versionAt(5000), [{ key: 'm,host=new', time: SECOND, fields: { f: 1 } }]);
  asked();
  expect(count()).toBe(left + 1);
  // The new series is looked up by its host; the memtable is merged by a scan.
  expect(asked().slice(0, 2)).toEqual([1, 0]);
  settle();
  count();
  asked();
  expect(count()).toBe(left + 1);
  expect(asked()).toEqual([1, 0, 0]);
  // None of them is held against rows any more, and what they have hidden stays hidden.
  expect(bench.shard().tombstones.count).toBe(deletes);
  expect(bench.shard().tombstones.over('m', 0, HOUR_NS)).toBeNull();
  bench.reopen();
  expect(count()).toBe(left + 1);
  expect(bench.shard().series('m', { op: '=', key: 'host', value: 'h1000' })).toHaveLength(0);
});

test('many series that come under many deletes are looked up by their tags, and those of other measurements not at all', () => {
  bench = new Bench();
  let at = 1;
  const write = (measurement: string, first: number, count: number): void => {
    const rows = Array.from({ length: count }, (_, n) => {
      const host = first + n;
      return { key: `${measurement},host=h${host},rack=r${host % 10}`, time: SECOND, fields: { f: host } };
    });
    bench.writeRows(versionAt(at++), rows);
  };
  const remove = (condition: DeletePredicate['condition']): void => {
    deleteRows(at++, { measurement: { name: 'm' }, condition });
  };
  write('m', 0, 1000);
  for (let n = 0; n < 300; n++) remove({ op: '=', key: 'host', value: `h${5 * n}` });
  for (let n = 0; n < 100; n++) {
    const [host, rack] = [5 * n + 1, (5 * n + 1 + (n % 2)) % 10]; // half of the racks are wrong ones
    const terms = [
      { op: '=' as const, key: 'rack', value: `r${rack}` },
      { op: '=' as const, key: 'host', value: `h${host}` },
    ];
    remove({ op: 'and', terms });
  }
  remove({ op: '=~', key: 'host', regex: '^h1*7$' });
  const matches = vi.spyOn(SeriesTable.prototype, 'match');
  const tags = vi.spyOn(SeriesTable.prototype, 'tagsOf');
  const asked = (): number[] => {
    const over = bench.shard().tombstones.over('m', 0, HOUR_NS);
    expect(over).not.toBeNull();
    const calls = [matches, tags].map((spy) => spy.mock.calls.length);
    for (const spy of [matches, tags]) spy.mockClear();
    return calls;
  };
  // Only the regular expression has to be held against all; of the others' two tags the rack is looked at.
  expect(asked()).toEqual([1, 100]);
  write('other', 0, 1000);
  expect(asked()).toEqual([0, 0]);
  write('m', 1000, 100);
  expect(asked()).toEqual([1, 0]);
  const covered = (host: number): boolean =>
    host % 5 === 0 || (host < 500 && host % 10 === 1) || [7, 17, 117].includes(host);
  const hosts = Array.from({ length: 1100 }, (_, host) => host);
  const over = bench.shard().tombstones.over('m', 0, HOUR_NS)!;
  const idOf = (host: number): number =>
    bench.shard().series('m', { op: '=', key: 'host', value: `h${host}` })[0] ?? Number.NaN;
  // What came after its delete is there, and is covered all the same; what came before is not there.
  for (const host of hosts.slice(1000)) expect(over.of(idOf(host)).length, `h${host}`).toBe(covered(host) ? 1 : 0);
  const left = hosts.filter((host) => host >= 1000 || !covered(host));
  const keys = [...bench.shard().series('m', null)].map((id) => bench.shard().keyOf(id));
  expect(keys.sort()).toEqual(left.map((host) => `m,host=h${host},rack=r${host % 10}`).sort());
});

test('a write to series that were visible leaves the schema as it was known, one that brings a series back does not', () => {
  bench = new Bench();
  const write = (n: number, host: string): void => {
    bench.writeRows(versionAt(n), [{ key: `m,host=${host}`, time: n, fields: { f: n } }]);
  };
  write(1, 'a');
  write(2, 'b');
  deleteRows(3, { condition: { op: '=', key: 'host', value: 'b' } });
  expect(bench.shard().series('m', null)).toHaveLength(1);
  const { schemaStamp } = bench.shard();
  write(4, 'a');
  expect(bench.shard().schemaStamp).toBe(schemaStamp);
  write(5, 'b');
  expect(bench.shard().schemaStamp).not.toBe(schemaStamp);
  expect(bench.shard().series('m', null)).toHaveLength(2);
  // Fields come back one by one once their measurement was deleted as a whole.
  deleteRows(6, { measurement: { name: 'm' } });
  bench.writeRows(versionAt(7), [{ key: 'm,host=a', time: 7, fields: { g: 1 } }]);
  expect(bench.shard().fields('m')).toHaveLength(1);
  const whole = bench.shard().schemaStamp;
  write(8, 'a');
  expect(bench.shard().schemaStamp).not.toBe(whole);
  expect(bench.shard().fields('m')).toHaveLength(2);
});

test('a delete goes on hiding rows of a window that a damaged block keeps from being merged', () => {
  bench = new Bench({ blockBytesTarget: 300 });
  const rows = Array.from({ length: 400 }, (_, n) => ({ key: `m,host=h${n}`, time: SECOND, fields: { f: n / 7 } }));
  bench.writeRows(versionAt(1), rows);
  bench.shard().flush();
  bench.engine.close();
  const database = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`));
  const [damaged, other] = database.prepare('SELECT id, body FROM blocks ORDER BY id').all() as {
    id: number;
    body: Buffer;
  }[];
  damaged!.body[damaged!.body.length >> 1]! ^= 4;
  database.prepare('UPDATE blocks SET body = ? WHERE id = ?').run(damaged!.body, damaged!.id);
  database.close();
  bench.reopen();
  expect(other).toBeDefined();
  const isReadable = (n: number): boolean => {
    try {
      return cellsOf(bench, 'm', { op: '=', key: 'host', value: `h${n}` }).size === 1;
    } catch (error) {
      expect(error).toMatchObject({ code: 'damaged-block' });
      return false;
    }
  };
  const readable = rows.findIndex((_, n) => isReadable(n));
  const condition = { op: '=' as const, key: 'host', value: `h${readable}` };
  deleteRows(2, { condition });
  settle();
  expect(bench.shard().series('m', condition)).toHaveLength(0);
  expect(bench.shard().tombstones.over('m', 0, HOUR_NS)).not.toBeNull();
});

interface Delete {
  readonly version: number;
  readonly covers: (host: number, time: number) => boolean;
}

test.each(Array.from({ length: 8 }, (_, seed) => seed + 1))(
  'rows and aggregates under deletes of few and of many series, of all times and of some, are those of a plain map (seed %i)',
  (seed) => {
    bench = new Bench({ blockBytesTarget: 4000 });
    const random = randomFrom(seed);
    const below = (n: number): number => Math.floor(random() * n);
    const written: { host: number; time: number; version: number; value: number }[] = [];
    const deletes: Delete[] = [];
    let hosts = 20;
    const key = (host: number): string => `m,even=${host % 2},host=h${host}`;
    const write = (version: number): void => {
      if (below(3) === 0) hosts = Math.min(900, hosts + below(500));
      const rows = new Map<string, PlainRow>();
      const step = 1 + below(3);
      for (let host = below(step); host < hosts; host += step) {
        const time = below(3) * HOUR_NS + below(4) * SECOND;
        rows.set(`${host} ${time}`, { key: key(host), time, fields: { f: below(1000) / 8 } });
      }
      for (const [name, { time, fields }] of rows)
        written.push({ host: Number(name.split(' ')[0]), time, version, value: fields.f! });
      bench.writeRows(versionAt(version), [...rows.values()]);
    };
    const remove = (version: number): void => {
      const [host, parity, kind] = [below(hosts), below(2), below(8)];
      const minTime = below(2) === 0 ? 0 : below(3) * HOUR_NS + below(4) * SECOND;
      const maxTime = below(2) === 0 ? 24 * HOUR_NS - 1 : minTime + below(2) * HOUR_NS;
      const within = (time: number): boolean => time >= minTime && time <= maxTime;
      const [condition, isHost]: [DeletePredicate['condition'], (host: number) => boolean] =
        kind === 0
          ? [null, () => true]
          : kind === 1
            ? [{ op: '=', key: 'even', value: `${parity}` }, (other) => other % 2 === parity]
            : kind === 2
              ? [{ op: '=~', key: 'host', regex: `7` }, (other) => `${other}`.includes('7')]
              : [{ op: '=', key: 'host', value: `h${host}` }, (other) => other === host];
      deletes.push({ version, covers: (other, time) => within(time) && isHost(other) });
      deleteRows(version, { condition, minTime, maxTime });
    };
    // Versions come in any order above the floor.
    const waiting = Array.from({ length: 60 }, (_, n) => n + 1);
    for (let step = 0; step < 30; step++) {
      const [version] = waiting.splice(below(4), 1);
      if (below(5) < 2) write(version!);
      else remove(version!);
      if (below(6) === 0) bench.shard().flush();
      if (below(8) === 0) {
        (bench.shard().companion as VersionSet).floor = stampOf(versionAt(waiting[0]! - 1));
        bench.nowMs += 700_000;
        while (bench.step());
      }
      if (below(12) === 0) bench.crash();
      if (below(4) > 0) continue;
      const expected = new Map<string, { version: number; value: number }>();
      for (const { host, time, version, value } of written) {
        if (deletes.some((other) => other.version > version && other.covers(host, time))) continue;
        const name = `${key(host)} ${time} f`;
        if ((expected.get(name)?.version ?? -1) <= version) expected.set(name, { version, value });
      }
      const cells = cellsOf(bench);
      expect(cells.size).toBe(expected.size);
      for (const [name, { value }] of expected) expect(cells.get(name), name).toBe(value);
      const calls = [
        { fn: 'count', field: 'f', type: FLOAT },
        { fn: 'sum', field: 'f', type: FLOAT },
      ] as const;
      const request = requestOf(calls, [0, SECOND, HOUR_NS + SECOND, 24 * HOUR_NS]);
      const scan = runsOf((visit) => aggregateByScan(bench.shard(), request, visit));
      expect(runsOf((visit) => bench.shard().aggregate(request, visit))).toEqual(scan);
      const counts = requestOf([calls[0]], [0, 24 * HOUR_NS]);
      expect(countOf(counts)).toBe(expected.size);
      const last = requestOf([{ fn: 'last', field: 'f', type: FLOAT }], [0, 24 * HOUR_NS]);
      const newest = new Map<number, number>();
      for (const [place, , , value] of runsOf((visit) => bench.shard().aggregate(last, visit)).flat())
        if (!newest.has(place!)) newest.set(place!, value!);
      const held = new Map<number, number>();
      for (const [place, , , value] of runsOf((visit) => aggregateByScan(bench.shard(), last, visit)).flat())
        held.set(place!, value!);
      expect(newest).toEqual(held);
    }
  },
);
