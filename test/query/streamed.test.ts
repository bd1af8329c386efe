/** Answers that leave while they are read: the same rows, in slices, held by who reads them, and what ends them. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type AnswerSink, answerQuery } from '../../server/http/query-answer.ts';
import { Ending } from '../../server/query/ending.ts';
import { DEFAULT_QUERY_LIMITS, type QueryLimits } from '../../server/query/limits.ts';
import { QueryError } from '../../server/query/query-error.ts';
import type { QueryOptions, QueryService } from '../../server/query/result.ts';
import { createQueryService } from '../../server/query/service.ts';
import type { PartialResult, SelectRequest } from '../../shards/query/partial.ts';
import { type AskOptions, ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const HOUR = 3_600_000_000_000n;
const DAY = 24n * HOUR;
const DAYS = 8;
const ROWS_OF_A_DAY = 24;
const ROWS = DAYS * ROWS_OF_A_DAY;

/** One row an hour, of two hosts in turn. */
async function someDays(): Promise<MemoryBackend> {
  const memory = new MemoryBackend({ shardsPerGroup: 2, shardDurationNs: DAY });
  await ask(memory, 'CREATE DATABASE t');
  const lines = Array.from({ length: ROWS }, (_, n) => `m,host=${'ab'[n % 2]} v=${n} ${BigInt(n) * HOUR}`);
  memory.write('t', lines.join('\n'));
  return memory;
}

interface Asked {
  readonly request: SelectRequest;
  rows: number;
}

/** Requests for rows, and how many came. */
function watched(memory: MemoryBackend): Asked[] {
  const all: Asked[] = [];
  const { run } = memory.backend;
  memory.backend.run = async (targets, request, ...rest) => {
    if (request.kind !== 'select' || request.measurements.length === 0) return run(targets, request, ...rest);
    const asked = { request, rows: 0 };
    all.push(asked);
    const answers = await run(targets, request, ...rest);
    asked.rows = rowsOf(answers.results);
    return answers;
  };
  return all;
}

const rowsOf = (results: readonly PartialResult[]): number =>
  results
    .flatMap((result) => (result.kind === 'select' ? result.shards : []))
    .reduce((sum, { rows }) => sum + (rows?.times.length ?? 0), 0);

const serviceOf = (memory: MemoryBackend, limits: Partial<QueryLimits> = {}): QueryService =>
  createQueryService(memory.backend, { ...DEFAULT_QUERY_LIMITS, streamedRowsMax: 20, ...limits });

const OPTIONS: QueryOptions = { database: 't', nowNs: 0n, readOnly: true, chunkSize: 10, completeness: false };

