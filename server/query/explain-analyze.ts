/**
 * EXPLAIN ANALYZE: runs a SELECT, throws its rows away and tells what that took: a tree with one branch for each partial request
 * that was sent to the shards, in InfluxDB's form. Nothing is written, though there be an INTO.
 */
import { performance } from 'node:perf_hooks';
import type { SelectStatement } from '../influxql/ast.ts';
import { printSelect } from '../influxql/printer.ts';
import { confirmed, planSelect } from './plan.ts';
import type { ResultSeries } from './result.ts';
import type { AnsweredRequest, StatementContext } from './scatter.ts';
import { gathered } from './select.ts';
import { goDuration } from './show.ts';

interface Branch {
  readonly text: string;
  readonly branches: readonly Branch[];
}

export async function explainAnalyze(select: SelectStatement, context: StatementContext): Promise<ResultSeries[]> {
  const answered: AnsweredRequest[] = [];
  const within = { ...context, observe: (round: AnsweredRequest) => void answered.push(round) };
  const beganMs = performance.now();
  const plan = await planSelect(select, within);
  const plannedMs = performance.now();
  const series = await confirmed(select, plan, within, (made, again) => gathered(select, made, again));
  const endedMs = performance.now();
  const rows = series.reduce((sum, { values }) => sum + values.length, 0);
  const tree: Branch = branch('select', [
    leaf('execution_time', duration(endedMs - plannedMs)),
    leaf('planning_time', duration(plannedMs - beganMs)),
    leaf('total_time', duration(endedMs - beganMs)),
    leaf('series_answered', series.length),
    leaf('rows_answered', rows),
    branch('partial_requests', [
      branch('labels', [leaf('statement', printSelect(select))]),
      ...answered.map(requestBranch),
    ]),
  ]);
  const lines = ['.', ...drawn([tree], '')];
  return [{ columns: ['EXPLAIN ANALYZE'], timeColumn: -1, values: lines.map((line) => [line]) }];
}

const branch = (text: string, branches: readonly Branch[]): Branch => ({ text, branches });
const leaf = (name: string, value: string | number): Branch => branch(`${name}: ${value}`, []);
const duration = (ms: number): string => goDuration(BigInt(Math.round(ms * 1e6)));

function requestBranch({ request, targets, results, ms }: AnsweredRequest): Branch {
  const selects = results.flatMap((result) => (result.kind === 'select' ? result.shards : []));
  const sum = (of: (shard: (typeof selects)[number]) => number): number =>
    selects.reduce((total, shard) => total + of(shard), 0);
  const labels = [leaf('kind', request.kind)];
  if (request.kind === 'select') {
    const names = request.measurements.join(', ');
    labels.push(leaf('measurements', names === '' ? '<none>' : names));
    for (const { fn, field } of request.states) labels.push(leaf('state', `${fn}(${field})`));
    if (request.rows !== null) labels.push(leaf('columns', request.rows.columns.map(({ name }) => name).join(', ')));
  }
  const counts =
    request.kind === 'select'
      ? [
          leaf(
            'series_matched',
            sum(({ seriesMatched }) => seriesMatched),
          ),
          leaf(
            'rows_read',
            sum(({ rowsScanned }) => rowsScanned),
          ),
          leaf(
            'rows_handed_over',
            sum(({ rows }) => rows?.times.length ?? 0),
          ),
          leaf(
            'values_handed_over',
            sum(({ rows }) => (rows?.times.length ?? 0) * (rows?.columns.length ?? 0)),
          ),
        ]
      : [];
  return branch('request', [
    branch('labels', labels),
    leaf('time', duration(ms)),
    leaf('shards', targets.length),
    ...counts,
  ]);
}

function drawn(branches: readonly Branch[], indent: string): string[] {
  return branches.flatMap(({ text, branches: inner }, i) => {
    const isLast = i === branches.length - 1;
    return [`${indent}${isLast ? '└── ' : '├── '}${text}`, ...drawn(inner, `${indent}${isLast ? '    ' : '│   '}`)];
  });
}
