/** The command line of `npm run sim`. */
import { parseArgs } from 'node:util';
import type { SimOptions } from '../../test/sim/cluster.ts';
import { engineFor, MUTATIONS_OF_STORAGE, SCENARIOS_OF_STORAGE } from '../../test/sim/engine-choice.ts';
import { MUTATIONS, type Mutation } from '../../test/sim/mutations.ts';
import { KINDS_OF_TROUBLE, numbersOf, type Reduction } from '../../test/sim/reduction.ts';
import { SCENARIOS, type ScenarioName } from '../../test/sim/scenario.ts';
import type { EngineKind } from '../../test/sim/sim-disk.ts';

const NEED_STORAGE = [...SCENARIOS_OF_STORAGE, ...MUTATIONS_OF_STORAGE].join(', ');

export const USAGE = `npm run sim -- [options]     simulated clusters under faults; exits with 1 and says what to do when one fails

  --seeds COUNT            that many seeds (default 100)
  --from N                 the first of them (default 1)
  --minutes M              seeds from the first on, for that long
  --seed N                 one seed, printed as it runs
  --processes N            (default: one per core)
  --scenario NAME          ${SCENARIOS.join(', ')} (default mixed)
  --engine real|memory     the storage engine on disks in memory, or a fast stand-in for it without rows that can be read
                           (default memory; real for ${NEED_STORAGE}, which need it)
  --mutation NAME          breaks one rule on purpose: ${MUTATIONS.join(', ')}
  --nodes N                members at the start; with 20 or more a run that reports the bound and the bytes per pass
  --shards N               of such a run (default: 20 a member)

What a failing seed is shrunk to (each can be given by hand):
  --until MS               writes and faults end then
  --without-faults 1,4-6   these do not happen; --without-writes likewise
  --calm KIND,...          ${KINDS_OF_TROUBLE.join(', ')}
  --no-shrink              says which seeds fail and no more`;

export class UsageError extends Error {}

export interface Campaign {
  readonly run: Omit<SimOptions, 'seed' | 'trace'>;
  readonly from: number;
  /** null: as many as there is time for. */
  readonly count: number | null;
  readonly minutes: number | null;
  readonly processes: number;
  readonly isSingle: boolean;
  /** Every line of the run. */
  readonly traces: boolean;
  readonly shrinks: boolean;
}

/** From as many members on a run is one of `large.ts`. */
const LARGE_NODES_MIN = 20;
const SHARDS_PER_NODE = 20;

export function parseOptions(args: readonly string[], cores: number): Campaign {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      from: { type: 'string' },
      minutes: { type: 'string' },
      processes: { type: 'string' },
      scenario: { type: 'string', default: 'mixed' },
      engine: { type: 'string' },
      mutation: { type: 'string' },
      nodes: { type: 'string' },
      shards: { type: 'string' },
      until: { type: 'string' },
      'without-faults': { type: 'string', default: '' },
      'without-writes': { type: 'string', default: '' },
      calm: { type: 'string', default: '' },
      'no-shrink': { type: 'boolean', default: false },
    },
  });
  const single = whole('--seed', values.seed);
  if (single !== null && (values.seeds ?? values.minutes ?? values.from) !== undefined)
    throw new UsageError('--seed is one seed: without --seeds, --from and --minutes');
  const nodes = whole('--nodes', values.nodes);
  const isLarge = nodes !== null && nodes >= LARGE_NODES_MIN;
  const minutes = values.minutes === undefined ? null : Number(values.minutes);
  if (minutes !== null && !(minutes > 0)) throw new UsageError(`--minutes ${values.minutes}: not a positive number`);
  const reduction: Reduction = {
    withoutFaults: numbers('--without-faults', values['without-faults']),
    withoutWrites: numbers('--without-writes', values['without-writes']),
    calm: new Set(
      values.calm === '' ? [] : values.calm.split(',').map((name) => oneOf('--calm', KINDS_OF_TROUBLE, name)),
    ),
    untilMs: whole('--until', values.until),
    nodes: isLarge ? null : nodes,
  };
  const usualCount = single !== null || isLarge ? 1 : 100;
  const scenario = oneOf('--scenario', SCENARIOS, values.scenario);
  const mutation = values.mutation === undefined ? undefined : oneOf('--mutation', MUTATIONS, values.mutation);
  return {
    run: {
      scenario,
      engine: engine(scenario, mutation, values.engine),
      mutation,
      reduction,
      large: isLarge ? { nodes, shards: whole('--shards', values.shards) ?? nodes * SHARDS_PER_NODE } : undefined,
    },
    from: single ?? whole('--from', values.from) ?? 1,
    count: whole('--seeds', values.seeds) ?? (minutes === null ? usualCount : null),
    minutes,
    processes: Math.max(1, whole('--processes', values.processes) ?? cores),
    isSingle: single !== null || (isLarge && (values.seeds ?? values.minutes) === undefined),
    traces: single !== null && !isLarge,
    shrinks: !values['no-shrink'],
  };
}

function whole(flag: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (text === '' || !Number.isSafeInteger(value) || value < 0)
    throw new UsageError(`${flag} needs a whole number, not '${text}'`);
  return value;
}

function engine(scenario: ScenarioName, mutation: Mutation | undefined, text: string | undefined): EngineKind {
  const asked = text === undefined ? undefined : oneOf('--engine', ['memory', 'real'] as const, text);
  try {
    return engineFor(scenario, mutation, asked);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function oneOf<T extends string>(flag: string, names: readonly T[], text: string): T {
  const found = names.find((each) => each === text);
  if (found === undefined) throw new UsageError(`${flag} is one of ${names.join(', ')}, not '${text}'`);
  return found;
}

function numbers(flag: string, text: string): Set<number> {
  try {
    return numbersOf(text);
  } catch (error) {
    throw new UsageError(`${flag}: ${(error as Error).message}`);
  }
}
