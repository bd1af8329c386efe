/**
 * `npm run bench -- curve`: the time of queries whose range stays the same while more and more is stored around it.
 *
 * A's rows, a stretch of 10,000 s (a million rows) after the other, up to `--max-rows`. The time of a query must grow
 * with what it reads and not with what is stored; one query that reads everything stands beside the others to show the
 * difference.
 */
import { ask, influxPath } from './asking.ts';
import { Connection } from './connection.ts';
import { Generator } from './generator.ts';
import { createDatabase } from './measure.ts';
import type { BenchOptions } from './options.ts';
import { findPrograms } from './programs.ts';
import { randomOf } from './random.ts';
import { printTable } from './report.ts';
import { percentile, sortedCopy } from './statistics.ts';
import { RunningSystem } from './system.ts';
import { cpuOptions, INTERVAL_SECONDS, START_SECONDS } from './workloads.ts';

const STEPS_MILLIONS = [1, 2, 5, 10, 20, 50, 100];
const HOSTS = 1000;
const ROUNDS = 1000;
const STRETCH_SECONDS = ROUNDS * INTERVAL_SECONDS;
const QUIET_MS = 3000;
const WARM_UPS = 10;
const HOUR = 3600;

interface Probe {
  readonly what: string;
  /** `end`: after the newest row. */
  query(end: number, random: () => number): string;
}

const host = (random: () => number) => `hostname = 'host_${Math.floor(random() * HOSTS)}'`;
const within = (from: number, to: number) => `time >= ${from}s AND time < ${to}s`;
/** Minutes before the end of the range, so that no text is asked twice. */
const minutes = (random: () => number) => Math.floor(random() * 60) * 60;

const PROBES: readonly Probe[] = [
  {
    what: 'max by minute, 1 host, an hour near the end',
    query(end, random) {
      const to = end - minutes(random);
      return `SELECT max(usage_user) FROM cpu WHERE ${host(random)} AND ${within(to - HOUR, to)} GROUP BY time(1m)`;
    },
  },
  {
    what: 'the same near the beginning',
    query(_end, random) {
      const from = START_SECONDS + minutes(random);
      return `SELECT max(usage_user) FROM cpu WHERE ${host(random)} AND ${within(from, from + HOUR)} GROUP BY time(1m)`;
    },
  },
  {
    what: 'mean of each host, an hour near the end',
    query(end, random) {
      const to = end - minutes(random);
      return `SELECT mean(usage_user) FROM cpu WHERE ${within(to - HOUR, to)} GROUP BY hostname`;
    },
  },
  {
    what: 'newest value of each host',
    query: (end, random) =>
      `SELECT last(usage_user) FROM cpu WHERE time >= ${end - HOUR - Math.floor(random() * HOUR)}s GROUP BY hostname`,
  },
  {
    what: 'first rows with a value, no range',
    // Of another text each time, and every row passes.
    query: (_end, random) =>
      `SELECT usage_user FROM cpu WHERE usage_user > -${1 + Math.floor(random() * 1e6)} LIMIT 10`,
  },
  {
    what: 'newest rows, no range',
    query: (_end, random) =>
      `SELECT usage_user FROM cpu WHERE usage_user > -${1 + Math.floor(random() * 1e6)} ORDER BY time DESC LIMIT 10`,
  },
  {
    what: 'count over everything',
    query: (_end, random) =>
      `SELECT count(usage_user) FROM cpu WHERE time >= ${START_SECONDS - Math.floor(random() * HOUR)}s`,
  },
];

async function timeOf(connection: Connection, probe: Probe, end: number, calls: number): Promise<number> {
  const random = randomOf(end);
  const times: number[] = [];
  for (let call = 0; call < WARM_UPS + calls; call++) {
    const { ms, body } = await ask(connection, influxPath(probe.query(end, random)));
    if (body.includes('"error"') || !body.includes('"values"'))
      throw new Error(`${probe.what}: ${body.toString('utf8', 0, 200)}`);
    if (call >= WARM_UPS) times.push(ms);
  }
  return percentile(sortedCopy(times), 0.5);
}

export async function runCurve(options: BenchOptions): Promise<void> {
  const [program] = findPrograms({}, ['starling']).programs;
  const generator = new Generator();
  const system = new RunningSystem(program!);
  const rows: string[][] = [];
  try {
    const stretch = await generator.prepare(cpuOptions(options.seed, 1, { hosts: HOSTS, rounds: ROUNDS }));
    await system.start();
    await createDatabase(system, 1);
    const connection = new Connection(system.ports[0]!);
    let stored = 0;
    for (const step of STEPS_MILLIONS.map((millions) => millions * 1e6).filter((step) => step <= options.rowsMax)) {
      while (stored < step) {
        if (stored > 0) await generator.advance(STRETCH_SECONDS);
        await generator.send(system.ports);
        stored += stretch.rows;
      }
      await system.settle(QUIET_MS);
      const end = START_SECONDS + (stored / stretch.rows) * STRETCH_SECONDS;
      const times: number[] = [];
      for (const probe of PROBES) times.push(await timeOf(connection, probe, end, options.queryCalls));
      rows.push([
        `${stored / 1e6} M`,
        (system.diskBytes() / 1e6).toFixed(0),
        (system.usage().residentBytes / 1e6).toFixed(0),
        ...times.map((ms) => ms.toFixed(2)),
      ]);
      console.error(`${stored / 1e6} M rows: ${times.map((ms) => ms.toFixed(2)).join(', ')} ms`);
    }
    connection.close();
  } finally {
    await generator.end();
    await system.remove();
  }
  const title = `Query time against what is stored: rows of 10 values, p50 of ${options.queryCalls} calls in ms`;
  const columns = ['rows', 'MB on disk', 'resident MB', ...PROBES.map(({ what }) => what)];
  console.log(printTable({ title, columns, rows }, options.isMarkdown));
}
