/** What has come against what is here: each rule by itself, and random batches against a model that knows no rows. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Batch, SeriesKeyRecord, WriteBatch } from '../../shards/batch.ts';
import { type FieldType, INTEGER } from '../../shards/column.ts';
import type { ContestQuestion, Contests } from '../../shards/contests.ts';
import type { ConflictRule } from '../../shards/row-settle.ts';
import { stampOf, type Version } from '../../shards/version.ts';
import { Bench, deleteBatch, keysOf, type PlainRow, type VersionSet, versionAt, writeBatch } from './helpers.ts';
import { keysOfBatches, type Random, randomBatch, randomOf } from './random-batches.ts';

let bench: Bench;
afterEach(() => bench.remove());

const A = 'm,host=a';
const row = (time: number, value: number, key = A): PlainRow => ({ key, time, fields: { f: value } });
const NONE = { later: 0, node: 0, first: 0, type: 0, deleted: 0 };

function ask(versions: readonly Version[], more: Partial<ContestQuestion> = {}): Contests {
  const question = { versions: new Set(versions), rowsMax: 100_000, samplesMax: 3, ...more };
  return bench.shard().care.contests(question);
}

describe('one rule at a time', () => {
  test('a value that came is older than the one that is here, or newer: the later one counts, with where both are from', () => {
    bench = new Bench();
    bench.writeRows(versionAt(5), [row(1, 50), row(2, 20)]);
    bench.writeRows(versionAt(3), [row(1, 30), row(7, 1)]);
    bench.writeRows(versionAt(9), [row(2, 90)]);
    const { decided, samples, same, unexamined } = ask([versionAt(3), versionAt(9)]);
    expect({ decided, same, unexamined }).toEqual({ decided: { ...NONE, later: 2 }, same: 0, unexamined: 0 });
    const value = (n: number, text: string, came: boolean) =>
      ({ version: versionAt(n), type: 'float', value: text, came, settled: false }) as const;
    expect(samples).toEqual([
      { rule: 'later', series: A, field: 'f', time: '1', winner: value(5, '50', false), loser: value(3, '30', true) },
      { rule: 'later', series: A, field: 'f', time: '2', winner: value(9, '90', true), loser: value(5, '20', false) },
    ]);
  });

  test.each([
    ['last-write-wins', [1, 2, 3], 3, ['2']],
    ['last-write-wins', [1, 2, 3], 1, ['1']],
    ['first-write-wins', [1, 2, 3], 1, ['2']],
    ['first-write-wins', [1, 2, 3], 2, ['2']],
  ] as const)(
    '%s among three of %j, of which %i came: what did not count before is not overruled',
    (conflict, all, n, lost) => {
      bench = new Bench();
      bench.engine.setRules(() => ({ conflict, hasDeletes: false }));
      for (const each of all) bench.writeRows(versionAt(each), [row(1, each)]);
      expect(ask([versionAt(n)]).samples.map(({ loser }) => loser.value)).toEqual(lost);
    },
  );

  test('equal stamps: the greater node; equal values are no contest; other times, series and fields neither', () => {
    bench = new Bench();
    const other = (n: number) => `${stampOf(versionAt(n))}00000000000000bb`;
    bench.writeRows(versionAt(1), [row(1, 1), row(2, 2), row(3, 3, 'm,host=b')]);
    bench.writeRows(other(1), [row(1, 7), row(2, 2), row(3, 4), { key: A, time: 2, fields: { g: 1 } }].slice(0, 3));
    const { decided, same, samples } = ask([versionAt(1)]);
    expect({ decided, same }).toEqual({ decided: { ...NONE, node: 1 }, same: 1 });
    expect(samples[0]).toMatchObject({ winner: { version: other(1), value: '7' }, loser: { value: '1', came: true } });
  });

  test('first-write-wins: the lower version', () => {
    bench = new Bench();
    bench.engine.setRules(() => ({ conflict: 'first-write-wins', hasDeletes: false }));
    bench.writeRows(versionAt(5), [row(1, 50)]);
    bench.writeRows(versionAt(3), [row(1, 30)]);
    const { decided, samples } = ask([versionAt(3)]);
    expect(decided).toEqual({ ...NONE, first: 1 });
    expect(samples[0]).toMatchObject({ winner: { value: '30', came: true }, loser: { value: '50', came: false } });
  });

  test('a row that came is covered by a newer delete; an older delete does nothing; deletes that came are named', () => {
    bench = new Bench();
    bench.writeRows(versionAt(1), [row(9, 9)]);
    bench.write(deleteBatch(versionAt(4), { measurement: { name: 'm' }, minTime: 0, maxTime: 5 }));
    bench.writeRows(versionAt(3), [row(1, 30), row(6, 60)]);
    bench.writeRows(versionAt(6), [row(2, 20)]);
    const { decided, samples } = ask([versionAt(3), versionAt(6)]);
    expect(decided).toEqual({ ...NONE, deleted: 1 });
    const by = { version: versionAt(4), predicate: '[["=","m"],null,0,5]' };
    expect(samples).toMatchObject([{ rule: 'deleted', time: '1', winner: by, loser: { value: '30' } }]);
    expect(ask([versionAt(4)])).toMatchObject({ deletes: 1, deleteSamples: [by], decided: NONE });
  });

  test('another type hides the whole series and window, whichever side it came from', () => {
    bench = new Bench();
    const integers = (version: Version, times: number[]): [Batch, SeriesKeyRecord[]] => {
      const batch = writeBatch(
        version,
        times.map((time) => row(time, 0)),
      ) as WriteBatch;
      const values = BigInt64Array.from(times, (time) => BigInt(time));
      const groups = [
        { ...batch.groups[0]!, columns: [{ field: 'f', type: INTEGER, present: null, values } as const] },
      ];
      return [{ ...batch, groups }, keysOf([row(0, 0)])];
    };
    bench.write(...integers(versionAt(1), [1, 2, 3]));
    bench.writeRows(versionAt(2), [row(9, 0.5)]);
    const { decided, samples } = ask([versionAt(2)]);
    expect(decided).toEqual({ ...NONE, type: 3 });
    expect(samples[0]).toMatchObject({
      time: '1',
      winner: { type: 'float', value: '0.5', came: true },
      loser: { type: 'integer', value: '1', came: false },
    });
    bench.write(...integers(versionAt(3), [4]));
    expect(ask([versionAt(3)])).toMatchObject({
      decided: { type: 1 },
      samples: [{ loser: { value: '4', came: true } }],
    });
  });

  test('what was settled has lost its own version and says so; what would be too much to read is counted', () => {
    bench = new Bench();
    for (const n of [1, 2]) {
      bench.writeRows(versionAt(n), [row(1, n), row(2, n)]);
      bench.shard().flush();
    }
    (bench.shard().companion as VersionSet).floor = stampOf(versionAt(2));
    bench.writeRows(versionAt(3), [row(1, 3)]);
    bench.shard().flush();
    bench.nowMs += 700_000;
    while (bench.step());
    bench.writeRows(versionAt(4), [row(1, 4)]);
    const { decided, samples } = ask([versionAt(3), versionAt(4)]);
    expect(decided).toEqual({ ...NONE, later: 2 });
    expect(samples.map(({ loser }) => [loser.value, loser.settled])).toEqual([
      ['2', true],
      ['3', false],
    ]);
    expect(ask([versionAt(4)], { rowsMax: 2 })).toMatchObject({ decided: NONE, unexamined: 1 });
  });

  test('counts are exact where samples are not: some of each rule, with texts of bounded length', () => {
    bench = new Bench();
    const long = `m,host=${'x'.repeat(500)}`;
    const rows = Array.from({ length: 50 }, (_, i) => row(i, i, long));
    bench.writeRows(
      versionAt(2),
      rows.map((each) => ({ ...each, fields: { f: -1 } })),
    );
    bench.writeRows(versionAt(1), rows);
    const { decided, samples } = ask([versionAt(1)]);
    expect(decided.later).toBe(50);
    expect(samples).toHaveLength(3);
    expect(samples[0]!.series).toHaveLength(120);
  });
});

interface Cell {
  readonly place: string;
  readonly slice: string;
  readonly time: number;
  readonly version: Version;
  readonly type: FieldType;
  readonly value: unknown;
  readonly came: boolean;
}

function cellsOf(batch: WriteBatch, keys: ReadonlyMap<string, string>, windowNs: number, came: boolean): Cell[] {
  return batch.groups.flatMap(({ columns, times, rowSeries }) =>
    columns.flatMap(({ field, type, present, values }) =>
      Array.from(times).flatMap((time, i) => {
        if (present !== null && present[i] === 0) return [];
        const key = keys.get(batch.series[rowSeries[i]!]!)!;
        const slice = `${key} ${field} ${Math.floor(time / windowNs)}`;
        return [{ place: `${slice} ${time}`, slice, time, version: batch.version, type, value: values[i], came }];
      }),
    ),
  );
}

function grouped<T>(all: readonly T[], name: (each: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const each of all) {
    const group = groups.get(name(each));
    if (group === undefined) groups.set(name(each), [each]);
    else group.push(each);
  }
  return [...groups.values()];
}

/** The rules, said of single values. */
function model(
  cells: readonly Cell[],
  deletes: readonly { version: Version; maxTime: number }[],
  conflict: ConflictRule,
) {
  const decided = { ...NONE };
  let same = 0;
  const isDead = (cell: Cell) => deletes.some(({ version, maxTime }) => version > cell.version && cell.time <= maxTime);
  decided.deleted = cells.filter((cell) => cell.came && isDead(cell)).length;
  const better = (a: Cell, b: Cell) => {
    return conflict === 'first-write-wins' ? a.version < b.version : a.version > b.version;
  };
  const best = (some: readonly Cell[]) => some.find((a) => some.every((b) => a === b || better(a, b)));
  const winners: Cell[] = [];
  for (const rivals of grouped(
    cells.filter((cell) => !isDead(cell)),
    ({ place }) => place,
  )) {
    const winner = best(rivals)!;
    winners.push(winner);
    const before = best(rivals.filter(({ came }) => !came));
    for (const loser of rivals) {
      if (loser === winner || !(loser.came || (winner.came && loser.version === before?.version))) continue;
      if (loser.type === winner.type && Object.is(loser.value, winner.value)) same++;
      else if (conflict === 'first-write-wins') decided.first++;
      else decided[stampOf(loser.version) === stampOf(winner.version) ? 'node' : 'later']++;
    }
  }
  const least = (some: readonly Cell[]) => Math.min(...some.map(({ type }) => type));
  for (const slice of grouped(winners, (cell) => cell.slice)) {
    const [now, before] = [least(slice), least(slice.filter(({ came }) => !came))];
    decided.type += slice.filter((cell) => cell.type > now && (cell.came || cell.type === before)).length;
  }
  return { decided, same };
}

