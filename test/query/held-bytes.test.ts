/** Texts and integers are bounded by their bytes wherever a statement holds them, and an answer of large ones leaves in pieces. */
import { describe, expect, it } from 'vitest';
import { Held } from '../../server/query/held.ts';
import { DEFAULT_QUERY_LIMITS, type QueryLimits } from '../../server/query/limits.ts';
import { createQueryService } from '../../server/query/service.ts';
import type { PartialResult } from '../../shards/query/partial.ts';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const SECOND = 1_000_000_000n;
const HOUR = 3_600n * SECOND;
const ROWS = 100;
const LENGTH = 1000;

/** One row an hour of ten hosts in turn, each with a text, an integer and a number. */
async function written(options: ConstructorParameters<typeof MemoryBackend>[0] = {}): Promise<MemoryBackend> {
  const memory = new MemoryBackend({ shardDurationNs: 24n * HOUR, ...options });
  await ask(memory, 'CREATE DATABASE t');
  const text = (n: number): string => String(n).padEnd(LENGTH, 'x');
  const lines = Array.from(
    { length: ROWS },
    (_, n) => `m,host=h${n % 10} s="${text(n)}",i=${n}i,v=${n} ${BigInt(n) * HOUR}`,
  );
  memory.write('t', lines.join('\n'));
  return memory;
}

const TOO_MANY = /^query holds more than 50000 bytes of texts and integers at once/;
const errorOf = async (
  memory: MemoryBackend,
  query: string,
  limits: Partial<QueryLimits>,
): Promise<string | undefined> => (await ask(memory, query, { database: 't', nowNs: 1000n * HOUR, limits }))[0]!.error;

describe('a statement that holds too many bytes answers an error', () => {
  it.each([
    'SELECT s FROM m',
    'SELECT s, v FROM m WHERE v >= 0 LIMIT 80',
    'SELECT distinct(s) FROM m',
    'SELECT mode(s) FROM m',
    'SELECT first(s) FROM m GROUP BY time(1h)',
    'SELECT last(s) FROM m WHERE v >= 0 GROUP BY time(1h)',
    'SELECT max(v), s FROM m WHERE time < 100h GROUP BY time(1h)',
    'SELECT top(v, 90), s FROM m',
    'SELECT a FROM (SELECT s AS a FROM m), (SELECT s AS a FROM m)',
  ])('%s', async (query) => {
    const memory = await written();
    expect(await errorOf(memory, query, { bytesMax: 50_000 })).toMatch(TOO_MANY);
    expect(await errorOf(memory, query, { bytesMax: 500_000 })).toBeUndefined();
  });

  it('integers count as well, numbers in arrays do not', async () => {
    const memory = await written();
    expect(await errorOf(memory, 'SELECT i FROM m', { bytesMax: 2500 })).toMatch(/bytes of texts and integers/);
    expect(await errorOf(memory, 'SELECT v FROM m', { bytesMax: 2500 })).toBeUndefined();
    expect(await errorOf(memory, 'SELECT mean(i), max(v) FROM m', { bytesMax: 2500 })).toBeUndefined();
  });

  it.each(['SHOW SERIES', 'SHOW TAG VALUES WITH KEY = host', 'SELECT count(v) FROM m GROUP BY host'])(
    'names of series and values of tags: %s',
    async (query) => {
      const memory = new MemoryBackend();
      await ask(memory, 'CREATE DATABASE t');
      memory.write(
        't',
        Array.from({ length: 100 }, (_, n) => `m,host=${String(n).padEnd(LENGTH, 'x')} v=1 1`).join('\n'),
      );
      expect(await errorOf(memory, query, { bytesMax: 50_000 })).toMatch(TOO_MANY);
      expect(await errorOf(memory, query, { bytesMax: 500_000 })).toBeUndefined();
    },
  );

  it('of several places the answers together', async () => {
    const memory = await written({ placeOf: (index) => index });
    const answered: number[] = [];
    const { run } = memory.backend;
    memory.backend.run = async (...args) => {
      const answers = await run(...args);
      for (const result of answers.results) answered.push(bytesOf(result));
      return answers;
    };
    expect(await errorOf(memory, 'SELECT s FROM m', { bytesMax: 50_000 })).toMatch(TOO_MANY);
    expect(Math.max(...answered)).toBeLessThan(50_000);
    expect(await errorOf(memory, 'SELECT first(s) FROM m GROUP BY time(1h)', { bytesMax: 50_000 })).toMatch(TOO_MANY);
  });
});

const bytesOf = (result: PartialResult): number => {
  const held = new Held({ rowsMax: 0 });
  held.addResults([result]);
  return held.bytes;
};

it('a chunked answer of large texts leaves in slices and chunks of few bytes', async () => {
  const memory = await written();
  const slices: number[] = [];
  const { run } = memory.backend;
  memory.backend.run = async (...args) => {
    const answers = await run(...args);
    slices.push(answers.results.reduce((sum, result) => sum + bytesOf(result), 0));
    return answers;
  };
  const limits = { ...DEFAULT_QUERY_LIMITS, bytesMax: 50_000, streamedBytesMax: 10_000 };
  const chunks: number[] = [];
  const options = { database: 't', nowNs: 0n, readOnly: true, chunkSize: 10_000, completeness: false };
  for await (const { series, error } of createQueryService(memory.backend, limits).execute(
    'SELECT s FROM m',
    options,
  )) {
    expect(error).toBeUndefined();
    chunks.push(series![0]!.values.length);
  }
  expect(chunks.reduce((sum, rows) => sum + rows)).toBe(ROWS);
  expect(Math.max(...chunks) * LENGTH).toBeLessThanOrEqual(10_000);
  expect(Math.max(...slices)).toBeLessThanOrEqual(12_000);
});
