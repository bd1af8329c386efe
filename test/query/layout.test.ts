/** Answers are the same however the points are spread over shards and places, and whichever way they are computed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AskOptions, ask } from './ask.ts';
import { MemoryBackend, type MemoryOptions } from './memory-backend.ts';
import { HOUR, NOW, QUERIES, START, WHERE } from './statements.ts';

interface Row {
  readonly host: number;
  readonly region: number;
  readonly minute: number;
  readonly f: number | null;
  readonly i: number | null;
  readonly s: number | null;
}

const rows = fc.array(
  fc.record<Row>({
    host: fc.integer({ min: 0, max: 5 }),
    region: fc.integer({ min: 0, max: 1 }),
    minute: fc.integer({ min: 0, max: 3599 }),
    // Quarters: sums of them are exact, so they do not depend on the order of adding.
    f: fc.option(fc.integer({ min: -400, max: 400 }).map((n) => n / 4)),
    i: fc.option(fc.integer({ min: -5, max: 5 })),
    s: fc.option(fc.integer({ min: 0, max: 2 })),
  }),
  { minLength: 1, maxLength: 120 },
);

async function load(points: readonly Row[], options: MemoryOptions): Promise<MemoryBackend> {
  const memory = new MemoryBackend(options);
  await ask(memory, 'CREATE DATABASE t');
  const lines = points.flatMap(({ host, region, minute, f, i, s }) => {
    const fields = [f === null ? '' : `f=${f}`, i === null ? '' : `i=${i}i`, s === null ? '' : `s="s${s}"`].filter(
      (part) => part !== '',
    );
    const time = START + BigInt(minute) * 60_000_000_000n;
    return fields.length === 0 ? [] : [`m,host=h${host},region=r${region} ${fields.join(',')} ${time}`];
  });
  memory.write('t', lines.join('\n'));
  return memory;
}

const OPTIONS: AskOptions = { database: 't', nowNs: NOW, epoch: 'ns' };

describe('queries over any layout', () => {
  it('split into shards by number and time: same answers as one shard', async () => {
    const layout = fc.record({
      shardsPerGroup: fc.integer({ min: 1, max: 7 }),
      hours: fc.constantFrom(1n, 6n, 24n, 168n),
      seed: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 9 }),
    });
    await fc.assert(
      fc.asyncProperty(rows, layout, async (points, { shardsPerGroup, hours, seed }) => {
        const whole = await load(points, { shardsPerGroup: 1, shardDurationNs: 84n * 24n * HOUR });
        const split = await load(points, {
          shardsPerGroup,
          shardDurationNs: hours * HOUR,
          placeOf: (index) => seed[index % seed.length]!,
        });
        for (const query of QUERIES) {
          const rounded = (value: unknown): unknown =>
            JSON.parse(
              JSON.stringify(value, (_, v) =>
                typeof v === 'number' && !Number.isInteger(v) ? Number(v.toPrecision(12)) : v,
              ),
            );
          expect({ query, answer: rounded(await ask(split, query, OPTIONS)) }).toEqual({
            query,
            answer: rounded(await ask(whole, query, OPTIONS)),
          });
        }
      }),
      { numRuns: 25 },
    );
  });

  it('points that are written again after an ALTER of the shard duration are there once', async () => {
    const memory = await load([], {});
    const write = (f: number) => memory.write('t', `m f=${f} ${START}\nm f=${f} ${START + 30n * HOUR}`);
    write(1);
    await ask(memory, 'ALTER RETENTION POLICY autogen ON t SHARD DURATION 1h', OPTIONS);
    write(2);
    expect(await ask(memory, 'SELECT count(f), sum(f), last(f) FROM m', OPTIONS)).toMatchObject([
      { series: [{ values: [[0, 2, 4, 2]] }] },
    ]);
  });

  it('the same shards run at other places: the same bits, floats of any size included', async () => {
    const uneven = rows.map((list) =>
      list.map((row, n) => ({ ...row, f: row.f === null ? null : row.f * 1.1 ** (n % 40) })),
    );
    await fc.assert(
      fc.asyncProperty(
        uneven,
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 9 }),
        async (points, seed) => {
          const layout = { shardsPerGroup: 4, shardDurationNs: 24n * HOUR };
          const here = await load(points, layout);
          const there = await load(points, { ...layout, placeOf: (index) => seed[index % seed.length]! });
          const queries = [...QUERIES, `SELECT sum(f), mean(f), stddev(f) FROM m WHERE ${WHERE} GROUP BY time(30h)`];
          for (const query of queries)
            expect({ query, answer: await ask(there, query, OPTIONS) }).toEqual({
              query,
              answer: await ask(here, query, OPTIONS),
            });
        },
      ),
      { numRuns: 15 },
    );
  });

  it('states kept where the shard is agree with the same functions over rows', async () => {
    const functions = ['count', 'sum', 'mean', 'min', 'max', 'first', 'last', 'spread', 'stddev'];
    await fc.assert(
      fc.asyncProperty(rows, async (points) => {
        const memory = await load(points, { shardsPerGroup: 3, shardDurationNs: 24n * HOUR });
        for (const field of ['f', 'i']) {
          for (const fn of functions) {
            for (const tail of ['', ' GROUP BY host', ` GROUP BY time(4h), region fill(none)`]) {
              const states = await ask(memory, `SELECT ${fn}(${field}) AS x FROM m WHERE ${WHERE}${tail}`, OPTIONS);
              const naive = await ask(
                memory,
                `SELECT ${fn}(${field}) AS x FROM (SELECT ${field} FROM m) WHERE ${WHERE}${tail}`,
                OPTIONS,
              );
              const rounded = (value: unknown): unknown =>
                JSON.parse(
                  JSON.stringify(value, (_, v) =>
                    typeof v === 'number' && !Number.isInteger(v) ? Number(v.toPrecision(12)) : v,
                  ),
                );
              expect({ fn, field, tail, answer: rounded(states) }).toEqual({ fn, field, tail, answer: rounded(naive) });
            }
          }
        }
      }),
      { numRuns: 15 },
    );
  });

  it('LIMIT over windows: the same rows as without it, cut', async () => {
    const query = fc.record({
      fn: fc.constantFrom('max(f)', 'count(i)', 'last(s)', 'sum(f)'),
      interval: fc.constantFrom('1h', '4h', '7h'),
      group: fc.constantFrom('', ', host', ', host, region'),
      fill: fc.constantFrom('', ' fill(none)', ' fill(previous)', ' fill(7)', ' fill(linear)'),
      order: fc.constantFrom('', ' ORDER BY time DESC'),
      limit: fc.integer({ min: 1, max: 6 }),
      offset: fc.integer({ min: 0, max: 3 }),
      hours: fc.integer({ min: 1, max: 60 }),
      open: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(rows, fc.array(query, { minLength: 8, maxLength: 8 }), async (points, queries) => {
        const memory = await load(points, { shardsPerGroup: 2, shardDurationNs: 24n * HOUR });
        for (const { fn, interval, group, fill, order, limit, offset, hours, open } of queries) {
          const where = open ? `time < ${NOW}` : `time >= ${NOW - BigInt(hours) * HOUR} AND time < ${NOW}`;
          const text = `SELECT ${fn} FROM m WHERE ${where} GROUP BY time(${interval})${group}${fill}${order}`;
          const whole = (await ask(memory, text, OPTIONS))[0]!.series ?? [];
          const cut = whole
            .map((one) => ({ ...one, values: (one.values ?? []).slice(offset, offset + limit) }))
            .filter(({ values }) => values.length > 0);
          const limited = (await ask(memory, `${text} LIMIT ${limit} OFFSET ${offset}`, OPTIONS))[0]!.series ?? [];
          expect({ text, limit, offset, series: limited }).toEqual({ text, limit, offset, series: cut });
        }
      }),
      { numRuns: 60 },
    );
  });

  it('sums have the same bits with a filter that all rows pass, and whichever other fields are asked for', async () => {
    const uneven = rows.map((list) =>
      list.map((row, n) => ({ ...row, f: row.f === null ? null : row.f * 1.1 ** (n % 40) })),
    );
    await fc.assert(
      fc.asyncProperty(uneven, async (points) => {
        const memory = await load(points, { shardsPerGroup: 2, shardDurationNs: 24n * HOUR });
        for (const tail of ['', ' GROUP BY region', ' GROUP BY time(5h), region fill(none)']) {
          const sums = async (more: string, where: string): Promise<unknown> => {
            const text = `SELECT sum(f), mean(f)${more} FROM m WHERE ${WHERE}${where}${tail}`;
            const [result] = await ask(memory, text, OPTIONS);
            // Windows in which only the other fields have values are left aside.
            return result!.series?.map(({ tags, values }) => [
              tags,
              values?.map((row) => row.slice(0, 3)).filter((row) => row[1] !== null),
            ]);
          };
          const plain = (await sums('', '')) ?? [];
          expect({ tail, answer: (await sums('', ' AND f > -1000000000')) ?? [] }).toEqual({ tail, answer: plain });
          const wider = ((await sums(', count(i), stddev(f), last(s)', '')) ?? []) as [unknown, unknown[]][];
          expect({ tail, answer: wider.filter(([, values]) => values.length > 0) }).toEqual({ tail, answer: plain });
        }
      }),
      { numRuns: 20 },
    );
  });
});
