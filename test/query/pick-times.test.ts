/** Times of picked rows, written without bigints. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type CellGrid, pickTime, pickTimes } from '../../server/query/cells.ts';

it('many at once are those one by one, also before 1970 and across the halves of 64 bits', () => {
  const start = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n });
  const offset = fc.oneof(
    fc.integer({ min: 0, max: 2 ** 53 - 1 }),
    fc.constantFrom(0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1),
  );
  const startNear = fc.constantFrom(0n, -1n, 2n ** 32n - 1n, -(2n ** 32n), 2n ** 40n - 1n);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.oneof(start, startNear), fc.array(offset, { minLength: 1, maxLength: 4 })), {
        minLength: 1,
      }),
      (shards) => {
        const cells = shards.flatMap(([, offsets], s) => offsets.map((_, cell) => ({ s, cell })));
        const grid = {
          calls: [
            { shard: Uint32Array.from(cells, ({ s }) => s), shardCell: Uint32Array.from(cells, ({ cell }) => cell) },
          ],
          shards: shards.map(([startNs, offsets]) => ({ startNs, states: [{ times: Float64Array.from(offsets) }] })),
        } as unknown as CellGrid;
        const times = new BigInt64Array(cells.length);
        pickTimes(grid, 0, (place) => cells.length - 1 - place, times);
        expect([...times].reverse()).toEqual(cells.map((_, cell) => pickTime(grid, 0, cell)));
      },
    ),
  );
});
