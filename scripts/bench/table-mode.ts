/** `npm run bench`: the workloads on all systems, runs alternating, and the tables. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Answer } from './asking.ts';
import { DifferenceError, differences } from './checks.ts';
import { Generator } from './generator.ts';
import { measure, type RunFigures } from './measure.ts';
import { medianRun } from './medians.ts';
import { type BenchOptions, THREE } from './options.ts';
import { describeProfiles } from './profile.ts';
import { findPrograms, type Program, type SystemName } from './programs.ts';
import { headOf, printTable, type Report, tablesOf, type WorkloadReport } from './report.ts';
import { WORKLOADS } from './workloads.ts';

const QUIET_MS = 6000;
const QUIET_QUICK_MS = 2500;
const QUERY_WARM_UP_MS = 2000;
const FUNCTIONS_MAX = 15;
const THREE_TITLE =
  'A on three Starling nodes, replication 3, on one machine; the three together, acknowledged when all have all rows';

export async function runTables(options: BenchOptions): Promise<void> {
  const { programs, absent } = findPrograms(options.paths, options.only);
  for (const { name, version, path } of programs) say(`${name} ${version}: ${path}`);
  for (const name of absent) say(`${name} was not found: give its path to compare with it`);
  const profiles = options.isProfiling ? mkdtempSync(join(tmpdir(), 'starling-profiles-')) : null;
  const generator = new Generator();
  const report: Report = {
    takenAt: new Date().toISOString(),
    machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}`,
    commit: commitOfTree(),
    runs: options.runs,
    queryCalls: options.queryCalls,
    scale: options.scale,
    seed: options.seed,
    programs,
    absent,
    workloads: [],
  };
  mkdirSync(dirname(options.jsonPath), { recursive: true });
  try {
    for (const workload of options.workloads) {
      report.workloads.push(await runWorkload(workload, programs, generator, options, profiles));
      // After each, so that hours are not lost with the last of them.
      writeFileSync(options.jsonPath, `${JSON.stringify(report, null, 2)}\n`);
    }
  } finally {
    await generator.end();
  }
  printReport(report, options.isMarkdown);
  say(`saved as ${options.jsonPath}`);
  if (profiles !== null) {
    console.log(`\n${describeProfiles(profiles, FUNCTIONS_MAX)}`);
    say(`profiles are in ${profiles}: start-1 took the load, start-2 the queries`);
  }
}

/** `npm run bench -- show`: the tables of results that were saved; of several files as if they were of one call. */
export function showTables(options: BenchOptions): void {
  const reports = options.jsonPath.split(',').map((path) => JSON.parse(readFileSync(path, 'utf8')) as Report);
  const workloads = reports.flatMap((report) => report.workloads);
  printReport({ ...reports[0]!, workloads }, options.isMarkdown);
}

function printReport(report: Report, isMarkdown: boolean): void {
  console.log(`\n${headOf(report, isMarkdown)}`);
  for (const table of tablesOf(report)) console.log(`\n${printTable(table, isMarkdown)}`);
}

async function runWorkload(
  workload: string,
  programs: readonly Program[],
  generator: Generator,
  options: BenchOptions,
  profiles: string | null,
): Promise<WorkloadReport> {
  const isThree = workload === THREE;
  const { title, options: make } = WORKLOADS.find(({ letter }) => letter === (isThree ? 'A' : workload))!;
  const summary = await generator.prepare(make(options.seed, options.scale));
  say(`${workload}: ${summary.values} values in ${summary.bodies} bodies, ${Math.round(summary.bytes / 1e6)} MB`);
  const chosen = isThree ? programs.filter(({ name }) => name === 'starling') : programs;
  const figures: RunFigures[] = [];
  const answers = new Map<SystemName, ReadonlyMap<string, Answer>>();
  for (let run = 0; run < options.runs; run++) {
    for (const program of chosen) {
      const measured = await measure(program, generator, summary, {
        nodes: isThree ? 3 : 1,
        queryCalls: workload === 'A' ? options.queryCalls : 0,
        queryWarmUpMs: options.isQuick ? 0 : QUERY_WARM_UP_MS,
        seed: options.seed + run,
        isWarm: options.isWarm,
        quietMs: options.isQuick ? QUIET_QUICK_MS : QUIET_MS,
        profileFolder:
          program.name === 'starling' && profiles !== null ? join(profiles, `${workload}-run-${run + 1}`) : null,
      });
      figures.push(measured.figures);
      if (run === 0) answers.set(program.name, measured.answers);
      const { acknowledgedCpu, settledCpu, valuesPerSecond, bytesPerValue } = measured.figures;
      say(
        `${workload} run ${run + 1}/${options.runs} ${program.name}: ${(valuesPerSecond / 1e6).toFixed(2)} M values/s, CPU ${acknowledgedCpu.toFixed(3)} (settled ${settledCpu.toFixed(3)}) s/M, ${bytesPerValue.toFixed(2)} B/value`,
      );
    }
  }
  compareAnswers(answers);
  return {
    workload,
    title: isThree ? THREE_TITLE : title,
    values: summary.values,
    rows: summary.rows,
    bodies: summary.bodies,
    systems: chosen.map(({ name }) => medianRun(figures.filter(({ system }) => system === name))),
  };
}

/** Every system against the first; throws DifferenceError. */
function compareAnswers(answers: ReadonlyMap<SystemName, ReadonlyMap<string, Answer>>): void {
  const [first, ...others] = answers;
  if (first === undefined) return;
  for (const [other, theirs] of others) {
    for (const [query, answer] of first[1]) {
      const lines = differences(answer, theirs.get(query)!);
      if (answer.size === 0) lines.push('nothing at all');
      if (lines.length > 0)
        throw new DifferenceError(
          `${query}: ${first[0]} and ${other} answer differently (tag, field and time: ${first[0]} against ${other}):\n  ${lines.join('\n  ')}`,
        );
    }
  }
}

function commitOfTree(): string | null {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return null; // a copy without its history
  }
}

/** Progress goes to stderr, so that the tables can be piped elsewhere. */
function say(line: string): void {
  console.error(line);
}
