/** Statements that take too long end when their own time is up. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Deadlines } from '../../server/query/deadlines.ts';
import { Ending } from '../../server/query/ending.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('each after the same time, whatever others began and ended before', () => {
  const deadlines = new Deadlines(1000);
  const endings = Array.from({ length: 5 }, () => new Ending());
  const ended = (): number[] => endings.flatMap(({ reason }, i) => (reason === null ? [] : [i]));
  deadlines.begin(endings[0]!);
  vi.advanceTimersByTime(300);
  deadlines.begin(endings[1]!);
  deadlines.done(endings[0]!);
  vi.advanceTimersByTime(900);
  deadlines.begin(endings[2]!);
  expect(ended()).toEqual([]);
  vi.advanceTimersByTime(101);
  expect(ended()).toEqual([1]);
  expect(endings[1]!.reason).toMatchObject({ message: 'query-timeout limit exceeded', code: 'query-error' });
  vi.advanceTimersByTime(898);
  expect(ended()).toEqual([1]);
  vi.advanceTimersByTime(2);
  expect(ended()).toEqual([1, 2]);
  // Nothing was left to wait for.
  vi.advanceTimersByTime(5000);
  deadlines.begin(endings[3]!);
  deadlines.begin(endings[4]!);
  vi.advanceTimersByTime(1001);
  expect(ended()).toEqual([1, 2, 3, 4]);
});

test('time in which it rests is not its own', () => {
  const deadlines = new Deadlines(1000);
  const [resting, other] = [new Ending(), new Ending()];
  deadlines.begin(resting);
  vi.advanceTimersByTime(700);
  const used = deadlines.rest(resting);
  expect(used).toBe(700);
  deadlines.begin(other);
  vi.advanceTimersByTime(400);
  deadlines.begin(resting, used);
  vi.advanceTimersByTime(299);
  expect([resting.reason, other.reason]).toEqual([null, null]);
  // Before that of the one that began earlier.
  vi.advanceTimersByTime(2);
  expect([resting.reason === null, other.reason]).toEqual([false, null]);
  vi.advanceTimersByTime(300);
  expect(other.reason).not.toBeNull();
});
