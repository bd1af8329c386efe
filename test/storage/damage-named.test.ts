/** What counts as damage of a shard's file (shard-file.ts). */
import { expect, test } from 'vitest';
import { damageNamed } from '../../shards/shard-file.ts';

const failing = (error: Error) => () =>
  damageNamed('a file', () => {
    throw error;
  });

test('bytes that make no sense are, and memory that is lacking is not', () => {
  expect(failing(new RangeError('Invalid typed array length: -1'))).toThrow(
    expect.objectContaining({ code: 'damaged-file' }),
  );
  const lacking = new RangeError('Array buffer allocation failed');
  expect(failing(lacking)).toThrow(lacking);
});
