/**
 * Agents that people have, unmodified, each with a configuration as its users write it: collectd, icinga2 and glances.
 *
 * What is not installed is skipped with a message.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';
import { isInstalled, Program } from './programs.ts';

/** Where Debian has them, which is not on the path of every user. */
const COLLECTD = '/usr/sbin/collectd';
const ICINGA2 = '/usr/sbin/icinga2';
const hasCollectd = isInstalled('collectd', COLLECTD, '-h');
const hasIcinga2 = isInstalled('icinga2', ICINGA2, '--version');
const hasGlances = isInstalled('glances', 'glances', '--version');
const ARRIVAL_MS_MAX = 20_000;

let cluster: Cluster;
let node: TestNode;
beforeAll(async () => {
  cluster = await Cluster.make();
  const udp = 'bind-address=127.0.0.1:0,database=collectd,precision=ms';
  node = await (await cluster.node('n1', { workers: '2', udp }).start()).ready();
});
afterAll(() => cluster.close());

async function directory(name: string): Promise<string> {
  const path = join(cluster.directory, name);
  await mkdir(path, { recursive: true });
  return path;
}

describe.skipIf(!hasCollectd)('collectd', () => {
  test('all that it measures arrives by UDP, with its times in milliseconds', async () => {
    const at = await directory('collectd');
    const port = /"bind":"[^"]+:(\d+)"/.exec(node.stderr)![1];
    // What it keeps in files is what it has to have sent.
    await writeFile(
      join(at, 'collectd.conf'),
      `Hostname "an, agent"
FQDNLookup false
BaseDir "${at}"
PIDFile "${at}/pid"
TypesDB "/usr/share/collectd/types.db"
Interval 0.1
LoadPlugin load
LoadPlugin memory
LoadPlugin csv
LoadPlugin write_influxdb_udp
<Plugin csv>
  DataDir "${at}/kept"
</Plugin>
<Plugin write_influxdb_udp>
  Server "127.0.0.1" "${port}"
</Plugin>
`,
    );
    const collectd = new Program(COLLECTD, ['-f', '-C', join(at, 'collectd.conf')]);
    const used = "SELECT value FROM memory WHERE type_instance = 'used' AND time > now() - 1h";
    const rows = async () => (await node.query(used, 'collectd', { epoch: 'ms' }))[0]!.series?.[0]?.values ?? [];
    await eventually('its first measurements are stored', ARRIVAL_MS_MAX, async () => (await rows()).length > 3);
    expect(await collectd.end(), collectd.stderr).toMatchObject({ code: 0 });

    const [host] = await readdir(join(at, 'kept'));
    const kept = async (plugin: string, value: string): Promise<string[][]> => {
      const folder = join(at, 'kept', host!, plugin);
      const files = (await readdir(folder)).filter((name) => name.startsWith(`${value}-`)).toSorted();
      const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
      return texts.flatMap((text) => text.trim().split('\n').slice(1)).map((line) => line.split(','));
    };
    const memory = await kept('memory', 'memory-used');
    const sent = memory.map(([seconds, value]) => [Math.round(Number(seconds) * 1000), Number(value)]);
    await eventually('all is stored', ARRIVAL_MS_MAX, async () => (await rows()).length >= sent.length);
    expect(await rows()).toEqual(sent);
    const [load] = await node.query('SELECT count(shortterm), count(longterm) FROM load GROUP BY *', 'collectd');
    const loads = (await kept('load', 'load')).length;
    expect(load).toMatchObject({
      series: [{ tags: { host: 'an, agent', type: 'load' }, values: [[0, loads, loads]] }],
    });
  });
});

