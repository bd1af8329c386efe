import { describe, expect, it } from 'vitest';
import { encodeBlock } from '../../shards/block.ts';
import { mergePlanned, mergeRowSets } from '../../shards/row-merge.ts';
import { mergeInKernel } from '../../shards/row-merge-kernel.ts';
import { resolveSeries } from '../../shards/row-resolve.ts';
import type { RowSet } from '../../shards/row-set.ts';
import { splitRows } from '../../shards/row-split.ts';
import type { Tombstone } from '../../shards/tombstone.ts';
import { type Cell, floatBits, type ModelRow, modelOf, randomFrom, randomRows, rowSetOf, versionOf } from './rows.ts';

const rankOf = (series: number): number => (series * 37) % 101;
const hashOrder = (a: number, b: number): number => rankOf(a) - rankOf(b);

const lines = (model: readonly ModelRow[]): string[] =>
  model.map(
    (r) =>
      `${r.series} ${r.time} ${r.version} ${[...r.cells]
        .sort()
        .map(([k, v]) => `${k}=${typeof v}${String(v)}`)
        .join('|')}`,
  );

function sorted(model: readonly ModelRow[]): ModelRow[] {
  return [...model].sort(
    (a, b) =>
      hashOrder(a.series, b.series) || a.time - b.time || (a.version < b.version ? -1 : a.version > b.version ? 1 : 0),
  );
}

describe('sorting', () => {
  it('puts random rows in order and loses none', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = randomFrom(seed);
      const model = randomRows(random, { series: 9, rowsMax: 25, versions: 6, fields: 5 });
      for (let i = model.length - 1; i > 0; i--) {
        const j = Math.floor(random() * (i + 1));
        [model[i], model[j]] = [model[j]!, model[i]!];
      }
      const rows = rowSetOf(model, rankOf);
      expect(lines(modelOf(rows)), `seed ${seed}`).toEqual(lines(sorted(model)));
      expect([...rows.versionTable]).toEqual([...new Set(rows.versionTable)].sort());
    }
  });

  it('handles ids far apart', () => {
    const cells = new Map<string, Cell>([['0:v', floatBits(1)]]);
    const model = [4_000_000_000, 5, 4_000_000_000].map((series, i) => ({
      series,
      time: i,
      version: versionOf(1),
      cells,
    }));
    expect([...rowSetOf(model, (id) => id).series]).toEqual([5, 4_000_000_000]);
  });
});

describe('merging', () => {
  it('keeps every fragment once, whichever way fragments and their fields are spread over sets', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = randomFrom(seed);
      const model = randomRows(random, { series: 6, rowsMax: 20, versions: 5, fields: 5 }).filter(
        (r) => r.cells.size > 0,
      );
      const parts: ModelRow[][] = Array.from({ length: 1 + Math.floor(random() * 4) }, () => []);
      const byTime = random() < 0.4;
      for (const row of model) {
        const pick = byTime ? (row.time < 15 ? 0 : parts.length - 1) : Math.floor(random() * parts.length);
        const other = Math.floor(random() * parts.length);
        if (other !== pick && random() < 0.3) {
          // Some fields in one set, some in the other, some in both.
          const left = new Map([...row.cells].filter(() => random() < 0.6));
          const right = new Map([...row.cells].filter(([name]) => !left.has(name) || random() < 0.3));
          parts[pick]!.push({ ...row, cells: left });
          parts[other]!.push({ ...row, cells: right });
        } else parts[pick]!.push(row);
      }
      const merged = mergeRowSets(
        parts.map((part) => rowSetOf(part, rankOf)),
        hashOrder,
      );
      expect(lines(modelOf(merged)), `seed ${seed}`).toEqual(lines(sorted(model)));
      const again = mergeRowSets(
        [...parts].reverse().map((part) => rowSetOf(part, rankOf)),
        hashOrder,
      );
      expect(lines(modelOf(again)), `seed ${seed} reversed`).toEqual(lines(sorted(model)));
    }
  });

  it('takes the greater bytes where one version has two values, in either order', () => {
    const row = (value: number): ModelRow => ({
      series: 1,
      time: 2,
      version: versionOf(3),
      cells: new Map([['0:v', floatBits(value)]]),
    });
    const [a, b] = [rowSetOf([row(1)], rankOf), rowSetOf([row(2)], rankOf)];
    for (const sets of [
      [a, b],
      [b, a],
    ])
      expect([...mergeRowSets(sets, hashOrder).columns[0]!.values]).toEqual([2]);
  });

  it('in the kernel gives what it gives row by row, and leaves rows that must be folded to that', () => {
    let folded = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const random = randomFrom(seed);
      const model = randomRows(random, { series: 9, rowsMax: 30, versions: 5, fields: 5 });
      const parts: ModelRow[][] = Array.from({ length: 2 + Math.floor(random() * 3) }, () => []);
      const late = random() * 0.5;
      for (const row of model) {
        const usual = Math.floor((row.time % 7) / 7) * parts.length;
        const pick = random() < late ? Math.floor(random() * parts.length) : Math.min(usual, parts.length - 1);
        parts[pick]!.push(row);
        if (seed % 5 === 0 && random() < 0.02) parts[(pick + 1) % parts.length]!.push(row);
      }
      const sets = parts.filter((part) => part.length > 0).map((part) => rowSetOf(part, rankOf));
      const planned = mergePlanned(sets, hashOrder);
      const merged = mergeInKernel(sets, hashOrder);
      if (merged === null) {
        folded++;
        expect(planned.times.length).toBeLessThan(sets.reduce((sum, set) => sum + set.times.length, 0));
      } else {
        expect(lines(modelOf(merged)), `seed ${seed}`).toEqual(lines(modelOf(planned)));
        expect([...merged.series]).toEqual([...planned.series]);
        expect([...merged.seriesStart]).toEqual([...planned.seriesStart]);
      }
    }
    expect(folded).toBeGreaterThan(10);
    expect(folded).toBeLessThan(100);
  });

  it('of nothing is nothing', () => {
    expect(mergeRowSets([], hashOrder).times.length).toBe(0);
  });
});

