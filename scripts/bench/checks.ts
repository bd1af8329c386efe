/**
 * Whether the systems hold and answer the same: counts and sums against what the generator wrote, and the answers of
 * the benchmark's queries against each other.
 *
 * VictoriaMetrics without deduplication keeps both values of a point that is written twice, so with rewritten points its
 * counts and sums are compared with all that was written, and those of the others with what replaced it.
 */
import { type Answer, answerIn, ask, influxPath, instantPath, TOTALS } from './asking.ts';
import type { Connection } from './connection.ts';
import type { SystemName } from './programs.ts';
import type { FieldTruth, WorkloadSummary } from './workloads.ts';

/** Sums of doubles differ by the order of adding. */
const RELATIVE_MAX = 1e-9;
const SHOWN_MAX = 5;

export class DifferenceError extends Error {}

export function isClose(a: number, b: number): boolean {
  return a === b || Math.abs(a - b) <= RELATIVE_MAX * Math.max(Math.abs(a), Math.abs(b));
}

/** One line per number that only one side has, or that differs; the first few of them. */
export function differences(a: Answer, b: Answer): string[] {
  const lines: string[] = [];
  for (const [key, value] of a) {
    const other = b.get(key);
    if (other === undefined) lines.push(`${key}: ${value} against nothing`);
    else if (!isClose(value, other)) lines.push(`${key}: ${value} against ${other}`);
  }
  for (const [key, value] of b) if (!a.has(key)) lines.push(`${key}: nothing against ${value}`);
  return lines.length > SHOWN_MAX ? [...lines.slice(0, SHOWN_MAX), `and ${lines.length - SHOWN_MAX} more`] : lines;
}

/** Throws DifferenceError when a count or sum is not what was written. */
export async function checkTruth(system: SystemName, connection: Connection, summary: WorkloadSummary): Promise<void> {
  const byMeasurement = new Map<string, FieldTruth[]>();
  for (const truth of summary.truth)
    byMeasurement.set(truth.measurement, [...(byMeasurement.get(truth.measurement) ?? []), truth]);
  for (const [measurement, fields] of byMeasurement) {
    const found =
      system === 'victoria-metrics'
        ? await prometheusTotals(connection, summary, measurement)
        : await influxTotals(connection, measurement, fields);
    const keepsAll = system === 'victoria-metrics';
    const expected = new Map<string, number>();
    for (const truth of fields) {
      expected.set(` count ${truth.field}`, keepsAll ? truth.writtenCount : truth.count);
      expected.set(` sum ${truth.field}`, keepsAll ? truth.writtenSum : truth.sum);
    }
    const wrong = differences(expected, found);
    if (wrong.length > 0)
      throw new DifferenceError(
        `${system} does not hold what was written to ${measurement} (expected against found):\n  ${wrong.join('\n  ')}`,
      );
  }
}

const CALLS = ['count', 'sum'] as const;

async function influxTotals(
  connection: Connection,
  measurement: string,
  fields: readonly FieldTruth[],
): Promise<Answer> {
  const selected = fields.flatMap(({ field }) => CALLS.map((call) => `${call}("${field}") AS "${call} ${field}"`));
  const { body } = await ask(connection, influxPath(`SELECT ${selected.join(', ')} FROM "${measurement}"`));
  return answerIn('influxdb', body, TOTALS);
}

async function prometheusTotals(
  connection: Connection,
  { options, endSeconds }: WorkloadSummary,
  measurement: string,
): Promise<Answer> {
  const seconds = endSeconds - options.startSeconds + 1;
  const found = new Map<string, number>();
  for (const call of CALLS) {
    const query = `sum(${call}_over_time({__name__=~"${measurement}_[a-z_]+"}[${seconds}s]) keep_metric_names) by (__name__)`;
    const { body } = await ask(connection, instantPath(query, endSeconds));
    const answer = answerIn('victoria-metrics', body, TOTALS);
    for (const [name, value] of answer) {
      const field = name.trim().replace(new RegExp(`^${measurement}_`), '');
      // Another measurement's name may begin like this one's.
      if (options.shape === 'cpu' || field === 'value') found.set(` ${call} ${field}`, value);
    }
  }
  return found;
}
