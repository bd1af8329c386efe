import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RepairRates } from '../../repair/budget.ts';
import { RepairRatesStore } from '../../server/repair-rates.ts';

let dataDirectory = '';
beforeEach(() => {
  dataDirectory = mkdtempSync(join(tmpdir(), 'starling-rates-'));
});
afterEach(() => rmSync(dataDirectory, { recursive: true, force: true }));

const open = () => new RepairRatesStore({ dataDirectory, repairBytesPerSecond: 5 << 20, repairCpuShare: null });

test('what was set while running wins over the configuration, and outlives a restart', () => {
  const store = open();
  const applied: RepairRates[] = [];
  store.onChange((rates) => applied.push(rates));
  expect(store.status).toEqual({ bytesPerSecond: 5 << 20, cpuShare: null, paused: false, setWhileRunning: false });
  store.set({ bytesPerSecond: null });
  store.set({ cpuShare: 0.25, paused: true });
  const now = { bytesPerSecond: null, cpuShare: 0.25, paused: true };
  expect(applied.at(-1)).toEqual(now);
  expect(open().status).toEqual({ ...now, setWhileRunning: true });
});

test('a reset goes back to the configuration and leaves the pause to be ended by a resume', () => {
  const store = open();
  store.set({ cpuShare: 0.5, paused: true });
  expect(store.reset()).toMatchObject({ bytesPerSecond: 5 << 20, cpuShare: null, paused: true });
  expect(open().rates.paused).toBe(true);
  expect(store.set({ paused: false })).toMatchObject({ setWhileRunning: false, paused: false });
  expect(readdirSync(dataDirectory)).toEqual([]);
});

test.each(['', '{', '[]', '{"bytesPerSecond":1}', '{"cpuShare":7}', '{"other":1}'])(
  'a file with %j is as none',
  (text) => {
    writeFileSync(join(dataDirectory, 'repair-rates.json'), text);
    expect(open().status.setWhileRunning).toBe(false);
  },
);

test('what the disk does not take has not been set', () => {
  const store = open();
  rmSync(dataDirectory, { recursive: true });
  expect(() => store.set({ paused: true })).toThrow(/ENOENT/);
  expect(store.rates.paused).toBe(false);
});

test('what the disk does not give up has not been taken back', () => {
  const store = open();
  const applied: RepairRates[] = [];
  store.set({ paused: true });
  store.onChange((rates) => applied.push(rates));
  rmSync(dataDirectory, { recursive: true });
  expect(() => store.set({ paused: false })).toThrow(/ENOENT/);
  expect(store.rates.paused).toBe(true);
  mkdirSync(dataDirectory);
  store.set({ paused: false, cpuShare: 0.5 });
  rmSync(dataDirectory, { recursive: true });
  expect(() => store.reset()).toThrow(/ENOENT/);
  expect(store.status).toMatchObject({ cpuShare: 0.5, setWhileRunning: true });
  expect(applied).toHaveLength(1);
});
