/** Rows of many shard groups: what is asked, and that the answers are those of one shard. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { PartialRequest } from '../../shards/query/partial.ts';
import { type AskOptions, ask } from './ask.ts';
import { MemoryBackend, type MemoryOptions } from './memory-backend.ts';

const DAY = 86_400_000_000_000n;
const DAYS = 160;
const OPTIONS: AskOptions = { database: 't', nowNs: 1000n * DAY, epoch: 'ns' };

/** With two hosts, five rows of each a day. */
async function manyDays(): Promise<MemoryBackend> {
  const memory = new MemoryBackend({ shardsPerGroup: 3, shardDurationNs: DAY });
  await ask(memory, 'CREATE DATABASE t');
  const lines: string[] = [];
  for (let n = 0; n < DAYS * 5; n++)
    for (const host of ['a', 'b']) lines.push(`m,host=${host} v=${n} ${BigInt(n) * (DAY / 5n)}`);
  lines.push(`n v=1 ${40n * DAY}`);
  memory.write('t', lines.join('\n'));
  return memory;
}

/** What each request was, and of how many days. */
function watched(memory: MemoryBackend): { kind: string; days: number }[] {
  const requests: { kind: string; days: number }[] = [];
  const { run } = memory.backend;
  memory.backend.run = (targets, request, ...rest) => {
    requests.push({ kind: kindOf(request), days: new Set(targets.map(({ key }) => key.startNs)).size });
    return run(targets, request, ...rest);
  };
  return requests;
}

const kindOf = (request: PartialRequest): string =>
  request.kind === 'select' && request.measurements.length === 0 ? 'confirm' : request.kind;

describe('shard groups that are asked', () => {
  let memory: MemoryBackend;
  let requests: ReturnType<typeof watched>;

  beforeAll(async () => {
    memory = await manyDays();
    // From here on schemas are remembered.
    for (const from of ['m', '/^(m|n)$/']) await ask(memory, `SELECT count(v) FROM ${from}`, OPTIONS);
    requests = watched(memory);
  });

  /** Days of which rows were asked, request by request. */
  const daysOf = async (text: string, options = OPTIONS): Promise<number[]> => {
    requests.length = 0;
    await ask(memory, text, options);
    return requests.filter(({ kind }) => kind === 'select').map(({ days }) => days);
  };

  it.each<[string, number[]]>([
    ['SELECT v FROM m LIMIT 1', [1]],
    ['SELECT v FROM m ORDER BY time DESC LIMIT 1', [1]],
    ['SELECT v FROM m LIMIT 10', [1]],
    ['SELECT v FROM m LIMIT 10 OFFSET 1', [1, 4]],
    ["SELECT v FROM m WHERE host = 'a' LIMIT 10", [1, 4]],
    ['SELECT v FROM m WHERE v > 40 LIMIT 1', [1, 4, 16]],
    ['SELECT v FROM (SELECT v FROM m LIMIT 1)', [1]],
    // Until the day of n.
    ['SELECT v FROM /^(m|n)$/ LIMIT 1', [1, 4, 16, 64]],
    ['SELECT v FROM m GROUP BY host LIMIT 1', [16, 64, 80]],
    ['SELECT derivative(v) FROM m LIMIT 1', [16, 64, 80]],
    [`SELECT v FROM m WHERE time < ${DAY} LIMIT 20`, [1]],
    ['SELECT v FROM m WHERE v > 1000 LIMIT 1', [1, 4, 16, 64, 75]],
    ['SELECT count(v) FROM m', [DAYS]],
  ])('%s', async (text, days) => {
    expect(await daysOf(text)).toEqual(days);
    // All other shards have confirmed the schema, in one round.
    const asked = requests.reduce((sum, request) => sum + request.days, 0);
    expect({ asked, rounds: requests.length - days.length }).toEqual(
      text.includes('time <')
        ? { asked: 1, rounds: 0 }
        : { asked: DAYS, rounds: asked === days.reduce((a, b) => a + b) ? 0 : 1 },
    );
  });

  it('rows that are too many end the statement, which is not planned again', async () => {
    const limits = { rowsMax: 700 };
    await ask(memory, 'SELECT count(v) FROM m', { ...OPTIONS, limits });
    requests.length = 0;
    const [result] = await ask(memory, 'SELECT v FROM m', { ...OPTIONS, limits });
    expect(result!.error).toMatch(/holds more than 700 rows/);
    expect(requests).toEqual([
      { kind: 'select', days: 16 },
      { kind: 'select', days: 64 },
      { kind: 'confirm', days: DAYS - 80 },
    ]);
  });

  it('a shard that LIMIT leaves out is not missing, one that is read is', async () => {
    const named = { ...OPTIONS, completeness: true };
    const last = [...memory.shards].findLast(([, { key }]) => key.startNs === BigInt(DAYS - 1) * DAY)![0];
    memory.down.add(last);
    const [first] = await ask(memory, 'SELECT v FROM m LIMIT 1', named);
    expect(first).toMatchObject({
      completeness: { complete: true, missing_shards: [] },
      series: [{ values: [[0, 0]] }],
    });
    const [whole] = await ask(memory, 'SELECT v FROM m', named);
    expect(whole!.completeness).toMatchObject({ complete: false, missing_shards: [last] });
    memory.down.clear();
  });

  it('the schema of a shard that is not read counts', async () => {
    const memory = await manyDays();
    await ask(memory, 'SELECT * FROM m LIMIT 1', OPTIONS);
    memory.write('t', `m,host=a,more=x w=1 ${BigInt(DAYS - 1) * DAY}`);
    const [result] = await ask(memory, 'SELECT * FROM m LIMIT 1', OPTIONS);
    expect(result!.series![0]!.columns).toEqual(['time', 'host', 'more', 'v', 'w']);
  });

  it('a schema that changed counts for what was refused by the old one', async () => {
    const memory = await manyDays();
    const limits = { rowsMax: 25 };
    await ask(memory, 'SELECT count(v) FROM n', { ...OPTIONS, limits });
    const days = Array.from({ length: 30 }, (_, day) => `n s="x" ${BigInt(day) * DAY}`);
    memory.write('t', days.join('\n'));
    await ask(memory, 'SELECT count(s) FROM n', { ...OPTIONS, limits });
    // Numbers are stronger than texts: rows that have only those are none.
    memory.write('t', `n s=1 ${140n * DAY}`);
    const [result] = await ask(memory, 'SELECT s FROM n', { ...OPTIONS, limits });
    expect(result!.series).toMatchObject([{ values: [[Number(140n * DAY), 1]] }]);
  });
});