describe('an answer that leaves while it is read', () => {
  it('leaves before later shard groups are asked, each time when the rows before have been taken', async () => {
    const memory = await someDays();
    const asked = watched(memory);
    const results = serviceOf(memory).execute('SELECT v FROM m', OPTIONS);
    const first = (await results.next()).value!;
    expect(first).toMatchObject({ partial: true, series: [{ partial: true }] });
    expect([...first.series![0]!.values]).toHaveLength(10);
    const readFirst = asked.filter(({ rows }) => rows > 0);
    expect(readFirst).toHaveLength(1);
    expect(readFirst[0]!.request.maxNs).toBeLessThan(DAY);
    let taken = 10;
    let rest = await results.next();
    for (; rest.done !== true; rest = await results.next()) {
      taken += rest.value.series![0]!.values.length;
      const read = asked.reduce((sum, { rows }) => sum + rows, 0);
      // A chunk, and the slice that it came with.
      expect(read - taken).toBeLessThanOrEqual(20 + 10);
    }
    expect(taken).toBe(ROWS);
    expect(asked.every(({ rows, request }) => rows <= 20 && request.limits.rowsMax === 20)).toBe(true);
  });

  it('slices end with shard groups where rows are few, and are longer then', async () => {
    const memory = await someDays();
    const asked = watched(memory);
    const service = serviceOf(memory, { streamedRowsMax: 1000 });
    const days = async (text: string): Promise<number[]> => {
      asked.length = 0;
      for await (const { error } of service.execute(text, OPTIONS)) expect(error).toBeUndefined();
      return asked.map(({ request }) => Number(request.maxNs / DAY - request.minNs / DAY) + 1);
    };
    expect(await days('SELECT v FROM m')).toEqual([DAYS]);
    expect(await days('SELECT v FROM m LIMIT 1')).toEqual([1]);
    expect(await days('SELECT v FROM m LIMIT 60')).toEqual([1, 4]);
    expect(await days(`SELECT v FROM m ORDER BY time DESC LIMIT 60`)).toEqual([1, 4]);
    expect(await days('SELECT v FROM m WHERE time < 3d AND v > 1000 LIMIT 60')).toEqual([1, 2]);
  });

  it('holds fewer rows than it answers, and counts all that it reads of a shard', async () => {
    const memory = await someDays();
    const run = async (limits: Partial<QueryLimits>) => {
      let rows = 0;
      for await (const { series, error } of serviceOf(memory, limits).execute('SELECT v FROM m', OPTIONS)) {
        if (error !== undefined) return { rows, error };
        rows += series?.[0]?.values.length ?? 0;
      }
      return { rows };
    };
    expect(await run({ rowsMax: 50, responseRowsMax: 50 })).toEqual({ rows: ROWS });
    // Twelve rows of each host a day.
    expect(await run({ rowsScannedMax: 12 })).toEqual({ rows: ROWS });
    const { error } = await run({ rowsScannedMax: 11 });
    expect(error).toBe('max-select-point limit exceeded: (12/11)');
  });

  it('groups leave one after the other, each read when the rows before have been taken', async () => {
    const memory = await someDays();
    const asked = watched(memory);
    const results = serviceOf(memory).execute('SELECT v FROM m GROUP BY host', OPTIONS);
    const hosts: string[] = [];
    let taken = 0;
    for await (const { series, error } of results) {
      expect(error).toBeUndefined();
      const [{ tags, values }] = series! as [NonNullable<typeof series>[number]];
      hosts.push(tags!.host!);
      taken += values.length;
      const read = asked.reduce((sum, { rows }) => sum + rows, 0);
      expect(read - taken).toBeLessThanOrEqual(20 + 10);
      const other = { op: '=', key: 'host', value: 'b' };
      const isRead = asked.some(
        ({ rows, request }) => rows > 0 && JSON.stringify(request.condition) === JSON.stringify(other),
      );
      if (tags!.host === 'a') expect(isRead).toBe(hosts.length === Math.ceil(ROWS / 2 / 10));
    }
    expect(taken).toBe(ROWS);
    expect(hosts).toEqual([...hosts].sort());
    expect(new Set(hosts)).toEqual(new Set(['a', 'b']));
  });

  it('of groups with few rows more and more are read together, up to the rows of a slice', async () => {
    const memory = new MemoryBackend({ shardsPerGroup: 2 });
    await ask(memory, 'CREATE DATABASE t');
    const lines = Array.from({ length: 300 }, (_, n) => `m,host=h${n} v=${n} 7`);
    lines.push(...Array.from({ length: 200 }, (_, n) => `m,host=i v=${n} ${n}000000000`), 'm,host=j v=1 1');
    memory.write('t', lines.join('\n'));
    const asked = watched(memory);
    for await (const { error } of serviceOf(memory, { streamedRowsMax: 150 }).execute(
      'SELECT v FROM m GROUP BY host',
      OPTIONS,
    ))
      expect(error).toBeUndefined();
    const groups = asked.map(({ request: { condition } }) =>
      condition === null ? 'names' : condition.op === 'or' ? condition.terms.length : 1,
    );
    // i by itself is too much at once, and is read in slices of time.
    expect(groups.slice(0, 4)).toEqual(['names', 16, 64, 100]);
    expect(Math.max(...asked.map(({ rows }) => rows))).toBeLessThanOrEqual(150);
  });

  it('rows of one moment that are too many for a slice are read at once, up to the limit of rows', async () => {
    const memory = new MemoryBackend({ shardsPerGroup: 2 });
    await ask(memory, 'CREATE DATABASE t');
    const at = (n: number): string => `m,host=h${n} v=${n} 7`;
    memory.write('t', Array.from({ length: 40 }, (_, n) => at(n)).join('\n'));
    const text = 'SELECT v FROM m';
    const chunked: AskOptions = { database: 't', chunkSize: 100 };
    const [result] = await ask(memory, text, { ...chunked, limits: { streamedRowsMax: 20 } });
    expect(result!.series![0]!.values).toHaveLength(40);
    const [refused] = await ask(memory, text, { ...chunked, limits: { streamedRowsMax: 20, rowsMax: 30 } });
    expect(refused!.error).toMatch(/more than 30 rows/);
  });
});

