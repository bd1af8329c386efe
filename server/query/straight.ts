/**
 * SELECTs that this node's own workers answer in one round, without a promise between the request and its answer.
 *
 * Most of what dashboards ask is one statement over one measurement whose schema is remembered and whose shards are all
 * here. The general way (service.ts) passes some seventeen promises on its way to the workers and as many on its way back,
 * each of which costs more than a step of the work while its code is not optimized yet. Here the plan is made and the
 * workers are asked in the call that brings the request, and rows are made in the one that brings the last answer.
 *
 * What is not so plain, or fails before anything was asked, is left to the general way, and so is an answer that asks for
 * more: another plan, another place, the rest of the range. Both share every step of the work, so which way was taken
 * cannot be seen.
 */
import type { SelectRequest, ShardSelect } from '../../shards/query/partial.ts';
import type { Steps } from '../../shards/steps.ts';
import type { SelectStatement } from '../influxql/ast.ts';
import type { StatementForms } from '../influxql/statement-forms.ts';
import { mainTurns } from '../turns.ts';
import type { PartialAnswers, QueryBackend, ShardTarget } from './backend.ts';
import { lookbackOf } from './calls.ts';
import { freeGrid, mergeStates } from './cells.ts';
import {
  hasEnough,
  limitedSpan,
  limitsSeries,
  needsOf,
  rawNeeds,
  rowsOf,
  selectRequest,
  spanOf,
  statesOnly,
} from './data.ts';
import type { Deadlines } from './deadlines.ts';
import { gridTable } from './grid-table.ts';
import type { QueryLimits } from './limits.ts';
import type { OutputTable } from './output.ts';
import { OUTERMOST, type PlannedSource, planNow, type SelectPlan } from './plan.ts';
import { canSettle, isOneRequest } from './ranges.ts';
import type { QueryOptions, StatementResult } from './result.ts';
import { type BegunStatement, Running } from './running.ts';
import type { RunningQueries } from './running-queries.ts';
import { contextOf, StalePlan, type StatementContext, selectsIn } from './scatter.ts';
import type { SchemaMemory } from './schema-memory.ts';
import { dimensionsOf, fillsFurther, hasNoColumn, knownCalls, rawTable, seriesOf } from './select.ts';

/** From statement to statement. */
export interface Kept {
  readonly memory: SchemaMemory;
  readonly forms: StatementForms;
  readonly deadlines: Deadlines;
  readonly queries: RunningQueries;
}

/** As QueryService.straight. */
export function beginStraight(
  backend: QueryBackend,
  limits: QueryLimits,
  { memory, forms, deadlines, queries }: Kept,
  text: string,
  options: QueryOptions,
  done: (result: StatementResult | null) => void,
): boolean {
  const { params, chunkSize, completeness, consistency } = options;
  if (params !== undefined || chunkSize !== null || completeness || consistency !== undefined) return false;
  const statement = forms.find(text);
  // What writes takes more than one round.
  if (statement === null || statement.into !== undefined || queries.isFull) return false;
  const query = queries.begin([statement], options.database);
  const running = new Running(deadlines, options.ending, query);
  const context = contextOf(backend, limits, memory, options, running.ending);
  let isOver = false;
  const finish = (result: StatementResult): void => {
    if (isOver) return;
    isOver = true;
    running.done();
    queries.end(query);
    done(result);
  };
  /** It goes on in the general way. */
  const leave = (left: Left): void => {
    isOver = true;
    if (options.begun === undefined) {
      running.done();
      queries.end(query);
    } else options.begun.left = { statement, query, running, ...left };
  };
  const giveUp = (left: Left): void => {
    if (isOver) return;
    // That way counts anew what it touches.
    context.tally.clear();
    leave(left);
    done(null);
  };
  const plan = planOf(statement, context);
  // Where shards may be unknown the general way says so.
  const round = plan === null || context.tally.shortfall() !== null ? null : roundOf(plan, context);
  if (round === null) {
    leave({ plan, context });
    return false;
  }
  const { targets, request } = round;
  const again: Left = { plan, context };
  running.ending.onEnd(() => finish({ statementId: 0, error: running.ending.reason!.message }));
  const answered = (answers: PartialAnswers): void => {
    if (isOver) return;
    const taken = (outcome: StatementResult | Left): void => {
      if ('statementId' in outcome) finish(outcome);
      else giveUp(outcome);
    };
    // It fails with the ending alone, which has told already.
    mainTurns.run(resultOf(statement, round, answers, context), running.ending, taken, () => {});
  };
  if (backend.runHere?.(targets, request, answered, () => giveUp(again), running.ending) === true) return true;
  leave(again);
  return false;
}

