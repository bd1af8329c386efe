/** Reading everything again, sums of settled rows by group, and replacing damaged ones (shards/care.ts). */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, expect, test } from 'vitest';
import type { GroupName, GroupSum, Reading } from '../../shards/care.ts';
import { addSums, type Sum128 } from '../../shards/checksum.ts';
import { STRING } from '../../shards/column.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { PAGE_TEXT } from '../../shards/settled-content.ts';
import { stampOf, type Version } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import {
  Bench,
  cellsOf,
  deleteBatch,
  HOUR_NS,
  KEY,
  type PlainRow,
  SHARD,
  type VersionSet,
  versionAt,
  writeBatch,
} from './helpers.ts';

const LIMITS = { blockBytesTarget: 300, transactionBytesMax: 1200, compactionRowsMax: 60 };

const benches: Bench[] = [];
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove();
});

function open(): Bench {
  const bench = new Bench(LIMITS);
  benches.push(bench);
  return bench;
}

/** Three windows, many series; the same times again and again. */
const rowsOf = (n: number): PlainRow[] =>
  Array.from({ length: 60 }, (_, i) => ({
    key: `m,host=h${(i * 7 + n) % 41}`,
    time: (i % 3) * HOUR_NS + (i % 5) * 1000,
    fields: { f: n + i / 10 },
  }));

const BATCHES = 6;

/** Room for a delete between two batches. */
const at = (n: number): Version => versionAt(n * 10);

function fill(bench: Bench, flushEvery: number): void {
  for (let n = 0; n < BATCHES; n++) {
    bench.writeRows(at(n), rowsOf(n));
    if (n === 2) bench.write(deleteBatch(at(2.5), { minTime: HOUR_NS, maxTime: HOUR_NS + 1000 }));
    if (n % flushEvery === 0) bench.shard().flush();
  }
  bench.shard().flush();
}

function settle(bench: Bench, n: number): void {
  (bench.shard().companion as VersionSet).floor = stampOf(at(n));
  bench.shard().flush();
}

function merge(bench: Bench): void {
  bench.nowMs += 700_000;
  while (bench.step());
}

function groupsOf(bench: Bench, n: number, cellsMax = 1e9): GroupSum[] {
  const all: GroupSum[] = [];
  for (let from: GroupName | null = null; ; ) {
    const page = bench.shard().care.groups({ through: stampOf(at(n)), window: null, from, cellsMax });
    all.push(...page.groups);
    if (page.next === null) return all;
    from = page.next;
  }
}

function read(bench: Bench, use: (reading: Reading) => void): void {
  const reading = bench.shard().care.read(() => {});
  while (reading.step(500));
  use(reading);
  reading.close();
}

/** Of rows and deletes above `n`. */
function receivedAbove(n: number): Map<Version, Sum128> {
  const versions = Array.from({ length: BATCHES }, (_, i) => i).filter((i) => i > n);
  return new Map(versions.map((i) => [at(i), contentSum(writeBatch(at(i), rowsOf(i)))]));
}

function received(through: number): Sum128 {
  let sum = 0n;
  for (let n = 0; n <= through; n++) sum = addSums(sum, contentSum(writeBatch(at(n), rowsOf(n))));
  if (through < 2.5) return sum;
  return addSums(sum, contentSum(deleteBatch(at(2.5), { minTime: HOUR_NS, maxTime: HOUR_NS + 1000 })));
}

