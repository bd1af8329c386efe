/** SELECT ... INTO: what is written, where, with which types, and what is answered. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type AskOptions, ask, type JsonResult } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

let memory: MemoryBackend;

beforeEach(async () => {
  memory = new MemoryBackend();
  await ask(memory, 'CREATE DATABASE t; CREATE DATABASE u');
  await ask(memory, 'CREATE RETENTION POLICY long ON t DURATION INF REPLICATION 1');
  memory.write(
    't',
    [
      'cpu,host=a\\ 1,dc=x v=1.5,i=3i,u=7u,s="q\\"\\\\x",b=true 100',
      'cpu,host=b v=-0,i=4i 100',
      'cpu,host=a\\ 1,dc=x v=3,i=9007199254740993i 200',
      'mem,host=b v=5 100',
    ].join('\n'),
  );
});

const run = (query: string, options: AskOptions = {}): Promise<JsonResult[]> =>
  ask(memory, query, { database: 't', epoch: 'ns', nowNs: 1_000n, ...options });
const series = async (query: string): Promise<unknown> => (await run(query))[0]!.series;
const written = (points: number): JsonResult[] => [
  { statement_id: 0, series: [{ name: 'result', columns: ['time', 'written'], values: [[0, points]] }] },
];

describe('SELECT INTO', () => {
  it('makes fields of tags that are not grouped by, and keeps types', async () => {
    expect(await run('SELECT * INTO copy FROM cpu')).toEqual(written(3));
    const columns = ['time', 'b', 'dc', 'host', 'i', 's', 'u', 'v'];
    expect(await series('SELECT * FROM copy WHERE time = 200')).toEqual([
      { name: 'copy', columns, values: [[200, null, 'x', 'a 1', 9007199254740993n, null, null, 3]] },
    ]);
    expect(await series('SHOW TAG KEYS FROM copy')).toBeUndefined();
    expect(await series('SHOW FIELD KEYS FROM copy')).toEqual([
      {
        name: 'copy',
        columns: ['fieldKey', 'fieldType'],
        values: [
          ['b', 'boolean'],
          ['dc', 'string'],
          ['host', 'string'],
          ['i', 'integer'],
          ['s', 'string'],
          ['u', 'unsigned'],
          ['v', 'float'],
        ],
      },
    ]);
  });

  it('keeps tags that are grouped by, and writes under the name of each measurement that it reads', async () => {
    expect(await run('SELECT v, s INTO t.long.:MEASUREMENT FROM /.*/ GROUP BY *')).toEqual(written(4));
    expect(await series('SELECT * FROM t.long.cpu GROUP BY *')).toEqual([
      { name: 'cpu', tags: { dc: '', host: 'b' }, columns: ['time', 's', 'v'], values: [[100, null, -0]] },
      {
        name: 'cpu',
        tags: { dc: 'x', host: 'a 1' },
        columns: ['time', 's', 'v'],
        values: [
          [100, 'q"\\x', 1.5],
          [200, null, 3],
        ],
      },
    ]);
    expect(await series('SHOW SERIES FROM mem')).toEqual([{ columns: ['key'], values: [['mem,host=b']] }]);
  });

  it('writes aggregates at their windows, and leaves out windows without a value', async () => {
    const windows = 'FROM cpu WHERE time < 400 GROUP BY time(50ns)';
    expect(await run(`SELECT count(i), sum(i) INTO u..sums ${windows}`)).toEqual(written(2));
    const [result] = await run('SELECT * FROM u..sums');
    expect(result!.series).toEqual([
      {
        name: 'sums',
        columns: ['time', 'count', 'sum'],
        values: [
          [100, 2, 7],
          [200, 1, 9007199254740993n],
        ],
      },
    ]);
    expect(await run(`SELECT mean(v) INTO means ${windows} fill(null)`)).toEqual(written(2));
    expect(await run(`SELECT count(i) INTO filled ${windows} fill(0)`)).toEqual(written(6));
    expect(await run('SELECT mean(v) INTO means FROM nothing')).toEqual(written(0));
  });

  it('keeps the tags of top() as tags', async () => {
    expect(await run('SELECT top(v, host, 2) INTO best FROM cpu')).toEqual(written(2));
    expect(await series('SHOW SERIES FROM best')).toEqual([
      { columns: ['key'], values: [['best,host=a\\ 1'], ['best,host=b']] },
    ]);
  });

  it('does not look at an INTO inside', async () => {
    expect(await run('SELECT v INTO x FROM (SELECT v INTO y FROM cpu)')).toEqual(written(3));
    expect(await series('SELECT * FROM y')).toBeUndefined();
  });

  it('takes the policy of the request for a target of its database', async () => {
    expect(await run('SELECT v INTO x FROM t.autogen.cpu', { retentionPolicy: 'long' })).toEqual(written(3));
    expect(await series('SELECT count(v) FROM t.long.x')).toMatchObject([{ values: [[0, 2]] }]);
  });

  it('answers with what the write says, or with what is wrong with the target', async () => {
    const error = async (query: string): Promise<unknown> => (await run(query))[0]!.error;
    expect(await error('SELECT v INTO nodb.autogen.x FROM cpu')).toBe('database not found: nodb');
    expect(await error('SELECT time AS t, v INTO x FROM cpu')).toBe('error finding time index in result');
    expect(await error('SELECT i AS v INTO mem FROM cpu')).toBe('partial write: field type conflict dropped=3');
    expect(await error('SELECT v AS "a\\nb" INTO x FROM cpu')).toBe('unable to write points: invalid name "a\\nb"');
    expect(await error('SELECT v INTO "#x" FROM cpu')).toBe('unable to write points: invalid name "#x"');
    expect(await error('SELECT v INTO x')).toMatch(/^error parsing query: found EOF, expected FROM/);
  });

  it.each([
    ['v INTO "x\\\\" FROM cpu GROUP BY *', 'x\\'],
    ['v INTO "x\\\\=y" FROM cpu', 'x\\=y'],
    ['v INTO "x\\\\\\"y" FROM cpu', 'x\\"y'],
    ['v INTO "\tx" FROM cpu', '\tx'],
    ['v AS "f\\\\" INTO x FROM cpu', 'f\\'],
    ['v AS "f\\\\,g" INTO x FROM cpu', 'f\\,g'],
    ['v AS "f\\\\ g" INTO x FROM cpu', 'f\\ g'],
    ['v AS "\tf" INTO x FROM cpu', '\tf'],
    ['top(v, "host\\\\", 1) INTO x FROM cpu', 'host\\'],
  ])('refuses a name that line protocol cannot say: SELECT %s', async (query, name) => {
    memory.write('t', 'kept v=1 1');
    expect((await run(`SELECT ${query}`))[0]!.error).toBe(
      `unable to write points: invalid name ${JSON.stringify(name)}`,
    );
    const [{ series: all }] = (await run('SHOW MEASUREMENTS')) as [JsonResult];
    expect(all![0]!.values).toEqual([['cpu'], ['kept'], ['mem']]);
  });

  it('writes names with backslashes, commas, quotes and spaces elsewhere as they are', async () => {
    memory.write('t', 'b\\\\,\\ \\x"y,k\\\\,\\=\\a=v\\\\,\\ \\w f\\x"\\ \\==1 5');
    expect(await run('SELECT * INTO u..:MEASUREMENT FROM /^b/ GROUP BY *')).toEqual(written(1));
    const all = 'SELECT * FROM /^b/ GROUP BY *';
    const copied = await run(all, { database: 'u' });
    expect(copied[0]!.series).toHaveLength(1);
    expect(copied).toEqual(await run(all));
  });

  it('writes nothing of what lacks shards', async () => {
    memory.down.add([...memory.shards.keys()][0]!);
    expect((await run('SELECT v INTO x FROM cpu'))[0]!.error).toMatch(/shards unavailable/);
    memory.down.clear();
    expect(await series('SELECT * FROM x')).toBeUndefined();
  });

  it('is not read only, and comes as one result however it is chunked', async () => {
    const messages = [
      {
        level: 'warning',
        text: "deprecated use of 'SELECT v INTO x FROM cpu' in a read only context, please use a POST request instead",
      },
    ];
    const readOnly = await run('SELECT v INTO x FROM cpu', { readOnly: true, chunkSize: 1 });
    expect(readOnly).toEqual([{ ...written(3)[0], messages }]);
  });

  it('writes many rows in batches of bounded size, each read when the one before is written', async () => {
    const lines = Array.from({ length: 30_000 }, (_, n) => `many v=${n} ${n}`);
    memory.write('t', lines.join('\n'));
    const batches: number[] = [];
    const { writeLines } = memory.backend;
    memory.backend.writeLines = async (database, policy, body) => {
      batches.push(new TextDecoder().decode(body).trimEnd().split('\n').length);
      await writeLines(database, policy, body);
    };
    expect(await run('SELECT v INTO copied FROM many')).toEqual(written(30_000));
    expect(Math.max(...batches)).toBeLessThanOrEqual(10_000);
    expect(await series('SELECT count(v), sum(v) FROM copied')).toMatchObject([{ values: [[0, 30_000, 449_985_000]] }]);
  });

  it('copies more than a statement may hold, of many series and measurements', async () => {
    memory = new MemoryBackend({ shardDurationNs: 2_000_000_000_000n, placeOf: (index) => index % 2 });
    await ask(memory, 'CREATE DATABASE t; CREATE DATABASE u');
    const lines: string[] = [];
    for (let n = 0; n < 4_000; n++)
      for (const host of ['a', 'b'])
        lines.push(`cpu,host=${host} v=${n},i=${n}i ${n}000000000`, `mem,host=${host} v=${n} ${n}000000000`);
    memory.write('t', lines.join('\n'));
    const limits = { rowsMax: 3_000, streamedRowsMax: 1_000 };
    const copied = await run('SELECT * INTO u..:MEASUREMENT FROM /.*/ GROUP BY *', { limits });
    expect(copied).toEqual(written(16_000));
    const sums = 'SELECT count(v), sum(i), first(v), last(v) FROM /.*/ GROUP BY *';
    expect(await run(sums, { database: 'u' })).toEqual(await run(sums));
    // What counts rows of groups is held whole.
    const [limited] = await run('SELECT * INTO u..x FROM cpu GROUP BY * LIMIT 2000', { limits });
    expect(limited!.error).toMatch(/more than 3000 rows/);
  });

  it('computes windows of a long history part by part, with the values that they have together', async () => {
    memory = new MemoryBackend({ shardDurationNs: 1_000_000_000_000n, placeOf: (index) => index % 2 });
    await ask(memory, 'CREATE DATABASE t; CREATE DATABASE u');
    const lines: string[] = [];
    // With a hole of some hours.
    for (let n = 0; n < 1_200; n++)
      for (const host of ['a', 'b'])
        lines.push(`cpu,host=${host} v=${(n * 37) % 101},i=${n}i ${(n < 600 ? n : n + 8_000) * 7 + 3}000000000`);
    memory.write('t', lines.join('\n'));
    const limits = { rowsMax: 500, cellsMax: 1_000 };
    /** Of each series the last row of each time, by the names of its columns. */
    const cellsOf = ({ series }: JsonResult): unknown =>
      series!.map(({ tags, columns, values }) => [
        tags,
        new Map(values!.map((row) => [row[0], new Map(columns.map((name, c) => [name, row[c]]))])),
      ]);
    const windows = 'WHERE time >= 10s AND time < 70000s GROUP BY time(60s, 7s)';
    for (const [fields, into] of [
      ['median(v), max(i)', 'a'],
      ['mean(v) AS m, count(i), sum(i) / count(v) AS q', 'b'],
      ['top(v, 2), host', 'c'],
      ['last(i), v', 'd'],
      ['count(distinct(v))', 'e'],
    ]) {
      const text = (target: string): string => `SELECT ${fields} INTO ${target}..${into} FROM cpu ${windows}, *`;
      const [whole] = await run(`SELECT ${fields} FROM cpu ${windows}, * fill(none)`);
      const rows = whole!.series!.reduce((sum, { values }) => sum + values!.length, 0);
      expect(await run(text('u'), { limits })).toEqual(written(rows));
      const parts = await run(`SELECT * FROM ${into} GROUP BY *`, { database: 'u' });
      expect(cellsOf(parts[0]!)).toEqual(cellsOf(whole!));
    }
    const [refused] = await run(`SELECT derivative(median(v)) INTO u..x FROM cpu ${windows}, *`, { limits });
    expect(refused!.error).toMatch(/more than 500 rows/);
  });
});