const OPTIONS = { rowsMax: 40, series: 3, measurements: 2, fields: 2 };

function runOnce(seed: number): { counted: number } {
  const random: Random = randomOf(seed);
  const conflict: ConflictRule = random(3) === 0 ? 'first-write-wins' : 'last-write-wins';
  bench.engine.setRules(() => ({ conflict, hasDeletes: false }));
  const keys = keysOfBatches(OPTIONS);
  const names = new Map(keys.map(({ hash, key }) => [hash, key]));
  const nodes = ['00000000000000aa', '00000000000000bb', '00000000000000cc'];
  const drawn = new Set<Version>();
  const come = new Set<Version>();
  const cells: Cell[] = [];
  const deletes: { version: Version; maxTime: number }[] = [];
  for (let n = 0; n < 7; n++) {
    const version = stampOf(versionAt(random(6))) + nodes[random(3)]!;
    if (drawn.has(version)) continue;
    drawn.add(version);
    if (random(6) === 0) {
      const maxTime = random(200_000);
      deletes.push({ version, maxTime });
      bench.write(deleteBatch(version, { maxTime }));
    } else {
      const came = random(2) === 0;
      if (came) come.add(version);
      const batch = randomBatch(version, random, OPTIONS);
      bench.write(batch, keys);
      // No coordinator puts two values into one cell; here the first type counts.
      for (const own of grouped(cellsOf(batch, names, bench.shard().windowNs, came), ({ place }) => place))
        cells.push(own.reduce((a, b) => (a.type <= b.type ? a : b)));
    }
    if (random(4) === 0) bench.shard().flush();
  }
  const { decided, same, unexamined } = ask([...come]);
  expect({ seed, decided, same, unexamined }).toEqual({ seed, ...model(cells, deletes, conflict), unexamined: 0 });
  return { counted: Object.values(decided).reduce((sum, each) => sum + each, 0) };
}

test('random batches, from memory and from blocks, are counted as the model counts them', () => {
  let counted = 0;
  for (let seed = 1; seed <= 80; seed++) {
    bench = new Bench({ blockBytesTarget: 600 });
    counted += runOnce(seed).counted;
    if (seed < 80) bench.remove();
  }
  expect(counted).toBeGreaterThan(1_000);
});
