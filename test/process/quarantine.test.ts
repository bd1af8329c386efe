/** The disk of a member that was given up: refused, readmitted as a fresh member, and what only it had is found and written back. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

const PROGRAM = resolve(import.meta.dirname, '../../dist/server/cli/main.js');
const TIME = 1_700_000_000_000_000_000n;
/** One row in each of a batch, all types. */
const ONLY_N3 = [
  `m,host=only\\ n3,site=ä b=true,f=1.5,i=-7i,s="a \\"b\\" \\\\ c",u=7u ${TIME + 100n}`,
  `m,host=only2 f=2 ${TIME + 101n}`,
];

async function starling(...args: string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, [PROGRAM, ...args])).stdout;
}

describe('quarantine', () => {
  let cluster: Cluster;
  let nodes: [TestNode, TestNode, TestNode];
  let oldNumber = '';

  interface Page {
    convergedThroughMs: number | null;
    nowMs: number;
    members: { number: string; name: string; state: string; live: boolean }[];
  }
  const page = (node: TestNode) => node.json<Page>('/api/cluster');
  const n3Of = async (node: TestNode) =>
    (await page(node)).members.find(({ name, state }) => name === 'n3' && state !== 'removed');
  const provenSince = async (node: TestNode) => {
    const { nowMs } = await page(node);
    await eventually('proven', 60_000, async () => ((await page(node)).convergedThroughMs ?? 0) > nowMs);
  };
  const write = async (node: TestNode, line: string, consistency: string) =>
    expect((await node.write('d', line, { consistency })).status).toBe(204);
  const quarantine = (...args: string[]) =>
    starling('quarantine', ...args, '--data', nodes[2].data, '--url', nodes[0].url);

  beforeAll(async () => {
    cluster = await Cluster.make();
    nodes = await cluster.startThree({ 'pass-interval': '1s', workers: '2' });
    await cluster.createDatabase('d');
  });
  afterAll(() => cluster.close());

  test('a member takes writes alone, dies, and is given up; the others go on past them', async () => {
    const [n1, n2, n3] = nodes;
    for (let i = 0; i < 20; i++) await write(n1, `m,host=h${i} f=${i} ${TIME + BigInt(i)}`, 'all');
    await provenSince(n1);
    oldNumber = (await n3Of(n1))!.number;
    // Above the floor when the member dies, and known to all.
    for (let i = 20; i < 30; i++) await write(n3, `m,host=h${i} f=${i} ${TIME + BigInt(i)}`, 'all');
    await n1.kill();
    await n2.kill();
    for (const line of ONLY_N3) await write(n3, line, 'one');
    await n3.query(`DELETE FROM m WHERE host = 'h5'`, 'd');
    await n3.kill();
    await Promise.all([n1.start(), n2.start()]);
    await Promise.all([n1.ready(), n2.ready()]);
    await eventually('n3 is given up', 30_000, async () =>
      starling('cluster', 'remove', 'n3', '--force', '--url', n1.url).then(
        () => true,
        () => false,
      ),
    );
    for (let i = 30; i < 40; i++) await write(n1, `m,host=h${i} f=${i} ${TIME + BigInt(i)}`, 'all');
    await provenSince(n1);
    await provenSince(n2);
  }, 120_000);

  test('its disk is refused, readmitted under a new number, and kept', async () => {
    const [n1, , n3] = nodes;
    expect(await n3.runToEnd()).toBe(1);
    expect(n3.stderr).toContain('Removal is final: start it with --readmit');
    expect(await n3.runToEnd({ readmit: 'on' })).toBe(1);
    expect(n3.stderr).toContain('name members with --join');
    await n3.start({ join: n1.url, readmit: 'on' });
    await n3.ready();
    await cluster.allLive(3);
    const member = (await n3Of(n1))!;
    expect(member.number).not.toBe(oldNumber);
    await n3.stop();
    // Once more: it is a member now, and its disk is not set aside.
    expect(await n3.runToEnd({ join: n1.url, readmit: 'on' })).toBe(1);
    expect(n3.stderr).toContain('says that it is up');
    await n3.start();
    await n3.ready();
    expect((await n3Of(n1))!.number).toBe(member.number);
    await cluster.allLive(3);
  }, 120_000);

  test('what nobody else had is listed and exported, and written back it is everywhere', async () => {
    const [n1] = nodes;
    const fields = (await quarantine('list')).trim().split('\n')[1]!.split(/ +/);
    expect(fields.slice(0, 2)).toEqual([oldNumber, 'n3']);
    // A delete is one batch for each shard number.
    expect(fields.slice(6)).toEqual(['6', '0']);
    const text = await quarantine('export');
    const lines = text.trim().split('\n');
    expect(lines.filter((line) => !line.startsWith('#')).sort()).toEqual([...ONLY_N3].sort());
    expect(lines).toContain('# CONTEXT-DATABASE: d');
    expect(lines).toContain('# CONTEXT-RETENTION-POLICY: autogen');
    expect(lines.filter((line) => line.startsWith("# DELETE FROM m WHERE host = 'h5'"))).toHaveLength(4);
    expect(await quarantine('export', '--db', 'other')).not.toContain('\nm,');
    const file = join(cluster.directory, 'export.txt');
    await writeFile(file, text);
    await starling('write', '--db', 'd', '--rp', 'autogen', '--file', file, '--url', n1.url);
    for (const node of nodes)
      await eventually(`${node.name} has all`, 30_000, async () => {
        const count = await node.value('SELECT count(f) FROM m', 'd');
        return count === 42;
      });
    const [result] = await n1.query(`SELECT f, i, u, s, b, site FROM m WHERE host = 'only n3'`, 'd');
    expect(result!.series![0]!.values).toEqual([[Number(TIME + 100n), 1.5, -7, 7, 'a "b" \\ c', true, 'ä']]);
    await provenSince(n1);
    // Read twice, it is the same.
    expect(await quarantine('export')).toBe(text);
  }, 120_000);

  test('while a member is away nothing is said to be lost', async () => {
    await nodes[1].kill();
    await expect(quarantine('export')).rejects.toThrow('every member has to answer');
  });
});
