/**
 * CREATE, DROP and SHOW CONTINUOUS QUERIES. What is kept is the statement with its databases and retention policies named, as
 * InfluxDB prints it; what runs it is in server/continuous/.
 */
import { requireFewWindows } from '../continuous/schedule.ts';
import type { ContinuousQueryStatement, MeasurementSource, SelectStatement, Source } from '../influxql/ast.ts';
import { printStatement } from '../influxql/printer.ts';
import { QueryError } from './query-error.ts';
import type { ResultSeries } from './result.ts';
import { findDatabase, type StatementContext } from './scatter.ts';

export function createContinuousQuery(statement: ContinuousQueryStatement, context: StatementContext): void {
  requireFewWindows(statement);
  // The request's database, where it names one, stands for those that the statement leaves out: InfluxDB does it so.
  const within = context.database ? context : { ...context, database: statement.database };
  const named = { ...statement, select: qualified(statement.select, within) };
  requirePolicies(named.select, context);
  const { name, database } = statement;
  context.backend.metadata.continuousQueries.create(database, name, printStatement(named));
}

export function showContinuousQueries({ backend }: StatementContext): ResultSeries[] {
  const queries = backend.metadata.continuousQueries.all();
  return backend.snapshot().databases.map(({ name }) => ({
    name,
    columns: ['name', 'query'],
    timeColumn: -1,
    values: queries.filter(({ database }) => database === name).map((query) => [query.name, query.text]),
  }));
}

function qualified<S extends SelectStatement>(select: S, context: StatementContext): S {
  const sources = select.sources.map(
    (source): Source =>
      source.kind === 'subquery'
        ? { kind: 'subquery', select: qualified(source.select, context) }
        : qualifiedMeasurement(source, context),
  );
  const { into } = select;
  return { ...select, sources, ...(into && { into: qualifiedMeasurement(into, context) }) };
}

function qualifiedMeasurement(source: MeasurementSource, context: StatementContext): MeasurementSource {
  const database = findDatabase(context.backend.snapshot(), source.database ?? context.database);
  const policy = source.retentionPolicy ?? (context.retentionPolicy || database.defaultRetentionPolicy);
  return { ...source, database: database.name, retentionPolicy: policy };
}

function requirePolicies({ sources, into }: SelectStatement, context: StatementContext): void {
  for (const source of into === undefined ? sources : [into, ...sources]) {
    if (source.kind === 'subquery') {
      requirePolicies(source.select, context);
      continue;
    }
    const { retentionPolicies } = findDatabase(context.backend.snapshot(), source.database);
    if (!retentionPolicies.some(({ name }) => name === source.retentionPolicy))
      throw new QueryError(`retention policy not found: ${source.database}.${source.retentionPolicy}`);
  }
}
