/**
 * `npm run sim`: simulated clusters under faults (scripts/sim/options.ts has what can be given). Exits with 1 when a seed
 * fails, after it has said which, shrunk the first of them, and printed the run that is left.
 */
import { availableParallelism } from 'node:os';
import { type SimResult, simulate } from '../test/sim/cluster.ts';
import { engineFor } from '../test/sim/engine-choice.ts';
import type { PassCosts } from '../test/sim/pass-costs.ts';
import { reductionOptions } from '../test/sim/reduction.ts';
import { shrink } from '../test/sim/shrink.ts';
import { type Campaign, parseOptions, USAGE, UsageError } from './sim/options.ts';
import { runSeeds } from './sim/seeds.ts';

/** The first failures are shrunk; of the others the seed is enough to find them again. */
const SHRUNK_MAX = 3;

function commandOf({ run }: Campaign, seed: number, reduction = run.reduction!): string {
  const { scenario, engine, mutation, large } = run;
  return [
    'npm run sim -- --seed',
    seed,
    ...(scenario === 'mixed' ? [] : ['--scenario', scenario]),
    ...(engine === engineFor(scenario!, mutation, undefined) ? [] : ['--engine', engine]),
    ...(mutation === undefined ? [] : ['--mutation', mutation]),
    ...(large === undefined ? [] : ['--nodes', large.nodes, '--shards', large.shards]),
    ...reductionOptions(reduction),
  ].join(' ');
}

function explain(campaign: Campaign, seed: number, failed: SimResult): void {
  const { reduction, failure, attempts } = shrink({ ...campaign.run, seed }, failed, simulate);
  console.error(`\nseed ${seed}, shrunk in ${attempts} runs: ${failure}`);
  console.error(commandOf(campaign, seed, reduction));
  simulate({ ...campaign.run, seed, reduction, trace: (line) => console.error(`  ${line}`) });
}

function costLine(
  { shards, spanMs, passes, hops, messages, bytes }: PassCosts,
  boundMs: number,
  tookMs: number,
): string {
  const each = (count: number) => (bytes / Math.max(1, count)).toFixed(0);
  return [
    `bound ${boundMs / 1000} s, ${tookMs / 1000} s taken; then ${passes} passes over ${shards} equal shards in ${spanMs / 1000} s:`,
    `${messages} messages, ${bytes} bytes, ${each(passes)} bytes a pass, ${each(hops)} bytes a hop and shard`,
  ].join('\n');
}

function runOne(campaign: Campaign): boolean {
  const trace = campaign.traces ? (line: string) => console.log(line) : undefined;
  const result = simulate({ ...campaign.run, seed: campaign.from, trace });
  console.log(JSON.stringify(result, null, 2));
  const { idle, boundMs, convergedMs } = result;
  if (idle !== null) console.log(costLine(idle, boundMs, convergedMs));
  if (result.failure !== null) console.error(`seed ${campaign.from} failed: ${result.failure}`);
  return result.failure === null;
}

async function runMany(campaign: Campaign): Promise<boolean> {
  const { from, count, minutes, processes } = campaign;
  const started = performance.now();
  const isOver = (seed: number) =>
    (count !== null && seed >= from + count) || (minutes !== null && performance.now() - started > minutes * 60_000);
  let seed = from;
  const totals = await runSeeds(
    campaign.run,
    Math.min(processes, count ?? processes),
    () => (isOver(seed) ? null : seed++),
    (failed, failure) => console.error(`seed ${failed} failed: ${failure}`),
  );
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const {
    seeds,
    acknowledged,
    proofs,
    filled,
    scans,
    levelled,
    slowest,
    fetched,
    missing,
    mailed,
    mailedTwice,
    destroyed,
    lost,
    failed,
  } = totals;
  console.log(
    [
      `${seeds} seeds from ${from} in ${seconds} s: ${acknowledged} writes acknowledged, ${proofs} proofs`,
      `${filled} replicas filled, ${scans} scans, ${levelled} levelled reads`,
      `mailed ${(mailed / Math.max(1, mailed - mailedTwice)).toFixed(3)} of ${mailed - mailedTwice} bytes that were lacked`,
      `repair fetched ${(fetched / Math.max(1, missing)).toFixed(3)} of ${missing} bytes that were missing`,
      `${destroyed} copies of batches destroyed, of ${lost} acknowledged writes all; all others are everywhere`,
      `slowest at ${Math.round(slowest * 100)} % of the bound`,
    ].join(', '),
  );
  if (failed.length === 0) return true;
  if (campaign.shrinks) for (const each of failed.slice(0, SHRUNK_MAX)) explain(campaign, each.seed, each.result);
  console.error(`\nfailing seeds: ${failed.map((each) => each.seed).join(' ')}`);
  return false;
}

if (process.argv.includes('--help')) console.log(USAGE);
else {
  try {
    const campaign = parseOptions(process.argv.slice(2), availableParallelism());
    const passed = campaign.isSingle ? runOne(campaign) : await runMany(campaign);
    if (!passed) process.exitCode = 1;
  } catch (error) {
    const isUsage =
      error instanceof UsageError || String((error as { code?: string }).code).startsWith('ERR_PARSE_ARGS');
    if (!isUsage) throw error;
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exitCode = 2;
  }
}
