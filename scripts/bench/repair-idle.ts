/** Passes beside other work: over many shards that nobody writes to, and over one that is flooded. */
import { setTimeout as wait } from 'node:timers/promises';
import { Generator } from './generator.ts';
import { createDatabase } from './measure.ts';
import type { BenchOptions } from './options.ts';
import { RepairCluster } from './repair-cluster.ts';
import { percentile, sortedCopy } from './statistics.ts';
import { cpuOptions } from './workloads.ts';

const SHARDS = 1000;
const SHARDS_PER_HOUR = 4;
const HOSTS = 100;
const HOUR = 3600;
const QUIET_MS = 5000;
const WATCHED_MS = 60_000;
const PASS_SECONDS = 30;
const FLOOD_PASS_SECONDS = 2;
const FLOOD_MS = 20_000;
const SAMPLE_MS = 200;

/**
 * CPU of a node in percent of one core, with passes and without. The difference of two such runs is small beside what a shared
 * machine does to either; the time that nodes themselves count for repair (wall time of their workers' turns, so too much rather
 * than too little; messages and heartbeats apart) is not.
 */
export async function idlePasses(options: BenchOptions): Promise<string[][]> {
  const shares: number[] = [];
  let [hops, bytes, repairMs] = [0, 0, 0];
  const shards = Math.max(SHARDS_PER_HOUR, Math.round(SHARDS * Math.min(1, options.scale)));
  for (const interval of [`${PASS_SECONDS}s`, '1h']) {
    const cluster = new RepairCluster(['--pass-interval', interval]);
    const generator = new Generator();
    try {
      const rounds = Math.ceil(shards / SHARDS_PER_HOUR);
      await generator.prepare({
        ...cpuOptions(options.seed, 1, { hosts: HOSTS, rounds, rowsPerBody: 1000 }),
        intervalSeconds: HOUR,
      });
      const { system } = cluster;
      await system.start();
      await createDatabase(system, 3, ' WITH DURATION INF REPLICATION 3 SHARD DURATION 1h NAME "hourly"');
      await generator.send(system.ports);
      await cluster.replicated();
      await system.settle(QUIET_MS);
      await wait(PASS_SECONDS * 1000);
      const counted = async () => {
        const [hopCount, bytesSent] = [
          await cluster.counter('repair_hops'),
          await cluster.counter('repair_bytes_sent'),
        ];
        return { hopCount, bytesSent, cpuMs: await cluster.counter('repair_cpu_ms') };
      };
      const counts = await counted();
      const before = system.usage().cpuSeconds;
      const started = performance.now();
      await wait(WATCHED_MS);
      const seconds = (performance.now() - started) / 1000;
      shares.push(((system.usage().cpuSeconds - before) / seconds / 3) * 100);
      const { hopCount, bytesSent, cpuMs } = await counted();
      hops = Math.max(hops, hopCount - counts.hopCount);
      bytes = Math.max(bytes, bytesSent - counts.bytesSent);
      repairMs = Math.max(repairMs, (cpuMs - counts.cpuMs) / seconds);
    } finally {
      await generator.end();
      await cluster.system.remove();
    }
  }
  const [withPasses, without] = shares as [number, number];
  return [
    [
      `passes over ${shards} idle shards every ${PASS_SECONDS} s, % of a core and node`,
      '< 2',
      (withPasses - without).toFixed(2),
    ],
    ['the same, as the nodes count it', '< 2', (repairMs / 3 / 10).toFixed(2)],
    [
      `bytes a hop and shard of ${shards} equal shards (${hops} hops)`,
      '<= 100',
      (bytes / Math.max(1, hops)).toFixed(0),
    ],
    ['all that an idle node does, % of a core', '', `${withPasses.toFixed(2)} (without passes ${without.toFixed(2)})`],
  ];
}

interface Shard {
  readonly converged: { readonly throughMs: number } | null;
}

/** How far converged_through lies behind while a shard is written to as fast as it goes. */
export async function floodLag(options: BenchOptions): Promise<string[][]> {
  const cluster = new RepairCluster(['--pass-interval', `${FLOOD_PASS_SECONDS}s`]);
  const generator = new Generator();
  try {
    const { system } = cluster;
    const summary = await generator.prepare(cpuOptions(options.seed, 1, { rounds: 200 }));
    await system.start();
    await createDatabase(system, 3);
    const lags: number[] = [];
    const started = performance.now();
    const { nowMs: startedMs } = await cluster.get<{ nowMs: number }>(0, '/api/cluster');
    let rows = 0;
    let isOver = false;
    const flood = async () => {
      for (let turn = 0; performance.now() - started < FLOOD_MS; turn++) {
        if (turn > 0) await generator.advance(200 * summary.options.intervalSeconds);
        await generator.send(system.ports);
        rows += summary.rows;
      }
      isOver = true;
    };
    const watch = async () => {
      while (!isOver) {
        await wait(SAMPLE_MS);
        const [{ shards }, { nowMs }] = await Promise.all([
          cluster.get<{ shards: Shard[] }>(0, '/api/shards'),
          cluster.get<{ nowMs: number }>(0, '/api/cluster'),
        ]);
        if (performance.now() - started < FLOOD_MS / 4) continue;
        // Before a shard's first proof all of it waits for one.
        for (const { converged } of shards) lags.push(nowMs - (converged?.throughMs ?? startedMs));
      }
    };
    await Promise.all([flood(), watch()]);
    const [damaged, proven] = [await cluster.passes('damage'), await cluster.passes('proven')];
    const p99 = percentile(sortedCopy(lags), 0.99) / 1000;
    const rate = (rows * 10) / ((performance.now() - started) / 1000) / 1e6;
    return [
      [
        `watermark lag in a flood of ${rate.toFixed(2)} M values/s, p99, s`,
        `<= ${FLOOD_PASS_SECONDS + 5}`,
        p99.toFixed(2),
      ],
      ['passes that took equal shards for different ones', '0', `${damaged}, ${proven} proven`],
    ];
  } finally {
    await generator.end();
    await cluster.system.remove();
  }
}
