/** Work that goes by the wall clock, or must not, when that is set. */
import express from 'express';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { addAlerts } from '../../server/alerts/extension.ts';
import { atTimes } from '../../server/clock-times.ts';
import type { NodeContext } from '../../server/main.ts';

const NIGHT = new Date(2026, 10, 28, 2, 59, 50).getTime();
const DAY_MS = 86_400_000;

beforeEach(() => void vi.useFakeTimers({ now: NIGHT }));
afterEach(() => void vi.useRealTimers());

function counted(cron: string): { ran: number[]; stop: () => void } {
  const ran: number[] = [];
  return { ran, stop: atTimes(cron, () => void ran.push(Date.now() - NIGHT)) };
}

test('a cron expression is met once each time', () => {
  const { ran, stop } = counted('*/5 * * * *');
  vi.advanceTimersByTime(400_000);
  expect(ran).toEqual([10_000, 310_000]);
  stop();
  vi.advanceTimersByTime(400_000);
  expect(ran).toHaveLength(2);
});

test('seconds that a busy event loop left out are made up for, once', () => {
  const { ran, stop } = counted('0 3 * * *');
  vi.setSystemTime(NIGHT + 30_000);
  vi.advanceTimersByTime(5_000);
  expect(ran).toHaveLength(1);
  stop();
});

test('a clock put forward by years does nothing at once, and put back nothing is waited for', () => {
  const { ran, stop } = counted('*/10 * * * * *');
  const looked = vi.spyOn(Date, 'now');
  vi.setSystemTime(NIGHT + 3_650 * DAY_MS + 1_000);
  vi.advanceTimersByTime(1_000);
  expect(ran).toEqual([]);
  expect(looked.mock.calls.length).toBeLessThan(5);
  vi.setSystemTime(NIGHT - DAY_MS);
  vi.advanceTimersByTime(30_000);
  expect(ran).toHaveLength(3);
  stop();
});

test('rules are looked at each second, whatever the clock says', async () => {
  let ticks = 0;
  const context = {
    core: {},
    config: { nodeName: 'n1', rulesDirectory: null },
    isReady: () => {
      ticks++;
      return false;
    },
    log: { error: () => {} },
  } as unknown as NodeContext;
  const stop = addAlerts(express(), context);
  vi.setSystemTime(NIGHT + DAY_MS);
  vi.advanceTimersByTime(2_000);
  expect(ticks).toBe(2);
  vi.setSystemTime(NIGHT - DAY_MS);
  vi.advanceTimersByTime(5_000);
  expect(ticks).toBe(7);
  await stop();
});
