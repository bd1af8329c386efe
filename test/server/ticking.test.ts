/** The timer of a worker: quick after something has happened, slower after a while without. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Ticking } from '../../server/ticking.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

let ticks = 0;
let workMs = 0;
function start(): Ticking {
  ticks = 0;
  workMs = 0;
  let clock = 0;
  const tick = () => {
    ticks++;
    clock += workMs;
  };
  return new Ticking({ tick, tickMs: 20, nowMs: () => clock });
}

const ticksIn = (ms: number): number => {
  const before = ticks;
  vi.advanceTimersByTime(ms);
  return ticks - before;
};

test('while nothing happens ticks are slower', () => {
  start();
  expect(ticksIn(200)).toBe(10);
  expect(ticksIn(600)).toBe(10);
});

test('what happens brings quick ticks back at once, and one timer', () => {
  const ticking = start();
  ticksIn(800);
  vi.advanceTimersByTime(30);
  ticking.stirred();
  expect(ticksIn(20)).toBe(1);
  expect(ticksIn(100)).toBe(5);
  ticking.stirred();
  expect(ticksIn(200)).toBe(10);
  expect(ticksIn(600)).toBe(10);
});

test('ticks that have work stay quick', () => {
  start();
  workMs = 2;
  expect(ticksIn(2000)).toBe(100);
});

test('a stopped one ticks no more, whatever happens', () => {
  const ticking = start();
  ticksIn(800);
  ticking.stop();
  ticking.stirred();
  expect(ticksIn(1000)).toBe(0);
});
