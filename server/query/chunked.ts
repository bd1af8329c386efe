/**
 * A SELECT that is answered in chunks: results of one series each, with `chunk_size` rows at most, fewer where texts are
 * large. A series is `partial` as long as more of its rows follow, a result as long as more of the statement does. What can leave
 * before all of it was read does (row-stream.ts): the next rows are asked for when the client has taken those before. What the answer rests on (`completeness`) is said with the last chunk.
 */
import { allSteps } from '../../shards/steps.ts';
import type { SelectStatement, Statement } from '../influxql/ast.ts';
import { Chunks } from './chunks.ts';
import { confirmed, type SelectPlan } from './plan.ts';
import { QueryError } from './query-error.ts';
import type { QueryOptions, ResultSeries, StatementResult, TableRows } from './result.ts';
import { RowStream } from './row-stream.ts';
import { type Running, untilEnd } from './running.ts';
import { completenessOf, errorText, type StatementContext } from './scatter.ts';
import { gathered, seriesOf } from './select.ts';

export async function* executeChunked(
  statement: SelectStatement,
  statementId: number,
  running: Running,
  context: StatementContext,
  { chunkSize, completeness, consistency }: QueryOptions,
): AsyncGenerator<StatementResult> {
  const { ending } = running;
  try {
    const levelled =
      consistency === undefined ? null : await untilEnd(context.backend.levelled(consistency, ending), ending);
    const begin = async (plan: SelectPlan, within: StatementContext): Promise<RowStream | ResultSeries[]> =>
      (await RowStream.open(plan, within)) ?? gathered(statement, plan, within);
    const within = levelled === null ? context : { ...context, backend: levelled };
    const answer = await untilEnd(confirmed(statement, null, within, begin), ending);
    const size = Math.min(chunkSize!, context.limits.rowsMax);
    const requireShards = (): void => {
      const shortfall = completeness ? null : context.tally.shortfall();
      if (shortfall !== null) throw new QueryError(shortfall);
    };
    requireShards();
    const chunks = answer instanceof RowStream ? streamed(statement, answer, size, context) : cut(answer, size);
    for (;;) {
      const { value: chunk, done } = await untilEnd(chunks.next(), ending);
      requireShards();
      const isLast = done === true;
      const result: StatementResult = {
        statementId,
        ...(chunk === null ? {} : { series: [chunk] }),
        ...(isLast ? {} : { partial: true }),
        ...(isLast && completeness ? { completeness: completenessOf(context, levelled?.report() ?? null) } : {}),
      };
      // The time in which the client takes it is none of the statement's.
      running.rest();
      yield result;
      if (isLast) break;
      running.goOn();
    }
  } catch (error) {
    yield { statementId, error: errorText(error, context, completeness) };
  } finally {
    running.done();
  }
}

/** Returns the last one; null: there was no row. */
type SeriesChunks = AsyncGenerator<ResultSeries, ResultSeries | null>;

async function* streamed(
  statement: SelectStatement,
  stream: RowStream,
  size: number,
  context: StatementContext,
): SeriesChunks {
  const chunks = new Chunks(size, context.limits.streamedBytesMax);
  let series: ResultSeries | null = null;
  for (let next = await stream.next(); next !== null; next = await stream.next()) {
    // Of one series no step takes long.
    series = allSteps(seriesOf(statement, stream.plan, next.table, context))[0]!;
    for (const values of chunks.add(series.values as TableRows, next.bytes)) yield { ...series, values, partial: true };
  }
  return series === null ? null : { ...series, values: chunks.rest()! };
}

async function* cut(all: readonly ResultSeries[], size: number): SeriesChunks {
  for (let s = 0; s < all.length; s++) {
    const series = all[s]!;
    const rows = series.values.length;
    for (let from = 0; from < rows; from += size) {
      const values = series.values.slice(from, from + size);
      if (from + size < rows) yield { ...series, values, partial: true };
      else if (s + 1 < all.length) yield { ...series, values };
      else return { ...series, values };
    }
  }
  return null;
}

/** SHOW statements whose answers InfluxDB cuts as those of SELECT: it makes them from one. */
const CUT: ReadonlySet<Statement['kind']> = new Set(['show-series', 'show-tag-keys', 'show-field-keys']);

/** The answer of another statement; of such a SHOW in results as large as those of a SELECT. */
export async function* inChunks(
  statement: Statement,
  result: StatementResult,
  size: number,
): AsyncGenerator<StatementResult> {
  const { statementId, series } = result;
  if (series === undefined || !CUT.has(statement.kind)) {
    yield result;
    return;
  }
  const chunks = cut(series, size);
  for (;;) {
    const { value, done } = await chunks.next();
    if (done === true) {
      yield value === null ? result : { ...result, series: [value] };
      return;
    }
    yield { statementId, series: [value], partial: true };
  }
}
