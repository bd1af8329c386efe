/** Rows and newest values of many shard groups: what is asked, and that the answers are those of one shard that is read whole. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { PartialRequest, SelectRequest } from '../../shards/query/partial.ts';
import { type AskOptions, ask } from './ask.ts';
import { MemoryBackend, type MemoryOptions } from './memory-backend.ts';

/** Off: no group is settled before all is read, neither here nor in a shard, and none is read by itself. */
const settling = vi.hoisted(() => ({ isOn: true }));
vi.mock('../../shards/query/settling.ts', async (original) => {
  const { settlingEnd } = await original<typeof import('../../shards/query/settling.ts')>();
  return { settlingEnd: (request: SelectRequest) => (settling.isOn ? settlingEnd(request) : null) };
});

vi.mock('../../server/query/group-condition.ts', async (original) => {
  const real = await original<typeof import('../../server/query/group-condition.ts')>();
  const groupCondition: typeof real.groupCondition = (...of) => (settling.isOn ? real.groupCondition(...of) : null);
  return { ...real, groupCondition };
});

const DAY = 86_400_000_000_000n;
const DAYS = 160;
const OPTIONS: AskOptions = { database: 't', nowNs: 1000n * DAY, epoch: 'ns' };

/** With two hosts, five rows of each a day; of a third one rows on two days alone. */
async function manyDays(): Promise<MemoryBackend> {
  const memory = new MemoryBackend({ shardsPerGroup: 3, shardDurationNs: DAY });
  await ask(memory, 'CREATE DATABASE t');
  const lines: string[] = [];
  for (let n = 0; n < DAYS * 5; n++)
    for (const host of ['a', 'b']) lines.push(`m,host=${host} v=${n} ${BigInt(n) * (DAY / 5n)}`);
  lines.push(`n v=1 ${40n * DAY}`, `l,host=a v=1,w=2 ${100n * DAY}`, `l,host=b v=3 ${120n * DAY}`);
  for (const day of [3n, 50n]) lines.push(`l,host=c v=${day} ${day * DAY}`);
  memory.write('t', lines.join('\n'));
  return memory;
}

interface Watched {
  readonly kind: string;
  readonly days: number;
}

/** What each request was, and of how many days. */
function watched(memory: MemoryBackend): Watched[] {
  const requests: Watched[] = [];
  const { run } = memory.backend;
  memory.backend.run = (targets, request, ...rest) => {
    requests.push({ kind: kindOf(request), days: new Set(targets.map(({ key }) => key.startNs)).size });
    return run(targets, request, ...rest);
  };
  return requests;
}

function kindOf(request: PartialRequest): string {
  if (request.kind !== 'select') return request.kind;
  if (request.measurements.length === 0) return 'confirm';
  return request.rows === null && request.states.length === 0 ? 'names' : 'select';
}

