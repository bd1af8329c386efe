/** The tables of the benchmark: figures of each system, and how many times better or worse than Starling a peer is. */
import { formatTable } from '../../server/cli/table.ts';
import { QUERIES } from './queries.ts';

export interface SystemFigures {
  readonly name: string;
  readonly version: string;
  readonly valuesPerSecond: number;
  readonly rowsPerSecond: number;
  /** CPU-seconds (user + system) per million values until the last acknowledgement. */
  readonly loadCpuPerMillion: number;
  /** The same until everything was flushed, merged and the process had ended. */
  readonly settledCpuPerMillion: number;
  readonly bytesPerValue: number;
  readonly residentBytes: number;
  readonly writeP50Ms: number;
  readonly writeP99Ms: number;
  readonly queriesMs: Readonly<Record<string, number>>;
  readonly check: { readonly count: number; readonly sum: number };
}

export interface Report {
  readonly takenAt: string;
  readonly machine: string;
  readonly workload: Readonly<Record<string, number>>;
  readonly runs: number;
  readonly queryRuns: number;
  readonly absent: readonly string[];
  readonly systems: readonly SystemFigures[];
}

export function printReport(report: Report): void {
  const { systems, workload } = report;
  console.log(`\n${report.takenAt}  ${report.machine}`);
  console.log(
    `${workload.values} values, ${workload.hosts} hosts, ${workload.rowsPerBody} lines a body, ${workload.connections} connections, medians of ${report.runs} runs`,
  );
  for (const name of report.absent) console.log(`${name} was not found; give its path to compare with it`);
  const baseline = systems.find(({ name }) => name === 'starling');
  const row = (label: string, pick: (one: SystemFigures) => number, digits: number) => [
    label,
    ...systems.map((one) => {
      const value = pick(one);
      const ratio = baseline === undefined || one === baseline ? '' : ` (${(value / pick(baseline)).toFixed(2)}x)`;
      return `${value.toFixed(digits)}${ratio}`;
    }),
  ];
  const columns = ['', ...systems.map(({ name, version }) => `${name} ${version}`)];
  const ingest = [
    row('values/s', (one) => one.valuesPerSecond, 0),
    row('rows/s', (one) => one.rowsPerSecond, 0),
    row('CPU-s per million values, acknowledged', (one) => one.loadCpuPerMillion, 3),
    row('CPU-s per million values, settled', (one) => one.settledCpuPerMillion, 3),
    row('bytes a value on disk', (one) => one.bytesPerValue, 2),
    row('resident MB after the load', (one) => one.residentBytes / 1e6, 0),
    row('write p50 ms', (one) => one.writeP50Ms, 1),
    row('write p99 ms', (one) => one.writeP99Ms, 1),
  ];
  console.log(`\n${formatTable(columns, ingest)}`);
  const queries = QUERIES.map(({ name, what }) => row(`${name}: ${what}`, (one) => one.queriesMs[name]!, 2));
  console.log(`\nquery p50 in ms, ${report.queryRuns} calls each\n${formatTable(columns, queries)}`);
}
