/**
 * Runs the continuous queries of which this node is the runner, at the boundaries of their intervals.
 *
 * The runner of a query is the first live member by rendezvous hashing; when it dies, the next one finds in the metadata when
 * the query ran last, and goes on from there. On two sides of a partition both run it, and so may two members after each other
 * while they do not agree who lives: both write the same points. A run that has ended is remembered here at once and told to all at
 * most every `SAVED_EVERY_MS`, so that a query that runs each second costs little; what a successor runs again for
 * that reason are the same points, too.
 *
 * A run that fails is tried again, each time after twice as long up to `RETRY_MS_MAX`, with the windows that have ended
 * meanwhile; what is caught up with is bounded (schedule.ts), so that an outage loses no window and none grows for ever. Given up
 * are the windows of a run that would fail again (its statement is wrong, a database is not there), or that was killed. Points
 * that were refused one by one are told in the log and not tried again.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { type LiveMembers, memberFor } from '../cluster-registers.ts';
import type { ContinuousQueryStatement, Expression } from '../influxql/ast.ts';
import { parseQuery } from '../influxql/parser.ts';
import { printSelect } from '../influxql/printer.ts';
import { QueryError } from '../query/query-error.ts';
import { QueryParseError, type QueryService } from '../query/result.ts';
import { splitCondition } from '../query/time-range.ts';
import { zoneOffset } from '../query/time-zone.ts';
import type { ContinuousQueries, ContinuousQuery } from './registry.ts';
import { type Due, dueAt, partsOf, type RunRange, type Schedule, scheduleOf } from './schedule.ts';

const SAVED_EVERY_MS = 30_000;
/** After the first failure. */
const RETRY_MS = 5_000;
const RETRY_MS_MAX = 8 * RETRY_MS;
/** Queries that run at the same time on this node. */
const RUNS_MAX = 4;
/** Of one SELECT: what was missed is caught up with in parts. */
const WINDOWS_AT_ONCE = 500n;

export interface RunnerLog {
  warn(details: object, message: string): void;
}

/** What this node knows of a query that it has run. */
interface Own {
  readonly createdMs: number;
  lastRunNs: bigint | null;
  savedMs: number;
  /** Of the run that is due. */
  failures: number;
  notBeforeMs: number;
}

interface DueRun extends Due {
  readonly query: ContinuousQuery;
  readonly own: Own;
  readonly statement: ContinuousQueryStatement;
  readonly schedule: Schedule;
}

export class ContinuousRunner {
  readonly #queries: ContinuousQueries;
  readonly #cluster: LiveMembers;
  readonly #service: QueryService;
  readonly #log: RunnerLog;
  readonly #own = new Map<string, Own>();
  readonly #parsed = new Map<string, ContinuousQueryStatement | null>();
  readonly #running = new Set<string>();
  /** The query that was started last: those behind it are next, so that slow ones hold nobody up. */
  #startedLast: string | null = null;
  #isStopping = false;

  constructor(queries: ContinuousQueries, cluster: LiveMembers, service: QueryService, log: RunnerLog) {
    this.#queries = queries;
    this.#cluster = cluster;
    this.#service = service;
    this.#log = log;
  }