describe('what ends it', () => {
  it('an error behind rows that have left is one more result, and the next statements are not executed', async () => {
    const memory = await someDays();
    const results = serviceOf(memory).execute('SELECT v FROM m; SELECT v FROM m', OPTIONS);
    expect((await results.next()).value).toMatchObject({ statementId: 0, partial: true });
    for (const [id, { key }] of memory.shards) if (key.startNs === 3n * DAY) memory.down.add(id);
    const rest: unknown[] = [];
    for await (const result of results) rest.push(result);
    expect(rest.slice(-2)).toEqual([
      { statementId: 0, error: expect.stringMatching(/^2 of \d+ shards unavailable: no owner is up/) },
      { statementId: 1, error: 'not executed' },
    ]);
  });

  it('shards that are not up are an error before the first row, unless LIMIT does not come to them', async () => {
    const memory = await someDays();
    const last = [...memory.shards].find(([, { key }]) => key.startNs === 7n * DAY)![0];
    const of = (text: string) => ask(memory, text, { database: 't', chunkSize: 10, limits: { streamedRowsMax: 20 } });
    await of('SELECT v FROM m LIMIT 1');
    memory.down.add(last);
    expect((await of('SELECT v FROM m')).map(({ error }) => error)).toEqual([
      expect.stringMatching(/^1 of 16 shards unavailable/),
    ]);
    expect(await of('SELECT v FROM m LIMIT 1')).toMatchObject([{ series: [{ values: [expect.anything()] }] }]);
  });

  it('with the completeness asked for the last chunk says what is missing', async () => {
    const memory = await someDays();
    const last = [...memory.shards].find(([, { key }]) => key.startNs === 7n * DAY)![0];
    memory.down.add(last);
    const options: AskOptions = { database: 't', chunkSize: 50, completeness: true, limits: { streamedRowsMax: 20 } };
    const results = await ask(memory, 'SELECT v FROM m', options);
    expect(results.map(({ completeness }) => completeness)).toEqual([
      undefined,
      undefined,
      undefined,
      expect.objectContaining({ complete: false, missing_shards: [last] }),
    ]);
  });

  it('a schema that changes before the first row is planned with, one that changes behind it is not', async () => {
    const memory = await someDays();
    const service = serviceOf(memory);
    const options = { ...OPTIONS, chunkSize: 1000 };
    const columnsOf = async (before: () => void, behind: () => void): Promise<readonly string[][]> => {
      before();
      const results = service.execute('SELECT * FROM m', { ...options, chunkSize: 10 });
      const columns: string[][] = [];
      for await (const { series } of results) {
        if (columns.length === 0) behind();
        columns.push([...series![0]!.columns]);
      }
      return columns;
    };
    for await (const _ of service.execute('SELECT * FROM m', options));
    const seen = await columnsOf(
      () => memory.write('t', `m,host=a w=1 ${7n * DAY}`),
      () => memory.write('t', `m,host=a x=1 ${7n * DAY}`),
    );
    expect(new Set(seen.map((names) => names.join()))).toEqual(new Set(['time,host,v,w']));
  });

  it('a client that leaves stops the reading', async () => {
    const memory = await someDays();
    const leaving = new Ending();
    const service = serviceOf(memory);
    const results = service.execute('SELECT v FROM m', { ...OPTIONS, ending: leaving });
    await results.next();
    const { run } = memory.backend;
    let stopped: Error | null = null;
    let isAsked = (): void => {};
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve;
    });
    memory.backend.run = (_targets, _request, ending) => {
      ending!.onEnd(() => {
        stopped = ending!.reason;
      });
      isAsked();
      return new Promise<never>(() => {});
    };
    const next = (async () => {
      for await (const result of results) if (result.error !== undefined) return result;
      return null;
    })();
    await asked;
    leaving.end(new QueryError('query interrupted'));
    expect(stopped).toMatchObject({ message: 'query interrupted' });
    expect(await next).toEqual({ statementId: 0, error: 'query interrupted' });
    memory.backend.run = run;
  });
});

