/** Which columns of a block the calls of an aggregate want. */
import { expect, it } from 'vitest';
import { decodeBlockHead, encodeBlock } from '../../shards/block.ts';
import type { BlockColumn } from '../../shards/block-head.ts';
import { FLOAT, INTEGER } from '../../shards/column.ts';
import { WantedColumns } from '../../shards/wanted-columns.ts';
import { randomFrom, randomRows, rowSetOf } from '../blocks/rows.ts';

type Given = readonly (readonly [field: string, type: typeof FLOAT | typeof INTEGER])[];

const headOf = (given: Given) => ({
  columns: given.map(([field, type]) => ({ field, type }) as BlockColumn),
  fields: given.map(([field]) => field),
});

it('are found block by block, each with all calls that want it; a field of two types, and another type, with none', () => {
  const wanted = new WantedColumns([
    { fn: 'max', field: 'a', type: FLOAT },
    { fn: 'max', field: 'b', type: FLOAT },
    { fn: 'mean', field: 'a', type: FLOAT },
  ]);
  const found = (given: Given) => wanted.of(headOf(given))?.map(({ column, calls }) => [column.field, calls]) ?? null;
  const both = [
    ['a', [0, 2]],
    ['b', [1]],
  ];
  expect(found([['a', FLOAT]])).toEqual([['a', [0, 2]]]);
  expect(
    found([
      ['b', FLOAT],
      ['x', INTEGER],
      ['a', FLOAT],
    ]),
  ).toEqual(both);
  expect(found([['x', FLOAT]])).toEqual([]);
  expect(
    found([
      ['a', FLOAT],
      ['a', INTEGER],
    ]),
  ).toBeNull();
  expect(
    found([
      ['x', FLOAT],
      ['x', INTEGER],
      ['a', FLOAT],
      ['b', FLOAT],
    ]),
  ).toEqual(both);
  const head = headOf([
    ['a', FLOAT],
    ['b', FLOAT],
  ]);
  expect(wanted.of(head)).not.toBeNull();
  // The same list, and other types.
  expect(
    wanted.of({
      ...head,
      columns: headOf([
        ['a', FLOAT],
        ['b', INTEGER],
      ]).columns,
    }),
  ).toBeNull();
});

it('heads with the same fields share the list', () => {
  const headFrom = (seed: number) => {
    const shape = { series: 4, rowsMax: 150, versions: 1, fields: 3 };
    return decodeBlockHead(encodeBlock(rowSetOf(randomRows(randomFrom(seed), shape), (series) => series)).head);
  };
  const heads = Array.from({ length: 20 }, (_, seed) => headFrom(seed));
  for (const { columns, fields } of heads) expect(fields).toEqual(columns.map(({ field }) => field));
  const lists = new Set(heads.map(({ fields }) => fields));
  expect(lists.size).toBe(new Set(heads.map(({ fields }) => fields.join())).size);
  expect(lists.size).toBeLessThan(heads.length);
});
