/**
 * `vmctl influx` of VictoriaMetrics, unmodified, reads a whole database out of a node; what then is in VictoriaMetrics is
 * compared with what was written, value by value.
 *
 * Skipped with a message where it is not installed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';
import { freePort, isInstalled, Program } from './programs.ts';

const T0 = 1_700_000_000;
const ROWS = 12_000;
const HOSTS = 3;

const installed = [
  isInstalled('vmctl', 'vmctl', 'influx', '--help'),
  isInstalled('victoria-metrics', 'victoria-metrics', '-version'),
  isInstalled('script', 'script', '--version'),
].every(Boolean);

interface Exported {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly number[];
  readonly timestamps: readonly number[];
}

describe.skipIf(!installed)('vmctl influx', () => {
  let cluster: Cluster;
  let node: TestNode;
  let metrics: Program;
  let metricsUrl: string;
  beforeAll(async () => {
    cluster = await Cluster.make();
    node = cluster.node('n1', { workers: '2' });
    const starting = node.start();
    metricsUrl = `http://127.0.0.1:${await freePort()}`;
    const options = {
      httpListenAddr: new URL(metricsUrl).host,
      storageDataPath: `${cluster.directory}/vm`,
      retentionPeriod: '100y',
    };
    const flags = Object.entries(options).map(([name, value]) => `-${name}=${value}`);
    metrics = new Program('victoria-metrics', flags);
    await eventually('victoria-metrics listens', 20_000, async () => (await fetch(`${metricsUrl}/health`)).ok);
    await (await starting).ready();
  });
  afterAll(async () => {
    await metrics?.end();
    await cluster.close();
  });

  test('reads out every numeric value of every series', async () => {
    await node.query('CREATE DATABASE moved');
    const lines = Array.from(
      { length: ROWS },
      (_, i) => `cpu,host=h${i % HOSTS},dc=eu\\ west,rack=a\\,b usage=${i / 4},n=${i}i ${T0 + i}`,
    );
    // Fewer tags (it asks by the tags that a series has, which must match no other), other types, a name that has to be quoted.
    lines.push(`cpu,host=few usage=-1,text="no number",ok=true ${T0}`, `disk\\ io,path=/ reads=7i ${T0}`);
    expect((await node.write('moved', lines.join('\n'), { precision: 's' })).status).toBe(204);

    // It needs a terminal, also where nobody is asked.
    const command = `vmctl influx -s --influx-addr ${node.url} --influx-database moved --influx-concurrency 2 --vm-addr ${metricsUrl}`;
    const { code, stdout } = await new Program('script', ['-qec', command, '/dev/null']).tell('').toEnd();
    expect(code, stdout).toBe(0);
    expect(stdout).toContain('found 4 fields; skipped 1 non-numeric fields');
    expect(stdout).toMatch(new RegExp(`total samples: ${ROWS * 2 + 3};`));

    await fetch(`${metricsUrl}/internal/force_flush`);
    const exported = await (await fetch(`${metricsUrl}/api/v1/export?match[]={__name__!=""}`)).text();
    const found = new Map<string, Exported>();
    for (const line of exported.trim().split('\n')) {
      const series = JSON.parse(line) as Exported;
      found.set(JSON.stringify(Object.entries(series.metric).toSorted()), series);
    }
    const expected = new Map<string, { values: number[]; timestamps: number[] }>();
    const expectValue = (labels: Record<string, string>, second: number, value: number): void => {
      const key = JSON.stringify(Object.entries({ ...labels, db: 'moved' }).toSorted());
      const series = expected.get(key) ?? { values: [], timestamps: [] };
      expected.set(key, series);
      series.values.push(value);
      series.timestamps.push(second * 1000);
    };
    for (let i = 0; i < ROWS; i++) {
      const labels = { host: `h${i % HOSTS}`, dc: 'eu west', rack: 'a,b' };
      expectValue({ ...labels, __name__: 'cpu_usage' }, T0 + i, i / 4);
      expectValue({ ...labels, __name__: 'cpu_n' }, T0 + i, i);
    }
    expectValue({ host: 'few', __name__: 'cpu_usage' }, T0, -1);
    expectValue({ host: 'few', __name__: 'cpu_ok' }, T0, 1);
    expectValue({ path: '/', __name__: 'disk io_reads' }, T0, 7);
    expect([...found.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
    for (const [key, { values, timestamps }] of expected) {
      const series = found.get(key)!;
      expect([key, series.timestamps]).toEqual([key, timestamps]);
      expect([key, series.values]).toEqual([key, values]);
    }
  });
});
