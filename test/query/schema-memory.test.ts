/** Schemas are remembered between statements and still never old. */
import { expect, it } from 'vitest';
import type { PartialRequest } from '../../shards/query/partial.ts';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const OPTIONS = { database: 't', epoch: 'ns' };

async function prepared(): Promise<{ memory: MemoryBackend; asked: PartialRequest['kind'][] }> {
  const memory = new MemoryBackend({ shardsPerGroup: 2, placeOf: (index) => index });
  await ask(memory, 'CREATE DATABASE t');
  memory.write('t', 'm,host=a f=1 1\nm,host=b f=2 1\nm,host=c f=3 1\nm,host=d f=4 1');
  const asked: PartialRequest['kind'][] = [];
  const run = memory.backend.run;
  Object.assign(memory.backend, {
    run: (...args: Parameters<typeof run>) => {
      asked.push(args[1].kind);
      return run(...args);
    },
  });
  return { memory, asked };
}

const rows = async (memory: MemoryBackend, query: string): Promise<unknown> =>
  (await ask(memory, query, OPTIONS))[0]!.series?.map(({ columns, values }) => [columns, values]);

it('the second statement over the same measurement asks once, the first one twice', async () => {
  const { memory, asked } = await prepared();
  await rows(memory, 'SELECT sum(f) FROM m');
  expect(asked.splice(0)).toEqual(['schema', 'select']);
  expect(await rows(memory, 'SELECT max(f) FROM m')).toEqual([[['time', 'max'], [[1, 4]]]]);
  expect(asked).toEqual(['select']);
});

it('a field, a tag or a stronger type that came since is seen', async () => {
  const { memory, asked } = await prepared();
  await rows(memory, 'SELECT * FROM m');
  memory.write('t', 'm,host=a g=5i 2');
  asked.length = 0;
  const [series] = (await rows(memory, "SELECT * FROM m WHERE host = 'a'")) as [string[], unknown[]][];
  expect(series).toEqual([
    ['time', 'f', 'g', 'host'],
    [
      [1, 1, null, 'a'],
      [2, null, 5, 'a'],
    ],
  ]);
  expect(asked).toEqual(['select', 'schema', 'select']);
  memory.write('t', 'm,host=a,zone=z f=7 3');
  expect(await rows(memory, "SELECT f FROM m WHERE zone = 'z'")).toEqual([[['time', 'f'], [[3, 7]]]]);
});

it('a measurement that came since, or is gone, is noticed although nothing was planned for it', async () => {
  const { memory } = await prepared();
  expect(await rows(memory, 'SELECT f FROM late')).toBeUndefined();
  memory.write('t', 'late f=1 1');
  expect(await rows(memory, 'SELECT f FROM late')).toEqual([[['time', 'f'], [[1, 1]]]]);
  await ask(memory, 'DROP MEASUREMENT late', OPTIONS);
  expect(await rows(memory, 'SELECT f FROM late')).toBeUndefined();
});

it('what fails by a remembered schema is planned again: the tag is now a field, too', async () => {
  const { memory } = await prepared();
  expect((await ask(memory, 'SELECT host + 1 FROM m', OPTIONS))[0]!.error).toMatch(/^type error/);
  memory.write('t', 'm,zone=z host=2 5');
  expect(await rows(memory, 'SELECT host + 1 FROM m')).toEqual([[['time', 'host'], [[5, 3]]]]);
});
