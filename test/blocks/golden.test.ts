/**
 * Blocks of every format version that was ever released must decode for ever. Each golden block is a file
 * `<name>.head.bin`, `<name>.body.bin` and `<name>.json` (its rows: series, time, version, cells by `type:field`; floats
 * as 16 hexadecimal digits of their bits, integers as decimal text). Files are added when the format or an encoding
 * changes; none is ever changed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeBlock, decodeBlockHead } from '../../shards/block.ts';
import { describeRows } from './rows.ts';

const directory = new URL('../golden/blocks/', import.meta.url);
const names = readdirSync(directory)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length));

describe('golden blocks', () => {
  it('are there', () => expect(names.length).toBeGreaterThanOrEqual(4));

  it.each(names)('%s decodes to the rows it was made of', (name) => {
    const bytes = (part: string) => readFileSync(new URL(`${name}.${part}.bin`, directory));
    const rows = decodeBlock(decodeBlockHead(bytes('head')), bytes('body'), {
      series: null,
      fields: null,
      minTime: 0,
      maxTime: Number.MAX_SAFE_INTEGER,
    });
    expect(describeRows(rows)).toEqual(JSON.parse(readFileSync(new URL(`${name}.json`, directory), 'utf8')));
  });
});
