/** Statements of which no shard, or not every shard, has series: shards without any leave no trace in the answer. */
import { expect, it } from 'vitest';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const OPTIONS = { database: 't', epoch: 'ns' };
const STATEMENTS = [
  'SELECT mean(i) FROM m WHERE %',
  'SELECT sum(i), count(f), spread(u) FROM m WHERE %',
  'SELECT max(i) + 1, last(s) FROM m WHERE % GROUP BY host',
  'SELECT count(i) FROM m WHERE % AND time >= 0 AND time < 3s GROUP BY time(1s) fill(0)',
  'SELECT max(i), s FROM m WHERE %',
  'SELECT first(b) FROM m WHERE % AND time >= 0 AND time < 3s GROUP BY time(1s), * ORDER BY time DESC LIMIT 2',
  'SELECT percentile(i, 50), stddev(f) FROM m WHERE %',
  'SELECT derivative(mean(i), 1s) FROM m WHERE % AND time >= 0 AND time < 3s GROUP BY time(1s)',
  'SELECT * FROM m WHERE % GROUP BY host',
  'SELECT max(x) FROM (SELECT sum(i) AS x FROM m WHERE % GROUP BY host)',
];

function backend(shardsPerGroup: number): MemoryBackend {
  return new MemoryBackend({ shardsPerGroup, placeOf: (index) => index });
}

async function written(shardsPerGroup: number): Promise<MemoryBackend> {
  const memory = backend(shardsPerGroup);
  await ask(memory, 'CREATE DATABASE t');
  for (const host of ['a', 'b', 'c', 'd', 'e', 'f', 'g'])
    memory.write('t', `m,host=${host} i=3i,u=4i,f=0.5,s="x",b=true 1000000000\nm,host=${host} i=5i 2000000000`);
  return memory;
}

it.each(STATEMENTS)('a series that nobody has: nothing, and no error: %s', async (statement) => {
  const [result] = await ask(await written(4), statement.replace('%', "host = 'nobody'"), OPTIONS);
  expect(result).toEqual({ statement_id: 0 });
});

it.each(STATEMENTS)('a series that one shard has: as if there were no others: %s', async (statement) => {
  const question = statement.replace('%', "host = 'a'");
  const [expected] = await ask(await written(1), question, OPTIONS);
  expect(expected!.series).toHaveLength(1);
  expect(await ask(await written(4), question, OPTIONS)).toEqual([expected]);
});
