/** Bits fall over in a shard's file, and a file is cut short, while the node runs: both heal without an operator. */
import { closeSync, openSync, readdirSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

interface ShardPage {
  readonly state: string;
  readonly equal: boolean;
  readonly checksums: readonly unknown[];
  readonly converged: { throughMs: number } | null;
}

interface Scrubs {
  readonly run: { readonly finishedMs: number | null } | null;
  readonly mends: readonly { readonly state: string; readonly message: string; readonly bytesMoved: number }[];
}

const ROWS = 20_000;

let cluster: Cluster;
let nodes: [TestNode, TestNode, TestNode];

const fileOf = ({ data }: TestNode): string => {
  const name = readdirSync(join(data, 'shards')).find((each) => each.endsWith('.sqlite'))!;
  return join(data, 'shards', name);
};

/** A read of the file as the disk has it, beside the node. */
function blocksIn(node: TestNode): { body: Buffer; rows: number }[] {
  const database = new Database(fileOf(node), { readonly: true });
  try {
    return database.prepare('SELECT body, rows FROM blocks ORDER BY id').all() as { body: Buffer; rows: number }[];
  } finally {
    database.close();
  }
}

function flipBit(node: TestNode): void {
  const path = fileOf(node);
  const { body } = blocksIn(node)[0]!;
  const at = readFileSync(path).indexOf(body.subarray(0, 48));
  expect(at).toBeGreaterThan(0);
  const file = openSync(path, 'r+');
  writeSync(file, Uint8Array.of(body[40]! ^ 1), 0, 1, at + 40);
  closeSync(file);
}

async function healed(node: TestNode, fromMs: number): Promise<void> {
  await eventually(`${node.name} is full and proven equal again`, 60_000, async () => {
    const { shards } = await node.json<{ shards: { id: string }[] }>('/api/shards');
    const pages = await Promise.all(shards.map(({ id }) => node.json<ShardPage>(`/api/shards/${id}`)));
    const isEqual = ({ equal, checksums, converged, state }: ShardPage) =>
      equal && checksums.length === 3 && state === 'full' && (converged?.throughMs ?? 0) > fromMs;
    return pages.length > 0 && pages.every(isEqual);
  });
  expect(await node.value('SELECT count(v) FROM m', 't')).toBe(ROWS);
}

async function scrub(node: TestNode): Promise<Scrubs> {
  await node.request('POST', '/api/scrubs');
  return eventually(`the scrub of ${node.name} ends`, 60_000, async () => {
    const scrubs = await node.json<Scrubs>('/api/scrubs');
    return scrubs.run?.finishedMs == null ? null : scrubs;
  });
}

beforeAll(async () => {
  cluster = await Cluster.make();
  // Only shards of one group, all of them on one worker: one file a node.
  const options = { 'pass-interval': '1s', 'flush-idle': '1s', 'merge-idle': '1s', workers: '1' };
  nodes = await cluster.startThree({ ...options, 'scrub-bytes-per-second': '64MiB' });
  await nodes[0].query('CREATE DATABASE t');
  const [from, lines] = [Date.now() - 60_000, [] as string[]];
  for (let i = 0; i < ROWS; i++) lines.push(`m,host=h0 v=${(i * 7919) % 10_007} ${from}${String(i).padStart(6, '0')}`);
  await eventually('the database is known', 10_000, async () =>
    nodes[1].write('t', lines.join('\n'), { consistency: 'all' }).then(({ status }) => status === 204),
  );
  for (const node of nodes) {
    await eventually(`${node.name} has flushed`, 30_000, async () => {
      return blocksIn(node).reduce((sum, { rows }) => sum + rows, 0) === ROWS;
    });
    await healed(node, Date.now() - 1_000);
  }
});
afterAll(() => cluster.close());

test('a flipped bit is found by a scrub, and only that is fetched again', async () => {
  expect((await scrub(nodes[1])).mends).toEqual([]);
  flipBit(nodes[1]);
  await scrub(nodes[1]);
  const mend = await eventually('the mend ends', 60_000, async () => {
    const { mends } = await nodes[1].json<Scrubs>('/api/scrubs');
    return mends.find(({ state }) => state !== 'running');
  });
  expect(mend).toMatchObject({ state: 'done', message: expect.stringContaining('mended') });
  expect(mend.bytesMoved).toBeGreaterThan(0);
  await healed(nodes[1], Date.now());
  expect((await scrub(nodes[1])).mends).toHaveLength(1);
});

test('a file that was cut short: the node goes on, and gets its rows back from the others', async () => {
  const path = fileOf(nodes[2]);
  truncateSync(path, Math.floor(readFileSync(path).byteLength / 2));
  await scrub(nodes[2]);
  expect(await nodes[2].value('SELECT count(v) FROM m', 't')).toBe(ROWS);
  await healed(nodes[2], Date.now());
});
