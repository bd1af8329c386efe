/**
 * The clients that npm has, unmodified: `influx` for 1.x and `@influxdata/influxdb-client` for 2.x.
 */
import { HttpError, InfluxDB as InfluxDB2, Point } from '@influxdata/influxdb-client';
import { BucketsAPI, DeleteAPI, HealthAPI, PingAPI, ReadyAPI } from '@influxdata/influxdb-client-apis';
import { FieldType, InfluxDB } from 'influx';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, type TestNode } from './harness.ts';

const T0 = 1_700_000_000;

let cluster: Cluster;
let node: TestNode;
beforeAll(async () => {
  cluster = await Cluster.make();
  node = await (await cluster.node('n1', { workers: '2' }).start()).ready();
});
afterAll(() => cluster.close());

describe('influx of npm', () => {
  const schema = [
    {
      measurement: 'cpu',
      fields: { v: FieldType.FLOAT, n: FieldType.INTEGER, s: FieldType.STRING, ok: FieldType.BOOLEAN },
      tags: ['host'],
    },
  ];
  let client: InfluxDB;
  beforeAll(async () => {
    const { hostname: host, port } = new URL(node.url);
    client = new InfluxDB({ host, port: Number(port), database: 'npm', username: 'any', password: 'one', schema });
    await client.createDatabase('npm');
    const points = Array.from({ length: 100 }, (_, i) => ({
      measurement: 'cpu',
      tags: { host: `h ${i % 3}` },
      fields: { v: i / 2, n: i, s: `a "${i}" \\`, ok: i % 2 === 0 },
      timestamp: T0 + i,
    }));
    await client.writePoints(points, { precision: 's' });
    await client.writeMeasurement('other', [
      { tags: { zone: 'a,b=c' }, fields: { x: 1.5 }, timestamp: new Date(T0 * 1000) },
    ]);
  });

  test('pings and knows the version', async () => {
    expect(await client.ping(5_000)).toMatchObject([{ online: true, version: expect.stringMatching(/^1\.8\./) }]);
  });

  test('reads what it wrote: rows, groups, several statements, placeholders, as it comes', async () => {
    const placeholders = { h: 'h 1' };
    const rows = await client.query('SELECT * FROM cpu WHERE host = $h LIMIT 2', { placeholders });
    expect([...rows]).toEqual([
      { time: expect.any(Date), host: 'h 1', v: 0.5, n: 1, s: 'a "1" \\', ok: false },
      { time: expect.any(Date), host: 'h 1', v: 2, n: 4, s: 'a "4" \\', ok: true },
    ]);
    expect((rows[0] as { time: Date }).time.getTime()).toBe((T0 + 1) * 1000);
    const groups = (await client.query('SELECT count(v) FROM cpu GROUP BY host')).groups();
    expect(groups).toMatchObject([
      { name: 'cpu', tags: { host: 'h 0' }, rows: [{ count: 34 }] },
      { name: 'cpu', tags: { host: 'h 1' }, rows: [{ count: 33 }] },
      { name: 'cpu', tags: { host: 'h 2' }, rows: [{ count: 33 }] },
    ]);
    const [count, most] = await client.query(['SELECT count(n) FROM cpu', 'SELECT max(n) FROM cpu']);
    expect([[...count!], [...most!]]).toMatchObject([[{ count: 100 }], [{ max: 99 }]]);
    const options = { precision: 's', retentionPolicy: 'autogen' } as const;
    expect(await client.queryRaw('SELECT max(n) FROM cpu', options)).toEqual({
      results: [{ statement_id: 0, series: [{ name: 'cpu', columns: ['time', 'max'], values: [[T0 + 99, 99]] }] }],
    });
    expect([...(await client.query('SELECT x, "zone" FROM other'))]).toMatchObject([{ x: 1.5, zone: 'a,b=c' }]);
  });

  test('metadata, retention policies, users and continuous queries', async () => {
    expect(await client.getDatabaseNames()).toContain('npm');
    expect(await client.getMeasurements()).toEqual(['cpu', 'other']);
    expect(await client.getSeries({ measurement: 'cpu' })).toEqual([
      'cpu,host=h\\ 0',
      'cpu,host=h\\ 1',
      'cpu,host=h\\ 2',
    ]);
    await client.createRetentionPolicy('short', { duration: '2d', replication: 1, isDefault: false });
    await client.alterRetentionPolicy('short', { duration: '3d', replication: 1 });
    expect([...(await client.showRetentionPolicies())]).toMatchObject([
      { name: 'autogen', default: true },
      { name: 'short', duration: '72h0m0s', replicaN: 1, default: false },
    ]);
    await client.dropRetentionPolicy('short');
    await client.createUser('carl', 'pass"word');
    await client.setPassword('carl', 'other');
    await client.grantPrivilege('carl', 'READ');
    await client.revokePrivilege('carl', 'READ');
    await client.grantAdminPrivilege('carl');
    expect([...(await client.getUsers())]).toEqual([{ user: 'carl', admin: true }]);
    await client.revokeAdminPrivilege('carl');
    await client.dropUser('carl');
    const q = 'SELECT mean(v) INTO hourly FROM cpu GROUP BY time(1h)';
    await client.createContinuousQuery('cq', q, 'npm', 'RESAMPLE FOR 2h');
    expect([...(await client.showContinousQueries())]).toMatchObject([
      { name: 'cq', query: expect.stringContaining('FOR 2h') },
    ]);
    await client.dropContinuousQuery('cq');
  });

  test('passes errors on as the node said them', async () => {
    await expect(client.query('SELEC')).rejects.toThrow('error parsing query: found SELEC, expected SELECT');
    await expect(client.query('SELECT v FROM cpu', { database: 'nope' })).rejects.toThrow('database not found: nope');
    const point = { measurement: 'other', fields: { x: 'text' }, timestamp: new Date(T0 * 1000) };
    await expect(client.writePoints([point])).rejects.toThrow('field type conflict');
    await expect(client.writePoints([point], { database: 'nope' })).rejects.toThrow('database not found');
  });

  test('drops series, measurements and the database', async () => {
    await client.createDatabase('dropped');
    const options = { database: 'dropped' };
    const points = ['a', 'b'].map((host) => ({ measurement: 'm', tags: { host }, fields: { v: 1 } }));
    await client.writePoints([...points, { measurement: 'rest', fields: { v: 1 } }], options);
    const where = (e: { tag(name: string): { equals: { value(value: string): unknown } } }) =>
      e.tag('host').equals.value('a') as never;
    await client.dropSeries({ ...options, measurement: (m) => m.name('m'), where });
    expect(await client.getSeries(options)).toEqual(['m,host=b', 'rest']);
    await client.dropMeasurement('m', 'dropped');
    expect(await client.getMeasurements('dropped')).toEqual(['rest']);
    await client.dropDatabase('dropped');
    expect(await client.getDatabaseNames()).not.toContain('dropped');
  });
});

