/**
 * `npm run soak -- --hours N`: a day of monitoring traffic, played in N hours, against one node or three, with queries
 * beside it. What it looks for is growth: memory that is not given back shows only after hours. `--days` plays several
 * days one after the other in the same time, for what grows with what was written rather than with time.
 *
 * The day is 1,000 hosts with ten fields every ten seconds (86 M values), 5 % of the rows late by up to an hour and 0.5 %
 * written again: played in an hour that is 24,000 values/s, in 24 hours it is real time. At the end every row is counted,
 * and resident memory over the second half must be flat (statistics.ts says what that means); otherwise the exit code is
 * 1. Everything lies in a temporary directory, which is removed, also after Ctrl-C; a run that stores more than
 * `DISK_BYTES_MAX` ends.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ask, influxPath } from './bench/asking.ts';
import { Connection } from './bench/connection.ts';
import { Generator } from './bench/generator.ts';
import { createDatabase } from './bench/measure.ts';
import { findPrograms } from './bench/programs.ts';
import { randomOf } from './bench/random.ts';
import { flatnessOf, percentile, sortedCopy } from './bench/statistics.ts';
import { cleanUpOnSignals, RunningSystem } from './bench/system.ts';
import { cpuOptions, INTERVAL_SECONDS, START_SECONDS, type WorkloadSummary } from './bench/workloads.ts';

const DAY_SECONDS = 86_400;
/** The traffic of one hour is made once and moved on for each hour of the day. */
const STRETCH_SECONDS = 3600;
const ROWS_PER_BODY = 1000;
/** Bodies that are sent between two looks at the schedule. */
const SLICE_BODIES = 20;
const QUERY_PAUSE_MS = 500;
const DISK_BYTES_MAX = 20e9;
/** Growth of resident memory, over half a run, that is not looked at. */
const NEGLIGIBLE_BYTES = 16e6;
const SAMPLES_MIN = 8;

const USAGE = `npm run soak -- --hours N | --minutes N   plays a day of traffic in that time (default: 10 minutes)
  --days N          days that are played in that time (default 1)
  --nodes 1|3       (default 1)
  --hosts N         (default 1000)
  --interval S      seconds between samples (default: 120 samples, at least a second apart)
  --seed N          (default 1)
  --json FILE       samples (default bench-results/soak.json)`;

interface Sample {
  readonly seconds: number;
  /** Days that have been played. */
  readonly day: number;
  readonly residentBytes: number;
  /** CPU-seconds per second since the sample before. */
  readonly cpu: number;
  readonly logBytes: number;
  readonly diskBytes: number;
  readonly writeP99Ms: number;
  readonly queryP50Ms: number;
}

interface SoakOptions {
  readonly wallSeconds: number;
  readonly days: number;
  readonly nodes: number;
  readonly hosts: number;
  readonly sampleMs: number;
  readonly seed: number;
  readonly jsonPath: string;
}

class UsageError extends Error {}

function parseOptions(): SoakOptions {
  const { values } = parseArgs({
    options: {
      hours: { type: 'string' },
      minutes: { type: 'string' },
      days: { type: 'string', default: '1' },
      nodes: { type: 'string', default: '1' },
      hosts: { type: 'string', default: '1000' },
      interval: { type: 'string' },
      seed: { type: 'string', default: '1' },
      json: { type: 'string', default: 'bench-results/soak.json' },
    },
  });
  const wallSeconds = values.hours !== undefined ? Number(values.hours) * 3600 : Number(values.minutes ?? 10) * 60;
  const options = {
    wallSeconds,
    days: Number(values.days),
    nodes: Number(values.nodes),
    hosts: Number(values.hosts),
    sampleMs: values.interval === undefined ? Math.max(1, wallSeconds / 120) * 1000 : Number(values.interval) * 1000,
    seed: Number(values.seed),
    jsonPath: values.json,
  };
  const { days, hosts, sampleMs, nodes } = options;
  if (!(wallSeconds > 0 && days >= 1 && days % 1 === 0 && hosts >= 10 && sampleMs > 0 && [1, 3].includes(nodes)))
    throw new UsageError('a time above 0, whole days, 1 or 3 nodes and at least 10 hosts');
  return options;
}

/** Shared by the three loops: traffic, queries, samples. */
class Soak {
  readonly options: SoakOptions;
  readonly system: RunningSystem;
  readonly generator: Generator;
  readonly samples: Sample[] = [];
  #startedMs = 0;
  #bodiesSent = 0;
  /** Rows of the stretches that were sent whole. */
  #rowsStored = 0;
  #isOver = false;
  #writesMs: number[] = [];
  #queriesMs: number[] = [];

