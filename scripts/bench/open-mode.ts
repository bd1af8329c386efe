/**
 * `npm run bench -- open`: a node with 2,000 shards, from its start until it answers.
 *
 * Shards of one hour, four for each hour, are made by one row of some hosts in each hour. The files are in the kernel's
 * cache, as after a restart of the process and not of the machine.
 */
import { ask, influxPath } from './asking.ts';
import { Connection } from './connection.ts';
import { Generator } from './generator.ts';
import { createDatabase } from './measure.ts';
import type { BenchOptions } from './options.ts';
import { findPrograms } from './programs.ts';
import { printTable } from './report.ts';
import { median } from './statistics.ts';
import { RunningSystem } from './system.ts';
import { cpuOptions } from './workloads.ts';

const SHARDS_PER_HOUR = 4;
/** Enough that each of the four shards of an hour gets some of them. */
const HOSTS = 100;
const HOUR = 3600;
const QUIET_MS = 5000;

interface Opening {
  readonly healthyMs: number;
  /** Until a query over the newest hour was answered. */
  readonly answeredMs: number;
  /** Until a count over all shards was answered after that. */
  readonly countedMs: number;
  readonly shards: number;
}

export async function runOpen(options: BenchOptions): Promise<void> {
  const [program] = findPrograms({}, ['starling']).programs;
  const generator = new Generator();
  const system = new RunningSystem(program!);
  const openings: Opening[] = [];
  try {
    const rounds = Math.ceil(options.shards / SHARDS_PER_HOUR);
    const summary = await generator.prepare({
      ...cpuOptions(options.seed, 1, { hosts: HOSTS, rounds, rowsPerBody: 1000 }),
      intervalSeconds: HOUR,
    });
    await system.start();
    await createDatabase(system, 1, ' WITH DURATION INF REPLICATION 1 SHARD DURATION 1h NAME "hourly"');
    await generator.send(system.ports);
    await system.settle(QUIET_MS);
    await system.stop();
    for (let run = 0; run < options.runs; run++)
      openings.push(await openOnce(system, summary.endSeconds, summary.rows));
  } finally {
    await generator.end();
    await system.remove();
  }
  const ms = (pick: (opening: Opening) => number) => median(openings.map(pick)).toFixed(0);
  const rows = [
    ['shards', '', String(openings[0]?.shards)],
    ['healthy, ms', '', ms(({ healthyMs }) => healthyMs)],
    ['a query over the newest hour answered, ms', '<= 2000', ms(({ answeredMs }) => answeredMs)],
    ['then: a count over all shards, ms', '', ms(({ countedMs }) => countedMs)],
  ];
  const title = `Opening a node, medians of ${openings.length} starts, from the start of the process`;
  console.log(printTable({ title, columns: ['', 'goal', 'Starling'], rows }, options.isMarkdown));
}

async function openOnce(system: RunningSystem, end: number, expected: number): Promise<Opening> {
  const started = performance.now();
  const healthyMs = await system.start();
  const connection = new Connection(system.ports[0]!);
  try {
    const count = async (where: string) => {
      const { body } = await ask(connection, influxPath(`SELECT count(usage_user) FROM cpu${where}`));
      const { results } = JSON.parse(body.toString()) as { results: { series?: { values: number[][] }[] }[] };
      return results[0]?.series?.[0]?.values[0]?.[1] ?? 0;
    };
    const newest = await count(` WHERE time >= ${end - HOUR}s`);
    const answeredMs = performance.now() - started;
    const all = await count('');
    const countedMs = performance.now() - started - answeredMs;
    if (newest !== HOSTS || all !== expected)
      throw new Error(`found ${newest} and ${all} of ${HOSTS} and ${expected} rows`);
    const { shards } = JSON.parse((await ask(connection, '/api/shards')).body.toString()) as { shards: unknown[] };
    console.error(`${shards.length} shards: answered after ${answeredMs.toFixed(0)} ms`);
    return { healthyMs, answeredMs, countedMs, shards: shards.length };
  } finally {
    connection.close();
    await system.stop();
  }
}
