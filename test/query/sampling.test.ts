import { beforeAll, expect, test } from 'vitest';
import { ask, type JsonResult } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const ROWS = 2000;
const lines = Array.from({ length: ROWS }, (_, i) => `m,h=${i % 2} v=${i},s="t${i}" ${i + 1}000000000`).join('\n');
const memory = new MemoryBackend();
const cut = new MemoryBackend({ shardsPerGroup: 1, shardDurationNs: 100_000_000_000n });

beforeAll(async () => {
  for (const each of [memory, cut]) {
    await ask(each, 'CREATE DATABASE t');
    each.write('t', lines);
  }
});

const run = async (query: string, of = memory): Promise<JsonResult> =>
  (await ask(of, query, { database: 't', epoch: 's', nowNs: 3_000_000_000_000n }))[0]!;

test('rows are drawn in their order, with their own times and further columns', async () => {
  const { series } = await run('SELECT sample(v, 5), s, h FROM m');
  expect(series![0]!.columns).toEqual(['time', 'sample', 's', 'h']);
  const values = series![0]!.values as [number, number, string, string][];
  expect(values).toHaveLength(5);
  expect(values.map(([time]) => time)).toEqual(values.map(([time]) => time).toSorted((a, b) => a - b));
  for (const [time, v, s, h] of values) expect([time, s, h]).toEqual([v + 1, `t${v}`, `${v % 2}`]);
});

test('every window gives as many as it has, at most so many', async () => {
  const { series } = await run(
    'SELECT sample(s, 3) FROM m WHERE time >= 990s AND time < 1003s GROUP BY time(10s) fill(0)',
  );
  const values = series![0]!.values as [number, string][];
  expect(values.filter(([time]) => time < 1000)).toHaveLength(3);
  expect(values.filter(([time]) => time >= 1000).map(([, s]) => s)).toEqual(['t999', 't1000', 't1001']);
});

test('the sample does not depend on how the data are cut into shards', async () => {
  const query = 'SELECT sample(v, 7) FROM m GROUP BY h';
  expect(await run(query)).toEqual(await run(query, cut));
});

test('any part of the rows is as likely as any other', async () => {
  const { series } = await run('SELECT sample(v, 400) FROM m');
  const values = series![0]!.values as [number, number][];
  for (let tenth = 0; tenth < 10; tenth++) {
    const drawn = values.filter(([, v]) => Math.floor((v * 10) / ROWS) === tenth).length;
    // 40 are expected; four deviations of the binomial distribution.
    expect(Math.abs(drawn - 40)).toBeLessThan(24);
  }
});
