/** Rows of numbers that the kernel writes, in all units of time and over several stretches, against rows by themselves. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { jsonPieces } from '../../server/http/response-json.ts';
import type { Epoch } from '../../server/http/response-time.ts';
import { type ResultRows, TableRows } from '../../server/query/result.ts';

const EPOCHS: readonly (Epoch | null)[] = [null, 'ns', 'u', 'ms', 's', 'm', 'h'];

function text(values: ResultRows, epoch: Epoch | null, columns: readonly string[]): string {
  const series = { columns, timeColumn: 0, values };
  return Buffer.concat([...jsonPieces([{ statementId: 0, series: [series] }], epoch)]).toString();
}

function expectSame(times: BigInt64Array, columns: readonly Float64Array[], epoch: Epoch | null): void {
  const table = new TableRows({ times, columns }, 0, times.length);
  const names = ['time', ...columns.map((_, c) => `c${c}`)];
  expect(text(table, epoch, names) === text([...table], epoch, names)).toBe(true);
}

it('times in every unit and as dates', () => {
  const edges = [0n, -1n, 1n, 999_999_999n, 1_000_000_000n, -86_400_000_000_000n, 2n ** 63n - 1n, -(2n ** 63n) + 1n];
  const leapDay = BigInt(Date.UTC(2000, 1, 29)) * 1_000_000n;
  const time = fc.oneof(
    fc.constantFrom(...edges, leapDay, leapDay + 86_399_999_999_999n, leapDay + 86_400_000_000_000n),
    fc.bigInt({ min: -(2n ** 63n) + 1n, max: 2n ** 63n - 1n }),
    fc.integer({ min: -200_000, max: 200_000 }).map((days) => (BigInt(days) * 86_400_000_000_000n) / 4n),
  );
  fc.assert(
    fc.property(fc.array(time, { minLength: 1 }), fc.constantFrom(...EPOCHS), (list, epoch) => {
      expectSame(BigInt64Array.from(list), [Float64Array.from(list, Number)], epoch);
    }),
    { numRuns: 2_000 },
  );
});

it.each([null, 's'] as const)(
  'more rows than are staged at once, pieces that end anywhere, exponents among them: %s',
  (epoch) => {
    const rows = 70_000;
    const times = BigInt64Array.from({ length: rows }, (_, row) => BigInt(row) * 1_000_000_007n);
    const value = (row: number): number => (row % 9_973 === 0 ? 1e300 : row % 5 === 0 ? Number.NaN : row / 7);
    expectSame(times, [Float64Array.from({ length: rows }, (_, row) => value(row))], epoch);
    const part = times.slice(0, 9_000);
    const columns = Array.from({ length: 11 }, (_, c) => Float64Array.from(part, (_, row) => value(row * (c + 1))));
    expectSame(part, columns, epoch);
  },
);

it('series of one table, and two tables whose pieces leave in turn', () => {
  const times = BigInt64Array.from({ length: 30_000 }, (_, row) => BigInt(row));
  const resultsOf = (factor: number) => {
    const table = { times, columns: [Float64Array.from(times, (time) => Number(time) * factor)] };
    const values = [
      new TableRows(table, 0, 10),
      new TableRows(table, 10, 29_000),
      new TableRows(table, 29_000, 30_000),
    ];
    return [
      { statementId: 0, series: values.map((each) => ({ columns: ['time', 'a'], timeColumn: 0, values: each })) },
    ];
  };
  const alone = [1.5, -0.25].map((factor) => Buffer.concat([...jsonPieces(resultsOf(factor), 'ns')]).toString());
  const turns = [1.5, -0.25].map((factor) => ({ pieces: jsonPieces(resultsOf(factor), 'ns'), got: [] as Buffer[] }));
  for (let open = 2; open > 0; ) {
    open = 0;
    for (const { pieces, got } of turns) {
      const { done, value } = pieces.next();
      if (done === true) continue;
      got.push(value);
      open++;
    }
  }
  expect(turns.map(({ got }) => Buffer.concat(got).toString())).toEqual(alone);
  expect(JSON.parse(alone[0]!).results[0].series[1].values[3]).toEqual([13, 19.5]);
});
