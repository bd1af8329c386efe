/** Settling rows against a naive model: whatever comes later, readers see the same as if nothing had been dropped. */
import { describe, expect, test } from 'vitest';
import { encodeBlock } from '../../shards/block.ts';
import { type ConflictRule, isSettledVersion, settledVersion, settleRows } from '../../shards/row-settle.ts';
import type { Tombstone } from '../../shards/tombstone.ts';
import { isThrough, stampOf, type Version } from '../../shards/version.ts';
import { type Cell, type ModelRow, modelOf, randomFrom, randomRows, rowSetOf, versionOf } from './rows.ts';

const rankOf = (id: number): number => (id * 7919) % 1009;

function isDead(row: ModelRow, tombstones: readonly Tombstone[]): boolean {
  return tombstones.some(
    ({ version, predicate, covers }) =>
      version > row.version && row.time >= predicate.minTime && row.time <= predicate.maxTime && covers(row.series),
  );
}

/** `series time field` -> type and value: deletes first, then the first or last version that has the field. */
function visible(model: readonly ModelRow[], tombstones: readonly Tombstone[], conflict: ConflictRule) {
  const winners = new Map<string, { version: Version; type: string; value: Cell }>();
  for (const row of model) {
    if (isDead(row, tombstones)) continue;
    for (const [column, value] of row.cells) {
      const [type, field] = [column[0]!, column.slice(2)];
      const name = `${row.series} ${row.time} ${field}`;
      const winner = winners.get(name);
      if (winner !== undefined) {
        if (winner.version === row.version ? winner.type < type : isBefore(winner.version, row.version, conflict))
          continue;
      }
      winners.set(name, { version: row.version, type, value });
    }
  }
  return new Map([...winners].map(([name, { type, value }]) => [name, `${type} ${String(value)}`]));
}

/** `a` takes the place of `b`. */
function isBefore(a: Version, b: Version, conflict: ConflictRule): boolean {
  return conflict === 'first-write-wins' ? a < b : a > b;
}

function tombstoneOf(version: Version, covered: ReadonlySet<number> | null, minTime = 0, maxTime = 1e18): Tombstone {
  const predicate = { measurement: null, condition: null, minTime, maxTime };
  return { version, predicate, covers: (id) => covered === null || covered.has(id) };
}

describe.each(['last-write-wins', 'first-write-wins'] as const)('%s', (conflict) => {
  test.each([true, false])('later rows and deletes meet what they would have met (all rows at hand: %s)', (whole) => {
    let dropped = 0;
    for (let seed = 1; seed <= 600; seed++) {
      const random = randomFrom(seed);
      const model = randomRows(random, { series: 4, rowsMax: 40, versions: 7, fields: 5 });
      const times = model.map(({ time }) => time);
      const someTime = (): number => times[Math.floor(random() * times.length)]!;
      const someVersion = (): Version => versionOf(1.7e12 + Math.floor(random() * 7500));
      const tombstones = Array.from({ length: Math.floor(random() * 4) }, () => {
        const [a, b] = [someTime(), someTime()];
        const covered = new Set([0, 7, 14, 21].filter(() => random() < 0.7));
        return tombstoneOf(someVersion(), covered, Math.min(a, b), Math.max(a, b));
      });
      const through = stampOf(random() < 0.2 ? versionOf(1.8e12) : someVersion());
      const merged = model.filter(({ version }) => random() < 0.6 || (whole && isThrough(version, through)));
      const others = model.filter((row) => !merged.includes(row));
      const rows = rowSetOf(merged, rankOf);
      const settled = settleRows(rows, { through, tombstones, whole, conflict });
      const left = modelOf(settled);
      if (left.length > 0) encodeBlock(settled);
      dropped += merged.length - left.length;

      const now = visible(model, tombstones, conflict);
      expect(visible([...left, ...others], tombstones, conflict), `seed ${seed}`).toEqual(now);
      // Nothing that could go has stayed.
      const below = left.filter(({ version }) => isThrough(version, through));
      const early = tombstones.filter(({ version }) => isThrough(version, through));
      const cells = below.flatMap((row) =>
        [...row.cells.keys()].map((name) => `${row.series} ${row.time} ${name.slice(2)}`),
      );
      const names = new Set(cells);
      expect(below.some((row) => row.cells.size > 0 && isDead(row, early))).toBe(false);
      expect(new Set(visible(below, early, conflict).keys())).toEqual(names);
      if (!whole) continue;
      expect(below.every(({ version }) => version === settledVersion(through))).toBe(true);
      expect(new Set(below.map(({ series, time }) => `${series} ${time}`)).size).toBe(below.length);
    }
    expect(dropped).toBeGreaterThan(500);
  });
});

const row = (ms: number, value: number): ModelRow => ({
  series: 1,
  time: 5,
  version: versionOf(ms),
  cells: new Map([['2:v', BigInt(value)]]),
});
const ROWS = [row(10, 1), row(30, 3)];

test('first write wins: a deleted value does not take the one behind it along', () => {
  const rows = rowSetOf(ROWS, rankOf);
  const request = {
    tombstones: [tombstoneOf(versionOf(20), null)],
    whole: true,
    conflict: 'first-write-wins',
  } as const;
  const left = modelOf(settleRows(rows, { ...request, through: stampOf(versionOf(40)) }));
  expect(left.map(({ cells }) => [...cells.values()])).toEqual([[3n]]);
});

test('first write wins: a killer alone is not enough, since a delete between the two may still come', () => {
  const rows = rowSetOf(ROWS, rankOf);
  const request = { tombstones: [], whole: true, conflict: 'first-write-wins' } as const;
  const left = modelOf(settleRows(rows, { ...request, through: stampOf(versionOf(15)) }));
  expect(left).toHaveLength(2);
  const late = [tombstoneOf(versionOf(20), null)];
  expect([...visible(left, late, 'first-write-wins').values()]).toEqual(['2 3']);
  const settled = settleRows(rowSetOf(left, rankOf), { ...request, tombstones: late, through: stampOf(versionOf(40)) });
  expect(modelOf(settled).map(({ cells }) => [...cells.values()])).toEqual([[3n]]);
});

test('above the settled stamp nothing changes, and what is settled already is left as it is', () => {
  const rows = rowSetOf(ROWS, rankOf);
  const request = { tombstones: [], whole: true, conflict: 'last-write-wins' } as const;
  expect(settleRows(rows, { ...request, through: stampOf(versionOf(5)) })).toBe(rows);
  const through = stampOf(versionOf(40));
  const settled = settleRows(rows, { ...request, through });
  expect(settled.versionTable.every(isSettledVersion)).toBe(true);
  expect(settleRows(settled, { ...request, through })).toBe(settled);
});
