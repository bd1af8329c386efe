/**
 * Clients that people have, unmodified: the `influx` command of InfluxDB 1.x and the Python client.
 *
 * What is not installed is skipped with a message.
 */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, type TestNode } from './harness.ts';
import { type Ended, isInstalled, Program } from './programs.ts';

const hasInflux = isInstalled('influx', 'influx', '-version');
const hasTerminals = isInstalled('script', 'script', '--version');
const python = ['/usr/bin/python3', 'python3'].find((each) =>
  isInstalled(`the influxdb module of ${each}`, each, '-c', 'import influxdb'),
);

let cluster: Cluster;
let node: TestNode;
beforeAll(async () => {
  cluster = await Cluster.make();
  node = await (await cluster.node('n1', { workers: '2' }).start()).ready();
});
afterAll(() => cluster.close());

describe.skipIf(!hasInflux)('influx', () => {
  const address = (): string[] => {
    const { hostname, port } = new URL(node.url);
    return ['-host', hostname, '-port', port];
  };
  const influx = (...parameters: string[]): Promise<Ended> =>
    new Program('influx', [...address(), ...parameters]).toEnd();
  const execute = (q: string, ...more: string[]) => influx('-execute', q, ...more);
  const json = async (q: string) =>
    JSON.parse((await execute(q, '-database', 'cli', '-format', 'json')).stdout) as object;

  test('creates a database, inserts points and reads them back in every format', async () => {
    expect(await execute('CREATE DATABASE cli')).toMatchObject({ code: 0 });
    expect((await execute('SHOW DATABASES')).stdout).toMatch(/^name: databases\nname\n----\n(.*\n)*cli\n/);
    for (const line of [
      'cpu,host=a\\ b,zone=z usage=1.5,n=7i,s="x \\"y\\"",ok=true 1700000000000000001',
      'cpu,host=b usage=2.5 1700000000000000002',
    ]) {
      expect(await execute(`INSERT ${line}`, '-database', 'cli')).toMatchObject({ code: 0, stdout: '' });
    }
    expect((await execute('SELECT usage, n FROM cpu', '-database', 'cli')).stdout).toMatch(
      /^name: cpu\ntime +usage +n\n-+ +-+ +-+\n1700000000000000001 +1\.5 +7\n1700000000000000002 +2\.5 *\n/,
    );
    expect(await json('SELECT * FROM cpu')).toEqual({
      results: [
        {
          series: [
            {
              name: 'cpu',
              columns: ['time', 'host', 'n', 'ok', 's', 'usage', 'zone'],
              values: [
                [Number('1700000000000000001'), 'a b', 7, true, 'x "y"', 1.5, 'z'],
                [Number('1700000000000000002'), 'b', null, null, null, 2.5, null],
              ],
            },
          ],
        },
      ],
    });
    const csv = await execute('SELECT usage FROM cpu', '-database', 'cli', '-format', 'csv', '-precision', 'rfc3339');
    expect(csv.stdout).toMatch(/^name,time,usage\ncpu,2023-11-14T22:13:20\.000000001Z,1\.5\n/);
  });

  test('reads groups, many rows in chunks, and metadata', async () => {
    const lines = Array.from(
      { length: 25_000 },
      (_, i) => `many,host=h${i % 3} v=${i}i ${1_700_000_000_000 + i}000000`,
    );
    expect((await node.write('cli', lines.join('\n'))).status).toBe(204);
    const all = await execute('SELECT v FROM many', '-database', 'cli', '-format', 'csv');
    expect(all.stdout.split('\n').filter((line) => line.startsWith('many,'))).toHaveLength(25_000);
    expect(await json('SELECT count(v) FROM many GROUP BY host')).toMatchObject({
      // In chunks each series is a result of its own.
      results: ['h0', 'h1', 'h2'].map((host) => ({ series: [{ tags: { host } }] })),
    });
    expect((await execute('SHOW MEASUREMENTS', '-database', 'cli')).stdout).toMatch(/\bcpu\nmany\n/);
    expect((await execute('SHOW RETENTION POLICIES ON cli')).stdout).toMatch(/autogen +0s +168h0m0s +\d +true/);
    expect((await execute('SHOW TAG VALUES FROM many WITH KEY = host', '-database', 'cli')).stdout).toMatch(/host +h2/);
  });

  test('shows the errors of statements and of points', async () => {
    const typo = await execute('SELEC 1', '-database', 'cli');
    expect(typo.code).not.toBe(0);
    expect(typo.stdout + typo.stderr).toContain('error parsing query: found SELEC, expected SELECT');
    const missing = await execute('SELECT * FROM cpu', '-database', 'nope');
    expect(missing.stdout + missing.stderr).toContain('database not found: nope');
    const line = await execute('INSERT cpu,host=a usage', '-database', 'cli');
    expect(line.stdout + line.stderr).toContain("unable to parse 'cpu,host=a usage'");
    const type = await execute('INSERT cpu usage="text" 1700000000000000003', '-database', 'cli');
    expect(type.stdout + type.stderr).toContain('field type conflict');
  });

  test('shows times in every precision, and the formats', async () => {
    expect((await node.write('cli', 'times v=1 1700000000123456789')).status).toBe(204);
    const shown = async (precision: string) => {
      const { stdout } = await execute(
        'SELECT v FROM times',
        '-database',
        'cli',
        '-format',
        'csv',
        '-precision',
        precision,
      );
      return stdout.split('\n')[1];
    };
    const times = ['rfc3339', 'h', 'm', 's', 'ms', 'u', 'ns'].map(async (each) => [each, await shown(each)]);
    expect(Object.fromEntries(await Promise.all(times))).toEqual({
      rfc3339: 'times,2023-11-14T22:13:20.123456789Z,1',
      h: 'times,472222,1',
      m: 'times,28333333,1',
      s: 'times,1700000000,1',
      ms: 'times,1700000000123,1',
      u: 'times,1700000000123456,1',
      ns: 'times,1700000000123456789,1',
    });
    const two = 'SELECT v FROM times; SHOW MEASUREMENTS WITH MEASUREMENT = times';
    const csv = await execute(two, '-database', 'cli', '-format', 'csv', '-precision', 's');
    expect(csv.stdout.trim()).toBe('name,time,v\ntimes,1700000000,1\nname,name\nmeasurements,times');
  });

  test('inserts with each consistency, and with credentials that nobody knows', async () => {
    for (const level of ['any', 'one', 'quorum', 'all']) {
      const insert = `INSERT levels,level=${level} v=1`;
      const credentials = ['-username', 'nobody', '-password', 'x'];
      const done = await execute(insert, '-database', 'cli', '-consistency', level, ...credentials);
      expect([level, done]).toEqual([level, { code: 0, stdout: '', stderr: '' }]);
    }
    expect(await node.value('SELECT count(v) FROM levels', 'cli')).toBe(4);
    const wrong = await execute('INSERT levels v=2', '-database', 'cli', '-consistency', 'most');
    expect(wrong.stdout + wrong.stderr).toContain('{"error":"invalid consistency level"}');
  });

  test.skipIf(!hasTerminals)('interactive, in a terminal', async () => {
    const typed = [
      'CREATE DATABASE typed',
      'use typed',
      'INSERT cpu,host=a v=1 1700000000000000000',
      'INSERT INTO autogen cpu,host=b v=2 1700000000000000001',
      'consistency one',
      'insert cpu,host=c v=3i 1700000000000000002',
      'precision rfc3339',
      'select * from cpu',
      'chunk size 1',
      'format json',
      'SELECT v FROM cpu',
      'show measurements',
      'format csv',
      'SHOW TAG VALUES WITH KEY = "host"',
      'INSERT nonsense',
      'SELEC',
      'use nope',
      'use typed."autogen"',
      'select count(v) from cpu',
      'exit',
    ];
    const environment = { HOME: cluster.directory, TERM: 'dumb' };
    const shell = new Program('script', ['-qec', `influx ${address().join(' ')}`, '/dev/null'], environment);
    const { code, stdout } = await shell.tell(`${typed.join('\n')}\n`).toEnd();
    expect(code).toBe(0);
    const shown = stdout.replaceAll('\r', '');
    expect(shown).toMatch(/Connected to http:\/\/127\.0\.0\.1:\d+ version 1\.8\./);
    for (const part of [
      'Using database typed\n',
      '2023-11-14T22:13:20Z           a    1\n2023-11-14T22:13:20.000000001Z b    2\n',
      '["2023-11-14T22:13:20.000000001Z",2]',
      '"name":"measurements","columns":["name"],"values":[["cpu"]]',
      'name,key,value\ncpu,host,a\ncpu,host,b\n',
      'field type conflict: input field \\"v\\" on measurement \\"cpu\\" is type integer, already exists as type float',
      `{"error":"unable to parse 'nonsense': missing fields"}`,
      'error parsing query: found SELEC, expected SELECT',
      "Database nope doesn't exist",
      'Using retention policy autogen\n',
      'name,time,count\ncpu,1970-01-01T00:00:00Z,2\n',
    ])
      expect(shown).toContain(part);
  });

  test('imports a file, with DDL and DML, plain and gzipped', async () => {
    const points = Array.from({ length: 6_000 }, (_, i) => `imported,host=h${i % 5} v=${i} ${1_700_000_000 + i}`);
    const text = `# DDL\nCREATE DATABASE imports\n\n# DML\n# CONTEXT-DATABASE: imports\n# CONTEXT-RETENTION-POLICY: autogen\n\n${points.join('\n')}\n`;
    const path = join(cluster.directory, 'import.txt');
    await writeFile(path, text);
    const plain = await influx('-import', '-path', path, '-precision', 's');
    expect(plain, plain.stderr).toMatchObject({ code: 0 });
    expect(plain.stdout + plain.stderr).toMatch(/Processed 6000 inserts/);
    expect(plain.stdout + plain.stderr).toMatch(/Failed 0 inserts/);
    expect(await node.value('SELECT count(v) FROM imported', 'imports')).toBe(6_000);
    execFileSync('gzip', ['-k', path]);
    const packed = await influx('-import', '-path', `${path}.gz`, '-compressed', '-precision', 's');
    expect(packed.stdout + packed.stderr).toMatch(/Failed 0 inserts/);
    expect(await node.value('SELECT count(v) FROM imported', 'imports')).toBe(6_000);
  });
});