/** Flips a bit in a block of the window; its measurement's others stay as they are. */
function flip(bench: Bench, window: number, part: 'head' | 'body' = 'body'): void {
  bench.engine.close();
  const database = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`));
  const row = database.prepare(`SELECT id, ${part} AS bytes FROM blocks WHERE window = ? LIMIT 1`).get(window);
  const { id, bytes } = row as { id: number; bytes: Buffer };
  bytes[bytes.length >> 1]! ^= 4;
  database.prepare(`UPDATE blocks SET ${part} = ? WHERE id = ?`).run(bytes, id);
  database.close();
  bench.reopen();
}

test('groups have the same sums whatever has been flushed, merged and dropped, and told in pages of any size', () => {
  const [one, two] = [open(), open()];
  fill(one, 1);
  fill(two, 3);
  settle(one, 4);
  merge(one);
  settle(two, 4);
  expect(one.shard().sizes().rows).toBeLessThan(two.shard().sizes().rows);
  const sums = groupsOf(one, 4);
  expect(sums.length).toBeGreaterThan(20);
  expect(groupsOf(two, 4)).toEqual(sums);
  for (const cellsMax of [1, 30, 100]) expect(groupsOf(two, 4, cellsMax)).toEqual(sums);
  expect(cellsOf(one)).toEqual(cellsOf(two));
});

test('a reading finds what was received: by batch above the floor, as one sum below', () => {
  const bench = open();
  fill(bench, 2);
  settle(bench, 4);
  merge(bench);
  let isBegun = false;
  const reading = bench.shard().care.read(() => {
    isBegun = true;
    // What comes while it is read is not its concern.
    bench.writeRows(at(90), rowsOf(90));
  });
  while (reading.step(300));
  expect(isBegun).toBe(true);
  expect(reading.damaged).toEqual([]);
  expect(reading.through).toBe(received(4));
  expect(new Map([...reading.above].filter(([version]) => version < at(90)))).toEqual(receivedAbove(4));
  expect(reading.bytesRead).toBeGreaterThanOrEqual(reading.bytesTotal);
  reading.close();
});

test.each(['head', 'body'] as const)('a flipped bit in a %s: its groups are copied, everything else stays', (part) => {
  const [source, bench] = [open(), open()];
  for (const each of [source, bench]) {
    fill(each, each === source ? 1 : 3);
    settle(each, 4);
  }
  merge(source);
  const through = stampOf(at(4));
  const cells = cellsOf(source);
  flip(bench, 1, part);
  const { care } = bench.shard();
  let damaged: Reading['damaged'] = [];
  read(bench, (reading) => {
    damaged = reading.damaged;
  });
  expect(damaged).toMatchObject([{ window: 1, measurement: 'm' }]);
  expect(care.damaged).toHaveLength(1);
  const theirs = new Map(groupsOf(source, 4).map((each) => [`${each.window} ${each.group}`, each.content]));
  const unequal = groupsOf(bench, 4).filter((each) => theirs.get(`${each.window} ${each.group}`) !== each.content);
  expect(unequal.every(({ window, content }) => window === 1 && content === null)).toBe(true);
  const blocksBefore = idsOf(bench, 0);
  const groups = damaged[0]!.groups;
  const replacement = care.replace({ through, window: 1, measurement: 'm', groups, purged: new Set(), lost: false });
  for (let fromTime: number | null = 0; fromTime !== null; ) {
    const copied = source.shard().care.copy({ through, window: 1, measurement: 'm', groups, fromTime, cellsMax: 5 });
    if (copied.page !== null) replacement.accept(copied.page.frame, copied.page.keys);
    fromTime = copied.next;
  }
  while (replacement.step());
  expect(care.damaged).toEqual([]);
  expect(groupsOf(bench, 4)).toEqual(groupsOf(source, 4));
  expect(idsOf(bench, 0)).toEqual(blocksBefore);
  // Batch 5 lies above the floor: the rows of it that the block held are put back with it.
  const version = at(5);
  for (const { window, measurement } of care.placesOf(new Set([version]))) {
    const purge = { through, window, measurement, groups: [], purged: new Set([version]), lost: false };
    const purging = care.replace(purge);
    while (purging.step());
  }
  care.restore(source.shard().rebuild(new Set([version])));
  read(bench, (reading) => {
    expect(reading.damaged).toEqual([]);
    expect(reading.above).toEqual(receivedAbove(4));
    reading.adopt(received(4));
    expect(reading.through).toBe(received(4));
  });
  expect(cellsOf(bench)).toEqual(cells);
  bench.reopen();
  expect(cellsOf(bench)).toEqual(cells);
  read(bench, (reading) => expect(reading.through).toBe(received(4)));
  merge(bench);
  expect(cellsOf(bench)).toEqual(cells);
  read(bench, (reading) => expect(reading.through).toBe(received(4)));
});

test('pages of another floor, window, group or shard are refused, and nothing changes', () => {
  const [source, bench] = [open(), open()];
  for (const each of [source, bench]) {
    fill(each, 2);
    settle(each, 4);
  }
  const through = stampOf(at(4));
  const groups = [...new Set(groupsOf(source, 4).map(({ group }) => group))];
  const give = (window: number, some: readonly number[], floor = through) =>
    source.shard().care.copy({ through: floor, window, measurement: 'm', groups: some, fromTime: 0, cellsMax: 1e9 })
      .page!;
  const before = groupsOf(bench, 4);
  const target = { through, window: 1, measurement: 'm', purged: new Set<Version>(), lost: false };
  const refused = expect.objectContaining({ code: 'damaged-page' });
  const wrong = [give(0, groups), give(1, groups, stampOf(at(3)))];
  for (const page of wrong) {
    const replacement = bench.shard().care.replace({ ...target, groups });
    expect(() => replacement.accept(page.frame, page.keys)).toThrow(refused);
    replacement.abandon();
  }
  const narrow = bench.shard().care.replace({ ...target, groups: groups.slice(1) });
  const page = give(1, groups);
  expect(() => narrow.accept(page.frame, page.keys)).toThrow(refused);
  const spoilt = Uint8Array.from(page.frame);
  spoilt[spoilt.length >> 1]! ^= 1;
  expect(() => narrow.accept(spoilt, page.keys)).toThrow(expect.objectContaining({ code: 'corrupt-batch' }));
  narrow.abandon();
  expect(groupsOf(bench, 4)).toEqual(before);
});

test('pages of long strings are of few bytes', () => {
  const bench = new Bench();
  benches.push(bench);
  const text = 'x'.repeat(10_000);
  const keys = [{ hash: hashSeriesKey('seed', 'm,h=a'), key: 'm,h=a' }];
  const times = Float64Array.from({ length: 1200 }, (_, i) => i);
  const values = Array.from(times, (_, i) => `${i} ${text}`);
  const columns = [{ field: 's', type: STRING, present: null, values } as const];
  const groups = [{ measurement: 'm', rowSeries: new Uint32Array(1200), times, columns }];
  bench.write({ kind: 'write', shard: KEY, version: at(1), series: [keys[0]!.hash], groups }, keys);
  settle(bench, 1);
  const through = stampOf(at(1));
  const all = Array.from({ length: 16 }, (_, group) => group);
  const pages: number[] = [];
  let given = 0;
  for (let fromTime: number | null = 0; fromTime !== null; ) {
    const question = { through, window: 0, measurement: 'm', groups: all, fromTime, cellsMax: 1e9 };
    const { page, rows, next } = bench.shard().care.copy(question);
    pages.push(page!.frame.byteLength);
    given += rows;
    fromTime = next;
  }
  expect(given).toBe(1200);
  expect(Math.max(...pages)).toBeLessThanOrEqual(1.1 * PAGE_TEXT);
});

/** Replaces all settled rows of a window by those of `source`. */
function replaceWindow(bench: Bench, source: Bench, window: number): void {
  const through = stampOf(at(4));
  const groups = Array.from({ length: 16 }, (_, group) => group);
  const replacement = bench
    .shard()
    .care.replace({ through, window, measurement: 'm', groups, purged: new Set(), lost: false });
  const { page } = source.shard().care.copy({ through, window, measurement: 'm', groups, fromTime: 0, cellsMax: 1e9 });
  replacement.accept(page!.frame, page!.keys);
  while (replacement.step());
}

test.each([
  [
    'a reading',
    2,
    (bench: Bench) => {
      const reading = bench.shard().care.read(() => {});
      for (let i = 0; i < 4; i++) reading.step(100);
      return { next: () => reading.step(100), close: () => reading.close() };
    },
  ],
  [
    'a copy',
    0,
    (bench: Bench) => {
      const copy = bench.shard().snapshot(100);
      let page = 0;
      return { next: () => copy.page(page++) !== null, close: () => copy.close() };
    },
  ],
])('%s under way when groups are replaced is gone', (_, window, begin) => {
  const [source, bench] = [open(), open()];
  for (const each of [source, bench]) {
    fill(each, 1);
    settle(each, 4);
  }
  const { next, close } = begin(bench);
  expect(next()).toBe(true);
  replaceWindow(bench, source, window);
  expect(() => {
    while (next());
  }).toThrow(expect.objectContaining({ code: 'snapshot-gone' }));
  close();
  merge(bench);
  expect(cellsOf(bench)).toEqual(cellsOf(source));
});

test('series that a replacement brings back under a delete are seen', () => {
  const [source, bench] = [open(), open()];
  for (const each of [source, bench]) {
    fill(each, 1);
    settle(each, 4);
  }
  bench.engine.close();
  const database = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`));
  database.prepare('DELETE FROM blocks').run();
  database.close();
  bench.reopen();
  expect(cellsOf(bench).size).toBe(0);
  const { schemaStamp } = bench.shard();
  for (const window of [0, 1, 2]) replaceWindow(bench, source, window);
  expect(bench.shard().schemaStamp).not.toBe(schemaStamp);
  expect(cellsOf(bench).size).toBeGreaterThan(0);
  expect(groupsOf(bench, 4)).toEqual(groupsOf(source, 4));
  expect(bench.shard().series('m', null)).toHaveLength(source.shard().series('m', null).length);
});

