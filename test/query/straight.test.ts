/** Statements that are answered straight: the same answers as the general way, and what is left to that. */
import { expect, it, vi } from 'vitest';
import { Ending } from '../../server/query/ending.ts';
import { DEFAULT_QUERY_LIMITS } from '../../server/query/limits.ts';
import { QueryError } from '../../server/query/query-error.ts';
import type { QueryOptions, QueryService, StatementResult } from '../../server/query/result.ts';
import { createQueryService } from '../../server/query/service.ts';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const OPTIONS: QueryOptions = {
  database: 't',
  nowNs: 1_000n,
  readOnly: true,
  chunkSize: null,
  completeness: false,
};

async function prepared(): Promise<{ memory: MemoryBackend; service: QueryService }> {
  const memory = new MemoryBackend({ shardsPerGroup: 4, placeOf: (index) => index % 2 });
  await ask(memory, 'CREATE DATABASE t');
  const hosts = ['a', 'b', 'c', 'd', 'e', 'f'];
  memory.write(
    't',
    hosts
      .flatMap((host, i) => [1, 2, 3, 4].map((at) => `m,host=${host} f=${i + at / 10},n=${at}i ${at * 10}`))
      .join('\n'),
  );
  const service = createQueryService(memory.backend, { ...DEFAULT_QUERY_LIMITS, seriesMax: 10 });
  // Until its schema is remembered nothing of a measurement goes straight.
  expect(begun(service, "SELECT f FROM m WHERE host = 'a'")).toBeNull();
  await generally(service, "SELECT f FROM m WHERE host = 'a'");
  return { memory, service };
}

/** null: it was not begun. */
function begun(
  service: QueryService,
  text: string,
  options: QueryOptions = OPTIONS,
): Promise<StatementResult | null> | null {
  let isBegun = false;
  const result = new Promise<StatementResult | null>((resolve) => {
    isBegun = service.straight!(text, options, resolve);
  });
  return isBegun ? result : null;
}

async function generally(service: QueryService, text: string, options = OPTIONS): Promise<StatementResult> {
  for await (const result of service.execute(text, options)) return result;
  throw new Error('no result');
}

const shown = (result: StatementResult | null) =>
  result?.series === undefined
    ? result
    : { ...result, series: result.series.map((one) => ({ ...one, values: [...one.values] })) };

it.each([
  "SELECT max(f), min(n) FROM m WHERE (host = 'a' OR host = 'b') AND time >= 10 AND time < 35 GROUP BY time(10ns)",
  "SELECT mean(f) FROM m WHERE host != 'f' GROUP BY host",
  "SELECT last(f), n FROM m WHERE host != 'f'",
  "SELECT * FROM m WHERE host = 'c' AND f > 2.15",
  "SELECT f + n FROM m WHERE host = 'c' ORDER BY time DESC LIMIT 2",
  "SELECT max(f) FROM m WHERE host != 'f' AND time >= 0 AND time < 50 GROUP BY time(10ns) ORDER BY time DESC LIMIT 2",
  "SELECT f FROM m WHERE host = 'nobody'",
  "SELECT sum(f) + 1 FROM m WHERE host = 'a' AND time > 0 GROUP BY time(20ns) fill(previous)",
  'SELECT sum(f) FROM m',
])('%s', async (text) => {
  const { service } = await prepared();
  const straight = begun(service, text);
  expect(straight).not.toBeNull();
  expect(shown(await straight!)).toEqual(shown(await generally(service, text)));
});

it('gives the memory of states back when their rows are made', async () => {
  const { memory, service } = await prepared();
  const { backend } = memory;
  const given: ArrayBuffer[] = [];
  vi.spyOn(backend, 'runHere').mockImplementation((targets, request, answered) => {
    void backend.run(targets, request).then((answers) => {
      for (const result of answers.results)
        if (result.kind === 'select') for (const { states } of result.shards) given.push(states.numbers);
      answered(answers);
    });
    return true;
  });
  const text =
    "SELECT mean(f), max(n) FROM m WHERE host != 'f' AND time >= 0 AND time < 20000 GROUP BY time(1ns), host fill(none)";
  const straight = await begun(service, text);
  expect(given.length).toBeGreaterThan(1);
  expect(given.map(({ byteLength }) => byteLength)).toEqual(given.map(() => 0));
  expect(shown(straight)).toEqual(shown(await generally(service, text)));
});

it.each([
  'SELECT derivative(mean(f)) FROM m WHERE time > 0 AND time < 50 GROUP BY time(10ns)',
  'SELECT median(f) FROM m',
  'SELECT max(f) FROM (SELECT f FROM m)',
  'SELECT f FROM late',
  'SELECT f FROM',
  'SELECT f FROM m; SELECT n FROM m',
  'SHOW MEASUREMENTS',
])('is left to the general way: %s', async (text) => {
  const { service } = await prepared();
  expect(begun(service, text)).toBeNull();
});

it('leaves shards that are not all here, proofs, levels, chunks and parameters to the general way', async () => {
  const { memory, service } = await prepared();
  for (const more of [
    { completeness: true },
    { consistency: 'quorum' as const },
    { chunkSize: 10 },
    { params: {} },
    { database: 'unknown' },
  ])
    expect(begun(service, 'SELECT f FROM m', { ...OPTIONS, ...more })).toBeNull();
  memory.down.add([...memory.shards.keys()][0]!);
  expect(begun(service, 'SELECT f FROM m')).toBeNull();
});