/** Per time the visible cells, found cell by cell. */
function visible(model: readonly ModelRow[], fields: readonly string[], tombstones: readonly Tombstone[]): string[] {
  const alive = model.filter(
    (row) =>
      !tombstones.some(
        (t) =>
          row.version < t.version &&
          t.covers(row.series) &&
          row.time >= t.predicate.minTime &&
          row.time <= t.predicate.maxTime,
      ),
  );
  const table = new Map<number, Map<string, { version: string; type: string; cell: Cell }>>();
  for (const row of alive) {
    for (const [name, cell] of row.cells) {
      const field = name.slice(2);
      if (!fields.includes(field)) continue;
      const at = table.get(row.time) ?? new Map();
      table.set(row.time, at);
      const old = at.get(field);
      const stronger = old !== undefined && old.version === row.version && old.type < name[0]!;
      if (old === undefined || (row.version >= old.version && !stronger))
        at.set(field, { version: row.version, type: name[0]!, cell });
    }
  }
  const strongest = new Map<string, string>();
  for (const at of table.values()) {
    for (const [field, { type }] of at)
      if (!strongest.has(field) || type < strongest.get(field)!) strongest.set(field, type);
  }
  return [...table]
    .sort(([a], [b]) => a - b)
    .map(([time, at]) => ({ time, cells: [...at].filter(([field, { type }]) => type === strongest.get(field)) }))
    .filter(({ cells }) => cells.length > 0)
    .map(
      ({ time, cells }) =>
        `${time} ${cells
          .map(([f, { type, cell }]) => `${type}:${f}=${String(cell)}`)
          .sort()
          .join('|')}`,
    );
}

function resolved(
  rows: RowSet,
  s: number,
  fields: readonly string[],
  tombstones: readonly Tombstone[],
  min: number,
  max: number,
) {
  const slice = resolveSeries(rows, s, fields, tombstones, min, max);
  if (slice === null) return [];
  expect(slice.series).toBe(rows.series[s]);
  const columns = slice.columns.filter((column) => column !== null);
  for (const column of columns)
    expect(column.present === null || (column.present.includes(1) && column.present.includes(0))).toBe(true);
  const single: RowSet = {
    series: Uint32Array.of(slice.series),
    seriesStart: Uint32Array.of(0, slice.times.length),
    times: slice.times,
    versions: new Uint32Array(slice.times.length),
    versionTable: [versionOf(0)],
    columns,
  };
  return modelOf(single).map(
    (r) =>
      `${r.time} ${[...r.cells]
        .map(([k, v]) => `${k}=${String(v)}`)
        .sort()
        .join('|')}`,
  );
}

