/**
 * `npm run sim -- --seed N | --seeds COUNT [--from N]`: simulated clusters under faults. Exits with 1 and names the seed
 * when one fails; `--seed` prints the run as well.
 *
 *   --engine real|memory   the storage engine on disks in memory, or a fast stand-in for it (memory is the default)
 *   --scenario NAME        mixed (the default), wide, fillings, views: test/sim/scenario.ts; --wide is short for one
 *   --mutation NAME        breaks one rule on purpose: test/sim/mutations.ts
 */
import { simulate } from '../test/sim/cluster.ts';
import { MUTATIONS } from '../test/sim/mutations.ts';
import { SCENARIOS } from '../test/sim/scenario.ts';

const args = process.argv.slice(2);

function option(name: string): string | null {
  const at = args.indexOf(`--${name}`);
  return at < 0 ? null : (args[at + 1] ?? '');
}

function stop(text: string): never {
  console.error(text);
  process.exit(2);
}

function numberOption(name: string, otherwise: number): number {
  const text = option(name);
  if (text === null) return otherwise;
  const value = Number(text);
  if (text === '' || !Number.isSafeInteger(value) || value < 0) stop(`--${name} needs a whole number, not '${text}'`);
  return value;
}

function nameOption<T extends string>(name: string, names: readonly T[]): T | undefined {
  const text = option(name);
  if (text === null) return undefined;
  const found = names.find((each) => each === text);
  return found ?? stop(`--${name} is one of ${names.join(', ')}, not '${text}'`);
}

const single = option('seed') === null ? null : numberOption('seed', 1);
const from = single ?? numberOption('from', 1);
const count = single === null ? numberOption('seeds', 100) : 1;
const mutation = nameOption('mutation', MUTATIONS);
const engine = nameOption('engine', ['memory', 'real'] as const) ?? 'memory';
const scenario = nameOption('scenario', SCENARIOS) ?? (args.includes('--wide') ? 'wide' : 'mixed');
const started = Date.now();
const failed: number[] = [];
let [acknowledged, proofs, filled, scans, slowest] = [0, 0, 0, 0, 0];
for (let seed = from; seed < from + count; seed++) {
  const trace = single === null ? undefined : (line: string) => console.log(line);
  const result = simulate({ seed, mutation, engine, scenario, trace });
  acknowledged += result.acknowledged;
  proofs += result.proofs;
  filled += result.filled;
  scans += result.scans;
  slowest = Math.max(slowest, result.convergedMs / Math.max(1, result.boundMs));
  if (single !== null) console.log(JSON.stringify(result, null, 2));
  if (result.failure === null) continue;
  failed.push(seed);
  console.error(`seed ${seed} failed: ${result.failure}`);
}
const seconds = ((Date.now() - started) / 1000).toFixed(1);
console.log(
  `${count} seeds in ${seconds} s: ${acknowledged} writes acknowledged, ${proofs} proofs, ${filled} replicas filled, ${scans} scans, slowest at ${Math.round(slowest * 100)} % of the bound`,
);
if (failed.length > 0) {
  console.error(`failing seeds: ${failed.join(' ')}`);
  process.exit(1);
}
