/** Few series with a filter: its fields are read first, and the others where a row passes. */
import { expect, it, vi } from 'vitest';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const ROWS = 4;

async function prepared() {
  const memory = new MemoryBackend({ shardsPerGroup: 1 });
  await ask(memory, 'CREATE DATABASE t');
  const lines = ['x', 'y'].flatMap((host, h) =>
    Array.from({ length: ROWS }, (_, i) => `m,host=${host} a=${h * 10 + i},b=${i},c="${i}" ${10 * (i + 1)}`),
  );
  memory.write('t', lines.join('\n'));
  const reads: string[][] = [];
  for (const shard of memory.shards.values()) {
    const scanSteps = shard.scanSteps.bind(shard);
    vi.spyOn(shard, 'scanSteps').mockImplementation((request, visit) => {
      reads.push([...request.fields]);
      return scanSteps(request, visit);
    });
  }
  const rows = async (text: string, limits = {}) => {
    reads.length = 0;
    const [result] = await ask(memory, text, { database: 't', epoch: 'ns', limits });
    return { result: result!.error ?? result!.series?.[0]?.values ?? [], reads: [...reads] };
  };
  return { rows };
}

it('where no row passes the other fields are not read', async () => {
  const { rows } = await prepared();
  expect(await rows("SELECT a, b, c FROM m WHERE host = 'x' AND a > 3")).toEqual({ result: [], reads: [['a']] });
  expect(await rows("SELECT max(b), c, a FROM m WHERE host = 'x' AND a > 3")).toEqual({ result: [], reads: [['a']] });
});

it('where one does all are read, and rows are counted once', async () => {
  const { rows } = await prepared();
  const text = "SELECT a, b, c FROM m WHERE host = 'y' AND a > 12";
  const all = { result: [[40, 13, 3, '3']], reads: [['a'], ['a', 'b', 'c']] };
  expect(await rows(text)).toEqual(all);
  expect(await rows(text, { rowsScannedMax: ROWS })).toEqual(all);
  const { result } = await rows("SELECT a, b, c FROM m WHERE host = 'x' AND a > 3", { rowsScannedMax: ROWS - 1 });
  expect(result).toContain('max-select-point limit exceeded');
});

it('a series of which all rows pass by its tags, and a filter of most fields, are read at once', async () => {
  const { rows } = await prepared();
  expect((await rows("SELECT a, b, c FROM m WHERE host = 'x' OR a > 100")).reads).toEqual([['a', 'b', 'c']]);
  expect((await rows("SELECT a, b FROM m WHERE host = 'x' AND a > 100")).reads).toEqual([['a', 'b']]);
});