/** What is left to the general way. */
type Left = Pick<BegunStatement, 'plan' | 'context'>;

/** A result, or what is left of the statement because its answer is of another kind than what is plain; in short steps. */
function* resultOf(
  statement: SelectStatement,
  { plan, targets, request, tableOf }: Round,
  answers: PartialAnswers,
  context: StatementContext,
): Steps<StatementResult | Left> {
  try {
    const table = yield* tableOf(yield* selectsIn(context, targets, request, answers));
    if (table === null) return { plan, context: { ...context, needsAllWindows: true } };
    const series = yield* seriesOf(statement, plan, table, context);
    return series.length === 0 ? { statementId: 0 } : { statementId: 0, series };
  } catch (error) {
    const isTold = error instanceof Error && 'code' in error && context.planning.isConfirmed;
    if (isTold) return { statementId: 0, error: error.message };
    // The general way need not try again what is known to be old.
    if (error instanceof StalePlan) context.planning.distrust(request.planned!);
    return { plan: null, context };
  }
}

/** What is asked of the shards, and what their answers become. */
interface Round {
  readonly plan: SelectPlan;
  readonly targets: readonly ShardTarget[];
  readonly request: SelectRequest;
  /** null: windows beyond those that were asked for are needed. */
  tableOf(shards: readonly ShardSelect[]): Steps<OutputTable | null>;
}

/** null: what it needs is not remembered, or something is wrong with it, which the general way says. */
function planOf(statement: SelectStatement, context: StatementContext): SelectPlan | null {
  try {
    return planNow(statement, OUTERMOST, context);
  } catch {
    return null;
  }
}

/** null: not in one round, or not at all. */
function roundOf(plan: SelectPlan, context: StatementContext): Round | null {
  const [source] = plan.sources;
  if (plan.sources.length !== 1 || source?.kind !== 'shards' || source.planned === null) return null;
  // Which series are left is asked first.
  if (limitsSeries(plan) && plan.dimensions.length > 0) return null;
  try {
    return plan.calls.length === 0 ? rawRound(plan, source, context) : callsRound(plan, source, context);
  } catch {
    // As above.
    return null;
  }
}

type ShardSource = Extract<PlannedSource, { kind: 'shards' }>;

function rawRound(plan: SelectPlan, source: ShardSource, context: StatementContext): Round | null {
  if (hasNoColumn(plan)) return null;
  const dimensions = dimensionsOf(plan, []);
  const { wanted, span } = rawNeeds(plan);
  const request = selectRequest(plan, span, wanted, dimensions, source, context);
  if (!isOneRequest(source.targets, request, canSettle(request, limitsSeries(plan)))) return null;
  return {
    plan,
    targets: source.targets,
    request,
    *tableOf(shards) {
      return yield* rawTable(plan, yield* rowsOf(plan, shards, [], wanted, dimensions, context));
    },
  };
}

function callsRound(plan: SelectPlan, source: ShardSource, context: StatementContext): Round | null {
  const calls = knownCalls(plan);
  if (
    calls.length === 0 ||
    fillsFurther(plan) ||
    (plan.interval !== null && (plan.windows === null || calls.some(lookbackOf)))
  )
    return null;
  const { wanted, stateIndex, references } = needsOf(plan, calls);
  if (references.length > 0 || !calls.every(({ key }) => stateIndex.has(key))) return null;
  const span = spanOf(plan, 0, context);
  const part = limitedSpan(plan, span);
  const request = selectRequest(plan, part ?? span, wanted, dimensionsOf(plan, []), source, context);
  if (canSettle(request, limitsSeries(plan)) && !isOneRequest(source.targets, request, true)) return null;
  const { cellsMax } = context.limits;
  return {
    plan,
    targets: source.targets,
    request,
    *tableOf(shards) {
      const grid = yield* mergeStates(shards, request, cellsMax);
      if (part !== null && !hasEnough(grid, plan)) return null;
      const table = yield* gridTable(plan, calls, statesOnly(span, grid, stateIndex), cellsMax, false);
      freeGrid(grid);
      return table;
    },
  };
}