it('a schema that has changed since, and a place that fails, ask for the general way afterwards', async () => {
  const { memory, service } = await prepared();
  memory.write('t', 'm,host=a other=5 50');
  expect(await begun(service, "SELECT * FROM m WHERE host = 'a'")).toBeNull();
  await generally(service, "SELECT * FROM m WHERE host = 'a'");
  const result = await begun(service, "SELECT * FROM m WHERE host = 'a'");
  expect(result!.series![0]!.columns).toEqual(['time', 'f', 'host', 'n', 'other']);
  memory.backend.runHere = (_targets, _request, _answered, failed) => {
    failed(new Error('gone'));
    return true;
  };
  expect(await begun(service, 'SELECT f FROM m')).toBeNull();
});

it('the first windows of a LIMIT that do not hold enough ask for the general way afterwards', async () => {
  const { memory, service } = await prepared();
  memory.write('t', 'm,host=z f=1 1000');
  const text =
    'SELECT max(f) FROM m WHERE time >= 0 AND time < 100 GROUP BY time(10ns) fill(none) ORDER BY time DESC LIMIT 2';
  await generally(service, text);
  expect(await begun(service, text)).toBeNull();
});

it('a limit that was hit is the answer', async () => {
  const { memory, service } = await prepared();
  memory.write('t', Array.from({ length: 40 }, (_, i) => `m,host=more${i} f=1 1`).join('\n'));
  await generally(service, 'SELECT f FROM m');
  const result = await begun(service, 'SELECT f FROM m');
  expect(result!.error).toMatch(/^max-select-series limit exceeded/);
  expect(result).toEqual(await generally(service, 'SELECT f FROM m'));
});

it('who leaves, or whose time is up, does not wait for the workers', async () => {
  const { memory, service } = await prepared();
  memory.backend.runHere = () => true;
  const ending = new Ending();
  const result = begun(service, 'SELECT f FROM m', { ...OPTIONS, ending });
  ending.end(new QueryError('query interrupted'));
  expect(await result).toEqual({ statementId: 0, error: 'query interrupted' });
  const hurried = createQueryService(memory.backend, { ...DEFAULT_QUERY_LIMITS, queryMsMax: 1 });
  await generally(hurried, 'SELECT f FROM m').catch(() => {});
  expect(await begun(hurried, 'SELECT f FROM m')).toEqual({ statementId: 0, error: 'query-timeout limit exceeded' });
});

/** Straight, and in the general way when it is left to that, as the door of requests does it. */
async function asked(service: QueryService, text: string): Promise<StatementResult> {
  const options = { ...OPTIONS, begun: { left: null } };
  const result = await begun(service, text, options);
  return result ?? generally(service, text, options);
}

it('what is left to the general way is planned once, and windows that LIMIT names are not read again', async () => {
  const { memory, service } = await prepared();
  const { run, targets } = memory.backend;
  const counts = { runs: 0, plans: 0 };
  memory.backend.run = (...args) => {
    counts.runs++;
    return run(...args);
  };
  memory.backend.targets = (...args) => {
    counts.plans++;
    return targets(...args);
  };
  const expectCounts = async (text: string, expected: typeof counts): Promise<void> => {
    const result = shown(await generally(service, text));
    Object.assign(counts, { runs: 0, plans: 0 });
    expect(shown(await asked(service, text))).toEqual(result);
    expect(counts).toEqual(expected);
  };
  await expectCounts("SELECT max(f) FROM m WHERE host = 'a'", { runs: 1, plans: 1 });
  await expectCounts("SELECT median(f) FROM m WHERE host = 'a'", { runs: 1, plans: 1 });
  // Of two hosts one has no row in the first window.
  memory.write('t', 'm,host=late f=7 45');
  const some = "(host = 'a' OR host = 'late') AND time >= 10 AND time < 50";
  await expectCounts(`SELECT max(f) FROM m WHERE ${some} GROUP BY time(10ns), host LIMIT 1`, { runs: 2, plans: 1 });
  memory.backend.runHere = (_targets, _request, _answered, failed) => {
    failed(new Error('gone'));
    return true;
  };
  await expectCounts("SELECT max(f) FROM m WHERE host = 'a'", { runs: 1, plans: 1 });
});

it('a schema that has changed is asked for, whoever began the statement', async () => {
  const { memory, service } = await prepared();
  memory.write('t', 'm,host=a other=5 50');
  const result = await asked(service, "SELECT * FROM m WHERE host = 'a'");
  expect(result.series![0]!.columns).toEqual(['time', 'f', 'host', 'n', 'other']);
});

it('a statement that is left to the general way has no more time than others', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
  try {
    const memory = new MemoryBackend({ shardsPerGroup: 2 });
    await ask(memory, 'CREATE DATABASE t');
    memory.write('t', 'm,host=a f=1 10');
    const service = createQueryService(memory.backend, { ...DEFAULT_QUERY_LIMITS, queryMsMax: 100 });
    await generally(service, 'SELECT f FROM m');
    vi.advanceTimersByTime(1_000);
    memory.backend.runHere = (_targets, _request, _answered, failed) => {
      setTimeout(() => failed(new Error('gone')), 60);
      return true;
    };
    memory.backend.run = () => new Promise(() => {});
    let result: StatementResult | null = null;
    asked(service, 'SELECT f FROM m').then((each) => {
      result = each;
    });
    await vi.advanceTimersByTimeAsync(99);
    expect(result).toBeNull();
    await vi.advanceTimersByTimeAsync(2);
    expect(result).toMatchObject({ error: 'query-timeout limit exceeded' });
  } finally {
    vi.useRealTimers();
  }
});
