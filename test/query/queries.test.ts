/** SHOW QUERIES and KILL QUERY on one node: what runs is listed, and ends as soon as it is told to. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ClusterQueries } from '../../server/cluster-queries.ts';
import type { QueryBackend } from '../../server/query/backend.ts';
import { DEFAULT_QUERY_LIMITS } from '../../server/query/limits.ts';
import type { QueryOptions, QueryService, StatementResult } from '../../server/query/result.ts';
import { mayBeOf, RunningQueries } from '../../server/query/running-queries.ts';
import { createQueryService } from '../../server/query/service.ts';
import { MemoryBackend } from './memory-backend.ts';

const OPTIONS: QueryOptions = {
  database: 't',
  nowNs: 1_000n,
  readOnly: false,
  chunkSize: null,
  completeness: false,
};

let memory: MemoryBackend;
/** Partial requests wait here while they are held. */
let held: { readonly began: Promise<void>; release(): void } | null;
let stopped: number;
let service: QueryService;
let limited: QueryService;

beforeEach(() => {
  memory = new MemoryBackend();
  held = null;
  stopped = 0;
  memory.backend.metadata.createDatabase('t', null);
  memory.write('t', 'm,host=a f=1,n=1i 10\nm,host=b f=2,n=2i 20\nm,host=b f=3,n=2i 30');
  const slow: QueryBackend = {
    ...memory.backend,
    run: async (targets, request, ending) => {
      await waitIfHeld(ending);
      return memory.backend.run(targets, request, ending);
    },
    runHere: (targets, request, answered, failed, ending) => {
      if (held === null) return memory.backend.runHere!(targets, request, answered, failed, ending);
      waitIfHeld(ending).then(() => memory.backend.run(targets, request).then(answered, failed), failed);
      return true;
    },
  };
  service = createQueryService(slow, DEFAULT_QUERY_LIMITS, memory.running);
  limited = createQueryService(slow, DEFAULT_QUERY_LIMITS, new RunningQueries('0', 1));
});
afterEach(() => expect(memory.running.list()).toEqual([]));

let began: () => void = () => {};
let released: () => void = () => {};

function hold(): void {
  const start = new Promise<void>((resolve) => {
    began = resolve;
  });
  held = {
    began: start,
    release: () => {
      held = null;
      released();
    },
  };
}

function waitIfHeld(ending: { onEnd(listener: () => void): void; reason: Error | null } | undefined): Promise<void> {
  if (held === null) return Promise.resolve();
  return new Promise((resolve, reject) => {
    released = resolve;
    ending?.onEnd(() => {
      stopped++;
      reject(ending.reason!);
    });
    began();
  });
}

async function run(text: string, options: Partial<QueryOptions> = {}, by = service): Promise<StatementResult[]> {
  const results: StatementResult[] = [];
  for await (const result of by.execute(text, { ...OPTIONS, ...options })) results.push(result);
  return results;
}

async function listed(): Promise<unknown[][]> {
  const [result] = await run('SHOW QUERIES');
  return [...result!.series![0]!.values].map((row) => [...row]);
}

test('a statement that runs is listed, as it is printed, and the one that asks, too', async () => {
  hold();
  const running = run(`SELECT  f FROM m; CREATE USER u WITH PASSWORD 'secret'`);
  await held!.began;
  const rows = await listed();
  expect(rows.map(([, text, database, , status]) => [text, database, status])).toEqual([
    ['SELECT f FROM m;\nCREATE USER u WITH PASSWORD [REDACTED]', 't', 'running'],
    ['SHOW QUERIES', 't', 'running'],
  ]);
  for (const row of rows) expect(row[3]).toMatch(/^\d+(µs|ms|s)$/);
  held!.release();
  await running;
  expect((await listed()).map((row) => row[1])).toEqual(['SHOW QUERIES']);
});

test('one that is killed ends with its work, and what follows it is not executed', async () => {
  hold();
  const running = run('SELECT f FROM m; SELECT n FROM m');
  await held!.began;
  const [[id]] = (await listed()) as [[number]];
  expect(await run(`KILL QUERY ${id}`)).toEqual([{ statementId: 0 }]);
  expect(await running).toEqual([
    { statementId: 0, error: 'query interrupted' },
    { statementId: 1, error: 'not executed' },
  ]);
  expect(stopped).toBeGreaterThan(0);
  expect(await run(`KILL QUERY ${id}`)).toEqual([{ statementId: 0, error: `no such query id: ${id}` }]);
  expect(await run('KILL QUERY 18446744073709551615')).toEqual([
    { statementId: 0, error: 'no such query id: 18446744073709551615' },
  ]);
});