const SCRIPT = `
import json, sys
from influxdb import InfluxDBClient
from influxdb.exceptions import InfluxDBClientError

client = InfluxDBClient(host=sys.argv[1], port=int(sys.argv[2]), gzip=sys.argv[3] == 'gzip')
out = {'ping': client.ping()[:1]}
client.create_database('py')
out['databases'] = [each['name'] for each in client.get_list_database()]
client.switch_database('py')
client.create_retention_policy('short', '30d', '1', default=False)
out['policies'] = [[p['name'], p['duration'], p['default']] for p in client.get_list_retention_policies()]
at = 1700000000
points = [{'measurement': 'cpu', 'tags': {'host': 'h %d' % (i % 3)}, 'time': at + i, 'fields': {'v': float(i), 'n': i, 's': 'a "%d"' % i, 'ok': i % 2 == 0}} for i in range(100)]
out['written'] = client.write_points(points, time_precision='s', batch_size=40)
out['line'] = client.write_points(['line v=1 %d' % at], time_precision='s', protocol='line')
result = client.query('SELECT v, n, s, ok FROM cpu WHERE host = $host LIMIT 2', bind_params={'host': 'h 1'}, epoch='s')
out['points'] = list(result.get_points())
out['groups'] = [[key[1], list(rows)] for key, rows in client.query('SELECT count(v) FROM cpu GROUP BY host').items()]
out['measurements'] = [each['name'] for each in client.get_list_measurements()]
out['chunked'] = len(list(client.query('SELECT v FROM cpu', chunked=False).get_points()))
try:
    client.query('SELEC')
except InfluxDBClientError as error:
    out['error'] = [error.code, error.content]
try:
    client.write_points(['cpu v="text" %d' % at], time_precision='s', protocol='line')
except InfluxDBClientError as error:
    out['conflict'] = [error.code, error.content]
out['streamed'] = [
    [len(list(each.get_points())) for each in client.query('SELECT v FROM cpu', chunked=True, chunk_size=30)],
    [list(each.get_points()) for each in client.query('SELECT count(v) FROM cpu; SELECT max(n) FROM cpu', chunked=True, epoch='s')],
]
out['several'] = [list(each.get_points()) for each in client.query('SELECT count(v) FROM cpu; SELECT max(n) FROM cpu', epoch='s', method='POST')]
out['parameters'] = list(client.query('SELECT n FROM cpu WHERE v > $v AND n < $n AND ok = $ok', bind_params={'v': 90.5, 'n': 94, 'ok': True}, epoch='ms').get_points())
client.alter_retention_policy('short', duration='2d', replication=1, shard_duration='2h')
out['altered'] = [[p['duration'], p['shardGroupDuration']] for p in client.get_list_retention_policies() if p['name'] == 'short']
client.drop_retention_policy('short')
client.create_user('eve', "pass'word")
client.grant_privilege('read', 'py', 'eve')
client.set_user_password('eve', 'x')
client.grant_admin_privileges('eve')
out['users'] = [client.get_list_users(), client.get_list_privileges('eve')]
client.revoke_privilege('read', 'py', 'eve')
client.revoke_admin_privileges('eve')
client.drop_user('eve')
client.create_continuous_query('cq', 'SELECT mean(v) INTO hourly FROM cpu GROUP BY time(1h)', resample_opts='FOR 2h')
out['continuous'] = [[each['name'] for each in queries['py']] for queries in client.get_list_continuous_queries() if 'py' in queries]
client.drop_continuous_query('cq')
out['series'] = client.get_list_series(measurement='cpu', tags={'host': 'h 1'})
client.write_points(['cpu,host=new v=1 %d' % at], time_precision='s', protocol='line', consistency='all', retention_policy='autogen')
client.delete_series(measurement='cpu', tags={'host': 'h 0'})
out['left'] = list(client.query('SELECT count(v) FROM cpu GROUP BY host', epoch='s').keys())
client.drop_measurement('line')
out['kept'] = [each['name'] for each in client.get_list_measurements()]
client.drop_database('py')
out['after'] = [each['name'] for each in client.get_list_database()]
print(json.dumps(out))
`;