it('where rows are many the next request is for one range', async () => {
  const memory = new MemoryBackend({ shardsPerGroup: 2, shardDurationNs: DAY });
  await ask(memory, 'CREATE DATABASE t');
  const lines: string[] = [];
  for (let day = 0n; day < 20n; day++)
    for (let n = 0n; n < (day === 1n ? 12_000n : 1n); n++) lines.push(`m v=1 ${day * DAY + n}`);
  memory.write('t', lines.join('\n'));
  const requests = watched(memory);
  await ask(memory, 'SELECT v FROM m', OPTIONS);
  expect(requests.filter(({ kind }) => kind === 'select').map(({ days }) => days)).toEqual([16, 1, 3]);
});

describe('answers', () => {
  const rows = fc.array(
    fc.record({
      measurement: fc.constantFrom('m', 'm', 'm', 'n'),
      host: fc.integer({ min: 0, max: 3 }),
      hour: fc.integer({ min: 0, max: 40 * 24 }),
      f: fc.option(fc.integer({ min: -9, max: 9 })),
      s: fc.option(fc.integer({ min: 0, max: 2 })),
    }),
    { minLength: 1, maxLength: 150 },
  );
  const statement = fc.record({
    fields: fc.constantFrom('f', 's, f', '*', 'f * 2', 'derivative(f)', 'difference(f), f', 'median(f)', 'top(f, 3)'),
    from: fc.constantFrom('m', 'm', 'n', '/m|n/', 'm, n', '(SELECT * FROM m)', '(SELECT f, s FROM m LIMIT 5)'),
    where: fc.constantFrom('', '', " WHERE host = 'h1'", ' WHERE f > 3', " WHERE s = 's1' AND time > 86400s"),
    group: fc.constantFrom('', '', ' GROUP BY host', ' GROUP BY *'),
    order: fc.constantFrom('', ' ORDER BY time DESC'),
    limit: fc.constantFrom('', ' LIMIT 1', ' LIMIT 2 OFFSET 1', ' LIMIT 9', ' OFFSET 3', ' LIMIT 40 OFFSET 8'),
    series: fc.constantFrom('', '', ' SLIMIT 1', ' SLIMIT 2 SOFFSET 1'),
  });

  it('are those of one shard, whatever is left out', async () => {
    const load = async (points: readonly { line: string }[], options: MemoryOptions): Promise<MemoryBackend> => {
      const memory = new MemoryBackend(options);
      await ask(memory, 'CREATE DATABASE t');
      memory.write('t', points.map(({ line }) => line).join('\n'));
      return memory;
    };
    const HOUR = DAY / 24n;
    // Which fields and series there are is what the shards in a statement's time range say (as in InfluxDB): these have all.
    const known = ['m', 'n'].flatMap((name) =>
      [0, 1, 2, 3].map((host) => ({ line: `${name},host=h${host} f=0,s="s0" ${40n * DAY}` })),
    );
    const property = fc.asyncProperty(
      rows,
      fc.constantFrom(6n, 24n, 168n),
      fc.array(statement, { minLength: 12, maxLength: 12 }),
      async (points, hours, statements) => {
        const lines = points.flatMap(({ measurement, host, hour, f, s }) => {
          const fields = [f === null ? '' : `f=${f}`, s === null ? '' : `s="s${s}"`].filter((text) => text !== '');
          const line = `${measurement},host=h${host} ${fields.join(',')} ${BigInt(hour) * HOUR}`;
          return fields.length === 0 ? [] : [{ line }];
        });
        lines.push(...known);
        const whole = await load(lines, { shardsPerGroup: 1, shardDurationNs: 100n * DAY });
        const split = await load(lines, { shardsPerGroup: 2, shardDurationNs: hours * HOUR });
        for (const { fields, from, where, group, order, limit, series } of statements) {
          const text = `SELECT ${fields} FROM ${from}${where}${group}${order}${limit}${series}`;
          const answer = await ask(split, text, OPTIONS);
          expect({ text, answer }).toEqual({ text, answer: await ask(whole, text, OPTIONS) });
        }
      },
    );
    await fc.assert(property, { numRuns: 40 });
  });
});
