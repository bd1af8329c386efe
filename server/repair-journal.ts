/**
 * What this node hears of repairs goes on from here: to the history of those that moved something or failed, and to the log,
 * one line for each; of passes that found nothing the last one of each shard is remembered, and a line written at `debug`.
 */
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import type { NodeCore } from '../repair/node-core.ts';
import type { PassRecord } from '../repair/records.ts';
import { hasChanged, joined, type RepairRecord, recordOfPass } from '../repair/repair-records.ts';
import { nameOf } from '../repair/surroundings.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { Config } from './config.ts';
import { type KeptRepair, RepairHistory } from './repair-history.ts';
import type { RepairQuery } from './repair-query.ts';
import type { ShardPlaces } from './shard-places.ts';
import type { WorkerTurn } from './threads.ts';

const WRITE_EVERY_MS = 1_000;
/** Old ones are forgotten this often while nothing comes. */
const FORGET_EVERY = 600;
/** Passes of which something was found here and whose end has not been heard. */
const OPEN_MAX = 1_000;
/** Shards of which the last equal pass is remembered. */
const EQUAL_MAX = 100_000;
/** Shards whose last failure is remembered, to tell whether it is another one. */
const FAILED_MAX = 10_000;

/** The last pass of a shard that found nothing, and how many there have been since one found something, or the start. */
export interface EqualPasses {
  readonly shard: ShardId;
  readonly pass: string;
  readonly kind: PassRecord['kind'];
  readonly finishedMs: number;
  readonly ms: number;
  readonly passes: number;
}

export interface JournalOptions {
  readonly directory: string;
  readonly keptMs: number;
  readonly bytesMax: number;
  readonly nowMs: () => number;
  readonly log: Pick<Logger, 'info' | 'warn' | 'debug' | 'isLevelEnabled'>;
  snapshot(): ClusterSnapshot | null;
  /** null: the shard is not known (any more). */
  databaseOf(shard: ShardId): string | null;
}

export class RepairJournal {
  readonly #o: JournalOptions;
  readonly #history: RepairHistory;
  readonly #open = new Map<string, RepairRecord>();
  readonly #equal = new Map<ShardId, EqualPasses>();
  /** By shard: how it last failed. */
  readonly #failed = new Map<ShardId, string>();
  readonly #timer: NodeJS.Timeout;
  #ticks = 0;
  #isFresh = false;

  constructor(options: JournalOptions) {
    this.#o = options;
    const { directory, keptMs, bytesMax, nowMs, log } = options;
    const trouble = (problem: string): void => log.warn({ problem }, 'the history of repairs');
    this.#history = new RepairHistory({ path: join(directory, 'repairs.sqlite'), keptMs, bytesMax, nowMs, trouble });
    this.#timer = setInterval(() => this.#tick(), WRITE_EVERY_MS);
    this.#timer.unref();
  }

  static of(config: Config, log: Logger, core: Pick<NodeCore, 'snapshot'>, places: ShardPlaces): RepairJournal {
    return new RepairJournal({
      directory: config.dataDirectory,
      keptMs: config.repairHistoryMs,
      bytesMax: config.repairHistoryBytesMax,
      nowMs: Date.now,
      log,
      snapshot: () => core.snapshot(),
      databaseOf: (shard) => places.find(shard)?.key.database ?? null,
    });
  }

  /** What a turn of a worker told: what was found in a pass before its end. */
  take({ repairs, passes }: Pick<WorkerTurn, 'repairs' | 'passes'>): void {
    for (const record of repairs) this.repaired(record);
    for (const record of passes) this.passEnded(record);
  }

  /** Records that were not kept because the disk did not take them. */
  get dropped(): number {
    return this.#history.dropped;
  }

  passEnded(record: PassRecord): void {
    const own = this.#open.get(record.id);
    // Hundreds a second, in a cluster at rest.
    if (own === undefined && record.outcome === 'proven' && record.batchesMoved === 0) {
      this.#noteEqual(record);
      return;
    }
    this.#open.delete(record.id);
    const whole = recordOfPass(record);
    this.#note(own === undefined ? whole : joined(whole, own));
  }

