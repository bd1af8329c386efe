/** The kernel's texts of numbers against String(). */
import { expect, it } from 'vitest';
import { NUMBER_BYTES_MAX, numberWriter } from '../../shards/kernel/answers-kernel.ts';

const writer = numberWriter(64);
const text = (value: number): string =>
  Buffer.from(writer.bytes.subarray(0, writer.write(value, 0))).toString('latin1');
const expected = (value: number): string => {
  if (!Number.isFinite(value)) return '';
  if (Object.is(value, -0)) return '-0';
  return String(value).includes('e') ? '' : String(value);
};

/** xorshift: the same numbers each time. */
function* words(count: number): Generator<number> {
  let state = 0x9e3779b9;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

function check(value: number): void {
  const got = text(value);
  if (got !== expected(value)) expect({ value, got }).toEqual({ value, got: expected(value) });
  if (got.length > NUMBER_BYTES_MAX) throw new Error(`${value} took ${got.length} bytes`);
}

it('numbers are written as String() writes them; those with an exponent and those that are none are left alone', () => {
  const edges = [
    0,
    -0,
    1,
    -1,
    0.1,
    0.3,
    1 / 3,
    5e-324,
    1e-7,
    1e-6,
    1e-6 * (1 - Number.EPSILON),
    1.5e-6,
    1e21,
    999999999999999900000,
  ];
  edges.push(
    2 ** 53,
    2 ** 53 - 1,
    2 ** 53 + 2,
    2 ** 63,
    2 ** 64,
    1e15,
    1e16,
    123456789012345680000,
    0.001,
    0.0015,
    12.345,
  );
  edges.push(
    Number.MAX_VALUE,
    Number.MIN_VALUE,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    97.43589743589743,
    1e11,
    99999999999.999,
  );
  for (const value of edges) {
    check(value);
    check(-value);
  }
  for (let power = -30; power < 80; power++)
    for (const near of [-1, 0, 1]) check(2 ** power * (1 + near * Number.EPSILON));
  for (let power = -8; power < 23; power++)
    for (const near of [-1, 0, 1]) check(10 ** power * (1 + near * Number.EPSILON));
});

it('random numbers: any bits, decimals, means of decimals', () => {
  const bits = new DataView(new ArrayBuffer(8));
  let before = 1;
  for (const word of words(100_000)) {
    bits.setUint32(0, before);
    bits.setUint32(4, word);
    check(bits.getFloat64(0));
    check((word % 10_000_000) / 10 ** (before % 8));
    check((word % 100_000) / 100 / ((before % 700) + 1));
    check(word * before);
    before = word;
  }
});
