/**
 * Statements that run: each has so much time, and ends with its request. One that was begun straight and is left to the
 * general way keeps the time that it has had, and the plan that was made of it.
 */
import type { SelectStatement } from '../influxql/ast.ts';
import type { Deadlines } from './deadlines.ts';
import { Ending } from './ending.ts';
import type { SelectPlan } from './plan.ts';
import { QueryError } from './query-error.ts';
import type { RunningQuery } from './running-queries.ts';
import type { StatementContext } from './scatter.ts';

/** Shared: an error for each statement would cost a stack. */
const OVER = new QueryError('statement is over');

export class Running {
  readonly ending = new Ending();
  readonly #deadlines: Deadlines;
  readonly #request: Ending | undefined;
  #usedMs = 0;

  /** `done` has to be called in the end. */
  constructor(deadlines: Deadlines, request: Ending | undefined, query: RunningQuery) {
    this.#deadlines = deadlines;
    this.#request = request;
    deadlines.begin(this.ending);
    query.runs(this.ending);
    request?.onEnd(this.#leave);
  }

  /** What is still worked for it, after another part of it has failed, stops. */
  done(): void {
    this.#deadlines.done(this.ending);
    this.#request?.forget(this.#leave);
    this.ending.end(OVER);
  }

  /** Until the client has read what it was given: that is no time of the statement's. */
  rest(): void {
    this.#usedMs = this.#deadlines.rest(this.ending);
  }

  goOn(): void {
    this.#deadlines.begin(this.ending, this.#usedMs);
  }

  readonly #leave = (): void => this.ending.end(this.#request!.reason!);
}

/** What is not done by then is left alone. */
export function untilEnd<T>(work: Promise<T>, ending: Ending): Promise<T> {
  return new Promise((resolve, reject) => {
    const over = (): void => reject(ending.reason!);
    ending.onEnd(over);
    work.then(resolve, reject).finally(() => ending.forget(over));
  });
}

/** What the straight way leaves of a statement: it still runs. */
export interface BegunStatement {
  readonly statement: SelectStatement;
  readonly query: RunningQuery;
  readonly running: Running;
  readonly context: StatementContext;
  /** null: it has to be planned, or planned again. */
  readonly plan: SelectPlan | null;
}