describe('shard groups that are asked', () => {
  let memory: MemoryBackend;
  let requests: ReturnType<typeof watched>;

  beforeAll(async () => {
    memory = await manyDays();
    // From here on schemas are remembered.
    for (const from of ['m', 'l', '/^(m|n)$/', '/^(m|l)$/']) await ask(memory, `SELECT count(v) FROM ${from}`, OPTIONS);
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
    ['SELECT v FROM m GROUP BY host LIMIT 1', [1]],
    ['SELECT last(v) FROM m', [1]],
    ['SELECT first(v) FROM m', [1]],
    ['SELECT last(v), host FROM m ORDER BY time DESC', [1]],
    ['SELECT last(v) FROM m WHERE v < 790', [1, 4]],
    ['SELECT last(v) FROM m GROUP BY host', [1]],
    ['SELECT max(a) FROM (SELECT last(v) AS a FROM m GROUP BY host)', [1]],
    // Until the days of n and l.
    ['SELECT first(v) FROM /^(m|n)$/', [1, 4, 16, 64]],
    ['SELECT last(v) FROM /^(m|l)$/', [1, 4, 16, 64]],
    ['SELECT last(v), last(w) FROM l', [1, 4, 16, 64]],
    ['SELECT last(v), first(v) FROM m', [DAYS]],
    ['SELECT last(v) FROM m GROUP BY time(1000d)', [DAYS]],
    [`SELECT last(v) FROM m WHERE time < ${4n * DAY}`, [4]],
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
        ? { asked: days[0], rounds: 0 }
        : { asked: DAYS, rounds: asked === days.reduce((a, b) => a + b) ? 0 : 1 },
    );
  });

  it.each<[string, number[]]>([
    // The last day is none of theirs: b, a and c are found on theirs.
    ['SELECT last(v) FROM l GROUP BY host', [1, 4]],
    ['SELECT first(v) FROM l GROUP BY host', [1, 4]],
    ['SELECT v FROM l GROUP BY host LIMIT 1', [1, 4]],
    ['SELECT v FROM l GROUP BY host ORDER BY time DESC LIMIT 2', [1, 4]],
    // m is settled behind the first day.
    ['SELECT last(v) FROM /^(m|l)$/ GROUP BY host', [1, 4]],
    // Nobody but a has it, and the others are looked for to the end.
    ['SELECT last(w) FROM l GROUP BY host', [1, 4]],
  ])('of the others those that have a group which is not settled: %s', async (text, days) => {
    expect(await daysOf(text)).toEqual(days);
    expect(requests.filter(({ kind }) => kind !== 'select')).toEqual([{ kind: 'names', days: DAYS - 1 }]);
  });

  it.each<[string, unknown]>([
    ['SELECT v FROM m GROUP BY host SLIMIT 1', { op: '=', key: 'host', value: 'a' }],
    ['SELECT max(v) FROM m GROUP BY host SLIMIT 1 SOFFSET 1', { op: '=', key: 'host', value: 'b' }],
    ['SELECT median(v) FROM m GROUP BY host SLIMIT 1', { op: '=', key: 'host', value: 'a' }],
    ['SELECT v FROM m GROUP BY host SLIMIT 1 SOFFSET 9', { op: 'false' }],
    [
      "SELECT v FROM l WHERE host != 'b' GROUP BY host SOFFSET 1",
      {
        op: 'and',
        terms: [
          { op: '!=', key: 'host', value: 'b' },
          { op: '=', key: 'host', value: 'c' },
        ],
      },
    ],
    [
      'SELECT count(v) FROM /^(m|l)$/ GROUP BY host, none SLIMIT 1',
      {
        op: 'or',
        terms: ['l', 'm'].map((value) => ({
          op: 'and',
          terms: [
            { op: '=', key: 'host', value: 'a' },
            { op: '=', key: 'none', value: '' },
            { op: '=', key: '_name', value },
          ],
        })),
      },
    ],
  ])('groups that SLIMIT leaves out are not read: %s', async (text, condition) => {
    const own = await manyDays();
    await ask(own, text, OPTIONS);
    const asked: (SelectRequest & { days: number })[] = [];
    const { run } = own.backend;
    own.backend.run = (targets, request, ...rest) => {
      if (request.kind === 'select')
        asked.push({ ...request, days: new Set(targets.map(({ key }) => key.startNs)).size });
      return run(targets, request, ...rest);
    };
    await ask(own, text, OPTIONS);
    expect(asked.slice(0, 1).map((request) => [kindOf(request), request.days])).toEqual([['names', DAYS]]);
    expect(new Set(asked.slice(1).map((each) => JSON.stringify(each.condition)))).toEqual(
      new Set([JSON.stringify(condition)]),
    );
  });

  it('groups that are settled are not read again', async () => {
    const own = await manyDays();
    own.write('t', `m,host=old v=7 ${2n * DAY}`);
    await ask(own, 'SELECT count(v) FROM m', OPTIONS);
    const conditions: unknown[] = [];
    const { run } = own.backend;
    own.backend.run = (targets, request, ...rest) => {
      if (kindOf(request) === 'select') conditions.push((request as SelectRequest).condition);
      return run(targets, request, ...rest);
    };
    await ask(own, "SELECT last(v) FROM m WHERE host != 'b' GROUP BY host", OPTIONS);
    const where = { op: '!=', key: 'host', value: 'b' };
    expect(conditions).toEqual([where, { op: 'and', terms: [where, { op: '=', key: 'host', value: 'old' }] }]);
  });

  it('a shard that cannot name its groups is missing', async () => {
    const first = [...memory.shards].find(([, { key }]) => key.startNs === 0n)![0];
    memory.down.add(first);
    const named = { ...OPTIONS, completeness: true };
    const [grouped] = await ask(memory, 'SELECT last(v) FROM m GROUP BY host', named);
    expect(grouped!.completeness).toMatchObject({ complete: false, missing_shards: [first] });
    memory.down.clear();
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

it.each([
  ['SELECT v FROM m GROUP BY host LIMIT 1', 2],
  ['SELECT v FROM m GROUP BY host ORDER BY time DESC LIMIT 3', 6],
  ['SELECT last(v), host FROM m WHERE v >= 0 GROUP BY host', 2],
])('a shard reads on for the groups that are not settled alone: %s', async (text, found) => {
  const memory = new MemoryBackend({ shardsPerGroup: 1, shardDurationNs: 10n * DAY });
  await ask(memory, 'CREATE DATABASE t');
  const lines: string[] = [];
  for (let n = 0; n < 1000; n++) {
    lines.push(`m,host=busy v=${n} ${BigInt(n) * (DAY / 100n)}`);
    // Some in the middle.
    if (n >= 500 && n < 503) lines.push(`m,host=quiet v=${n} ${BigInt(n) * (DAY / 100n)}`);
  }
  memory.write('t', lines.join('\n'));
  let scanned = 0;
  const { run } = memory.backend;
  memory.backend.run = async (...of) => {
    const answers = await run(...of);
    for (const result of answers.results)
      if (result.kind === 'select') for (const { rowsScanned } of result.shards) scanned += rowsScanned;
    return answers;
  };
  const [result] = await ask(memory, text, OPTIONS);
  expect(result!.series!.reduce((sum, { values }) => sum + values!.length, 0)).toBe(found);
  // An hour has four rows, and the busy one needs no second.
  expect(scanned).toBeLessThan(20);
});

it.each([
  ['SELECT v FROM m WHERE v >= 0 LIMIT 10', 0],
  ['SELECT v FROM m WHERE v >= 0 ORDER BY time DESC LIMIT 10', 9_999],
  ['SELECT v FROM m WHERE v >= 10000 LIMIT 10', null],
])(
  'rows far behind the beginning of their shard, and far before its end, are read a few at a time: %s',
  async (text, first) => {
    const memory = new MemoryBackend({ shardsPerGroup: 1, shardDurationNs: 84n * DAY });
    await ask(memory, 'CREATE DATABASE t');
    // Every ten seconds of a day.
    const lines = Array.from({ length: 10_000 }, (_, n) => `m v=${n} ${30n * DAY + BigInt(n) * 10_000_000_000n}`);
    memory.write('t', lines.join('\n'));
    const counts: number[] = [];
    for (const shard of memory.shards.values()) {
      const scanSteps = shard.scanSteps.bind(shard);
      vi.spyOn(shard, 'scanSteps').mockImplementation((request, visit) => {
        counts.push(0);
        return scanSteps(request, (slice) => {
          counts[counts.length - 1]! += slice.times.length;
          return visit(slice);
        });
      });
    }
    const [result] = await ask(memory, text, OPTIONS);
    expect(result!.series?.[0]?.values?.[0]?.[1] ?? null).toBe(first);
    if (first !== null) expect(counts).toEqual([20]);
    else {
      // Nothing is read twice, and reading goes on in ever larger parts.
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(10_000);
      expect(counts.length).toBeLessThan(9);
    }
  },
);

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
    fields: fc.constantFrom(
      'f',
      's, f',
      '*',
      'f * 2',
      'derivative(f)',
      'difference(f), f',
      'median(f)',
      'top(f, 3)',
      'last(f)',
      'first(s)',
      'last(f), s, host',
      'first(f), s',
      'last(*)',
      'first(f), first(s)',
      'last(f), first(f)',
    ),
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
          settling.isOn = false;
          const expected = await ask(whole, text, OPTIONS);
          settling.isOn = true;
          expect({ text, answer }).toEqual({ text, answer: expected });
        }
      },
    );
    await fc.assert(property, { numRuns: 40 });
  });
});