function idsOf(bench: Bench, window: number): number[] {
  const database = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`), { readonly: true });
  const ids = database.prepare('SELECT id FROM blocks WHERE window = ? ORDER BY id').pluck().all(window) as number[];
  database.close();
  return ids;
}

test('rows that nobody has: the damaged block goes, everything else stays, and the shard is read without a finding', () => {
  const bench = open();
  fill(bench, 3);
  settle(bench, 5);
  const cells = cellsOf(bench);
  flip(bench, 1);
  read(bench, (reading) => expect(reading.damaged).toHaveLength(1));
  const { care } = bench.shard();
  const [lost] = care.damaged;
  const target = { through: stampOf(at(5)), window: 1, measurement: 'm', groups: [], purged: new Set<Version>() };
  const kept = care.replace({ ...target, lost: false });
  while (kept.step());
  expect(care.damaged).toHaveLength(1);
  const replacement = care.replace({ ...target, lost: true });
  while (replacement.step());
  expect(care.damaged).toEqual([]);
  const left = cellsOf(bench);
  const windowOf = (name: string): number => Math.floor(Number(name.split(' ').at(-2)) / HOUR_NS);
  const missing = [...cells.keys()].filter((name) => !left.has(name));
  expect(missing.length).toBeGreaterThan(0);
  expect(missing.length).toBeLessThanOrEqual(lost!.rows);
  expect(missing.every((name) => windowOf(name) === 1)).toBe(true);
  read(bench, (reading) => {
    expect(reading.through).not.toBe(received(5));
    reading.adopt(received(5));
  });
  bench.reopen();
  read(bench, (reading) => {
    expect(reading.damaged).toEqual([]);
    expect(reading.through).toBe(received(5));
  });
});