test('one that was begun straight ends likewise', async () => {
  await run('SELECT f FROM m');
  hold();
  const result = new Promise((resolve) => {
    expect(service.straight!('SELECT f FROM m', OPTIONS, resolve)).toBe(true);
  });
  const [[id, text]] = (await listed()) as [[number, string]];
  expect(text).toBe('SELECT f FROM m');
  memory.running.kill(BigInt(id));
  expect(await result).toEqual({ statementId: 0, error: 'query interrupted' });
});

test('between two chunks, and between two statements', async () => {
  const texts = ['SELECT f FROM m', 'SELECT count(f) FROM m; DROP MEASUREMENT m'];
  for (const text of texts) {
    const results = service.execute(text, { ...OPTIONS, chunkSize: 1 });
    expect((await results.next()).value).toMatchObject({ series: [{ name: 'm' }] });
    const [[id]] = (await listed()) as [[number]];
    memory.running.kill(BigInt(id));
    expect(memory.running.list()[0]!.status).toBe('killed');
    expect(() => memory.running.kill(BigInt(id))).toThrow('already killed');
    expect((await results.next()).value).toMatchObject({ error: 'query interrupted' });
    expect((await results.next()).done).toBe(true);
  }
  expect((await run('SELECT count(f) FROM m'))[0]!.series).toHaveLength(1);
});

test('SELECT INTO writes nothing more', async () => {
  hold();
  const running = run('SELECT f INTO other FROM m');
  await held!.began;
  const [[id]] = (await listed()) as [[number]];
  memory.running.kill(BigInt(id));
  expect(await running).toEqual([{ statementId: 0, error: 'query interrupted' }]);
  held = null;
  expect(await run('SELECT f FROM other')).toEqual([{ statementId: 0 }]);
});

test('with more at once than may be, the next one is refused; but not what shows and ends them', async () => {
  await run('SELECT f FROM m', {}, limited);
  hold();
  const running = run('SELECT f FROM m', {}, limited);
  await held!.began;
  expect(await run('SELECT n FROM m; SELECT f FROM m', {}, limited)).toEqual([
    { statementId: 0, error: 'max-concurrent-queries limit exceeded(1, 1)' },
  ]);
  expect(limited.straight!('SELECT f FROM m', OPTIONS, () => {})).toBe(false);
  expect((await run('SHOW QUERIES', {}, limited))[0]!.error).toBeUndefined();
  held!.release();
  expect((await running)[0]!.error).toBeUndefined();
  expect((await run('SELECT f FROM m', {}, limited))[0]!.error).toBeUndefined();
});

test('members that are not live are named', async () => {
  memory.unasked.push('n2', 'n3');
  expect((await run('SHOW QUERIES', { readOnly: true }))[0]!.messages).toEqual([
    { level: 'warning', text: 'queries of n2, n3 are not listed: no answer' },
  ]);
});

test('ids of two nodes differ, and lead to their nodes', () => {
  const nodes = ['00000000000000a1', 'ffffffffffffffff'];
  const ids = nodes.map((node) => new RunningQueries(node, 0).begin([], undefined).id);
  expect(ids.every(Number.isSafeInteger)).toBe(true);
  for (const [i, id] of ids.entries())
    expect(nodes.map((node) => mayBeOf(BigInt(id), node))).toEqual(nodes.map((_, other) => other === i));
});

test('an id is looked for where it is from, or where ON says', async () => {
  const [self, twin, other] = ['00000000000000a1', '10000000000000a1', '00000000000000b2'];
  const running = new RunningQueries(self!, 0);
  const query = running.begin([], undefined);
  const members = [self, twin, other].map((number, i) => ({
    number,
    name: `n${i + 1}`,
    address: `http://127.0.0.1:${i + 1}`,
    state: 'up',
  }));
  const of = (some: typeof members): ClusterQueries =>
    new ClusterQueries({
      running,
      clusterId: () => 'c',
      snapshot: () => ({ ...memory.backend.snapshot(), self: self!, live: [self!], members: some as never }),
    });
  const id = BigInt(query.id);
  await expect(of(members).kill(id, undefined)).rejects.toThrow(`query ${id} may be of n1 or n2: say where with ON`);
  await expect(of(members).kill(id, 'n3')).rejects.toThrow(`no such query id: ${id}`);
  await expect(of([members[2]!]).kill(id, undefined)).rejects.toThrow(`no such query id: ${id}`);
  expect((await of(members).list()).unasked).toEqual(['n2', 'n3']);
  await of(members).kill(id, '127.0.0.1:1');
  expect(query.isKilled).toBe(true);
  await expect(of([members[0]!]).kill(id, undefined)).rejects.toThrow('already killed');
});
