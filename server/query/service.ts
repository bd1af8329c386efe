/**
 * The query service: text in, statement results out, one statement after the other.
 *
 * A statement that fails answers an error; those after it are not executed, as in InfluxDB. A SELECT goes through plan,
 * partial answers, merge and select; see shards/query/partial.ts.
 */
import type { ReadLevel } from '../../repair/levelling.ts';
import type { SelectStatement, Statement } from '../influxql/ast.ts';
import { ParseError, parseQuery } from '../influxql/parser.ts';
import { printStatement } from '../influxql/printer.ts';
import { StatementForms } from '../influxql/statement-forms.ts';
import type { LevelledBackend, QueryBackend } from './backend.ts';
import { showCardinality } from './cardinality.ts';
import { executeChunked, inChunks } from './chunked.ts';
import { createContinuousQuery, showContinuousQueries } from './continuous-queries.ts';
import { Deadlines } from './deadlines.ts';
import { runDeletion } from './deletion.ts';
import { explain } from './explain.ts';
import { explainAnalyze } from './explain-analyze.ts';
import { selectInto, writesInto } from './into.ts';
import type { QueryLimits } from './limits.ts';
import { confirmed, type SelectPlan } from './plan.ts';
import { killQuery, showQueries } from './queries.ts';
import { PassingError, QueryError } from './query-error.ts';
import {
  type QueryOptions,
  QueryParseError,
  type QueryService,
  type ResultSeries,
  type StatementResult,
} from './result.ts';
import { Running, untilEnd } from './running.ts';
import { interrupted, RunningQueries, type RunningQuery } from './running-queries.ts';
import { completenessOf, contextOf, errorText, findDatabase, type StatementContext } from './scatter.ts';
import { SchemaMemory } from './schema-memory.ts';
import { gathered } from './select.ts';
import { showDiagnostics, showStats } from './server-facts.ts';
import { dropShard, showShardGroups, showShards } from './shards.ts';
import {
  showDatabases,
  showFieldKeys,
  showMeasurements,
  showRetentionPolicies,
  showSeries,
  showTagKeys,
  showTagValues,
} from './show.ts';
import { beginStraight, type Kept } from './straight.ts';
import { runSubscriptionStatement } from './subscriptions.ts';
import { runUserStatement } from './users.ts';

export function createQueryService(
  backend: QueryBackend,
  limits: QueryLimits,
  queries = new RunningQueries('0', 0),
): QueryService {
  const kept: Kept = {
    memory: new SchemaMemory(),
    forms: new StatementForms(limits.charactersMax),
    deadlines: new Deadlines(limits.queryMsMax),
    queries,
  };
  return {
    execute: (text, options) => execute(backend, limits, kept, text, options),
    straight: (text, options, done) => beginStraight(backend, limits, kept, text, options, done),
  };
}

async function* execute(
  backend: QueryBackend,
  limits: QueryLimits,
  kept: Kept,
  text: string,
  options: QueryOptions,
): AsyncGenerator<StatementResult> {
  const begun = options.begun?.left ?? null;
  const statements = begun === null ? parse(kept.forms, text, limits, options) : [begun.statement];
  if (statements.length > limits.statementsMax)
    throw new QueryParseError(`error parsing query: more than ${limits.statementsMax} statements`);
  let query: RunningQuery;
  try {
    query = begun?.query ?? kept.queries.begin(statements, options.database);
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    options.failed?.(error);
    yield { statementId: 0, error: error.message };
    return;
  }
  try {
    yield* executeEach(statements, query, backend, limits, kept, options);
  } finally {
    kept.queries.end(query);
  }
}

async function* executeEach(
  statements: readonly Statement[],
  query: RunningQuery,
  backend: QueryBackend,
  limits: QueryLimits,
  kept: Kept,
  options: QueryOptions,
): AsyncGenerator<StatementResult> {
  const begun = options.begun?.left ?? null;
  let failed = false;
  for (let statementId = 0; statementId < statements.length; statementId++) {
    if (failed) {
      yield { statementId, error: 'not executed' };
      continue;
    }
    if (query.isKilled && begun === null) {
      failed = true;
      yield { statementId, error: interrupted().message };
      continue;
    }
    const running = begun?.running ?? new Running(kept.deadlines, options.ending, query);
    const context = begun?.context ?? contextOf(backend, limits, kept.memory, options, running.ending);
    const statement = statements[statementId]!;
    if (options.chunkSize !== null && statement.kind === 'select' && !writesInto(statement)) {
      for await (const result of executeChunked(statement, statementId, running, context, options)) {
        if (result.error !== undefined) failed = true;
        yield result;
      }
      continue;
    }
    const plan = begun?.plan ?? null;
    const result = await executeStatement(statement, statementId, plan, running, context, options);
    if (result.error !== undefined) failed = true;
    if (options.chunkSize === null) yield result;
    else yield* inChunks(statement, result, options.chunkSize);
  }
}

function parse(
  forms: StatementForms,
  text: string,
  { charactersMax }: QueryLimits,
  { params }: QueryOptions,
): Statement[] {
  try {
    return params === undefined ? forms.parse(text) : parseQuery(text, params, charactersMax);
  } catch (error) {
    if (error instanceof ParseError) throw new QueryParseError(`error parsing query: ${error.message}`);
    throw error;
  }
}