describe('the one who reads it', () => {
  afterEach(() => void vi.useRealTimers());

  /** Takes what is written when it is told to. */
  class SlowSink implements AnswerSink {
    hasBegun = false;
    text = '';
    #goOn: (() => void) | null = null;
    isEnded = false;
    write(piece: string | Buffer): boolean {
      this.text += piece.toString();
      this.hasBegun = true;
      return false;
    }
    onDrained(listener: () => void): void {
      this.#goOn = listener;
    }
    get isFull(): boolean {
      return this.#goOn !== null;
    }
    take(): void {
      const goOn = this.#goOn!;
      this.#goOn = null;
      goOn();
    }
    end(piece: string | Buffer): void {
      this.text += piece.toString();
      this.isEnded = true;
    }
    noContent(): void {}
    breakOff(): void {}
    refuse(): void {}
  }

  const untilFull = async (sink: SlowSink): Promise<void> => {
    while (!sink.isFull && !sink.isEnded) await new Promise(setImmediate);
  };

  it.each(['', 'text/csv'])('is waited for, and has all the time that it wants %s', async (type) => {
    const memory = await someDays();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const asked = watched(memory);
    const sink = new SlowSink();
    const fields = new Map([
      ['q', 'SELECT v FROM m'],
      ['db', 't'],
      ['epoch', 'ns'],
      ['chunked', 'true'],
      ['chunk_size', '10'],
    ]);
    const limits = { bodyBytesMax: 1, rowsMax: 0, nowNs: () => 0n };
    const service = serviceOf(memory, { queryMsMax: 1000 });
    const answered = answerQuery({ method: 'GET', fields, csv: type !== '' }, sink, new Ending(), service, limits);
    await untilFull(sink);
    for (let n = 0; n < 3; n++) {
      const before = asked.length;
      vi.advanceTimersByTime(5000);
      await new Promise(setImmediate);
      expect(asked.length).toBe(before);
      sink.take();
      await untilFull(sink);
    }
    for (const [id] of memory.shards) memory.down.add(id);
    while (!sink.isEnded) {
      sink.take();
      await untilFull(sink);
    }
    await answered;
    const lines = sink.text.trimEnd().split('\n');
    if (type === '')
      expect(JSON.parse(lines.at(-1)!)).toMatchObject({ results: [{ statement_id: 0, error: expect.any(String) }] });
    else expect(lines.slice(-3)).toEqual(['', 'error', expect.stringContaining('shards unavailable')]);
    expect(vi.getTimerCount()).toBeLessThanOrEqual(1);
  });
});

it('chunks are those of the whole answer, whatever the slices were', async () => {
  const HOURS = 60;
  const row = fc.record({
    host: fc.integer({ min: 0, max: 2 }),
    hour: fc.integer({ min: 0, max: HOURS }),
    f: fc.option(fc.integer({ min: -9, max: 9 })),
    s: fc.option(fc.integer({ min: 0, max: 2 })),
  });
  const statement = fc.record({
    fields: fc.constantFrom('f', 's', '*', 'f * 2, s'),
    where: fc.constantFrom('', " WHERE host = 'h1'", ' WHERE f > 3', ' WHERE time > 20h AND time <= 47h'),
    group: fc.constantFrom('', '', ' GROUP BY host', ' GROUP BY host', ' GROUP BY region', ' GROUP BY *'),
    order: fc.constantFrom('', ' ORDER BY time DESC'),
    limit: fc.constantFrom(
      '',
      '',
      ' LIMIT 1',
      ' LIMIT 20 OFFSET 1',
      ' OFFSET 3',
      ' LIMIT 40 OFFSET 8',
      ' SLIMIT 1',
      ' SLIMIT 2 SOFFSET 1',
    ),
    size: fc.integer({ min: 1, max: 30 }),
    streamedRowsMax: fc.integer({ min: 1, max: 40 }),
  });
  const property = fc.asyncProperty(
    fc.array(row, { minLength: 1, maxLength: 120 }),
    fc.constantFrom(1n, 5n, 200n),
    fc.array(statement, { minLength: 8, maxLength: 8 }),
    async (rows, hours, statements) => {
      const memory = new MemoryBackend({ shardsPerGroup: 2, shardDurationNs: hours * HOUR });
      await ask(memory, 'CREATE DATABASE t');
      const lines = rows.flatMap(({ host, hour, f, s }) => {
        const fields = [f === null ? '' : `f=${f}`, s === null ? '' : `s="s${s}"`].filter((text) => text !== '');
        return fields.length === 0
          ? []
          : [`m,host=h${host}${host === 1 ? '' : `,region=r${host}`} ${fields.join(',')} ${BigInt(hour) * HOUR}`];
      });
      memory.write('t', lines.join('\n'));
      for (const { fields, where, group, order, limit, size, streamedRowsMax } of statements) {
        const text = `SELECT ${fields} FROM m${where}${group}${order}${limit}`;
        const options = { database: 't', nowNs: 1000n * DAY, epoch: 'ns' };
        const [whole] = await ask(memory, text, options);
        const parts = (whole!.series ?? []).flatMap(({ values, ...series }) =>
          Array.from({ length: Math.ceil(values!.length / size) }, (_, n) => ({
            ...series,
            values: values!.slice(n * size, (n + 1) * size),
          })),
        );
        const chunks = parts.map((part, n) => ({
          statement_id: 0,
          ...(n + 1 < parts.length ? { partial: true } : {}),
          series: [part],
        }));
        const limits = { streamedRowsMax };
        const answer = await ask(memory, text, { ...options, chunkSize: size, limits });
        expect({ text, answer }).toEqual({ text, answer: chunks.length === 0 ? [{ statement_id: 0 }] : chunks });
      }
    },
  );
  await fc.assert(property, { numRuns: 30 });
});
