/** For how long a member has been silent, whatever the wall clock is set to. */
import { expect, test } from 'vitest';
import { Silence } from '../../server/silence.ts';

const HEARD = { number: 'a', live: true, lastHeardMsAgo: 200, heardBy: null };
const AWAY = { ...HEARD, live: false, lastHeardMsAgo: 60_000 };

test('is counted from the first look that finds it silent, until one finds it heard', () => {
  const silence = new Silence();
  expect(silence.ofMs('a', 5_000_000)).toBe(0);
  silence.look([HEARD], 5_000_000);
  silence.look([AWAY], 5_001_000);
  silence.look([AWAY], 8_600_000);
  expect(silence.ofMs('a', 8_601_000)).toBe(3_600_000);
  silence.look([HEARD], 8_602_000);
  expect(silence.ofMs('a', 8_603_000)).toBe(0);
});

test('is no longer than that for a clock that leapt, and for a node that has just begun', () => {
  const silence = new Silence();
  silence.look([{ ...AWAY, lastHeardMsAgo: 7_200_500 }], 1_000);
  expect(silence.ofMs('a', 2_000)).toBe(1_000);
});

test.each([
  ['is never heard', { ...AWAY, lastHeardMsAgo: null }, 1_000],
  ['is heard by another one', { ...AWAY, heardBy: 'n3' }, 0],
  ['is left out for its clock', { ...HEARD, live: false }, 0],
])('of one that %s', (_, seen, ms) => {
  const silence = new Silence();
  silence.look([seen], 0);
  expect(silence.ofMs('a', 1_000)).toBe(ms);
});