/** `plan`: null: it has to be made. */
async function executeStatement(
  statement: Statement,
  statementId: number,
  plan: SelectPlan | null,
  running: Running,
  context: StatementContext,
  options: QueryOptions,
): Promise<StatementResult> {
  const { ending } = running;
  try {
    let levelled: LevelledBackend | null = null;
    const readLevelled = async (level: ReadLevel): Promise<ResultSeries[]> => {
      levelled = await context.backend.levelled(level, ending);
      return read({ ...context, backend: levelled });
    };
    const read = (within: StatementContext): Promise<ResultSeries[]> =>
      writesInto(statement)
        ? selectInto(statement, within, running, options.completeness)
        : run(statement, plan, within);
    const { consistency } = options;
    const isPlain = consistency === undefined || (changes(statement) && !writesInto(statement));
    const series = await untilEnd(isPlain ? read(context) : readLevelled(consistency), ending);
    const report = (levelled as LevelledBackend | null)?.report() ?? null;
    const shortfall = options.completeness ? null : context.tally.shortfall();
    if (shortfall !== null) throw new PassingError(shortfall);
    return {
      statementId,
      ...(series.length === 0 ? {} : { series }),
      ...(options.completeness ? { completeness: completenessOf(context, report) } : {}),
      ...messagesOf(statement, context, options),
    };
  } catch (error) {
    const text = errorText(error, context, options.completeness);
    // What could not be read is then why.
    options.failed?.(context.tally.shortfall() === null ? error : new PassingError(text));
    return { statementId, error: text };
  } finally {
    running.done();
  }
}

/** A SELECT passes through as few promises as can be. */
function run(statement: Statement, plan: SelectPlan | null, context: StatementContext): Promise<ResultSeries[]> {
  return statement.kind === 'select'
    ? confirmed(statement, plan, context, (made, within) => gathered(statement, made, within))
    : runOther(statement, context);
}

async function runOther(
  statement: Exclude<Statement, SelectStatement>,
  context: StatementContext,
): Promise<ResultSeries[]> {
  const { metadata } = context.backend;
  switch (statement.kind) {
    case 'show-databases':
      return showDatabases(context);
    case 'show-retention-policies':
      return showRetentionPolicies(statement, context);
    case 'show-measurements':
      return showMeasurements(statement, context);
    case 'show-tag-keys':
      return showTagKeys(statement, context);
    case 'show-tag-values':
      return showTagValues(statement, context);
    case 'show-field-keys':
      return showFieldKeys(statement, context);
    case 'show-series':
      return showSeries(statement, context);
    case 'explain':
      return statement.analyze ? explainAnalyze(statement.select, context) : explain(statement.select, context);
    case 'show-cardinality':
      return showCardinality(statement, context);
    case 'create-database':
      metadata.createDatabase(statement.name, statement.policy ?? null, statement.conflict);
      return [];
    case 'drop-database':
      metadata.dropDatabase(statement.name);
      return [];
    case 'create-retention-policy':
      findDatabase(context.backend.snapshot(), statement.database);
      metadata.createRetentionPolicy(statement.database, statement.name, statement);
      return [];
    case 'alter-retention-policy':
      findDatabase(context.backend.snapshot(), statement.database);
      metadata.alterRetentionPolicy(statement.database, statement.name, statement);
      return [];
    case 'drop-retention-policy':
      metadata.dropRetentionPolicy(statement.database, statement.name);
      return [];
    case 'create-continuous-query':
      createContinuousQuery(statement, context);
      return [];
    case 'drop-continuous-query':
      metadata.continuousQueries.drop(statement.database, statement.name);
      return [];
    case 'show-continuous-queries':
      return showContinuousQueries(context);
    case 'delete':
    case 'drop-series':
    case 'drop-measurement':
      await runDeletion(statement, context);
      return [];
    case 'show-users':
    case 'show-grants':
    case 'create-user':
    case 'drop-user':
    case 'set-password':
    case 'grant':
    case 'revoke':
    case 'grant-admin':
    case 'revoke-admin':
      return runUserStatement(statement, metadata.users);
    case 'create-subscription':
    case 'drop-subscription':
    case 'show-subscriptions':
      return runSubscriptionStatement(statement, metadata.subscriptions);
    case 'show-shards':
      return showShards(context);
    case 'show-shard-groups':
      return showShardGroups(context);
    case 'drop-shard':
      await dropShard(statement.id, context);
      return [];
    case 'show-queries':
      return showQueries(context);
    case 'kill-query':
      await killQuery(statement, context);
      return [];
    case 'show-stats':
      return showStats(statement.module, context.backend.server);
    case 'show-diagnostics':
      return showDiagnostics(statement.module, context.backend.server);
  }
}

function changes(statement: Statement): boolean {
  if (statement.kind === 'select') return writesInto(statement);
  return !statement.kind.startsWith('show') && statement.kind !== 'explain';
}

/** As in InfluxDB, a DELETE that comes with GET is not. */
function isWarnedOf(statement: Statement): boolean {
  return changes(statement) && statement.kind !== 'delete';
}

function messagesOf(
  statement: Statement,
  { tally }: StatementContext,
  { readOnly }: QueryOptions,
): Pick<StatementResult, 'messages'> {
  const texts = readOnly && isWarnedOf(statement) ? [deprecation(statement), ...tally.warnings] : tally.warnings;
  return texts.length === 0 ? {} : { messages: texts.map((text) => ({ level: 'warning', text })) };
}

function deprecation(statement: Statement): string {
  return `deprecated use of '${printStatement(statement)}' in a read only context, please use a POST request instead`;
}
