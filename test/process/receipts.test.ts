/** Receipts of writes: any node says where a write is and when it is proven. */
import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ReceiptStatus } from '../../server/receipt-status.ts';
import { Cluster, eventually, type TestNode } from './harness.ts';

const PROGRAM = resolve(import.meta.dirname, '../../dist/server/cli/main.js');

describe('receipts on three nodes', () => {
  let cluster: Cluster;
  let nodes: [TestNode, TestNode, TestNode];

  beforeAll(async () => {
    cluster = await Cluster.make();
    nodes = await cluster.startThree({ 'pass-interval': '1s', workers: '2' });
    await cluster.createDatabase('d');
  });
  afterAll(() => cluster.close());

  const write = async (node: TestNode, lines: string): Promise<string> => {
    const answer = await node.write('d', lines, { receipt: '1', precision: 'ms' });
    expect(answer.status).toBe(200);
    return (JSON.parse(answer.text) as { receipt: string }).receipt;
  };

  test('a write is proven on all owners in a while, whoever is asked', async () => {
    const lines = Array.from({ length: 40 }, (_, i) => `m,host=h${i} v=${i} ${1_700_000_000_000 + i}`).join('\n');
    const receipt = await write(nodes[0], lines);
    const first = await nodes[1].json<ReceiptStatus>(`/api/receipts/${receipt}`);
    expect(first.stored).toBe(true);
    expect(first.batches).toHaveLength(4);
    for (const node of nodes) {
      const status = await node.json<ReceiptStatus & { waited_ms: number }>(`/api/receipts/${receipt}?wait=20s`);
      expect(status).toMatchObject({ proven: true, stored: true });
      for (const batch of status.batches) {
        expect(batch).toMatchObject({ database: 'd', retention_policy: 'autogen', state: 'proven', outbox: [] });
        expect(batch.replicas.map(({ name, owner, stored }) => [name, owner, stored]).sort()).toEqual(
          nodes.map(({ name }) => [name, true, true]),
        );
      }
    }
    const { stdout } = await promisify(execFile)(process.execPath, [
      PROGRAM,
      'receipt',
      receipt,
      '--url',
      nodes[2].url,
    ]);
    expect(stdout).toMatch(/proven +n\d:stored n\d:stored n\d:stored/);
  });

  test('the command line prints receipts of what it writes', async () => {
    const args = ['write', '--url', nodes[1].url, '--db', 'd', '--receipt', 'm,host=cli v=1 1700000000000000000'];
    const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, ...args]);
    const status = await nodes[0].json<ReceiptStatus>(`/api/receipts/${stdout.trim()}?wait=20s`);
    expect(status.proven).toBe(true);
  });

  test('good lines of a write in part have one; what is no receipt is refused', async () => {
    const partly = await nodes[0].write('d', 'm v=1 1700000000000\nm v= 1700000000001', {
      receipt: '1',
      precision: 'ms',
    });
    expect(partly.status).toBe(400);
    const { receipt } = JSON.parse(partly.text) as { receipt: string };
    expect((await nodes[1].json<ReceiptStatus>(`/api/receipts/${receipt}`)).batches).toHaveLength(1);
    for (const path of [
      '/api/receipts/nonsense',
      `/api/receipts/${receipt}?wait=soon`,
      `/api/receipts/${receipt}?wait=2h`,
    ])
      expect((await nodes[0].get(path)).status).toBe(400);
  });

  test('while an owner is away: stored and not proven, by name; dropped with its database', async () => {
    await nodes[2].kill();
    await cluster.allLive(2);
    const receipt = await write(nodes[0], 'm,host=away v=1 1700000000500');
    const status = await nodes[1].json<ReceiptStatus>(`/api/receipts/${receipt}?wait=1500ms`);
    expect(status).toMatchObject({ proven: false, stored: true });
    const [batch] = status.batches;
    expect(batch!.replicas.find(({ name }) => name === 'n3')).toMatchObject({ state: 'not live', stored: null });
    await eventually('it is in the outbox of the node that took it', 10_000, async () =>
      (await nodes[1].json<ReceiptStatus>(`/api/receipts/${receipt}`)).batches[0]!.outbox.includes('n1'),
    );
    await nodes[2].start();
    await nodes[2].ready();
    const later = await nodes[2].json<ReceiptStatus>(`/api/receipts/${receipt}?wait=30s`);
    expect(later.proven).toBe(true);
    await nodes[0].query('DROP DATABASE d');
    expect((await nodes[0].json<ReceiptStatus>(`/api/receipts/${receipt}`)).batches[0]!.state).toBe('dropped');
  });
});
