/** The command line of `npm run bench`. */
import { parseArgs } from 'node:util';
import type { SystemName } from './programs.ts';
import { WORKLOADS } from './workloads.ts';

/** What `repair` measures; the first five one after the other on one cluster. */
export const REPAIR_CASES = ['equal', 'row', 'scattered', 'outage', 'disk', 'idle', 'flood'] as const;
export type RepairCase = (typeof REPAIR_CASES)[number];

export const USAGE = `npm run bench -- [table] [options]       ingestion and queries, side by side
npm run bench -- curve [options]         query time against what is stored
npm run bench -- open [options]          time to open 2,000 shards
npm run bench -- recover [options]       time to recover a log of 1 GiB
npm run bench -- repair [options]        what repair costs: round trips, bytes, seconds
npm run bench -- decode [options]        values that a kernel decodes a second, by kind
npm run bench -- show --json FILE,...    the tables of saved results again

  --workloads A,B,...,three   which (default: A to G and three)
  --only SYSTEM,...           starling, influxdb, victoria-metrics (default: all that are found)
  --influxd PATH              (default: influxd on the PATH)
  --victoria-metrics PATH     (default: victoria-metrics on the PATH)
  --runs N                    alternating runs, of which medians are shown (default 5)
  --queries N                 calls of each query (default 50)
  --scale S                   times the usual number of hosts (default 1); repair: of rounds, a million rows at 1
  --seed N                    (default 1)
  --quick                     under a minute: small, one run; to see that all works, not for figures
  --profile                   CPU profiles of Starling's threads, and where the time went
  --warm                      loads each system twice more, and shows the second time: what a process takes that runs for long
  --markdown                  tables ready for a page
  --json FILE                 (default bench-results/latest.json)
  --cases NAME,...            repair: ${REPAIR_CASES.join(', ')} (default: all)
  --max-rows N                curve: rows stored at the end, up to 100000000 (default 10000000)
  --shards N                  open: (default 2000)
  --log-mib N                 recover: (default 1024)`;

export const MODES = ['table', 'curve', 'open', 'recover', 'repair', 'decode', 'show'] as const;
export type Mode = (typeof MODES)[number];

export const THREE = 'three';

export interface BenchOptions {
  readonly mode: Mode;
  readonly workloads: readonly string[];
  readonly only: readonly string[];
  readonly paths: Readonly<Partial<Record<SystemName, string>>>;
  readonly runs: number;
  readonly queryCalls: number;
  readonly scale: number;
  readonly seed: number;
  readonly isQuick: boolean;
  readonly isProfiling: boolean;
  readonly isWarm: boolean;
  readonly isMarkdown: boolean;
  readonly jsonPath: string;
  readonly rowsMax: number;
  readonly shards: number;
  readonly logMib: number;
  readonly cases: ReadonlySet<RepairCase>;
}

export class UsageError extends Error {}

const QUICK = { workloads: 'A,F', runs: 1, queryCalls: 20, scale: 0.05 };

export function parseOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      workloads: { type: 'string' },
      only: { type: 'string', default: '' },
      influxd: { type: 'string' },
      'victoria-metrics': { type: 'string' },
      runs: { type: 'string' },
      queries: { type: 'string' },
      scale: { type: 'string' },
      seed: { type: 'string', default: '1' },
      quick: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      warm: { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
      json: { type: 'string', default: 'bench-results/latest.json' },
      'max-rows': { type: 'string', default: '10000000' },
      shards: { type: 'string', default: '2000' },
      'log-mib': { type: 'string', default: '1024' },
      cases: { type: 'string', default: REPAIR_CASES.join() },
    },
  });
  const [mode = 'table', ...rest] = positionals;
  if (rest.length > 0 || !(MODES as readonly string[]).includes(mode))
    throw new UsageError(`"${positionals.join(' ')}" is none of ${MODES.join(', ')}`);
  const known = [...WORKLOADS.map(({ letter }) => letter), THREE];
  const usual = values.quick ? QUICK.workloads : known.join(',');
  const workloads = (values.workloads ?? usual).split(',').map((name) => (name === THREE ? name : name.toUpperCase()));
  const unknown = workloads.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new UsageError(`no workload ${unknown.join(', ')} (known: ${known.join(', ')})`);
  return {
    mode: mode as Mode,
    workloads,
    only: values.only === '' ? [] : values.only.split(','),
    paths: {
      ...(values.influxd === undefined ? {} : { influxdb: values.influxd }),
      ...(values['victoria-metrics'] === undefined ? {} : { 'victoria-metrics': values['victoria-metrics'] }),
    },
    runs: whole('--runs', values.runs, values.quick ? QUICK.runs : 5),
    queryCalls: whole('--queries', values.queries, values.quick ? QUICK.queryCalls : 50),
    scale: positive('--scale', values.scale, values.quick ? QUICK.scale : 1),
    seed: whole('--seed', values.seed, 1),
    isQuick: values.quick,
    isProfiling: values.profile,
    isWarm: values.warm,
    isMarkdown: values.markdown,
    jsonPath: values.json,
    rowsMax: whole('--max-rows', values['max-rows'], 0),
    shards: whole('--shards', values.shards, 0),
    logMib: whole('--log-mib', values['log-mib'], 0),
    cases: new Set(values.cases.split(',').map(repairCase)),
  };
}

function repairCase(text: string): RepairCase {
  const found = REPAIR_CASES.find((name) => name === text);
  if (found === undefined) throw new UsageError(`no case ${text} (known: ${REPAIR_CASES.join(', ')})`);
  return found;
}

function positive(flag: string, text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (!(value > 0)) throw new UsageError(`${flag} ${text}: not a positive number`);
  return value;
}

function whole(flag: string, text: string | undefined, fallback: number): number {
  const value = positive(flag, text, fallback);
  if (!Number.isInteger(value)) throw new UsageError(`${flag} ${text}: not a whole number`);
  return value;
}
