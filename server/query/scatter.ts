/**
 * Runs partial requests where the shards are, for one statement: counts what is missing, keeps to the time allowed.
 */
import type { ClusterSnapshot, DatabaseDefinition, Member, RetentionPolicyDefinition } from '../../repair/cluster.ts';
import { earliestLosses, withAcknowledged } from '../../repair/losses.ts';
import type { LossDescription } from '../../repair/records.ts';
import { tooManySeries } from '../../shards/query/groups.ts';
import { unpackGroups } from '../../shards/query/packed-groups.ts';
import type { PartialRequest, PartialResult, SelectRequest, ShardSelect } from '../../shards/query/partial.ts';
import { unpackStates } from '../../shards/query/state-arrays.ts';
import type { Steps } from '../../shards/steps.ts';
import { mainTurns } from '../turns.ts';
import type { LevelReport, PartialAnswers, QueryBackend, ShardTarget } from './backend.ts';
import type { Ending } from './ending.ts';
import { Held } from './held.ts';
import type { QueryLimits } from './limits.ts';
import { PassingError, QueryError, TooManyRows } from './query-error.ts';
import type { Completeness, QueryOptions } from './result.ts';
import { Planning, type SchemaMemory } from './schema-memory.ts';

export interface StatementContext {
  readonly backend: QueryBackend;
  readonly limits: QueryLimits;
  readonly nowNs: bigint;
  readonly database: string | undefined;
  readonly retentionPolicy: string | undefined;
  readonly ending: Ending;
  readonly tally: Tally;
  readonly planning: Planning;
  /** The answer will say what is proven. */
  readonly wantsProof: boolean;
  /** Windows that LIMIT asks for were read by themselves and did not suffice (`limitedSpan` in data.ts). */
  readonly needsAllWindows: boolean;
  /** Told of each partial request when it is answered (EXPLAIN ANALYZE). */
  readonly observe?: (round: AnsweredRequest) => void;
}

export interface AnsweredRequest {
  readonly request: PartialRequest;
  readonly targets: readonly ShardTarget[];
  readonly results: readonly PartialResult[];
  readonly ms: number;
}

/** Of a statement that begins. */
export function contextOf(
  backend: QueryBackend,
  limits: QueryLimits,
  memory: SchemaMemory,
  { nowNs, database, retentionPolicy, completeness }: QueryOptions,
  ending: Ending,
): StatementContext {
  const planning = new Planning(memory, false);
  const wantsProof = completeness === true;
  return {
    backend,
    limits,
    nowNs,
    database,
    retentionPolicy,
    ending,
    tally: new Tally(),
    planning,
    wantsProof,
    needsAllWindows: false,
  };
}

/** The least of some instants; unknown when one of them is. */
class Least {
  #ms: number | null = null;
  #isUnknown = false;

  add(ms: number | null): void {
    if (ms === null) this.#isUnknown = true;
    else if (this.#ms === null || ms < this.#ms) this.#ms = ms;
  }

  get seconds(): number | null {
    return this.#isUnknown || this.#ms === null ? null : this.#ms / 1000;
  }
}

/** A remembered schema was not confirmed: the statement is to be planned again. */
export class StalePlan extends Error {}

/** Shared: nearly no statement has any. */
const NO_WARNINGS: readonly string[] = [];

/** What a statement touched. */
export class Tally {
  readonly #touched = new Set<string>();
  readonly #missing = new Map<string, ShardTarget>();
  readonly #damaged = new Set<string>();
  readonly #unheard = new Set<string>();
  readonly #silent = new Set<string>();
  /** For people, with the answer. */
  warnings: readonly string[] = NO_WARNINGS;
  #losses: readonly LossDescription[] = [];
  #converged = new Least();
  #liveConverged = new Least();

  warn(text: string): void {
    this.warnings = [...this.warnings, text];
  }

  add(targets: readonly ShardTarget[], answers: PartialAnswers): void {
    for (const target of targets) this.#touched.add(target.id);
    for (const target of answers.missing) this.#missing.set(target.id, target);
    for (const target of answers.damaged) this.#damaged.add(target.id);
    for (const name of answers.silent ?? []) this.#silent.add(name);
    const { losses = [] } = answers;
    if (losses.length > 0) this.#losses = earliestLosses([...this.#losses, ...losses]);
    this.#converged.add(answers.convergedThroughMs);
    this.#liveConverged.add(answers.liveConvergedThroughMs);
  }

  /** Members that may know of shards that nobody else knows. */
  addUnheard(names: readonly string[]): void {
    for (const name of names) this.#unheard.add(name);
  }