  /** Starts what is due; resolves when all runs that it started have ended. */
  async tick(nowMs: number): Promise<void> {
    const started: Promise<void>[] = [];
    const all = this.#queries.all();
    this.#forgetOthers(all);
    const next = all.findIndex(({ key }) => key === this.#startedLast) + 1;
    // Asked once: there may be thousands of queries.
    const names = this.#cluster.liveMemberNames();
    const { selfName } = this.#cluster;
    const members = { selfName, liveMemberNames: () => names };
    for (const query of [...all.slice(next), ...all.slice(0, next)]) {
      if (this.#running.size >= RUNS_MAX || this.#isStopping) break;
      const { key } = query;
      if (this.#running.has(key) || memberFor(members, key) !== selfName) continue;
      const due = this.#dueRun(query, nowMs);
      if (due === null) continue;
      this.#startedLast = key;
      this.#running.add(key);
      started.push(this.#run(due, nowMs).finally(() => this.#running.delete(key)));
    }
    await Promise.all(started);
  }

  /** Runs that are under way end before their next part. */
  stop(): void {
    this.#isStopping = true;
  }

  #dueRun(query: ContinuousQuery, nowMs: number): DueRun | null {
    const own = this.#ownOf(query);
    // A time far in the future is of a clock that was stepped back since.
    if (nowMs < own.notBeforeMs && own.notBeforeMs - nowMs <= RETRY_MS_MAX) return null;
    const statement = this.#statementOf(query);
    if (statement === null) return null;
    const nowNs = nanoseconds(nowMs);
    const schedule = scheduleOf(statement, nowNs);
    const due = dueAt(schedule, this.#lastRunOf(query, own, nowNs), nowNs);
    return due && { query, own, statement, schedule, ...due };
  }

  async #run(due: DueRun, nowMs: number): Promise<void> {
    const { query, own, statement, schedule } = due;
    try {
      for (const part of partsOf(schedule, due.range, WINDOWS_AT_ONCE)) {
        // The next runner begins where the last run ended.
        if (!this.#isOurs(query)) return;
        await this.#write(query, statement, part, nanoseconds(nowMs));
        // Where no shard is read a part ends without one.
        await turn();
      }
      this.#ended(due, null, nowMs);
    } catch (error) {
      const { message } = error as Error;
      const details = { query: query.name, database: query.database, tries: own.failures + 1, error: message };
      this.#log.warn(details, 'a continuous query failed');
      own.notBeforeMs = nowMs + Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** own.failures);
      own.failures++;
      own.lastRunNs = due.failedNs;
      if (wouldFailAgain(error)) this.#ended(due, message, nowMs);
    }
  }

  #isOurs(query: ContinuousQuery): boolean {
    if (this.#isStopping || !this.#queries.isThere(query)) return false;
    return memberFor(this.#cluster, query.key) === this.#cluster.selfName;
  }

  async #write(
    query: ContinuousQuery,
    { select }: ContinuousQueryStatement,
    { startNs, endNs }: RunRange,
    nowNs: bigint,
  ): Promise<void> {
    const { rest } = splitCondition(select.condition, nowNs, zoneOffset(select.timeZone));
    const text = printSelect({ ...select, condition: within(rest, startNs, endNs) });
    let reason: unknown = null;
    const failed = (error: unknown): void => {
      reason = error;
    };
    const options = { database: query.database, nowNs, readOnly: false, chunkSize: null, completeness: false, failed };
    for await (const { error } of this.#service.execute(text, options)) {
      if (error === undefined) continue;
      if (!error.startsWith('partial write:')) throw reason ?? new Error(error);
      const details = { query: query.name, database: query.database, error };
      this.#log.warn(details, 'points of a continuous query were refused');
    }
  }

  #ended({ query, own, lastRunNs }: DueRun, error: string | null, nowMs: number): void {
    own.failures = 0;
    own.notBeforeMs = 0;
    own.lastRunNs = lastRunNs;
    if (Math.abs(nowMs - own.savedMs) < SAVED_EVERY_MS && error === null) return;
    own.savedMs = nowMs;
    // It may have been dropped meanwhile.
    if (!this.#queries.isThere(query)) return;
    const { createdMs } = query;
    this.#queries.noteRun(query, { createdMs, lastRunNs: String(lastRunNs), error, member: this.#cluster.selfName });
  }

  /**
   * The later one of what is known here and in the cluster; null: it never ran, or a clock has gone back since. A boundary that lies
   * ahead is of such a clock: windows are rather computed twice than left when half of their rows had come.
   */
  #lastRunOf(query: ContinuousQuery, own: Own, nowNs: bigint): bigint | null {
    const told = this.#queries.lastRun(query);
    const known = [own.lastRunNs, told === null ? null : BigInt(told.lastRunNs)];
    let last: bigint | null = null;
    for (const each of known) {
      if (each === null || each > nowNs) continue;
      if (last === null || each > last) last = each;
    }
    return last;
  }

  #ownOf({ key, createdMs }: ContinuousQuery): Own {
    const known = this.#own.get(key);
    if (known?.createdMs === createdMs) return known;
    const own: Own = { createdMs, lastRunNs: null, savedMs: 0, failures: 0, notBeforeMs: 0 };
    this.#own.set(key, own);
    return own;
  }

  /** null: not understood, which was said once. */
  #statementOf({ name, database, text }: ContinuousQuery): ContinuousQueryStatement | null {
    let statement = this.#parsed.get(text);
    if (statement !== undefined) return statement;
    statement = null;
    try {
      const [parsed] = parseQuery(text);
      if (parsed?.kind === 'create-continuous-query') {
        scheduleOf(parsed, 0n);
        statement = parsed;
      }
    } catch (error) {
      this.#log.warn({ query: name, database, error: (error as Error).message }, 'a continuous query cannot be run');
    }
    this.#parsed.set(text, statement);
    return statement;
  }

  #forgetOthers(all: readonly ContinuousQuery[]): void {
    const keys = new Set(all.map(({ key }) => key));
    const texts = new Set(all.map(({ text }) => text));
    for (const key of this.#own.keys()) if (!keys.has(key)) this.#own.delete(key);
    for (const text of this.#parsed.keys()) if (!texts.has(text)) this.#parsed.delete(text);
  }
}

const nanoseconds = (ms: number): bigint => BigInt(Math.floor(ms)) * 1_000_000n;

/** Or is not to be tried again: it was killed. */
function wouldFailAgain(error: unknown): boolean {
  return (error instanceof QueryError && !error.retry) || error instanceof QueryParseError;
}

/** `rest AND time >= start AND time < end` */
function within(rest: Expression | null, startNs: bigint, endNs: bigint): Expression {
  const time: Expression = { kind: 'reference', name: 'time' };
  const from: Expression = { kind: 'binary', op: '>=', left: time, right: { kind: 'integer', value: startNs } };
  const to: Expression = { kind: 'binary', op: '<', left: time, right: { kind: 'integer', value: endNs } };
  const range: Expression = { kind: 'binary', op: 'AND', left: from, right: to };
  if (rest === null) return range;
  return { kind: 'binary', op: 'AND', left: { kind: 'paren', inner: rest }, right: range };
}
