/**
 * Runs the continuous queries of which this node is the runner, at the boundaries of their intervals.
 *
 * The runner of a query is the first live member by rendezvous hashing; when it dies, the next one finds in the metadata when
 * the query ran last, and goes on from there. On two sides of a partition both run it, and so may two members after each other
 * while they do not agree who lives: both write the same points. A run that has ended is remembered here at once and told to all at
 * most every `SAVED_EVERY_MS`, so that a query that runs each second costs little; what a successor runs again for
 * that reason are the same points, too.
 *
 * A run that fails is tried again, each time after twice as long, `TRIES_MAX` times in all, with the windows that have ended
 * meanwhile. Then its windows are given up: what can never be computed must not grow for ever. Points that were refused one by
 * one are told in the log and not tried again.
 */
import { type LiveMembers, memberFor } from '../cluster-registers.ts';
import type { ContinuousQueryStatement, Expression } from '../influxql/ast.ts';
import { parseQuery } from '../influxql/parser.ts';
import { printSelect } from '../influxql/printer.ts';
import type { QueryService } from '../query/result.ts';
import { splitCondition } from '../query/time-range.ts';
import { zoneOffset } from '../query/time-zone.ts';
import type { ContinuousQueries, ContinuousQuery } from './registry.ts';
import { type Due, dueAt, partsOf, type RunRange, type Schedule, scheduleOf } from './schedule.ts';

const SAVED_EVERY_MS = 30_000;
const TRIES_MAX = 5;
/** After the first failure. */
const RETRY_MS = 5_000;
const RETRY_MS_MAX = RETRY_MS * 2 ** (TRIES_MAX - 2);
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

export class ContinuousRunner {
  readonly #queries: ContinuousQueries;
  readonly #cluster: LiveMembers;
  readonly #service: QueryService;
  readonly #log: RunnerLog;
  readonly #own = new Map<string, Own>();
  readonly #parsed = new Map<string, ContinuousQueryStatement | null>();
  readonly #running = new Set<string>();

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
    for (const query of all) {
      if (this.#running.size >= RUNS_MAX) break;
      if (this.#running.has(query.key) || memberFor(this.#cluster, query.key) !== this.#cluster.selfName) continue;
      this.#running.add(query.key);
      started.push(this.#runIfDue(query, nowMs).finally(() => this.#running.delete(query.key)));
    }
    await Promise.all(started);
  }

  async #runIfDue(query: ContinuousQuery, nowMs: number): Promise<void> {
    const own = this.#ownOf(query);
    // A time far in the future is of a clock that was stepped back since.
    if (nowMs < own.notBeforeMs && own.notBeforeMs - nowMs <= RETRY_MS_MAX) return;
    const statement = this.#statementOf(query);
    if (statement === null) return;
    const nowNs = BigInt(Math.floor(nowMs)) * 1_000_000n;
    const schedule = scheduleOf(statement, nowNs);
    const due = dueAt(schedule, this.#lastRunOf(query, own, schedule, nowNs), nowNs);
    if (due === null) return;
    try {
      for (const part of partsOf(schedule, due.range, WINDOWS_AT_ONCE))
        await this.#write(query, statement, part, nowNs);
      this.#ended(query, own, due, null, nowMs);
    } catch (error) {
      const { message } = error as Error;
      const details = { query: query.name, database: query.database, tries: own.failures + 1, error: message };
      this.#log.warn(details, 'a continuous query failed');
      own.notBeforeMs = nowMs + RETRY_MS * 2 ** own.failures;
      own.failures++;
      if (own.failures >= TRIES_MAX) this.#ended(query, own, due, message, nowMs);
    }
  }

  async #write(
    query: ContinuousQuery,
    { select }: ContinuousQueryStatement,
    { startNs, endNs }: RunRange,
    nowNs: bigint,
  ): Promise<void> {
    const { rest } = splitCondition(select.condition, nowNs, zoneOffset(select.timeZone));
    const text = printSelect({ ...select, condition: within(rest, startNs, endNs) });
    const options = { database: query.database, nowNs, readOnly: false, chunkSize: null, completeness: false };
    for await (const { error } of this.#service.execute(text, options)) {
      if (error === undefined) continue;
      if (!error.startsWith('partial write:')) throw new Error(error);
      const details = { query: query.name, database: query.database, error };
      this.#log.warn(details, 'points of a continuous query were refused');
    }
  }

  #ended(query: ContinuousQuery, own: Own, { lastRunNs }: Due, error: string | null, nowMs: number): void {
    own.failures = 0;
    own.notBeforeMs = 0;
    own.lastRunNs = lastRunNs;
    if (Math.abs(nowMs - own.savedMs) < SAVED_EVERY_MS && error === null) return;
    own.savedMs = nowMs;
    // It may have been dropped meanwhile.
    if (!this.#queries.all().some(({ key, createdMs }) => key === query.key && createdMs === query.createdMs)) return;
    const { createdMs } = query;
    this.#queries.noteRun(query, { createdMs, lastRunNs: String(lastRunNs), error, member: this.#cluster.selfName });
  }

  /** The later one of what is known here and in the cluster; null: it never ran, or a clock has gone back since. */
  #lastRunOf(query: ContinuousQuery, own: Own, { every }: Schedule, nowNs: bigint): bigint | null {
    const told = this.#queries.lastRun(query);
    const known = [own.lastRunNs, told === null ? null : BigInt(told.lastRunNs)];
    let last: bigint | null = null;
    for (const each of known) {
      if (each === null || each > nowNs + every.durationNs) continue;
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

/** `rest AND time >= start AND time < end` */
function within(rest: Expression | null, startNs: bigint, endNs: bigint): Expression {
  const time: Expression = { kind: 'reference', name: 'time' };
  const from: Expression = { kind: 'binary', op: '>=', left: time, right: { kind: 'integer', value: startNs } };
  const to: Expression = { kind: 'binary', op: '<', left: time, right: { kind: 'integer', value: endNs } };
  const range: Expression = { kind: 'binary', op: 'AND', left: from, right: to };
  if (rest === null) return range;
  return { kind: 'binary', op: 'AND', left: { kind: 'paren', inner: rest }, right: range };
}