describe.skipIf(python === undefined)('the Python client', () => {
  test.each(['plain', 'gzip'])('creates, writes, reads, is refused and deletes (%s)', async (encoding) => {
    const { hostname, port } = new URL(node.url);
    const { stdout, stderr } = await new Program(python!, ['-c', SCRIPT, hostname, port, encoding]).toEnd();
    expect(stderr).toBe('');
    const out = JSON.parse(stdout) as Record<string, unknown>;
    expect(out).toMatchObject({
      databases: expect.arrayContaining(['py']) as string[],
      policies: [
        ['autogen', '0s', true],
        ['short', '720h0m0s', false],
      ],
      written: true,
      line: true,
      points: [
        { time: 1_700_000_001, v: 1, n: 1, s: 'a "1"', ok: false },
        { time: 1_700_000_004, v: 4, n: 4, s: 'a "4"', ok: true },
      ],
      groups: [
        [{ host: 'h 0' }, [{ count: 34 }]],
        [{ host: 'h 1' }, [{ count: 33 }]],
        [{ host: 'h 2' }, [{ count: 33 }]],
      ],
      measurements: ['cpu', 'line'],
      chunked: 100,
      error: [400, expect.stringContaining('found SELEC')],
      conflict: [400, expect.stringContaining('field type conflict')],
      streamed: [
        [30, 30, 30, 10],
        [[{ time: 0, count: 100 }], [{ time: 1_700_000_099, max: 99 }]],
      ],
      several: [[{ time: 0, count: 100 }], [{ time: 1_700_000_099, max: 99 }]],
      parameters: [{ time: 1_700_000_092_000, n: 92 }],
      altered: [['48h0m0s', '2h0m0s']],
      users: [[{ user: 'eve', admin: true }], [{ database: 'py', privilege: 'READ' }]],
      continuous: [['cq']],
      series: ['cpu,host=h\\ 1'],
      left: ['h 1', 'h 2', 'new'].map((host) => ['cpu', { host }]),
      kept: ['cpu'],
    });
    expect(out.after).not.toContain('py');
  });
});
