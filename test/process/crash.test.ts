/**
 * One node, killed again and again while it writes, flushes, merges and recovers; every acknowledged row is found after
 * each restart.
 *
 * Small limits make flushes and merges constant. A third of the kills wait for a transaction of a shard file to begin
 * (its rollback journal grows), a part of them strikes the recovery itself, the others come at any moment. What was hit
 * is counted from what the killed process left: a journal that is not empty is a transaction that was cut off.
 */
import { existsSync, readdirSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';
import { Load } from './load.ts';

const KILLS = 50;
const SEED = Number(process.env.STARLING_TEST_SEED ?? 20_260_805);
const SENDERS = 3;
const ROWS_PER_BODY = 3_000;
const NOTE_BYTES = 120;
const LIFE_MS_MAX = 700;
const RECOVERY_MS_MAX = 400;
/** A kill that waits for a transaction comes at the latest now. */
const TRANSACTION_MS_MAX = 1_000;
const TRANSACTIONS_AWAITED_MAX = 4;
const HOUR_MS = 3_600_000;

/** Mulberry32. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

describe('a node that is killed at any moment', () => {
  const random = seededRandom(SEED);
  let cluster: Cluster;
  let node: TestNode;
  let load: Load;

  beforeAll(async () => {
    cluster = await Cluster.make();
    node = cluster.node('n1', { workers: '2', 'memtable-bytes-max': '8MiB', 'log-bytes-max': '32MiB' });
    await (await node.start()).ready();
    await node.query('CREATE DATABASE t');
    load = new Load({
      database: 't',
      rowsPerBody: ROWS_PER_BODY,
      noteBytes: NOTE_BYTES,
      series: 500,
      startMs: Math.floor(Date.now() / HOUR_MS - 1) * HOUR_MS,
      random,
      targets: () => (node.running ? [node.url] : []),
    });
  });
  afterAll(async () => {
    await load?.close();
    await cluster.close();
  });

  const shards = () => join(node.data, 'shards');
  const cutTransactions = () =>
    readdirSync(shards()).filter((name) => name.endsWith('-journal') && statSync(join(shards(), name)).size > 0);

  /** Resolves when so many changes of rollback journals were seen, or after a while. */
  async function transactions(count: number): Promise<void> {
    if (!existsSync(shards())) return;
    let left = count;
    const over = new AbortController();
    const watcher = watch(shards(), (_event, name) => {
      if (name?.endsWith('-journal') && --left === 0) over.abort();
    });
    await wait(TRANSACTION_MS_MAX, undefined, { signal: over.signal }).catch(() => {});
    watcher.close();
  }

  /** `strike` begins with the first acknowledged body of this life, or at once: while shards are made. */
  async function killWhileWriting(strike: () => Promise<unknown>, atOnce: boolean): Promise<void> {
    const before = load.acknowledged.size;
    const killed = (async () => {
      if (!atOnce) await eventually('a body is acknowledged', 30_000, async () => load.acknowledged.size > before);
      await strike();
      await node.kill();
    })();
    const over = killed.catch(() => {});
    await Promise.all([killed, load.flood(over, SENDERS)]);
  }

  /** Ends in a start that the kill cut off, or in one that was quicker. */
  async function killWhileStarting(): Promise<void> {
    const starting = node.start().catch(() => {});
    await wait(random() * RECOVERY_MS_MAX);
    await node.kill();
    await starting;
  }

  test(`finds every acknowledged row after each of ${KILLS} kills`, { timeout: 300_000 }, async () => {
    let inTransaction = 0;
    let whileStarting = 0;
    for (let kill = 0; kill < KILLS; ) {
      const awaited = 1 + Math.floor(random() * TRANSACTIONS_AWAITED_MAX);
      const lifeMs = random() * LIFE_MS_MAX;
      const strike = random() < 1 / 3 ? () => transactions(awaited) : () => wait(lifeMs);
      await killWhileWriting(strike, random() < 1 / 6);
      kill++;
      if (cutTransactions().length > 0) inTransaction++;
      if (random() < 1 / 4) {
        await killWhileStarting();
        kill++;
        whileStarting++;
      }
      await (await node.start()).ready();
      expect(await load.check(node.url), `after kill ${kill}, seed ${SEED}`).toEqual([]);
    }
    const { shards: described } = await node.json<{ shards: { rows: number; blocks: number; state: string }[] }>(
      '/api/shards',
    );
    const blocks = described.reduce((sum, shard) => sum + shard.blocks, 0);
    console.info(
      `crash: ${load.bodies} bodies, ${load.acknowledged.size} acknowledged; ${inTransaction} kills in a transaction, ${whileStarting} in a start; ${blocks} blocks`,
    );
    expect(load.acknowledged.size).toBeGreaterThan(KILLS);
    expect(inTransaction).toBeGreaterThan(0);
    expect(blocks).toBeGreaterThan(0);
    expect(described.every((shard) => shard.state === 'full')).toBe(true);
    expect(readdirSync(node.data, { recursive: true }).filter((name) => String(name).includes('damaged'))).toEqual([]);
  });
});

/** The log is let go of segment by segment: with a small maximum it must not fill up before its first segment is full. */
test('a node takes several times its log’s maximum without a pause', { timeout: 120_000 }, async () => {
  const cluster = await Cluster.make();
  const small = { workers: '4', 'memtable-bytes-max': '16MiB', 'log-bytes-max': '32MiB' };
  const node = await (await cluster.node('n1', small).start()).ready();
  const bodies = 120;
  const load = new Load({
    database: 't',
    rowsPerBody: 1_000,
    noteBytes: 700,
    series: 500,
    startMs: 0,
    random: Math.random,
    targets: () => [node.url],
  });
  try {
    await node.query('CREATE DATABASE t');
    const enough = eventually('all bodies are taken', 60_000, async () => load.acknowledged.size >= bodies);
    await load.flood(
      enough.catch(() => {}),
      SENDERS,
    );
    await enough;
    expect(await load.check(node.url)).toEqual([]);
    const { text } = await node.get('/metrics');
    expect(Number(/^starling_log_bytes (\d+)/m.exec(text)?.[1])).toBeLessThan(32 * 1024 * 1024);
    expect(node.stderr).not.toContain('overloaded');
  } finally {
    await load.close();
    await cluster.close();
  }
});
