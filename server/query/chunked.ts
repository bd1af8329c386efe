/**
 * A SELECT that is answered in chunks: results of one series each, with `chunk_size` rows at most, fewer where texts are
 * large. A series is `partial` as long as more of its rows follow, a result as long as more of the statement does. What can leave
 * before all of it was read does (row-stream.ts, group-stream.ts): the next rows are asked for when the client has taken those before. What the answer rests on (`completeness`) is said with the last chunk.
 */
import type { SelectStatement, Statement } from '../influxql/ast.ts';
import { mainTurns } from '../turns.ts';
import { Chunks } from './chunks.ts';
import { GroupStream } from './group-stream.ts';
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
    const begin = async (plan: SelectPlan, within: StatementContext): Promise<RowSource | ResultSeries[]> => {
      const rows = await RowStream.open(plan, within);
      if (rows !== null) return rows;
      const groups = await GroupStream.open(plan, within);
      return groups instanceof GroupStream ? groups : gathered(statement, groups ?? plan, within);
    };
    const within = levelled === null ? context : { ...context, backend: levelled };
    const answer = await untilEnd(confirmed(statement, null, within, begin), ending);
    const size = Math.min(chunkSize!, context.limits.rowsMax);
    const requireShards = (): void => {
      const shortfall = completeness ? null : context.tally.shortfall();
      if (shortfall !== null) throw new QueryError(shortfall);
    };
    requireShards();
    const chunks = 'next' in answer ? streamed(statement, answer, size, context) : cut(answer, size);
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

/** Rows as they are read. */
type RowSource = Pick<RowStream, 'plan' | 'next'>;

async function* streamed(
  statement: SelectStatement,
  source: RowSource,
  size: number,
  context: StatementContext,
): SeriesChunks {
  let open: { readonly key: string; readonly series: ResultSeries; readonly chunks: Chunks } | null = null;
  for (let next = await source.next(); next !== null; next = await source.next()) {
    const { table, bytes } = next;
    const all = await mainTurns.of(seriesOf(statement, source.plan, table, context), context.ending);
    for (let g = 0; g < all.length; g++) {
      const series = all[g]!;
      const { key } = table.groups[g]!;
      if (open !== null && open.key !== key) {
        yield { ...open.series, values: open.chunks.rest()! };
        open = null;
      }
      open ??= { key, series, chunks: new Chunks(size, context.limits.streamedBytesMax) };
      const values = series.values as TableRows;
      const share = (bytes * values.length) / table.times.length;
      for (const chunk of open.chunks.add(values, share)) yield { ...series, values: chunk, partial: true };
    }
  }
  return open === null ? null : { ...open.series, values: open.chunks.rest()! };
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
