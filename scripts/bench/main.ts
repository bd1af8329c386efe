/**
 * `npm run bench`: the same workload and queries against Starling and, where they are found, InfluxDB and
 * VictoriaMetrics, each started fresh on loopback, runs alternating.
 *
 *   npm run bench -- [--quick] [--hosts 1000] [--values 7200000] [--rows-per-body 5000] [--connections 2] [--runs 3]
 *                    [--queries 50] [--seed 1] [--json FILE] [--influxd PATH] [--victoria-metrics PATH] [--only NAME,...]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { Agent } from 'undici';
import { ask, createDatabase, median, percentile, write } from './load.ts';
import { checkPath, numberIn, QUERIES } from './queries.ts';
import { printReport, type Report, type SystemFigures } from './report.ts';
import { findOnPath, type Program, RunningSystem, STARLING_PROGRAM, type SystemName, versionOf } from './system.ts';
import { makeWorkload, randomOf, type Workload } from './workload.ts';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    hosts: { type: 'string' },
    values: { type: 'string' },
    'rows-per-body': { type: 'string', default: '5000' },
    connections: { type: 'string', default: '2' },
    runs: { type: 'string' },
    queries: { type: 'string' },
    seed: { type: 'string', default: '1' },
    json: { type: 'string', default: 'bench-results/latest.json' },
    influxd: { type: 'string' },
    'victoria-metrics': { type: 'string' },
    only: { type: 'string' },
  },
});

function numberFlag(text: string | undefined, quick: number, full: number): number {
  return text === undefined ? (flags.quick ? quick : full) : Number(text);
}

function findPrograms(): { found: Program[]; absent: string[] } {
  const found: Program[] = [
    { name: 'starling', path: STARLING_PROGRAM, version: process.env.npm_package_version ?? 'this tree' },
  ];
  const absent: string[] = [];
  const peers: [SystemName, string | null, string][] = [
    ['influxdb', flags.influxd ?? findOnPath('influxd'), 'version'],
    ['victoria-metrics', flags['victoria-metrics'] ?? findOnPath('victoria-metrics'), '--version'],
  ];
  for (const [name, path, flag] of peers) {
    if (path === null) absent.push(name);
    else found.push({ name, path, version: versionOf(path, flag) });
  }
  const only = flags.only?.split(',');
  return { found: found.filter(({ name }) => only === undefined || only.includes(name)), absent };
}

async function measure(
  program: Program,
  workload: Workload,
  connections: number,
  queryRuns: number,
  seed: number,
): Promise<SystemFigures> {
  const system = new RunningSystem(program);
  try {
    await system.start();
    await createDatabase(system.url, program.name);
    const idle = system.usage().cpuSeconds;
    const load = await write(system.url, workload, connections);
    const residentBytes = system.usage().residentBytes;
    const loadCpu = system.usage().cpuSeconds - idle;
    // Whatever was left for later (flush, merge, compaction) belongs to the price: it is paid by settling and ending.
    await system.settle();
    await system.stop();
    const settledCpu = system.usage().cpuSeconds - idle;
    const diskBytes = system.diskBytes();
    await system.start();
    const agent = new Agent({ connections: 1, pipelining: 1 });
    const check = checkPath(program.name, workload);
    const count = numberIn(program.name, (await ask(system.url, check.count, agent)).text);
    const sum = numberIn(program.name, (await ask(system.url, check.sum, agent)).text);
    const queries: Record<string, number> = {};
    for (const query of QUERIES) {
      const random = randomOf(seed);
      const times: number[] = [];
      for (let run = 0; run < queryRuns + 2; run++) {
        const { ms } = await ask(system.url, query.path(program.name, workload, random), agent);
        if (run >= 2) times.push(ms); // the first two find cold caches and code not yet compiled
      }
      queries[query.name] = median(times);
    }
    await agent.close();
    await system.stop();
    return {
      name: program.name,
      version: program.version,
      valuesPerSecond: workload.values / load.seconds,
      rowsPerSecond: workload.rows / load.seconds,
      loadCpuPerMillion: loadCpu / (workload.values / 1e6),
      settledCpuPerMillion: settledCpu / (workload.values / 1e6),
      bytesPerValue: diskBytes / workload.values,
      residentBytes,
      writeP50Ms: percentile(load.latenciesMs, 0.5),
      writeP99Ms: percentile(load.latenciesMs, 0.99),
      queriesMs: queries,
      check: { count, sum },
    };
  } catch (error) {
    throw new Error(`${program.name}: ${(error as Error).message}\n${system.logTail()}`);
  } finally {
    await system.stop();
    system.remove();
  }
}

const { found, absent } = findPrograms();
const hosts = numberFlag(flags.hosts, 200, 1000);
const values = numberFlag(flags.values, 600_000, 7_200_000);
const runs = numberFlag(flags.runs, 1, 3);
const queryRuns = numberFlag(flags.queries, 10, 50);
const seed = Number(flags.seed);
const intervalSeconds = 10;
const spanSeconds = Math.ceil(values / 10 / hosts) * intervalSeconds;
const startSeconds = Math.floor((Date.now() / 1000 - spanSeconds) / 3600) * 3600;
console.log(`making ${values} values of ${hosts} hosts (seed ${seed})`);
const workload = makeWorkload({
  seed,
  hosts,
  values,
  rowsPerBody: Number(flags['rows-per-body']),
  intervalSeconds,
  startSeconds,
});

const all: SystemFigures[] = [];
for (let run = 0; run < runs; run++) {
  for (const program of found) {
    console.log(`run ${run + 1} of ${runs}: ${program.name} ${program.version}`);
    all.push(await measure(program, workload, Number(flags.connections), queryRuns, seed + run));
  }
}

const report: Report = {
  takenAt: new Date().toISOString(),
  machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}`,
  workload: {
    ...workload.options,
    rows: workload.rows,
    values: workload.values,
    connections: Number(flags.connections),
  },
  runs,
  queryRuns,
  absent,
  systems: found.map(({ name }) => medianOf(all.filter((figures) => figures.name === name))),
};

function medianOf(figures: readonly SystemFigures[]): SystemFigures {
  const of = (pick: (one: SystemFigures) => number) => median(figures.map(pick));
  const first = figures[0]!;
  return {
    ...first,
    valuesPerSecond: of((one) => one.valuesPerSecond),
    rowsPerSecond: of((one) => one.rowsPerSecond),
    loadCpuPerMillion: of((one) => one.loadCpuPerMillion),
    settledCpuPerMillion: of((one) => one.settledCpuPerMillion),
    bytesPerValue: of((one) => one.bytesPerValue),
    residentBytes: of((one) => one.residentBytes),
    writeP50Ms: of((one) => one.writeP50Ms),
    writeP99Ms: of((one) => one.writeP99Ms),
    queriesMs: Object.fromEntries(
      Object.keys(first.queriesMs).map((name) => [name, of((one) => one.queriesMs[name]!)]),
    ),
  };
}

printReport(report);
mkdirSync(dirname(flags.json), { recursive: true });
writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
console.log(`\nsaved as ${flags.json}`);

const wrong = all.filter(
  ({ check }) =>
    check.count !== workload.rows || Math.abs(check.sum - all[0]!.check.sum) > 1e-6 * Math.abs(all[0]!.check.sum),
);
for (const { name, check } of wrong)
  console.error(
    `${name} answers count ${check.count}, sum ${check.sum}; expected ${workload.rows} rows, sum ${all[0]!.check.sum}`,
  );
if (wrong.length > 0) process.exitCode = 1;
