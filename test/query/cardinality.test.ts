/** SHOW ... CARDINALITY: exact and estimated, over shards of several times and policies. */
import { beforeAll, describe, expect, it } from 'vitest';
import { addToSketch, estimateOf, mergeSketch, SKETCH_BYTES } from '../../shards/query/sketch.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const DAY = 86_400_000_000_000n;
const memory = new MemoryBackend({ shardDurationNs: DAY, placeOf: (index) => index % 3 });

beforeAll(async () => {
  await ask(memory, 'CREATE DATABASE t; CREATE DATABASE e');
  await ask(memory, 'CREATE RETENTION POLICY long ON t DURATION INF REPLICATION 1');
  // Each series is in three shards, and most in two policies.
  for (const policy of ['autogen', 'long'])
    for (const day of [0n, 1n, 5n])
      memory.write(
        't',
        [`cpu,host=a,dc=x v=1.5,i=3i ${day * DAY}`, `cpu,host=b v=2 ${day * DAY}`, `mem,host=b v=5 ${day * DAY}`].join(
          '\n',
        ),
        policy,
      );
  memory.write('t', 'mem,host=x,dc=x v=5 100', 'long');
});

const answer = async (query: string, database = 't'): Promise<unknown> => {
  const [result] = await ask(memory, query, { database });
  return result!.error ?? result!.series ?? [];
};
const count = (name: string, value: number, tags?: Record<string, string>): object => ({
  name,
  ...(tags && { tags }),
  columns: ['count'],
  values: [[value]],
});

describe('exact', () => {
  it.each<[string, unknown]>([
    ['SHOW SERIES EXACT CARDINALITY', [count('cpu', 2), count('mem', 2)]],
    ['SHOW SERIES CARDINALITY FROM mem', [count('mem', 2)]],
    ['SHOW SERIES CARDINALITY FROM t.autogen.mem', [count('mem', 1)]],
    ["SHOW SERIES CARDINALITY WHERE dc = ''", [count('cpu', 1), count('mem', 1)]],
    ['SHOW SERIES EXACT CARDINALITY ON e', []],
    ['SHOW SERIES EXACT CARDINALITY ON nope', 'database not found: nope'],
    ['SHOW SERIES EXACT CARDINALITY LIMIT 1', [count('cpu', 2), count('mem', 2)]],
    ['SHOW SERIES EXACT CARDINALITY OFFSET 1', []],
    [
      'SHOW SERIES CARDINALITY FROM cpu GROUP BY *',
      [count('cpu', 1, { dc: '', host: 'b' }), count('cpu', 1, { dc: 'x', host: 'a' })],
    ],
    // All tags of the measurement, whether a series that matches has them or not.
    ["SHOW SERIES CARDINALITY FROM cpu WHERE dc = '' GROUP BY *", [count('cpu', 1, { dc: '', host: 'b' })]],
    ['SHOW MEASUREMENT EXACT CARDINALITY', [{ columns: ['count'], values: [[2]] }]],
    ["SHOW MEASUREMENT CARDINALITY WHERE dc = 'x'", [{ columns: ['count'], values: [[2]] }]],
    ['SHOW MEASUREMENT CARDINALITY FROM /no/', []],
    [
      'SHOW MEASUREMENT CARDINALITY FROM cpu, mem GROUP BY host',
      [
        { tags: { host: 'a' }, columns: ['count'], values: [[1]] },
        { tags: { host: 'b' }, columns: ['count'], values: [[2]] },
        { tags: { host: 'x' }, columns: ['count'], values: [[1]] },
      ],
    ],
    ['SHOW TAG KEY CARDINALITY', [count('cpu', 2), count('mem', 2)]],
    ['SHOW TAG KEY CARDINALITY FROM cpu GROUP BY dc', [count('cpu', 1, { dc: '' }), count('cpu', 2, { dc: 'x' })]],
    // One value of two keys counts once.
    ['SHOW TAG VALUES CARDINALITY WITH KEY IN (host, dc)', [count('cpu', 3), count('mem', 2)]],
    ['SHOW TAG VALUES EXACT CARDINALITY WITH KEY != host', [count('cpu', 1), count('mem', 1)]],
    [
      'SHOW TAG VALUES CARDINALITY FROM cpu WITH KEY =~ /./ GROUP BY host',
      [count('cpu', 2, { host: 'a' }), count('cpu', 1, { host: 'b' })],
    ],
    ['SHOW FIELD KEY CARDINALITY', [count('cpu', 2), count('mem', 1)]],
    ["SHOW FIELD KEY EXACT CARDINALITY WHERE host = 'a'", [count('cpu', 2)]],
    [
      'SHOW FIELD KEY CARDINALITY FROM cpu GROUP BY host',
      [count('cpu', 2, { host: 'a' }), count('cpu', 2, { host: 'b' })],
    ],
    ['SHOW SERIES CARDINALITY WHERE time > 0', "SHOW SERIES EXACT CARDINALITY doesn't support time in WHERE clause"],
    ['SHOW FIELD KEY CARDINALITY WHERE time > 0', "SHOW FIELD KEY CARDINALITY doesn't support time in WHERE clause"],
  ])('%s', async (query, expected) => {
    expect(await answer(query)).toEqual(expected);
  });
});

describe('estimated', () => {
  const estimate = (value: number): object[] => [{ columns: ['cardinality estimation'], values: [[value]] }];

  it('counts a series once that is in several shards and policies', async () => {
    expect(await answer('SHOW SERIES CARDINALITY')).toEqual(estimate(4));
    expect(await answer('SHOW MEASUREMENT CARDINALITY')).toEqual(estimate(2));
  });

  it('is 0 of a database that is empty, or that there is not', async () => {
    expect(await answer('SHOW SERIES CARDINALITY ON e')).toEqual(estimate(0));
    expect(await answer('SHOW SERIES CARDINALITY ON nope')).toEqual(estimate(0));
    expect(await answer('SHOW SERIES CARDINALITY', '')).toBe('database name required');
  });

  it('is near the number of many, each in several shards', async () => {
    const many = new MemoryBackend({ shardDurationNs: DAY, placeOf: (index) => index % 3 });
    await ask(many, 'CREATE DATABASE t');
    const series = 3_000;
    for (const day of [0n, 1n])
      many.write('t', Array.from({ length: series }, (_, n) => `cpu,host=h${n} v=1 ${day * DAY}`).join('\n'));
    const [result] = await ask(many, 'SHOW SERIES CARDINALITY', { database: 't' });
    const found = result!.series![0]!.values![0]![0] as number;
    expect(Math.abs(found - series)).toBeLessThanOrEqual(series * 0.03);
  });

  it('says which shards are missing', async () => {
    memory.down.add([...memory.shards.keys()][0]!);
    expect(await answer('SHOW SERIES CARDINALITY')).toMatch(/shards unavailable/);
    memory.down.clear();
  });
});

describe('sketches', () => {
  it.each([1, 10, 1_000, 20_000, 100_000])('estimate %i series within 3 %%, merged and not', (series) => {
    const [all, even, odd] = Array.from({ length: 3 }, () => new Uint8Array(SKETCH_BYTES)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    for (let n = 0; n < series; n++) {
      const hash = hashSeriesKey('seed', `cpu,host=h${n}`);
      addToSketch(all, hash);
      // A third is in both.
      if (n % 3 !== 1) addToSketch(even, hash);
      if (n % 3 !== 2) addToSketch(odd, hash);
    }
    expect(Math.abs(estimateOf(all) - series)).toBeLessThanOrEqual(series * 0.03);
    mergeSketch(even, odd);
    expect(even).toEqual(all);
  });
});
