/**
 * `npm run sim -- --seed N | --seeds COUNT [--from N]`: simulated clusters under faults. Exits with 1 and names the seed
 * when one fails; `--seed` prints the run as well, `--mutation NAME` breaks one
 * rule on purpose, `--wide` takes five nodes and two replicas.
 */
import { type Mutation, simulate } from '../test/sim/cluster.ts';

const args = process.argv.slice(2);

function option(name: string): string | null {
  const at = args.indexOf(`--${name}`);
  return at < 0 ? null : (args[at + 1] ?? '');
}

function numberOption(name: string, otherwise: number): number {
  const text = option(name);
  if (text === null) return otherwise;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    console.error(`--${name} needs a whole number, not '${text}'`);
    process.exit(2);
  }
  return value;
}

const single = option('seed') === null ? null : numberOption('seed', 1);
const from = single ?? numberOption('from', 1);
const count = single === null ? numberOption('seeds', 100) : 1;
const mutation = (option('mutation') ?? undefined) as Mutation | undefined;
const started = Date.now();
const failed: number[] = [];
let [acknowledged, proofs, filled, slowest] = [0, 0, 0, 0];
for (let seed = from; seed < from + count; seed++) {
  const trace = single === null ? undefined : (line: string) => console.log(line);
  const result = simulate({ seed, mutation, trace, wide: args.includes('--wide') });
  acknowledged += result.acknowledged;
  proofs += result.proofs;
  filled += result.filled;
  slowest = Math.max(slowest, result.convergedMs / Math.max(1, result.boundMs));
  if (single !== null) console.log(JSON.stringify(result, null, 2));
  if (result.failure === null) continue;
  failed.push(seed);
  console.error(`seed ${seed} failed: ${result.failure}`);
}
const seconds = ((Date.now() - started) / 1000).toFixed(1);
console.log(
  `${count} seeds in ${seconds} s: ${acknowledged} writes acknowledged, ${proofs} proofs, ${filled} replicas filled, slowest at ${Math.round(slowest * 100)} % of the bound`,
);
if (failed.length > 0) {
  console.error(`failing seeds: ${failed.join(' ')}`);
  process.exit(1);
}
