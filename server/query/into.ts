/**
 * SELECT ... INTO: what the SELECT gives is written, batch by batch, as a client's write to this node would be.
 *
 * Raw rows are written while later ones are still to be read (row-stream.ts), those of all groups together, since nobody sees their
 * order, and so are windows that do not depend on each other (window-stream.ts). Any other answer is held whole, within the limits of a SELECT, and written in batches. What a batch's write says ends the statement with InfluxDB's
 * text; batches before it stay written. The plan is confirmed before the first one leaves, so nothing is written by a plan
 * that is made anew.
 */
import type { MeasurementSource, SelectStatement } from '../influxql/ast.ts';
import { mainTurns } from '../turns.ts';
import type { OutputTable } from './output.ts';
import { confirmed, type SelectPlan } from './plan.ts';
import { PointLines } from './point-lines.ts';
import { PassingError, QueryError } from './query-error.ts';
import type { ResultSeries } from './result.ts';
import { RowStream } from './row-stream.ts';
import type { Running } from './running.ts';
import { findDatabase, type StatementContext } from './scatter.ts';
import { runPlan } from './select.ts';
import { WindowStream } from './window-stream.ts';

export interface SelectInto extends SelectStatement {
  readonly into: MeasurementSource;
}

export function writesInto(statement: { readonly kind: string }): statement is SelectInto {
  return statement.kind === 'select' && (statement as SelectStatement).into !== undefined;
}

interface Target {
  readonly database: string;
  /** '': the database's default. */
  readonly policy: string;
  /** '': that of the measurement that was read. */
  readonly name: string;
}

/** `allowsGaps`: the answer says which shards were not read. */
export async function selectInto(
  statement: SelectInto,
  context: StatementContext,
  running: Running,
  allowsGaps: boolean,
): Promise<ResultSeries[]> {
  const target = targetOf(statement.into, context);
  let written = 0n;
  for await (const { plan, table } of tablesOf(statement, context)) {
    const shortfall = allowsGaps ? null : context.tally.shortfall();
    if (shortfall !== null) throw new PassingError(shortfall);
    written += await writeTable(new PointLines(plan, table, target.name), target, context, running);
  }
  return [{ name: 'result', columns: ['time', 'written'], timeColumn: 0, values: [[0n, Number(written)]] }];
}

function targetOf(into: MeasurementSource, { backend, database, retentionPolicy }: StatementContext): Target {
  const name = into.database ?? database;
  findDatabase(backend.snapshot(), name);
  const requested = into.database === undefined ? retentionPolicy : undefined;
  return { database: name!, policy: into.retentionPolicy ?? requested ?? '', name: into.name ?? '' };
}

interface PlannedTable {
  readonly plan: SelectPlan;
  readonly table: OutputTable;
}

interface Streamed {
  readonly plan: SelectPlan;
  next(): Promise<{ readonly table: OutputTable } | null>;
}

async function* tablesOf(statement: SelectInto, context: StatementContext): AsyncGenerator<PlannedTable> {
  const begin = async (plan: SelectPlan, within: StatementContext): Promise<Streamed[] | PlannedTable> => {
    if (plan.timeName !== 'time') throw new QueryError('error finding time index in result');
    const stream = (await RowStream.open(plan, within)) ?? (await WindowStream.open(plan, within));
    const streams = stream === null ? await RowStream.unordered(plan, within) : [stream];
    return streams ?? { plan, table: await runPlan(plan, [], within, true) };
  };
  const answer = await confirmed(statement, null, context, begin);
  if (!Array.isArray(answer)) {
    yield answer;
    return;
  }
  for (const stream of answer)
    for (let next = await stream.next(); next !== null; next = await stream.next())
      yield { plan: stream.plan, table: next.table };
}

/** How many points were written. */
async function writeTable(
  lines: PointLines,
  target: Target,
  { backend, ending }: StatementContext,
  running: Running,
): Promise<bigint> {
  const encoder = new TextEncoder();
  let written = 0n;
  for (;;) {
    const batch = await mainTurns.of(lines.next(), ending);
    if (batch === null) return written;
    ending.throwIfEnded();
    // A write has a time of its own.
    running.rest();
    await backend.writeLines(target.database, target.policy, encoder.encode(batch.lines));
    ending.throwIfEnded();
    running.goOn();
    written += BigInt(batch.points);
  }
}
