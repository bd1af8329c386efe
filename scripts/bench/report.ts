/** The tables: goal, figure, and how many times Starling's figure each peer needs. For a terminal or for a page. */
import { formatTable } from '../../server/cli/table.ts';
import { LATE_BYTES_RATIO_MAX, LATE_CPU_RATIO_MAX, ROWS, type Row, WARM_ROWS } from './goals.ts';
import type { RunFigures } from './measure.ts';
import { type Program, type SystemName, TITLES } from './programs.ts';
import { QUERIES } from './queries.ts';

export interface WorkloadReport {
  /** A letter, or `three`. */
  readonly workload: string;
  readonly title: string;
  readonly values: number;
  readonly rows: number;
  readonly bodies: number;
  /** Medians over the runs. */
  readonly systems: readonly RunFigures[];
}

export interface Report {
  readonly takenAt: string;
  readonly machine: string;
  readonly commit: string | null;
  readonly runs: number;
  readonly queryCalls: number;
  readonly scale: number;
  readonly seed: number;
  readonly programs: readonly Program[];
  readonly absent: readonly SystemName[];
  readonly workloads: WorkloadReport[];
}

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export function printTable({ title, columns, rows }: Table, markdown: boolean): string {
  if (!markdown) return `${title}\n${formatTable(columns, rows)}`;
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [`${title}`, '', line(columns), `|${'---|'.repeat(columns.length)}`, ...rows.map(line)].join('\n');
}

export function tablesOf(report: Report): Table[] {
  const { workloads } = report;
  const tables = workloads.map((workload) => ingestTable(report, workload));
  const late = lateTable(workloads);
  const a = workloads.find(({ workload }) => workload === 'A');
  return [
    ...tables,
    ...(late === null ? [] : [late]),
    ...(a === undefined || Object.keys(a.systems[0]?.queries ?? {}).length === 0 ? [] : [queryTable(report, a)]),
  ];
}

export function headOf(report: Report, markdown: boolean): string {
  const { takenAt, machine, commit, programs, absent, runs, queryCalls, scale, seed } = report;
  const lines = [
    `${takenAt.slice(0, 16).replace('T', ' ')} UTC, ${machine}`,
    programs
      .map(
        ({ name, version }) =>
          `${TITLES[name]} ${version}${name === 'starling' && commit !== null ? ` (${commit})` : ''}`,
      )
      .join(', '),
    `medians of ${runs} alternating runs, ${queryCalls} calls of each query, scale ${scale}, seed ${seed}`,
    'in brackets: times the figure of Starling',
    ...absent.map((name) => `${TITLES[name]} was not found: give its path to compare with it`),
  ];
  return markdown ? `${lines.join('. ')}.` : lines.join('\n');
}

function columnsOf({ programs }: Report, systems: readonly RunFigures[]): string[] {
  return systems.map(
    ({ system }) => `${TITLES[system]} ${programs.find(({ name }) => name === system)?.version ?? ''}`,
  );
}

function baselineOf(systems: readonly RunFigures[]): RunFigures | undefined {
  return systems.find(({ system }) => system === 'starling');
}

function cell(value: number, baseline: number | undefined, digits: number): string {
  const text = value.toFixed(digits);
  if (baseline === undefined || baseline === 0) return text;
  const ratio = value / baseline;
  return `${text} (${ratio >= 10 ? ratio.toFixed(0) : ratio.toFixed(2)}x)`;
}

/** InfluxDB and VictoriaMetrics. */
const PEERS = 2;

/** `yes` or `no`; '' where nothing is to be judged. */
export function judge(row: Row, goal: number | 'ahead' | undefined, systems: readonly RunFigures[]): string {
  const own = baselineOf(systems);
  if (goal === undefined || own === undefined) return '';
  const value = row.pick(own);
  const isBetter = (bound: number) => (row.isRate ? value >= bound : value <= bound);
  if (goal !== 'ahead') return isBetter(goal) ? 'yes' : 'no';
  const peers = systems.filter((one) => one !== own);
  if (peers.length === 0) return '';
  if (!peers.every((peer) => isBetter(row.pick(peer)))) return 'no';
  // The goal names both peers: nobody is told that it holds when only one was there.
  return peers.length < PEERS ? 'of the one that ran' : 'yes';
}

function goalText(row: Row, goal: number | 'ahead' | undefined): string {
  if (goal === undefined) return '';
  return goal === 'ahead' ? 'ahead of both' : `${row.isRate ? '>=' : '<='} ${goal}`;
}

export function ingestTable(report: Report, { workload, title, values, bodies, systems }: WorkloadReport): Table {
  const own = baselineOf(systems);
  const rows = systems.every(({ warm }) => Boolean(warm)) ? [...ROWS, ...WARM_ROWS] : ROWS;
  return {
    title: `${workload}: ${title} (${(values / 1e6).toFixed(1)} M values, ${bodies} bodies)`,
    columns: ['', 'goal', ...columnsOf(report, systems), 'reached'],
    rows: rows.map((row) => [
      row.label,
      goalText(row, row.goals[workload]),
      ...systems.map((one) =>
        cell(row.pick(one), own === undefined || one === own ? undefined : row.pick(own), row.digits),
      ),
      judge(row, row.goals[workload], systems),
    ]),
  };
}

/** Late and rewritten points cost this many times what the same points cost in order. */
export function lateTable(workloads: readonly WorkloadReport[]): Table | null {
  const a = workloads.find(({ workload }) => workload === 'A');
  const f = workloads.find(({ workload }) => workload === 'F');
  if (a === undefined || f === undefined) return null;
  const pairs = f.systems.flatMap((late) => {
    const inOrder = a.systems.find(({ system }) => system === late.system);
    return inOrder === undefined ? [] : [{ late, inOrder }];
  });
  const own = pairs.find(({ late }) => late.system === 'starling');
  const row = (label: string, pick: (figures: RunFigures) => number, bound: number) => [
    label,
    `<= ${bound}`,
    ...pairs.map(({ late, inOrder }) => (pick(late) / pick(inOrder)).toFixed(2)),
    own === undefined ? '' : pick(own.late) / pick(own.inOrder) <= bound ? 'yes' : 'no',
  ];
  return {
    title: 'F against A: times the figure of A',
    columns: ['', 'goal', ...pairs.map(({ late }) => TITLES[late.system]), 'reached'],
    rows: [
      row('CPU, acknowledged', ({ acknowledgedCpu }) => acknowledgedCpu, LATE_CPU_RATIO_MAX),
      row('CPU, settled', ({ settledCpu }) => settledCpu, LATE_CPU_RATIO_MAX),
      row('bytes a value, settled', ({ bytesPerValue }) => bytesPerValue, LATE_BYTES_RATIO_MAX),
    ],
  };
}

export function queryTable(report: Report, { systems }: WorkloadReport): Table {
  const own = baselineOf(systems);
  return {
    title: 'Queries over A: p50 / p95 in ms',
    columns: ['', 'goal (p50)', ...columnsOf(report, systems), 'reached'],
    rows: QUERIES.map(({ name, what, goalMs }) => [
      `${name}: ${what}`,
      `<= ${goalMs}`,
      ...systems.map((one) => {
        const { p50Ms, p95Ms } = one.queries[name]!;
        const ratio = own === undefined || one === own ? '' : ` (${(p50Ms / own.queries[name]!.p50Ms).toFixed(2)}x)`;
        return `${p50Ms.toFixed(2)} / ${p95Ms.toFixed(2)}${ratio}`;
      }),
      own === undefined ? '' : own.queries[name]!.p50Ms <= goalMs ? 'yes' : 'no',
    ]),
  };
}