  constructor(options: SoakOptions) {
    this.options = options;
    const [program] = findPrograms({}, ['starling']).programs;
    // As in use: the benchmark's short times would flush after each body where the rate is low.
    this.system = new RunningSystem(program!, {
      nodes: options.nodes,
      serve: ['--flush-idle', '10m', '--merge-idle', '10m'],
    });
    this.generator = new Generator();
  }

  get #elapsedSeconds(): number {
    return (performance.now() - this.#startedMs) / 1000;
  }

  async run(): Promise<void> {
    const { hosts, seed, nodes } = this.options;
    const rounds = STRETCH_SECONDS / INTERVAL_SECONDS;
    const stretch = await this.generator.prepare({
      ...cpuOptions(seed, 1, { hosts, rounds, rowsPerBody: ROWS_PER_BODY, lateShare: 0.05, rewrittenShare: 0.005 }),
    });
    await this.system.start();
    await createDatabase(this.system, nodes);
    this.#startedMs = performance.now();
    const beside = [this.#query(), this.#sample(stretch)];
    try {
      await Promise.race([this.#play(stretch), Promise.all(beside)]);
    } finally {
      this.#isOver = true;
    }
    await Promise.all(beside);
    await this.#count();
  }

  /** Sends the days, no faster than the schedule. Whole stretches only, so that the rows can be counted. */
  async #play(stretch: WorkloadSummary): Promise<void> {
    const { wallSeconds, days, hosts } = this.options;
    const stretches = (days * DAY_SECONDS) / STRETCH_SECONDS;
    const bodiesPerSecond = (stretch.bodies * stretches) / wallSeconds;
    for (let hour = 0; hour < stretches && !this.#isOver; hour++) {
      if (hour > 0) await this.generator.advance(STRETCH_SECONDS);
      for (let from = 0; from < stretch.bodies; from += SLICE_BODIES) {
        const dueSeconds = this.#bodiesSent / bodiesPerSecond;
        if (dueSeconds > this.#elapsedSeconds) await wait((dueSeconds - this.#elapsedSeconds) * 1000);
        const to = Math.min(stretch.bodies, from + SLICE_BODIES);
        const sent = await this.generator.send(this.system.ports, { from, to, bodiesPerSecond });
        this.#writesMs.push(...sent.latenciesMs);
        this.#bodiesSent += to - from;
      }
      this.#rowsStored += (hosts * STRETCH_SECONDS) / INTERVAL_SECONDS;
    }
    const late = this.#elapsedSeconds - wallSeconds;
    if (late > wallSeconds / 10)
      console.log(`the traffic took ${late.toFixed(0)} s longer than planned: the rate is too high`);
  }

  async #query(): Promise<void> {
    const random = randomOf(this.options.seed + 1);
    const connections = this.system.ports.map((port) => new Connection(port));
    try {
      for (let turn = 0; !this.#isOver; turn++) {
        const { wallSeconds, days } = this.options;
        const now = START_SECONDS + Math.floor((this.#elapsedSeconds / wallSeconds) * days * DAY_SECONDS);
        const range = `time >= ${now - 3600}s AND time < ${now}s`;
        const host = `hostname = 'host_${Math.floor(random() * this.options.hosts)}'`;
        const queries = [
          `SELECT max(usage_user), mean(usage_system) FROM cpu WHERE ${host} AND ${range} GROUP BY time(1m)`,
          `SELECT mean(usage_idle) FROM cpu WHERE ${range} GROUP BY time(10m), region`,
          `SELECT last(usage_user) FROM cpu WHERE ${range} GROUP BY hostname`,
          `SELECT * FROM cpu WHERE ${host} AND usage_user > 90 AND ${range}`,
          `SELECT percentile(usage_iowait, 99) FROM cpu WHERE ${range} AND service = '${Math.floor(random() * 20)}'`,
        ];
        const connection = connections[turn % connections.length]!;
        const { ms, body } = await ask(connection, influxPath(queries[turn % queries.length]!));
        if (body.includes('"error"')) throw new Error(`a query failed: ${body.toString('utf8', 0, 300)}`);
        this.#queriesMs.push(ms);
        await wait(QUERY_PAUSE_MS);
      }
    } finally {
      for (const connection of connections) connection.close();
    }
  }

  async #sample(stretch: WorkloadSummary): Promise<void> {
    const bodiesOfDay = (stretch.bodies * DAY_SECONDS) / STRETCH_SECONDS;
    let cpuBefore = this.system.usage().cpuSeconds;
    let secondsBefore = 0;
    console.log('   seconds   days  resident MB   CPU  log MB  disk MB  write p99 ms  query p50 ms');
    for (let index = 1; !this.#isOver; index++) {
      const dueMs = this.#startedMs + index * this.options.sampleMs;
      while (!this.#isOver && performance.now() < dueMs)
        await wait(Math.min(200, Math.max(1, dueMs - performance.now())));
      if (this.#isOver) return;
      const usage = this.system.usage();
      const seconds = this.#elapsedSeconds;
      const sample: Sample = {
        seconds,
        day: this.#bodiesSent / bodiesOfDay,
        residentBytes: usage.residentBytes,
        cpu: (usage.cpuSeconds - cpuBefore) / (seconds - secondsBefore),
        logBytes: this.system.logBytes(),
        diskBytes: this.system.diskBytes(),
        writeP99Ms: percentile(sortedCopy(this.#writesMs.splice(0)), 0.99),
        queryP50Ms: percentile(sortedCopy(this.#queriesMs.splice(0)), 0.5),
      };
      cpuBefore = usage.cpuSeconds;
      secondsBefore = seconds;
      this.samples.push(sample);
      console.log(lineOf(sample));
      if (sample.diskBytes > DISK_BYTES_MAX) throw new Error(`more than ${DISK_BYTES_MAX / 1e9} GB are on disk`);
    }
  }

  /** Every row is there once, on each node's word. */
  async #count(): Promise<void> {
    for (const port of this.system.ports) {
      const connection = new Connection(port);
      const { body } = await ask(connection, influxPath('SELECT count(usage_user) FROM cpu'));
      connection.close();
      const found = Number(/"values":\[\[[^,]+,(\d+)\]\]/.exec(body.toString())?.[1]);
      if (found !== this.#rowsStored)
        throw new Error(`${found} rows are there of ${this.#rowsStored} that were written`);
    }
    console.log(`all ${this.#rowsStored} rows are there`);
  }
}

function lineOf(sample: Sample): string {
  const { seconds, day, residentBytes, cpu, logBytes, diskBytes, writeP99Ms, queryP50Ms } = sample;
  const cells: [string, number][] = [
    [seconds.toFixed(0), 10],
    [day.toFixed(3), 5],
    [(residentBytes / 1e6).toFixed(0), 11],
    [cpu.toFixed(2), 4],
    [(logBytes / 1e6).toFixed(0), 6],
    [(diskBytes / 1e6).toFixed(0), 7],
    [writeP99Ms.toFixed(1), 12],
    [queryP50Ms.toFixed(1), 12],
  ];
  return cells.map(([text, width]) => text.padStart(width)).join('  ');
}

/** Says whether memory stood still over the second half; true when it did. */
function judge(samples: readonly Sample[]): boolean {
  const half = samples.slice(Math.floor(samples.length / 2));
  if (half.length < SAMPLES_MIN) {
    console.log(`${half.length} samples in the second half are too few to say whether memory is flat`);
    return false;
  }
  const { isFlat, trend, median, allowed } = flatnessOf(
    half.map(({ seconds }) => seconds),
    half.map(({ residentBytes }) => residentBytes),
    NEGLIGIBLE_BYTES,
  );
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  console.log(
    `resident memory over the second half: median ${mb(median)}, growth ${mb(trend.growth)} (flat is up to ${mb(allowed)}): ${isFlat ? 'flat' : 'NOT FLAT'}`,
  );
  return isFlat;
}

async function main(): Promise<void> {
  const options = parseOptions();
  cleanUpOnSignals();
  const soak = new Soak(options);
  try {
    await soak.run();
  } finally {
    await soak.generator.end();
    await soak.system.remove();
    mkdirSync(dirname(options.jsonPath), { recursive: true });
    writeFileSync(options.jsonPath, `${JSON.stringify({ options, samples: soak.samples }, null, 2)}\n`);
  }
  if (!judge(soak.samples)) process.exitCode = 1;
}

if (process.argv.includes('--help')) console.log(USAGE);
else {
  try {
    await main();
  } catch (error) {
    const isUsage =
      error instanceof UsageError || String((error as { code?: string }).code).startsWith('ERR_PARSE_ARGS');
    console.error(isUsage ? `${(error as Error).message}\n\n${USAGE}` : `soak: ${(error as Error).message}`);
    process.exitCode = isUsage ? 2 : 1;
  }
}