describe('@influxdata/influxdb-client', () => {
  let client: InfluxDB2;
  beforeAll(() => {
    client = new InfluxDB2({ url: node.url, token: 'any' });
  });

  test('health, readiness, ping', async () => {
    expect(await new HealthAPI(client).getHealth()).toMatchObject({ name: 'influxdb', status: 'pass', checks: [] });
    expect(await new ReadyAPI(client).getReady()).toMatchObject({ status: 'ready', started: expect.any(String) });
    await new PingAPI(client).getPing();
  });

  test('makes a bucket, writes to it in packed batches, deletes from it and removes it', async () => {
    const buckets = new BucketsAPI(client);
    const retentionRules = [{ type: 'expire' as const, everySeconds: 0 }];
    const { id } = await buckets.postBuckets({ body: { orgID: 'o', name: 'v2/autogen', retentionRules } });
    expect((await buckets.getBuckets({ org: 'o', name: 'v2/autogen' })).buckets).toMatchObject([
      { id, name: 'v2/autogen' },
    ]);
    expect((await buckets.getBuckets({ org: 'o' })).buckets!.map((each) => each.name)).toContain('v2/autogen');

    const writer = client.getWriteApi('o', 'v2/autogen', 's', { batchSize: 500, maxRetries: 0 });
    writer.useDefaultTags({ dc: 'eu west' });
    for (let i = 0; i < 1_200; i++) {
      const point = new Point('cpu')
        .tag('host', `h ${i % 3}`)
        .floatField('v', i)
        .intField('n', i)
        .uintField('u', i);
      writer.writePoint(
        point
          .stringField('s', 'a "b" \\')
          .booleanField('ok', i % 2 === 0)
          .timestamp(T0 + i),
      );
    }
    await writer.close();
    expect(await node.query('SELECT count(*) FROM cpu GROUP BY host, dc', 'v2')).toMatchObject([
      {
        series: ['h 0', 'h 1', 'h 2'].map((host) => ({
          tags: { host, dc: 'eu west' },
          values: [[0, 400, 400, 400, 400, 400]],
        })),
      },
    ]);
    expect(await node.query('SELECT n, u, s, ok FROM cpu WHERE v = 1199', 'v2')).toMatchObject([
      { series: [{ values: [[(T0 + 1_199) * 1e9, 1_199, 1_199, 'a "b" \\', false]] }] },
    ]);

    const [start, stop] = [T0, T0 + 599].map((second) => new Date(second * 1000).toISOString()) as [string, string];
    const body = { start, stop, predicate: '_measurement="cpu" AND host="h 1"' };
    await new DeleteAPI(client).postDelete({ org: 'o', bucket: 'v2/autogen', body });
    expect(await node.value('SELECT count(v) FROM cpu', 'v2')).toBe(1_000);

    await buckets.deleteBucketsID({ bucketID: id! });
    expect((await buckets.getBuckets({ name: 'v2/autogen' })).buckets).toEqual([]);
  });

  test('is refused with a code that it knows: bad lines, no such bucket, Flux', async () => {
    await node.query('CREATE DATABASE v2errors');
    /** What the writer was told. */
    const refusal = async (bucket: string, line: string) => {
      let told: unknown;
      const writeFailed = (error: Error) => {
        told = error;
        return Promise.resolve();
      };
      const writer = client.getWriteApi('o', bucket, 'ns', { maxRetries: 0, writeFailed });
      writer.writeRecord(line);
      await writer.close();
      if (!(told instanceof HttpError)) throw new Error(`not refused: ${String(told)}`);
      return { statusCode: told.statusCode, code: told.code, message: told.message };
    };
    expect(await refusal('v2errors', 'cpu v=')).toEqual({
      statusCode: 400,
      code: 'invalid',
      message: expect.stringContaining("unable to parse 'cpu v='"),
    });
    expect(await refusal('nope', 'cpu v=1')).toMatchObject({ statusCode: 404, code: 'not found' });
    const flux = client.getQueryApi('o').collectRows('from(bucket: "v2errors") |> range(start: -1h)');
    await expect(flux).rejects.toMatchObject({ statusCode: 501, code: 'not implemented' });
  });
});
