/**
 * The promise, with real processes: three nodes take 20,000 rows/s at random while one is killed for a minute, another
 * loses its disk, and a third is kept apart. Afterwards every acknowledged row is on all three, all answer alike on
 * their own, checksums are equal, and the watermark has moved past the last write, within the published bound.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomOf } from '../../scripts/bench/random.ts';
import { Cluster, eventually, type TestNode } from './harness.ts';
import { BODY_SPAN_MS, Load } from './load.ts';
import { Relay } from './proxy.ts';

const ROWS_PER_BODY = 2000; // one body every 100 ms: 20,000 rows/s
const KILLED_MS = 60_000;
const APART_MS = 10_000;
const PASS_INTERVAL = '2s';

interface ClusterPage {
  readonly bound: { boundMs: number };
  readonly convergedThroughMs: number | null;
}

interface ShardPage {
  readonly equal: boolean;
  readonly checksums: readonly unknown[];
  readonly converged: { throughMs: number } | null;
}

const QUESTIONS = [
  'SELECT count(seq), sum(seq), mean(level), min(level), max(level), stddev(level) FROM load',
  'SELECT mean(level), sum(level) FROM load GROUP BY host, zone',
  'SELECT last(seq), first(level) FROM load GROUP BY zone',
  'SELECT percentile(level, 90), median(level) FROM load GROUP BY time(10s) fill(none)',
  'SELECT * FROM load ORDER BY time DESC LIMIT 50',
  'SHOW SERIES',
];

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

describe('three nodes under load', () => {
  let cluster: Cluster;
  let nodes: [TestNode, TestNode, TestNode];
  let relays: Relay[];
  let load: Load;
  let reachable: Set<TestNode>;

  beforeAll(async () => {
    cluster = await Cluster.make();
    relays = await Promise.all([Relay.start(), Relay.start(), Relay.start()]);
    const options = (index: number) => ({
      advertise: relays[index]!.url,
      'pass-interval': PASS_INTERVAL,
      workers: '2',
    });
    nodes = [0, 1, 2].map((index) => cluster.node(`n${index + 1}`, options(index))) as typeof nodes;
    const [n1, n2, n3] = nodes;
    await n1.start();
    relays[0]!.target = n1.url;
    await n1.ready();
    for (const [index, node] of [n2, n3].entries()) {
      await node.start({ join: relays[0]!.url });
      relays[index + 1]!.target = node.url;
    }
    await cluster.allLive(3);
    await n1.query('CREATE DATABASE t');
    for (const node of nodes) {
      await eventually('the database is known everywhere', 10_000, async () =>
        (await node.query('SHOW DATABASES', 't'))[0]?.series?.[0]?.values?.some(([name]) => name === 't'),
      );
    }
    reachable = new Set(nodes);
    load = new Load({
      database: 't',
      rowsPerBody: ROWS_PER_BODY,
      series: 200,
      startMs: Math.floor(Date.now() / BODY_SPAN_MS) * BODY_SPAN_MS,
      random: randomOf(7),
      targets: () => [...reachable].map((node) => node.url),
    });
  });
  afterAll(async () => {
    await cluster.close();
    await load?.close();
    await Promise.all(relays.map((relay) => relay.close()));
  });

  async function restart(node: TestNode): Promise<void> {
    await node.start({
      join: relays[0]!.url === node.url ? relays[1]!.url : relays[nodes.indexOf(node) === 0 ? 1 : 0]!.url,
    });
    await node.ready();
    reachable.add(node);
  }

  /** Until all three have everything, and the watermark of every shard is past the last write; how long it took. */
  async function converged(sinceMs: number): Promise<number> {
    const lastMs = load.lastAcknowledgedMs;
    await eventually('the watermark passes the last write on every node', 60_000, async () => {
      const pages = await Promise.all(nodes.map((node) => node.json<ClusterPage>('/api/cluster')));
      return pages.every((page) => page.convergedThroughMs !== null && page.convergedThroughMs >= lastMs);
    });
    return Date.now() - sinceMs;
  }

  test('kill for a minute, lose a disk, be kept apart: nothing acknowledged is lost and all are equal within the bound', {
    timeout: 300_000,
  }, async () => {
    const [n1, n2, n3] = nodes;
    let stopLoad!: () => void;
    const running = load.run(new Promise<void>((done) => (stopLoad = done)));

    reachable.delete(n1);
    await n1.kill();
    const killedMs = Date.now();

    // Meanwhile, with n1 away, n3 is kept apart: its cluster traffic is refused both ways, its clients still reach it.
    relays[2]!.cut();
    for (const relay of relays.slice(0, 2)) relay.refuse('n3');
    await pause(APART_MS);
    for (const relay of relays) relay.mend();
    await cluster.allLive(2);

    await pause(Math.max(0, KILLED_MS - (Date.now() - killedMs)));
    await restart(n1);
    await cluster.allLive(3);

    reachable.delete(n2);
    await n2.stop();
    await n2.wipe();
    await restart(n2);
    await cluster.allLive(3);
    await pause(5000);

    stopLoad();
    await running;
    const sinceMs = Date.now();
    const tookMs = await converged(sinceMs);
    const { bound } = await n3.json<ClusterPage>('/api/cluster');
    console.log(
      `${load.acknowledged.size} of ${load.bodies} bodies acknowledged; converged in ${tookMs} ms, bound ${Math.round(bound.boundMs)} ms`,
    );
    expect(tookMs).toBeLessThanOrEqual(bound.boundMs);
    expect(load.acknowledged.size).toBeGreaterThan(load.bodies * 0.95);

    for (const node of nodes) expect(await load.check(node.url)).toEqual([]);
    const { shards } = await n1.json<{ shards: { id: string }[] }>('/api/shards');
    expect(shards.length).toBeGreaterThan(0);
    for (const node of nodes) {
      for (const { id } of shards) {
        const page = await node.json<ShardPage>(`/api/shards/${id}`);
        expect(page).toMatchObject({ equal: true });
        expect(page.checksums).toHaveLength(3);
        expect(page.converged!.throughMs).toBeGreaterThanOrEqual(load.lastAcknowledgedMs);
      }
    }
  });

  test('each node by itself gives the same answers, digit for digit', { timeout: 120_000 }, async () => {
    for (const relay of relays) relay.cut();
    for (const node of nodes) {
      await eventually(`${node.name} is alone`, 20_000, async () => {
        const { members } = await node.json<{ members: { live: boolean }[] }>('/api/cluster');
        return members.filter((member) => member.live).length === 1;
      });
    }
    for (const question of QUESTIONS) {
      const answers = await Promise.all(
        nodes.map((node) => node.get(`/query?${new URLSearchParams({ db: 't', q: question })}`)),
      );
      expect(answers[0]!.text).toContain('"series"');
      expect(answers[1]!.text, question).toBe(answers[0]!.text);
      expect(answers[2]!.text, question).toBe(answers[0]!.text);
    }
    for (const relay of relays) relay.mend();
    await cluster.allLive(3);
  });

  test('with two of three nodes down, writes and queries go on, and the two catch up', {
    timeout: 120_000,
  }, async () => {
    const [n1, n2, n3] = nodes;
    for (const node of [n1, n2]) {
      reachable.delete(node);
      await node.kill();
    }
    const before = load.acknowledged.size;
    for (let body = 0; body < 20; body++) expect(await load.once()).toBe(true);
    expect(load.acknowledged.size).toBe(before + 20);
    expect(await load.check(n3.url)).toEqual([]);
    const restartedMs = Date.now();
    await Promise.all([restart(n1), restart(n2)]);
    await cluster.allLive(3);
    const tookMs = await converged(restartedMs);
    const { bound } = await n3.json<ClusterPage>('/api/cluster');
    console.log(`two nodes back: converged ${tookMs} ms after their start, bound ${Math.round(bound.boundMs)} ms`);
    for (const node of nodes) expect(await load.check(node.url)).toEqual([]);
  });
});
