/** Members that come, leave, and are given up, while writes go on: real processes, real directories. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

const PROGRAM = join(
  process.env.STARLING_TEST_DIST ?? resolve(import.meta.dirname, '../../dist'),
  'server/cli/main.js',
);
const run = promisify(execFile);
const OPTIONS = { 'pass-interval': '1s', workers: '2' };

interface ClusterPage {
  members: {
    number: string;
    name: string;
    state: string;
    shards: number;
    shardsToCome: number;
    why: string;
    live: boolean;
  }[];
  losses: { name: string; shards: string[] }[];
  shards: number;
}

describe('four nodes that come and go', () => {
  let cluster: Cluster;
  let [n1, n2, n3, n4] = [] as unknown as [TestNode, TestNode, TestNode, TestNode];
  let written = 0;

  beforeAll(async () => {
    cluster = await Cluster.make();
    [n1, n2, n3] = await cluster.startThree(OPTIONS);
    await n1.query('CREATE DATABASE d WITH REPLICATION 2');
    for (const node of [n1, n2, n3]) {
      await eventually('the database is known everywhere', 10_000, async () =>
        (await node.query('SHOW DATABASES'))[0]?.series?.[0]?.values?.some(([name]) => name === 'd'),
      );
    }
    await write(n1, 400);
    n4 = cluster.node('n4', OPTIONS);
  });
  afterAll(() => cluster.close());

  async function write(node: TestNode, rows: number): Promise<void> {
    const from = written;
    const lines = Array.from(
      { length: rows },
      (_, i) => `m,host=h${(from + i) % 50} v=${from + i} ${1_700_000_000 + from + i}000000000`,
    );
    const answer = await node.write('d', lines.join('\n'));
    expect(`${answer.status} ${answer.text}`).toBe('204 ');
    written += rows;
  }

  const page = (node: TestNode) => node.json<ClusterPage>('/api/cluster');
  const memberAt = async (node: TestNode, name: string) =>
    (await page(node)).members.find((member) => member.name === name);
  const starling = async (...args: string[]) => (await run(process.execPath, [PROGRAM, ...args])).stdout;

  async function countsAre(nodes: readonly TestNode[]): Promise<void> {
    for (const node of nodes) {
      await eventually(`${node.name} counts ${written} rows`, 30_000, async () => {
        const count = await node.value('SELECT count(v) FROM m', 'd');
        expect(count).toBeLessThanOrEqual(written);
        return count === written;
      });
    }
  }

  test('a fourth one joins: it gets its share, former owners let go, no write is refused, no row is missing', async () => {
    await n4.start({ join: n1.url });
    await n4.ready();
    await eventually('n4 holds shards, and every shard has two holders', 60_000, async () => {
      await write(n2, 10);
      const { members, shards } = await page(n2);
      const held = members.reduce((sum, member) => sum + member.shards, 0);
      return members.length === 4 && shards === 4 && held === 8 && members.every(({ live }) => live);
    });
    await eventually('nothing is to come any more', 60_000, async () => (await memberAt(n4, 'n4'))!.shardsToCome === 0);
    await countsAre([n1, n2, n3, n4]);
  }, 120_000);

  test('another leaves: it hands everything over, removes its shards, goes, and says so to who asks it', async () => {
    const told = await n2.write('d', 'told v=1 1700000000000000000', { receipt: '1' });
    const { receipt } = JSON.parse(told.text) as { receipt: string };
    const stdout = await starling('cluster', 'leave', '--url', n2.url, '--member', 'n1');
    expect(stdout).toContain('n1 leaves');
    await eventually('n1 has left', 90_000, async () => {
      await write(n3, 10);
      return (await memberAt(n2, 'n1'))!.state === 'removed';
    });
    expect((await memberAt(n2, 'n1'))!.why).toBe('left the cluster after it had handed everything over');
    const files = await readdir(join(n1.data, 'shards'));
    expect(files.filter((name) => name.endsWith('.sqlite'))).toEqual([]);
    const refused = await n1.write('d', 'm,host=late v=1');
    expect(refused.status).toBe(503);
    expect(refused.text).toContain('has left the cluster');
    expect((await n1.get('/health')).status).toBe(503);
    const asked = await n1.get(`/api/receipts/${receipt}`);
    expect([asked.status, asked.text]).toEqual([503, expect.stringContaining('has left the cluster')]);
    expect(await starling('cluster', '--url', n1.url)).toContain('This node is not ready: left');
    await countsAre([n2, n3, n4]);
    const { members, shards } = await page(n3);
    expect(members.filter(({ state }) => state === 'up').reduce((sum, member) => sum + member.shards, 0)).toBe(
      2 * shards,
    );
  }, 150_000);

  test('started again, it still says that it has left', async () => {
    await n1.stop();
    await n1.start();
    await eventually('n1 answers', 10_000, async () => (await n1.get('/health')).text.includes('has left the cluster'));
    await n1.stop();
  }, 60_000);

  test('a dead one is given up by force only: its shards move, and the cluster says what may be lost with it', async () => {
    const refusal = async (...args: string[]) => {
      const failed = await starling(...args).then(
        () => null,
        (error: { stderr: string }) => error.stderr,
      );
      return failed ?? 'not refused';
    };
    const remove = ['cluster', 'remove', 'n3', '--url', n2.url];
    expect(await refusal(...remove)).toContain('say --force');
    expect(await refusal(...remove, '--force')).toContain('is live: let it leave, or stop it first');
    expect(await refusal('cluster', 'remove', 'n9', '--url', n2.url, '--force')).toContain('no member is called n9');
    await n3.kill();
    await eventually('n3 is given up', 30_000, async () => (await refusal(...remove, '--force')) === 'not refused');
    await write(n2, 10);
    await eventually('two holders each', 60_000, async () => {
      const { members, shards } = await page(n4);
      return (
        members.filter(({ state }) => state === 'up').reduce((sum, member) => sum + member.shards, 0) === 2 * shards
      );
    });
    await countsAre([n2, n4]);
    const text = await starling('cluster', '--url', n2.url);
    expect(text).toContain('Lost with n3');
    expect((await n2.get('/metrics')).text).toMatch(/^starling_shard_losses\{.*\} 1$/m);
    expect((await page(n2)).losses[0]).toMatchObject({ name: 'n3' });
    for (const node of [n2, n4]) {
      const [read] = await node.query('SELECT count(v) FROM m', 'd', { completeness: '1' });
      expect(read!.completeness).toMatchObject({ complete: true, losses: [{ member: 'n3' }] });
    }
    await starling('cluster', 'acknowledge-loss', 'n3', '--url', n4.url);
    await eventually('the other one knows', 10_000, async () => (await page(n2)).losses.length === 0);
    expect(await starling('cluster', '--url', n2.url)).not.toContain('Lost with n3');
    expect(await starling('cluster', 'acknowledge-loss', 'n3', '--url', n2.url)).toMatch(
      /^n3 \([0-9a-f]{16}\): acknow/,
    );
    for (const node of [n2, n4]) {
      expect((await node.get('/metrics')).text).not.toMatch(/^starling_shard_losses\{.*\} 1$/m);
      expect((await node.get('/metrics')).text).toMatch(/^starling_shard_losses\{.*\} 0$/m);
      const [read] = await node.query('SELECT count(v) FROM m', 'd', { completeness: '1' });
      expect(read!.completeness).toMatchObject({ losses: [{ member: 'n3', acknowledged: true }] });
    }
    const [shard] = (await n2.json<{ shards: { id: string }[] }>('/api/shards')).shards;
    expect(await starling('shards', shard!.id, '--url', n2.url)).toMatch(/lost with n3 .* acknowledged/);
    expect((await n2.request('POST', '/api/cluster/members/n2/acknowledge-loss')).status).toBe(404);
    expect(await n3.runToEnd()).toBe(1);
    expect(n3.stderr).toContain('Removal is final');
  }, 150_000);

  test('one whose number was removed before it had joined joins under another one when it is started again', async () => {
    const path = join(n3.data, 'node.json');
    const file = JSON.parse(await readFile(path, 'utf8'));
    await rm(n3.data, { recursive: true });
    await mkdir(n3.data);
    await writeFile(path, JSON.stringify({ ...file, clusterId: null, seed: null }));
    expect(await n3.runToEnd({ join: n2.url })).toBe(1);
    expect(n3.stderr).toContain(`node "n3" (${file.number}) was removed from the cluster before it had joined`);
    await (await n3.start({ join: n2.url })).ready();
    const members = (await page(n2)).members.filter(({ name, state }) => name === 'n3' && state !== 'removed');
    expect(members).toHaveLength(1);
    expect(members[0]!.number).not.toBe(file.number);
  }, 60_000);
});
