/** Groups come back from their packed form as they were. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { packGroups, unpackGroups } from '../../shards/query/packed-groups.ts';

it('names and values of any characters, several measurements, no groups at all', () => {
  const text = fc.oneof(fc.constant(''), fc.constant('host_1'), fc.string({ unit: 'binary' }));
  const groups = fc.nat({ max: 3 }).chain((dimensions) =>
    fc
      .array(
        fc.tuple(fc.constantFrom('', 'a', 'm', 'é'), fc.array(text, { minLength: dimensions, maxLength: dimensions })),
      )
      .map((list) => ({
        measurements: list.map(([name]) => name).sort(),
        tagValues: Array.from({ length: dimensions }, (_, d) => list.map(([, values]) => values[d]!)),
      })),
  );
  fc.assert(
    fc.property(groups, (some) => {
      expect(unpackGroups(structuredClone(packGroups(some)))).toEqual(some);
    }),
  );
});
