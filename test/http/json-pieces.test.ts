/** Results as JSON bytes: tables of columns and lists of rows say the same, however many pieces they leave in. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PIECE_BYTES } from '../../server/http/json-writer.ts';
import { jsonPieces } from '../../server/http/response-json.ts';
import { type ResultRows, TableRows } from '../../server/query/result.ts';
import type { Scalar } from '../../shards/query/arithmetic.ts';

function text(values: ResultRows, more: { partial?: boolean; name?: string } = {}): { text: string; pieces: number } {
  const series = { columns: ['time', 'a', 'b', 'c'], timeColumn: 0, tags: { h: 'x"<é' }, values, ...more };
  const pieces = [
    ...jsonPieces([{ statementId: 0, series: [series, { ...series, values: values.slice(0, 1) }] }], 'ns'),
  ];
  return { text: Buffer.concat(pieces).toString(), pieces: pieces.length };
}

const cell = fc.oneof(
  fc.constantFrom<Scalar>(null, true, false, -0, '', 'plain', '<&>"\\\n\u2028', 'ä€😀', '\ud800', 2n ** 60n),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.double(),
);

it('a table is written like its rows, and like JSON.stringify where that knows the values', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }), fc.double(), cell, cell)),
      (rows) => {
        const table = new TableRows(
          {
            times: BigInt64Array.from(rows, (row) => row[0]),
            columns: [Float64Array.from(rows, (row) => row[1]), rows.map((row) => row[2]), rows.map((row) => row[3])],
          },
          0,
          rows.length,
        );
        const lists = rows.map(([time, a, b, c]) => [time, Number.isFinite(a) ? a : null, b, c]);
        expect(text(table)).toEqual(text(lists));
        expect(text(table, { partial: true, name: 'm' })).toEqual(text(lists, { partial: true, name: 'm' }));
        const parsed = JSON.parse(text(table).text) as { results: [{ series: [{ values?: unknown[][] }] }] };
        const readBack = (value: Scalar): unknown => {
          if (typeof value === 'bigint') return Number(value);
          if (typeof value === 'string') return value.replace(/\p{Surrogate}/gu, '\ufffd');
          return typeof value === 'number' && !Number.isFinite(value) ? null : value;
        };
        expect(parsed.results[0].series[0].values ?? []).toEqual(rows.map((row) => row.map(readBack)));
      },
    ),
  );
});

it('large answers leave in pieces, a text larger than a piece included', () => {
  const rows = 40_000;
  const long = 'é'.repeat(PIECE_BYTES);
  const strings = Array.from({ length: rows }, (_, row) => (row === 20_000 ? long : `s${row}`));
  const floats = Float64Array.from({ length: rows }, (_, row) => row / 7);
  const times = BigInt64Array.from({ length: rows }, (_, row) => BigInt(row));
  const table = new TableRows({ times, columns: [floats, strings, strings] }, 0, rows);
  const got = text(table);
  expect(got.pieces).toBeGreaterThan(8);
  const parsed = JSON.parse(got.text) as { results: [{ series: [{ values: unknown[][] }] }] };
  const { values } = parsed.results[0].series[0];
  expect(values).toHaveLength(rows);
  for (const row of [0, 19_999, 20_000, 20_001, rows - 1])
    expect(values[row]).toEqual([row, floats[row], strings[row], strings[row]]);
  expect(text([...table]).text).toBe(got.text);
});

it('rows of numbers alone are written like each number by itself, wide ones included', () => {
  const edges = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e21, 1e-7, 5e-324, -1.5, 1 / 3, 2 ** 53, -123456.789];
  const number = fc.oneof(fc.constantFrom(...edges), fc.double());
  const rowsOf = fc
    .integer({ min: 1, max: 150 })
    .chain((width) => fc.array(fc.array(number, { minLength: width, maxLength: width }), { minLength: 1 }));
  fc.assert(
    fc.property(rowsOf, (rows) => {
      const times = BigInt64Array.from(rows, (_, row) => BigInt(row));
      const columns = rows[0]!.map((_, c) => Float64Array.from(rows, (row) => row[c]!));
      const table = new TableRows({ times, columns }, 0, rows.length);
      const lists = rows.map((row, at) => [BigInt(at), ...row.map((value) => (Number.isFinite(value) ? value : null))]);
      expect(text(table)).toEqual(text(lists));
    }),
  );
});

it('a list of texts is a list', () => {
  expect(text([['a', ['x', '"<'], [], null]]).text).toContain('["a",["x","\\"\\u003c"],[],null]');
});
