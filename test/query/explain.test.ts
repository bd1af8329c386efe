/** EXPLAIN and EXPLAIN ANALYZE. */
import { beforeAll, expect, it } from 'vitest';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const memory = new MemoryBackend({ shardDurationNs: 3_600_000_000_000n, shardsPerGroup: 1 });

beforeAll(async () => {
  await ask(memory, 'CREATE DATABASE t');
  memory.write('t', ['cpu,host=a v=1.5,i=3i 100', 'cpu,host=b v=2 100', 'cpu,host=a v=3 7200000000000'].join('\n'));
});

async function linesOf(query: string): Promise<unknown> {
  const [result] = await ask(memory, query, { database: 't', nowNs: 9_000_000_000_000n });
  if (result!.error !== undefined) return result!.error;
  expect(result!.series).toHaveLength(1);
  return [result!.series![0]!.columns, ...result!.series![0]!.values!.map(([line]) => line)];
}

it('says what states and rows are read of which shards, series and nodes', async () => {
  expect(await linesOf("EXPLAIN SELECT mean(v), median(i) FROM cpu WHERE host = 'a' GROUP BY time(1h)")).toEqual([
    ['QUERY PLAN'],
    'EXPRESSION: mean(v::float)',
    'EXPRESSION: median(i::integer)',
    'MEASUREMENTS: cpu',
    'PARTIAL FORM: states and rows',
    'NUMBER OF SHARDS: 2',
    'NUMBER OF SERIES: 2',
    'NODES: n1 (2)',
  ]);
  expect(await linesOf('EXPLAIN SELECT v, host FROM cpu WHERE time < 1h')).toEqual([
    ['QUERY PLAN'],
    'EXPRESSION: <nil>',
    'AUXILIARY FIELDS: v::float, host::tag',
    'MEASUREMENTS: cpu',
    'PARTIAL FORM: rows',
    'NUMBER OF SHARDS: 1',
    'NUMBER OF SERIES: 2',
    'NODES: n1 (1)',
  ]);
});

it('has a block for each source that is read by itself', async () => {
  const lines = await linesOf(
    'EXPLAIN SELECT mean(m) FROM (SELECT max(v) AS m FROM cpu GROUP BY host), (SELECT v AS m FROM cpu)',
  );
  expect((lines as string[]).slice(1).filter((line) => line === '' || line.startsWith('EXPRESSION'))).toEqual([
    'EXPRESSION: max(v::float)',
    '',
    'EXPRESSION: <nil>',
  ]);
});

it('refuses what the SELECT would be refused for', async () => {
  expect(await linesOf('EXPLAIN SELECT mean(v), v FROM cpu')).toBe(
    'mixing aggregate and non-aggregate queries is not supported',
  );
  expect(await linesOf('EXPLAIN ANALYZE SELECT v FROM t.nope.cpu')).toBe('retention policy not found: nope');
});

it('runs the SELECT for ANALYZE, tells of each request, and writes nothing', async () => {
  const lines = (await linesOf('EXPLAIN ANALYZE SELECT v INTO x FROM cpu')) as string[];
  const shape = lines
    .slice(1)
    .map((line) => line.replace(/_time: .*|time: .*/, (found) => `${found.split(':')[0]}: T`));
  expect(lines[0]).toEqual(['EXPLAIN ANALYZE']);
  expect(shape.slice(0, 9)).toEqual([
    '.',
    '└── select',
    '    ├── execution_time: T',
    '    ├── planning_time: T',
    '    ├── total_time: T',
    '    ├── series_answered: 1',
    '    ├── rows_answered: 3',
    '    └── partial_requests',
    '        ├── labels',
  ]);
  expect(lines.filter((line) => String(line).includes('rows_read'))).toHaveLength(
    lines.filter((line) => String(line).endsWith('kind: select')).length,
  );
  expect(lines.join('\n')).toMatch(/rows_read: 3\n.*rows_handed_over: 3\n.*values_handed_over: 3/);
  expect(await ask(memory, 'SELECT * FROM x', { database: 't' })).toEqual([{ statement_id: 0 }]);
});