describe('resolving', () => {
  it('shows the greatest version of every cell that no delete covers, as a naive model does', () => {
    for (let seed = 1; seed <= 400; seed++) {
      const random = randomFrom(seed);
      const model = randomRows(random, { series: 4, rowsMax: 30, versions: 6, fields: 6 });
      const rows = rowSetOf(model, rankOf);
      const fields = [...new Set(rows.columns.map((column) => column.field))].filter(() => random() < 0.7);
      fields.push('absent');
      const tombstones = Array.from({ length: Math.floor(random() * 3) }, (): Tombstone => {
        const [a, b] = [random(), random()].map((r) => rows.times[Math.floor(r * rows.times.length)]!);
        const predicate = { measurement: null, condition: null, minTime: Math.min(a!, b!), maxTime: Math.max(a!, b!) };
        const covered = new Set(rows.series.filter(() => random() < 0.6));
        return { version: versionOf(1.7e12 + Math.floor(random() * 7000)), predicate, covers: (id) => covered.has(id) };
      });
      const whole = random() < 0.5;
      const [a, b] = [random(), random()].map((r) => rows.times[Math.floor(r * rows.times.length)]!);
      const [min, max] = whole ? [0, Number.MAX_SAFE_INTEGER] : [Math.min(a!, b!), Math.max(a!, b!)];
      for (let s = 0; s < rows.series.length; s++) {
        const mine = model.filter((r) => r.series === rows.series[s] && r.time >= min && r.time <= max);
        expect(resolved(rows, s, fields, tombstones, min, max), `seed ${seed}`).toEqual(
          visible(mine, fields, tombstones),
        );
      }
    }
  });

  it('a tombstone does not cover a row of its own or a greater version', () => {
    const row = (time: number, ms: number): ModelRow => ({
      series: 1,
      time,
      version: versionOf(ms),
      cells: new Map([['4:v', true]]),
    });
    const rows = rowSetOf([row(1, 4), row(2, 5), row(3, 6)], rankOf);
    const predicate = { measurement: null, condition: null, minTime: 0, maxTime: 9 };
    const slice = resolveSeries(rows, 0, ['v'], [{ version: versionOf(5), predicate, covers: () => true }], 0, 9);
    expect([...slice!.times]).toEqual([2, 3]);
  });
});

describe('splitting', () => {
  const HOUR = 3.6e12;

  it('loses nothing, keeps to windows, and keeps a series of a window in one block unless it is huge', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const model = randomRows(randomFrom(seed), { series: 12, rowsMax: 60, versions: 6, fields: 5 });
      const rows = rowSetOf(model, rankOf);
      const blocks = splitRows(rows, HOUR, 1024);
      const places = new Map<string, number>();
      const all: ModelRow[] = [];
      blocks.forEach((block, b) => {
        encodeBlock(block);
        expect(new Set(block.versions).size).toBe(block.versionTable.length);
        const windows = new Set(Array.from(block.times, (time) => Math.floor(time / HOUR)));
        expect(windows.size).toBe(1);
        for (const id of block.series) {
          const place = `${id} ${[...windows][0]}`;
          expect(places.get(place) ?? b).toBe(b);
          places.set(place, b);
        }
        all.push(...modelOf(block));
      });
      expect(lines(sorted(all)), `seed ${seed}`).toEqual(lines(modelOf(rows)));
    }
  });

  it('comes near the target size, and cuts one huge series', () => {
    const random = randomFrom(1);
    const walk = (series: number, count: number): ModelRow[] =>
      Array.from({ length: count }, (_, i) => ({
        series,
        time: i * 1e6,
        version: versionOf(1000 + i),
        cells: new Map([['0:v', floatBits(random())]]),
      }));
    const many = splitRows(rowSetOf(Array.from({ length: 60 }, (_, s) => walk(s, 100)).flat(), rankOf), HOUR, 8192);
    for (const block of many.slice(0, -1)) expect(encodeBlock(block).body.length).toBeGreaterThan(5000);
    for (const block of many) expect(encodeBlock(block).body.length).toBeLessThan(12000);
    const huge = splitRows(rowSetOf(walk(1, 20_000), rankOf), HOUR, 8192);
    expect(huge.length).toBeGreaterThan(8);
    expect(huge.reduce((sum, block) => sum + block.times.length, 0)).toBe(20_000);
  });
});
