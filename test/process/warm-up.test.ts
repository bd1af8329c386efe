/** A node that warms up: nothing of it is seen or left behind, whatever happens meanwhile. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

/** With limits that its writes would not keep to. */
const OPTIONS = {
  workers: '2',
  'warm-up': 'on',
  'line-bytes-max': '1KiB',
  'key-bytes-max': '64',
  'fields-max': '1',
  'body-series-max': '1',
  'series-max': '1',
};

describe('a node that warms up', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.make();
  });
  afterAll(() => cluster.close());

  const scratchOf = (node: TestNode, worker: number) => join(node.data, `worker-${worker}`, 'warm-up');
  const hasScratch = (node: TestNode) => [0, 1].some((worker) => existsSync(scratchOf(node, worker)));

  async function expectUntouched(node: TestNode): Promise<void> {
    // A busy machine does not wait for the end of it.
    await eventually('the scratch replicas are gone', 20_000, async () => !hasScratch(node));
    const { shards } = await node.json<{ shards: unknown[] }>('/api/shards');
    expect(shards).toEqual([]);
    expect((await node.query('SHOW DATABASES'))[0]?.series?.[0]?.values ?? []).toEqual([]);
    expect((await node.get('/metrics')).text).toMatch(/^starling_ingested_rows_total 0$/m);
    expect(node.stderr).not.toContain('no warm-up');
  }

  test('is ready when it is done, and shows nothing of it', async () => {
    const node = cluster.node('shown', OPTIONS);
    await (await node.start()).ready();
    await expectUntouched(node);
    await node.query('CREATE DATABASE t');
    expect((await node.write('t', 'm v=1')).status).toBe(204);
    expect(await node.value('SELECT count(v) FROM m', 't')).toBe(1);
    expect(await node.stop()).toBe(0);
    await (await node.start()).ready();
    expect(await node.value('SELECT count(v) FROM m', 't')).toBe(1);
    await eventually('the scratch replicas are gone', 20_000, async () => !hasScratch(node));
  });

  test('that is killed or stopped in the middle of it starts again, and removes what was left', async () => {
    const node = cluster.node('killed', OPTIONS);
    for (const end of ['kill', 'stop', 'kill'] as const) {
      await node.start();
      await node[end]();
      expect(node.stderr).not.toMatch(/"level":60/);
    }
    mkdirSync(join(scratchOf(node, 0), 'shards'), { recursive: true });
    writeFileSync(join(scratchOf(node, 0), 'shards', 'left.sqlite'), 'left');
    await (await node.start({ 'warm-up': 'off' })).ready();
    expect(hasScratch(node)).toBe(false);
    await node.stop();
    await (await node.start({ 'warm-up': 'on' })).ready();
    await expectUntouched(node);
  });
});