  get lacksShards(): boolean {
    return this.#missing.size > 0;
  }

  clear(): void {
    this.#touched.clear();
    this.#missing.clear();
    this.#damaged.clear();
    this.#unheard.clear();
    this.#silent.clear();
    this.#losses = [];
    this.#converged = new Least();
    this.#liveConverged = new Least();
  }

  completeness(report: LevelReport | null, members: readonly Member[]): Completeness {
    const unheard = [...new Set([...this.#unheard, ...this.#silent])].sort();
    const damaged = [...this.#damaged].sort();
    // Of shards that nobody here knows nothing is proven.
    const isKnown = unheard.length === 0;
    return {
      complete: this.#missing.size === 0 && damaged.length === 0 && isKnown,
      missing_shards: [...this.#missing.keys()].sort(),
      converged_through: isKnown ? this.#converged.seconds : null,
      live_converged_through: isKnown ? this.#liveConverged.seconds : null,
      ...(damaged.length === 0 ? {} : { damaged_shards: damaged }),
      ...(isKnown ? {} : { unheard_members: unheard }),
      ...(this.#losses.length === 0 ? {} : { losses: this.#lossesByName(members) }),
      ...(report === null
        ? {}
        : {
            consistency: report.consistency,
            members: report.members,
            levelled: {
              shards: report.shards,
              delete_shards: report.deleteShards,
              batches: report.batches,
              rows: report.rows,
            },
          }),
    };
  }

  #lossesByName(members: readonly Member[]): NonNullable<Completeness['losses']> {
    const named = withAcknowledged(this.#losses, members).map(({ name, afterMs, acknowledgedMs, wentOn }) => ({
      member: name,
      after: afterMs === 0 ? null : afterMs / 1000,
      ...(acknowledgedMs === undefined ? {} : { acknowledged: true }),
      ...(wentOn === true && { went_on: true }),
    }));
    return named.sort((a, b) => (a.member < b.member ? -1 : a.member > b.member ? 1 : (a.after ?? 0) - (b.after ?? 0)));
  }

  /** The error of a statement whose answer would lack shards, or null. */
  shortfall(): string | null {
    if (this.#unheard.size > 0) {
      const names = [...this.#unheard].sort().join(', ');
      return `shards unknown: ${names} have not said since this node started which shards they hold`;
    }
    if (this.#missing.size === 0) return null;
    const named = [...this.#missing.values()]
      .slice(0, 3)
      .map(({ id, key }) => `${id} of ${key.database}.${key.retentionPolicy}`)
      .join(', ');
    const more = this.#missing.size > 3 ? ', …' : '';
    return `${this.#missing.size} of ${this.#touched.size} shards unavailable: no owner is up (${named}${more})`;
  }
}

/** What the answer rests on. */
export function completenessOf({ tally, backend }: StatementContext, report: LevelReport | null): Completeness {
  return tally.completeness(report, backend.snapshot().members);
}

/** What a statement says that failed with it; a defect is thrown on. `names`: the answer names what is missing. */
export function errorText(error: unknown, { tally }: StatementContext, names: boolean): string {
  // What could not be read may be why a statement failed.
  const shortfall = names ? null : tally.shortfall();
  // Typed errors of all rooms carry a code and a text for people; anything else is a defect and must show.
  if (error instanceof Error && 'code' in error) return shortfall ?? error.message;
  throw error;
}

export async function runOn(
  context: StatementContext,
  targets: readonly ShardTarget[],
  request: PartialRequest,
): Promise<readonly PartialResult[]> {
  if (targets.length === 0) return [];
  const { ending, tally } = context;
  ending.throwIfEnded();
  const answers = await run(context, targets, request);
  ending.throwIfEnded();
  tally.add(targets, answers);
  refuse(answers.results);
  return answers.results;
}

function run(
  { backend, ending, wantsProof, observe }: StatementContext,
  targets: readonly ShardTarget[],
  request: PartialRequest,
): Promise<PartialAnswers> {
  const answers = backend.run(targets, request, ending, wantsProof);
  if (observe === undefined) return answers;
  const beganMs = performance.now();
  return answers.then((answer) => {
    observe({ request, targets, results: answer.results, ms: performance.now() - beganMs });
    return answer;
  });
}

function refuse(results: readonly PartialResult[]): void {
  for (const result of results)
    if (result.kind === 'refused')
      throw result.isTooManyRows === true ? new TooManyRows(result.message) : new PassingError(result.message);
}

export async function selectOn(
  context: StatementContext,
  targets: readonly ShardTarget[],
  request: SelectRequest,
): Promise<ShardSelect[]> {
  context.ending.throwIfEnded();
  if (targets.length === 0) return [];
  const answers = await run(context, targets, request);
  return mainTurns.of(selectsIn(context, targets, request, answers), context.ending);
}

/**
 * Shards of which the plan needs no rows, or none yet: throws StalePlan when one has another schema than planned. One that is
 * not up keeps what it had, unless `needsAll`.
 */
export async function confirmOn(
  context: StatementContext,
  targets: readonly ShardTarget[],
  request: SelectRequest,
  needsAll = false,
): Promise<void> {
  const { ending, planning } = context;
  ending.throwIfEnded();
  if (targets.length === 0 || request.planned === null) return;
  const { results, missing } = await run(context, targets, { ...request, measurements: [] });
  ending.throwIfEnded();
  if (results.some((result) => result.kind === 'stale') || (needsAll && missing.length > 0)) throw new StalePlan();
  planning.confirm(request.planned, targets.length);
}

/** Groups that are unpacked in one step. */
const STEP_GROUPS = 8192;

/** The shards that have part in the answers, in order. Throws StalePlan, and QueryError for what was refused. In short steps. */
export function* selectsIn(
  context: StatementContext,
  targets: readonly ShardTarget[],
  request: SelectRequest,
  answers: PartialAnswers,
): Steps<ShardSelect[]> {
  const { ending, tally } = context;
  const { results } = answers;
  ending.throwIfEnded();
  tally.add(targets, answers);
  if (request.planned !== null) {
    // A place that refuses has found its schema to be the planned one before.
    if (tally.lacksShards || results.some((result) => result.kind === 'stale')) throw new StalePlan();
    context.planning.confirm(request.planned, targets.length);
  }
  refuse(results);
  const held = new Held(context.limits);
  held.addResults(results);
  held.require();
  const shards: ShardSelect[] = [];
  let left = STEP_GROUPS;
  for (const result of results)
    if (result.kind === 'select')
      for (const shard of result.shards) {
        const groups = unpackGroups(shard.groups);
        const cells = groups.measurements.length * shard.windowCount;
        shards.push({
          startNs: shard.startNs,
          number: shard.number,
          rowsScanned: shard.rowsScanned,
          seriesMatched: shard.seriesMatched,
          groups,
          firstWindow: shard.firstWindow,
          windowCount: shard.windowCount,
          states: unpackStates(shard.states, request.states, cells),
          seriesKeys: shard.seriesKeys,
          aux: shard.aux,
          rows: shard.rows,
          bytes: shard.bytes ?? 0,
        });
        left -= groups.measurements.length;
        if (left > 0) continue;
        left = STEP_GROUPS;
        yield;
      }
  const ordered = inShardOrder(shards);
  requireFewSeries(ordered, context.limits.seriesMax);
  return ordered;
}

/** Of a shard group, as InfluxDB counts those of a shard: each of its shards has other series, and keeps to the limit by itself. */
function requireFewSeries(ordered: readonly ShardSelect[], max: number): void {
  let series = 0;
  let group: bigint | null = null;
  for (const { startNs, seriesMatched } of ordered) {
    series = startNs === group ? series + seriesMatched : seriesMatched;
    group = startNs;
    if (series > max) throw new QueryError(tooManySeries(max));
  }
}

export function partialLimits(limits: QueryLimits): SelectRequest['limits'] {
  return {
    msMax: limits.queryMsMax,
    rowsScannedMax: limits.rowsScannedMax,
    rowsMax: limits.rowsMax,
    bytesMax: limits.bytesMax,
    seriesMax: limits.seriesMax,
    cellsMax: limits.cellsMax,
  };
}

export function findDatabase(snapshot: ClusterSnapshot, name: string | undefined): DatabaseDefinition {
  if (name === undefined || name === '') throw new QueryError('database name required');
  const database = snapshot.databases.find((candidate) => candidate.name === name);
  if (database === undefined) throw new QueryError(`database not found: ${name}`);
  return database;
}

export function findPolicy(database: DatabaseDefinition, name: string | undefined): RetentionPolicyDefinition {
  const wanted = name === undefined || name === '' ? database.defaultRetentionPolicy : name;
  const policy = database.retentionPolicies.find((candidate) => candidate.name === wanted);
  if (policy === undefined) throw new QueryError(`retention policy not found: ${wanted}`);
  return policy;
}

function inShardOrder(shards: ShardSelect[]): ShardSelect[] {
  return shards.sort((a, b) => (a.startNs !== b.startNs ? (a.startNs < b.startNs ? -1 : 1) : a.number - b.number));
}