  /** Of a pass: what was found here in one hop of it; the rest comes with its end. */
  repaired(record: RepairRecord): void {
    if (record.outcome !== 'running') {
      this.#note(record);
      return;
    }
    const known = this.#open.get(record.id);
    this.#open.set(record.id, known === undefined ? record : joined(known, record));
    if (this.#open.size > OPEN_MAX) this.#open.delete(this.#open.keys().next().value!);
    this.#keep(record);
  }

  list(query: RepairQuery): KeptRepair[] {
    return this.#history.list(query);
  }

  get(id: string): KeptRepair | null {
    return this.#history.get(id);
  }

  equalPassOf(shard: ShardId): EqualPasses | null {
    return this.#equal.get(shard) ?? null;
  }

  /** Over all shards. */
  equalPasses(): { shards: number; passes: number; oldestMs: number | null } {
    let [passes, oldestMs]: [number, number | null] = [0, null];
    for (const equal of this.#equal.values()) {
      passes += equal.passes;
      oldestMs = Math.min(oldestMs ?? equal.finishedMs, equal.finishedMs);
    }
    return { shards: this.#equal.size, passes, oldestMs };
  }

  close(): void {
    clearInterval(this.#timer);
    this.#history.close();
  }

  #tick(): void {
    this.#ticks++;
    if (this.#isFresh || this.#ticks % FORGET_EVERY === 0) this.#isFresh = !this.#history.flush();
  }

  #keep(record: RepairRecord): void {
    this.#history.add(record, this.#o.databaseOf(record.shard) ?? '');
    this.#isFresh = true;
  }

  #note(repair: RepairRecord): void {
    this.#keep(repair);
    // By a pass that has proven more, of which a line is written.
    const isVain = repair.outcome === 'overtaken' && !hasChanged(repair);
    if (!isVain) this.#equal.delete(repair.shard);
    const { log } = this.#o;
    const isFailure = repair.outcome === 'failed' || repair.outcome === 'damage';
    const failure = isFailure ? `${repair.kind} ${repair.outcome} ${repair.reason}` : '';
    // A shard that fails for one reason with every pass says so once.
    const isKnown = isFailure && this.#failed.get(repair.shard) === failure;
    if (isFailure) remember(this.#failed, repair.shard, failure, FAILED_MAX);
    else if (repair.kind === 'pass') this.#failed.delete(repair.shard);
    const level = isKnown || isVain ? 'debug' : isFailure || repair.lost !== null ? 'warn' : 'info';
    if (log.isLevelEnabled(level)) log[level]({ repair: this.#line(repair) }, isFailure ? 'repair failed' : 'repair');
  }

  #noteEqual(record: PassRecord): void {
    const { shard, id: pass, kind, finishedMs, startedMs } = record;
    this.#failed.delete(shard);
    const passes = (this.#equal.get(shard)?.passes ?? 0) + 1;
    const equal = { shard, pass, kind, finishedMs, ms: finishedMs - startedMs, passes };
    remember(this.#equal, shard, equal, EQUAL_MAX);
    const { log } = this.#o;
    if (log.isLevelEnabled('debug')) log.debug({ repair: this.#line(recordOfPass(record)) }, 'replicas equal');
  }

  /** With the names that people know members by. */
  #line(repair: RepairRecord): object {
    const snapshot = this.#o.snapshot();
    const name = (member: string): string => nameOf(snapshot, member);
    const { id, kind, shard, outcome, reason, startedMs, finishedMs, pass, lost, differences } = repair;
    return {
      id,
      kind: pass === null ? kind : `${pass.kind} ${kind}`,
      shard,
      database: this.#o.databaseOf(shard),
      outcome,
      reason,
      ms: finishedMs - startedMs,
      steps: repair.steps.map((step) => ({ ...step, from: name(step.from), to: name(step.to) })),
      skipped: pass?.skipped.map(({ member, reason: why }) => ({ member: name(member), reason: why })),
      samples: repair.samples.map(({ member, from, contests, deletes }) => ({
        member: name(member),
        from: from === null ? null : name(from),
        contests,
        deletes,
      })),
      lost: lost ?? undefined,
      differences: differences.length === 0 ? undefined : differences,
    };
  }
}

/** The one that was changed longest ago goes when there are too many. */
function remember<T>(map: Map<ShardId, T>, shard: ShardId, value: T, max: number): void {
  map.delete(shard);
  map.set(shard, value);
  if (map.size > max) map.delete(map.keys().next().value!);
}
