/** Which failures of a statement may pass, as who tries again by itself has to know. */
import { expect, it } from 'vitest';
import type { Coordinator } from '../../server/coordinator.ts';
import type { WriteResult } from '../../server/http/influx-write.ts';
import { DEFAULT_QUERY_LIMITS } from '../../server/query/limits.ts';
import { PassingError } from '../../server/query/query-error.ts';
import { RunningQueries } from '../../server/query/running-queries.ts';
import { createQueryService } from '../../server/query/service.ts';
import { writeLines } from '../../server/statement-writes.ts';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

async function made(): Promise<MemoryBackend> {
  const memory = new MemoryBackend();
  await ask(memory, 'CREATE DATABASE d');
  memory.write('d', 'm f=1 1');
  return memory;
}

/** What the statement's failure was told as, beside the text of its result. */
async function failureOf(memory: MemoryBackend, text: string, limits = {}, queries = memory.running): Promise<string> {
  const service = createQueryService(memory.backend, { ...DEFAULT_QUERY_LIMITS, ...limits }, queries);
  const told: unknown[] = [];
  const failed = (error: unknown): void => void told.push(error);
  const options = { database: 'd', nowNs: 0n, readOnly: false, chunkSize: null, completeness: false, failed };
  for await (const { error } of service.execute(text, options)) expect(told.length).toBe(error === undefined ? 0 : 1);
  return told
    .map((error) => `${error instanceof PassingError ? 'passes' : 'stays'}: ${(error as Error).message}`)
    .join();
}

const INTO = 'SELECT mean(f) INTO n FROM m GROUP BY time(1s)';

it('what does not fail is not told', async () => {
  expect(await failureOf(await made(), INTO)).toBe('');
});

it('shards without an owner that is up', async () => {
  const memory = await made();
  for (const id of memory.shards.keys()) memory.down.add(id);
  expect(await failureOf(memory, INTO)).toMatch(/^passes: 1 of 1 shards unavailable/);
  expect(await failureOf(memory, 'SELECT f FROM m')).toMatch(/^passes: 1 of 1 shards unavailable/);
});

it('too many queries', async () => {
  const queries = new RunningQueries('0', 1);
  queries.begin([], 'd');
  expect(await failureOf(await made(), INTO, {}, queries)).toBe('passes: max-concurrent-queries limit exceeded(1, 1)');
});

it('a time that is up', async () => {
  const memory = await made();
  memory.backend.run = () => new Promise(() => {});
  expect(await failureOf(memory, INTO, { queryMsMax: 1 })).toBe('passes: query-timeout limit exceeded');
});

it('a place that refuses, unless there is too much in the range', async () => {
  const memory = await made();
  const { run } = memory.backend;
  const refusing = (more: object): void => {
    memory.backend.run = async (...args) => {
      const [, request] = args;
      const answers = await run(...args);
      const refused = { kind: 'refused', message: 'no', ...more } as const;
      return request.kind === 'select' ? { ...answers, results: [refused] } : answers;
    };
  };
  refusing({});
  expect(await failureOf(memory, INTO)).toBe('passes: no');
  refusing({ isTooManyRows: true });
  expect(await failureOf(memory, INTO)).toBe('stays: no');
});

it('what the statement names and is not there', async () => {
  expect(await failureOf(await made(), 'SELECT mean(f) INTO nodb..n FROM m')).toBe('stays: database not found: nodb');
});

it.each<[string, WriteResult]>([
  ['passes', { status: 503, error: 'timeout' }],
  ['stays', { status: 400, error: 'bad' }],
])('a write that is refused: %s', async (which, result) => {
  const coordinator = { write: (_: unknown, answered: (result: WriteResult) => void) => answered(result) };
  const error = await writeLines(coordinator as Coordinator, 'd', '', new Uint8Array()).catch((caught) => caught);
  expect([error.message, error instanceof PassingError]).toEqual([
    'error' in result && result.error,
    which === 'passes',
  ]);
});
