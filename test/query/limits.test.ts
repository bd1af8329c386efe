/** Limits, missing shards, chunks: what a statement says when it cannot or may not answer whole. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { QueryBackend } from '../../server/query/backend.ts';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const DAY = 86_400_000_000_000n;
const memory = new MemoryBackend();

beforeAll(async () => {
  await ask(memory, 'CREATE DATABASE t WITH SHARD DURATION 1d');
  const lines: string[] = [];
  for (let n = 0; n < 200; n++) lines.push(`m,host=h${n % 10} v=${n} ${BigInt(n) * (DAY / 100n)}`);
  memory.write('t', lines.join('\n'));
});

const error = async (query: string, limits = {}): Promise<string | undefined> =>
  (await ask(memory, query, { database: 't', nowNs: 3n * DAY, limits }))[0]!.error;

describe('a statement over a limit answers an error', () => {
  it('too many windows, at once and without holding them', async () => {
    const asked = 'SELECT mean(v) FROM m WHERE time >= 0 AND time < 2d GROUP BY time(1ns)';
    expect(await error(asked)).toBe('max-select-buckets limit exceeded: (172800000000000/1000000)');
    expect(await error('SELECT mean(v) FROM m GROUP BY time(1ns)')).toMatch(/^max-select-buckets limit exceeded: /);
    expect(await error(`${asked} fill(none)`)).toMatch(/^query holds too many windows at once: /);
  });

  it('forecasts of too many values, whatever there is to go by', async () => {
    const forecast = (ahead: number, more: string) => `SELECT holt_winters(mean(v), ${ahead}, 0) FROM m WHERE ${more}`;
    const days = 'time >= 0 AND time < 2d GROUP BY time(6h)';
    expect(await error(forecast(30_000_000, days))).toBe('max-select-buckets limit exceeded: (30000000/1000000)');
    expect(await error(`SELECT max(h) FROM (${forecast(30_000_000, days)})`)).toMatch(/^max-select-buckets limit/);
    expect(await error(forecast(6, days), { bucketsMax: 14 })).toBeUndefined();
    expect(await error(forecast(7, days), { bucketsMax: 14 })).toBe('max-select-buckets limit exceeded: (15/14)');
    expect(await error(forecast(9, `${days}, host`), { cellsMax: 160 })).toMatch(/values of 10 groups \(limit 160\)/);
    // Windows without a value are held as well.
    const far = 'WHERE time >= 0 AND time < 2d GROUP BY time(1ms), host fill(none)';
    expect(await error(`SELECT holt_winters(median(v), 1, 0) FROM m ${far}`)).toMatch(
      /^max-select-buckets limit exceeded: \(\d{9}\/1000000\)$/,
    );
    expect(await error(`SELECT holt_winters(mean(v), 1, 2049) FROM m WHERE ${days}`)).toMatch(
      /third arg to holt_winters cannot be greater than 2048, got 2049$/,
    );
  });

  it('too many cells, rows scanned, rows, series, nested queries, response rows', async () => {
    expect(await error('SELECT mean(v) FROM m GROUP BY host', { cellsMax: 2 })).toMatch(/too many windows/);
    expect(await error('SELECT mean(v) FROM m', { rowsScannedMax: 10 })).toBe(
      'max-select-point limit exceeded: (11/10)',
    );
    expect(await error('SELECT v FROM m', { rowsMax: 20 })).toMatch(/too many rows|more than 20 rows/);
    expect(await error('SELECT median(v) FROM m', { rowsMax: 150 })).toMatch(/more than 150 rows/);
    // Of all shards of a group together.
    expect(await error('SELECT mean(v) FROM m', { seriesMax: 9 })).toBe('max-select-series limit exceeded: (10/9)');
    expect(await error('SELECT mean(v) FROM m', { seriesMax: 10 })).toBeUndefined();
    expect(await error('SHOW SERIES', { seriesMax: 2 })).toMatch(/lists more than 2/);
    expect(await error('SELECT v FROM m', { responseRowsMax: 7 })).toMatch(/more than 7 rows/);
    const nested = `${'SELECT v FROM ('.repeat(5)}SELECT v FROM m${')'.repeat(5)}`;
    expect(await error(nested, { nestingMax: 3 })).toBe('subqueries nest deeper than 3');
  });

  it('subqueries that are read again for each number of windows that functions around them look back', async () => {
    const calls = 'mean(v) AS v, difference(mean(v)) AS b, difference(difference(mean(v))) AS c';
    const nested = (depth: number): string =>
      depth === 0 ? 'm' : `(SELECT ${calls} FROM ${nested(depth - 1)} GROUP BY time(1h))`;
    const asked = (depth: number) => `SELECT * FROM ${nested(depth)} WHERE time >= 0 AND time < 6h`;
    expect(await error(asked(4))).toBeUndefined();
    expect(await error(asked(16))).toMatch(/^more than 2000 subqueries, /);
  });

  it('time: the statement ends, the process does not', async () => {
    const slow = new MemoryBackend();
    await ask(slow, 'CREATE DATABASE t');
    slow.write('t', 'm v=1 1');
    const hang = { ...slow.backend, run: () => new Promise<never>(() => {}) };
    const stuck = Object.assign(Object.create(slow) as MemoryBackend, { backend: hang });
    const [result] = await ask(stuck, 'SELECT v FROM m', { database: 't', limits: { queryMsMax: 20 } });
    expect(result!.error).toBe('query-timeout limit exceeded');
  });
});

it.each([
  ['SELECT v FROM m LIMIT 3', 'SELECT v FROM m GROUP BY time(0s) LIMIT 3'],
  ['SELECT v FROM m LIMIT 3', 'SELECT v FROM m GROUP BY time(0s, 1s) LIMIT 3'],
  ['SELECT v FROM m LIMIT 3', 'SELECT v FROM m GROUP BY time(0s, now()) LIMIT 3'],
  ['SELECT mean(v) FROM m', 'SELECT mean(v) FROM m GROUP BY time(0s, 1s)'],
  [
    'SELECT sum(a) FROM (SELECT mean(v) AS a FROM m)',
    'SELECT sum(a) FROM (SELECT mean(v) AS a FROM m GROUP BY time(0s))',
  ],
])('windows of no length are none: %s', async (without, text) => {
  const [plain] = await ask(memory, without, { database: 't' });
  expect(plain!.series).toBeDefined();
  expect(await ask(memory, text, { database: 't' })).toEqual([plain]);
});

it('windows of less than no length are an error', async () => {
  for (const interval of ['-1s', '-1s, 1s', '-1d'])
    expect(await error(`SELECT mean(v) FROM m GROUP BY time(${interval})`)).toBe('time dimension must not be negative');
});

describe('what an answer rests on', () => {
  const named = { database: 't', completeness: true };

  it('shards read from a damaged replica, and shards that only unheard members may know, make it incomplete; losses are named', async () => {
    const memory = new MemoryBackend();
    await ask(memory, 'CREATE DATABASE t');
    memory.write('t', 'm v=1 1');
    const with_ = (more: Partial<QueryBackend>) =>
      Object.assign(Object.create(memory) as MemoryBackend, { backend: { ...memory.backend, ...more } });
    const { run } = memory.backend;
    const hurt = with_({
      run: async (targets, ...rest) => ({ ...(await run(targets, ...rest)), damaged: [...targets] }),
    });
    const [damaged] = await ask(hurt, 'SELECT v FROM m', named);
    expect(damaged!.completeness).toMatchObject({ complete: false, missing_shards: [], converged_through: 1 });
    expect((damaged!.completeness as { damaged_shards: string[] }).damaged_shards).toHaveLength(1);
    expect((await ask(hurt, 'SELECT v FROM m', { database: 't' }))[0]!.error).toBeUndefined();
    const bereft = with_({
      run: async (targets, ...rest) => ({
        ...(await run(targets, ...rest)),
        losses: [
          { member: 'b', name: 'n3', afterMs: 5_500 },
          { member: 'b', name: 'n3', afterMs: 2_500 },
          { member: 'a', name: 'n2', afterMs: 0 },
        ],
      }),
    });
    expect((await ask(bereft, 'SELECT v FROM m', named))[0]!.completeness).toMatchObject({
      complete: true,
      losses: [
        { member: 'n2', after: null },
        { member: 'n3', after: 2.5 },
      ],
    });
    const acknowledged = Object.assign(Object.create(bereft) as MemoryBackend, {
      backend: {
        ...bereft.backend,
        snapshot: () => ({
          ...memory.backend.snapshot(),
          members: [{ number: 'b', name: 'n3', address: '', state: 'removed', lossAcknowledgedMs: 1 }],
        }),
      },
    });
    expect((await ask(acknowledged, 'SELECT v FROM m', named))[0]!.completeness).toMatchObject({
      losses: [
        { member: 'n2', after: null },
        { member: 'n3', after: 2.5, acknowledged: true },
      ],
    });
    const deaf = with_({ unheard: () => ['n3', 'n2'] });
    expect((await ask(deaf, 'SELECT v FROM m', named))[0]!.completeness).toEqual({
      complete: false,
      missing_shards: [],
      unheard_members: ['n2', 'n3'],
      converged_through: null,
      live_converged_through: null,
    });
    expect((await ask(deaf, 'SELECT v FROM m', { database: 't' }))[0]!.error).toBe(
      'shards unknown: n2, n3 have not said since this node started which shards they hold',
    );
  });
});

describe('shards without a live owner', () => {
  it('make the statement an error, or are named beside the data when completeness was asked for', async () => {
    const partly = new MemoryBackend({ shardsPerGroup: 1 });
    await ask(partly, 'CREATE DATABASE t WITH SHARD DURATION 1d');
    partly.write('t', `m v=1 1\nm v=2 ${DAY + 1n}`);
    const [first] = partly.shards.keys();
    partly.down.add(first!);
    const [plain] = await ask(partly, 'SELECT sum(v) FROM m', { database: 't' });
    expect(plain!.error).toMatch(/^1 of 2 shards unavailable: no owner is up \(/);
    expect(plain!.series).toBeUndefined();
    const [named] = await ask(partly, 'SELECT sum(v) FROM m', { database: 't', completeness: true, epoch: 'ns' });
    expect(named!.series![0]!.values).toEqual([[0, 2]]);
    expect(named!.completeness).toEqual({
      complete: false,
      missing_shards: [first],
      converged_through: 1,
      live_converged_through: 2,
    });
    const [later] = await ask(partly, 'SELECT sum(v) FROM m WHERE time >= 1d', { database: 't', completeness: true });
    expect(later!.completeness).toEqual({
      complete: true,
      missing_shards: [],
      converged_through: 1,
      live_converged_through: 2,
    });
  });
});

describe('chunks', () => {
  it('have one series and at most so many rows each; partial until the last of the statement', async () => {
    const results = await ask(memory, 'SELECT v FROM m GROUP BY host LIMIT 5', { database: 't', chunkSize: 2 });
    expect(results).toHaveLength(30);
    expect(results.slice(0, 3).map((result) => result.partial)).toEqual([true, true, true]);
    expect(results.flatMap((result) => result.series![0]!.values!)).toHaveLength(50);
  });

  it('are made of SHOW SERIES, TAG KEYS and FIELD KEYS, too, and of no other SHOW', async () => {
    const own = new MemoryBackend();
    await ask(own, 'CREATE DATABASE t');
    own.write('t', 'm,a=1,b=2,c=3 v=1 0\nm,a=2 v=1 0\nn,a=1 v=1,w=2 0\no v=1 0');
    const chunks = async (text: string) =>
      (await ask(own, text, { database: 't', chunkSize: 2 })).map(({ partial, series }) => [
        partial === true,
        ...series!.map((each) => [each.name, each.values!.length]),
      ]);
    expect(await chunks('SHOW SERIES')).toEqual([
      [true, [undefined, 2]],
      [false, [undefined, 2]],
    ]);
    expect(await chunks('SHOW TAG KEYS')).toEqual([
      [true, ['m', 2]],
      [true, ['m', 1]],
      [false, ['n', 1]],
    ]);
    expect(await chunks('SHOW FIELD KEYS')).toEqual([
      [true, ['m', 1]],
      [true, ['n', 2]],
      [false, ['o', 1]],
    ]);
    expect(await chunks('SHOW TAG VALUES WITH KEY = a')).toEqual([[false, ['m', 2], ['n', 1]]]);
    expect(await chunks('SHOW MEASUREMENTS')).toEqual([[false, ['measurements', 3]]]);
    expect(await ask(own, 'SHOW FIELD KEYS FROM nope', { database: 't', chunkSize: 2 })).toEqual([{ statement_id: 0 }]);
  });
});

describe('deletes', () => {
  it('by time and tag; DROP SERIES and DROP MEASUREMENT', async () => {
    const own = new MemoryBackend();
    await ask(own, 'CREATE DATABASE t WITH SHARD DURATION 1d');
    own.write('t', [0n, 1n, 2n].flatMap((d) => ['a', 'b'].map((host) => `m,host=${host} v=1 ${d * DAY}`)).join('\n'));
    own.write('t', 'n v=1 0');
    const count = async (from: string): Promise<unknown> =>
      (await ask(own, `SELECT count(v) FROM ${from} GROUP BY host`, { database: 't' }))[0]!.series?.map(
        (s) => s.values![0]![1],
      );
    const change = async (text: string): Promise<void> => {
      expect(await ask(own, text, { database: 't' })).toEqual([{ statement_id: 0 }]);
    };
    await change(`DELETE FROM m WHERE time >= 1d AND time < 2d AND host = 'a'`);
    expect(await count('m')).toEqual([2, 3]);
    await change(`DELETE WHERE time >= 2d`);
    expect(await count('m')).toEqual([1, 2]);
    await change(`DROP SERIES FROM /^m$/ WHERE host = 'b'`);
    expect(await count('m')).toEqual([1]);
    await change('DROP MEASUREMENT m');
    expect(await count('m')).toBeUndefined();
    expect(await count('n')).toEqual([1]);
  });
});