describe.skipIf(!hasIcinga2)('icinga2', () => {
  test('both of its writers deliver performance data, metadata and thresholds', async () => {
    await node.query('CREATE DATABASE icinga; CREATE DATABASE icinga2');
    const at = await directory('icinga');
    await mkdir(join(at, 'run/icinga2'), { recursive: true });
    const { hostname, port } = new URL(node.url);
    const writer = (kind: string, own: string) => `object ${kind} "writer" {
  host = "${hostname}"
  port = ${port}
  ${own}
  flush_interval = 500ms
  flush_threshold = 2
  enable_send_metadata = true
  enable_send_thresholds = true
  host_template = { measurement = "$host.check_command$", tags = { hostname = "$host.name$" } }
}
`;
    await writeFile(
      join(at, 'icinga2.conf'),
      `include <itl>
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
template Host "checked" {
  check_command = "dummy"
  check_interval = 500ms
  vars.dummy_text = "fine | load1=0.5;5;10;0 temp=21.5C 'a b'=1073741824B"
}
object Host "web, 1" { import "checked" }
object Host "db=2" { import "checked" }
${writer('InfluxdbWriter', 'database = "icinga"\n  username = "icinga"\n  password = "pass&word"')}
${writer('Influxdb2Writer', 'organization = "o"\n  bucket = "icinga2/autogen"\n  auth_token = "t"')}
`,
    );
    const constants = {
      DataDir: at,
      LogDir: at,
      CacheDir: at,
      SpoolDir: at,
      ConfigDir: at,
      InitRunDir: join(at, 'run'),
      RunAsUser: userInfo().username,
      RunAsGroup: execFileSync('id', ['-gn'], { encoding: 'utf8' }).trim(),
      NodeName: 'monitor',
      ZoneName: 'monitor',
    };
    const defined = Object.entries(constants).flatMap(([name, value]) => ['-D', `${name}=${value}`]);
    const icinga = new Program(ICINGA2, ['daemon', '-c', join(at, 'icinga2.conf'), ...defined]);
    const values =
      'SELECT last(value) AS v, warn, crit, min, unit FROM dummy WHERE value != 0 GROUP BY hostname, metric';
    const asked = async (database: string) => (await node.query(values, database))[0]!.series ?? [];
    try {
      for (const database of ['icinga', 'icinga2'])
        await eventually(`all metrics are in ${database}`, ARRIVAL_MS_MAX, async () => {
          return (await asked(database)).length === 6;
        });
    } finally {
      await icinga.end();
    }
    expect(icinga.stdout).not.toMatch(/(warning|critical)\/Influxdb/);
    for (const database of ['icinga', 'icinga2']) {
      const found = (await asked(database)).map(({ tags, values }) => [
        tags!.hostname,
        tags!.metric,
        ...values![0]!.slice(1),
      ]);
      expect([database, found]).toEqual([
        database,
        ['db=2', 'web, 1'].flatMap((name) => [
          [name, 'a b', 1_073_741_824, null, null, null, 'bytes'],
          [name, 'load1', 0.5, 5, 10, 0, null],
          [name, 'temp', 21.5, null, null, null, 'degrees-celsius'],
        ]),
      ]);
      const [state] = await node.query('SELECT max(state), last(reachable) FROM dummy GROUP BY hostname', database);
      expect(state!.series!.map(({ values }) => values![0]!.slice(1))).toEqual([
        [0, true],
        [0, true],
      ]);
    }
    // Credentials that come in a URL are in no log.
    expect(node.stdout + node.stderr).not.toMatch(/pass(&|%26)word/);
  });
});

describe.skipIf(!hasGlances)('glances', () => {
  async function glances(database: string) {
    const at = await directory(`glances-${database}`);
    const { hostname, port } = new URL(node.url);
    const config = ['[influxdb]', `host=${hostname}`, `port=${port}`, 'protocol=http', 'user=root', 'password=root'];
    await writeFile(join(at, 'glances.conf'), [...config, `db=${database}`, 'tags=zone:a b', ''].join('\n'));
    const only = ['--disable-plugin', 'all', '--enable-plugin', 'cpu,mem,load,fs,processcount,uptime'];
    const exporting = ['--export', 'influxdb', '--quiet', '--time', '1', '--stop-after', '2', '--disable-check-update'];
    const parameters = ['-C', join(at, 'glances.conf'), ...exporting, ...only];
    return new Program('glances', parameters, { HOME: at, TMPDIR: at }).toEnd();
  }

  test('exports to a database that is there, and says so when it is not', async () => {
    await node.query('CREATE DATABASE glances');
    const [exported, refused] = await Promise.all([glances('glances'), glances('missing')]);
    expect(refused.stdout + refused.stderr).toContain("InfluxDB database 'missing' did not exist");
    expect(exported, exported.stderr).toMatchObject({ code: 0 });
    const [measurements] = await node.query('SHOW MEASUREMENTS', 'glances');
    expect(measurements!.series![0]!.values!.flat()).toEqual(expect.arrayContaining(['cpu', 'load', 'mem']));
    const memory = 'SELECT total, used FROM mem WHERE time > now() - 1h GROUP BY zone';
    const [rows] = await node.query(memory, 'glances');
    expect(rows).toMatchObject({ series: [{ tags: { zone: 'a b' } }] });
    for (const [, total, used] of rows!.series![0]!.values!) expect(Number(total)).toBeGreaterThan(Number(used));
  });
});
