/**
 * Clients that people have, unmodified: the `influx` command of InfluxDB 1.x and the Python client.
 *
 * What is not installed is skipped with a message.
 */
import { execFile, execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, type TestNode } from './harness.ts';

const CLIENT_MS_MAX = 30_000;
const run = promisify(execFile);

function answers(command: string, ...parameters: string[]): boolean {
  try {
    execFileSync(command, parameters, { stdio: 'ignore', timeout: CLIENT_MS_MAX });
    return true;
  } catch {
    return false;
  }
}

const hasInflux = answers('influx', '-version');
const python = ['/usr/bin/python3', 'python3'].find((each) => answers(each, '-c', 'import influxdb'));
if (!hasInflux) console.info('clients: influx is not installed, its tests are skipped');
if (python === undefined)
  console.info('clients: the influxdb module of Python is not installed, its tests are skipped');

let cluster: Cluster;
let node: TestNode;
beforeAll(async () => {
  cluster = await Cluster.make();
  node = await (await cluster.node('n1', { workers: '2' }).start()).ready();
});
afterAll(() => cluster.close());

describe.skipIf(!hasInflux)('influx', () => {
  /** Its exit code and what it printed. */
  async function influx(...parameters: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const { hostname, port } = new URL(node.url);
    try {
      const ended = await run('influx', ['-host', hostname, '-port', port, ...parameters], { timeout: CLIENT_MS_MAX });
      return { code: 0, ...ended };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, stdout, stderr };
    }
  }
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
client.delete_series(measurement='line')
client.drop_database('py')
out['after'] = [each['name'] for each in client.get_list_database()]
print(json.dumps(out))
`;

describe.skipIf(python === undefined)('the Python client', () => {
  test.each(['plain', 'gzip'])('creates, writes, reads, is refused and deletes (%s)', async (encoding) => {
    const { hostname, port } = new URL(node.url);
    const { stdout } = await run(python!, ['-c', SCRIPT, hostname, port, encoding], { timeout: CLIENT_MS_MAX });
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
    });
    expect(out.after).not.toContain('py');
  });
});
