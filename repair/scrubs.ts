/**
 * Scrubs: every stored byte of a replica is read again, a bounded number of them a second, and held against the ledger.
 * What is found damaged is mended from another owner (mending.ts). A damaged replica that reads well stays damaged: that it
 * is what its ledger says is not all that its mend has to see to before it is full again (disowning.ts).
 *
 * Three reasons: an operator asks for a shard, a pass has found equal batches with unequal content (who is it?), or a run
 * over all shards is due. A run is remembered by an empty file with its start as name, and each shard's ledger by when it was
 * last read: a restart goes on with the shards that the run has not come to. One shard is read at a time. What the last run
 * came to is kept in `last-run.json`, and told as a repair: that all was read and nothing found is worth knowing.
 */
import { isDamage, StorageError } from '../shards/errors.ts';
import { type Files, joinPath } from '../shards/files.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { ScrubReport } from './records.ts';
import { repairRecord } from './repair-records.ts';
import { readJson, replaceJson } from './replaced-file.ts';
import { READ_BYTES_MAX, ReplicaReading, type Verdict } from './replica-reading.ts';
import { markDamaged, type Replica, type ReplicaTable } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

/** Told of a scrub that somebody waits for. */
export interface ScrubObserver {
  progressed(bytesRead: number, bytesTotal: number): void;
  /** `problem` null: what is stored is what the ledger says. */
  ended(problem: string | null, batchesMissing: number): void;
}

interface Task {
  readonly id: ShardId;
  readonly observer: ScrubObserver | null;
  /** Of the run over all shards. */
  readonly isOfRun: boolean;
  reading: ReplicaReading | null;
}

const REPORT_FILE = 'last-run.json';
const RUN_FILE = /^run-([0-9]{1,15})$/;
/** What may be saved up of the rate while nothing was read. */
const SAVED_MS_MAX = 100;
const FINDINGS_MAX = 100;

export class Scrubs {
  private readonly tasks: Task[] = [];
  private report: ScrubReport | null;
  /** The start of a run that a restart interrupted: the first tick goes on with it, when the time is known. */
  private interruptedMs: number | null;
  private tickedMs: number | null = null;
  /** Bytes that may be read now. A block is read whole: what it has more is waited for afterwards. */
  private credit: number;
  private readonly o: { replicas: ReplicaTable; around: Surroundings; files: Files; directory: string };

  constructor(options: Scrubs['o']) {
    this.o = options;
    const { files, directory } = options;
    this.credit = this.allowance(SAVED_MS_MAX / 2);
    const begun = files.list(directory).flatMap((name) => RUN_FILE.exec(name)?.[1] ?? []);
    this.interruptedMs = begun.map(Number).sort((a, b) => b - a)[0] ?? null;
    this.report = readReport(files, directory);
  }

  /** The run over all shards that is under way or was the last. */
  lastRun(): ScrubReport | null {
    return this.report === null ? null : { ...this.report };
  }

  /** Idempotent while a run is under way. */
  startAll(): void {
    if (this.interruptedMs !== null) return;
    if (this.report !== null && this.report.finishedMs === null) return;
    const { files, directory, around } = this.o;
    const startedMs = around.wallMs;
    try {
      files.makeDirectory(directory);
      files.open(joinPath(directory, `run-${startedMs}`)).close();
      files.syncDirectory(directory);
    } catch (error) {
      // Then a restart does not go on with it.
      if (!(error instanceof StorageError)) throw error;
    }
    this.begin(startedMs);
  }

  /** Somebody waits for it: before the run over all shards. */
  startOne(id: ShardId, observer: ScrubObserver | null): void {
    if (observer === null && this.tasks.some((task) => task.id === id && !task.isOfRun)) return;
    const at = this.tasks.findIndex((task, i) => i > 0 && task.isOfRun);
    this.tasks.splice(at < 0 ? this.tasks.length : at, 0, { id, observer, isOfRun: false, reading: null });
    this.work();
  }

  cancel(observer: ScrubObserver): void {
    const at = this.tasks.findIndex((task) => task.observer === observer);
    if (at >= 0) this.tasks.splice(at, 1)[0]!.reading?.close();
  }

  tick(): void {
    const { nowMs } = this.o.around;
    const elapsedMs = Math.min(SAVED_MS_MAX, nowMs - (this.tickedMs ?? nowMs));
    this.tickedMs = nowMs;
    if (this.interruptedMs !== null) this.begin(this.interruptedMs);
    this.interruptedMs = null;
    this.credit = Math.min(this.allowance(SAVED_MS_MAX), this.credit + this.allowance(elapsedMs));
    this.work();
  }

  private begin(startedMs: number): void {
    const { replicas, around } = this.o;
    // A time that is still to come is of a clock that was ahead, and says nothing.
    const isRead = (ms: number): boolean => ms >= startedMs && ms <= around.wallMs;
    const due = [...replicas.ids()].filter((id) => !isRead(replicas.get(id)!.ledger.scrubbedMs));
    const shards = [...replicas.ids()].length;
    this.report = { startedMs, finishedMs: null, shards, shardsDone: shards - due.length, bytesRead: 0, damaged: [] };
    for (const id of due) this.tasks.push({ id, observer: null, isOfRun: true, reading: null });
    if (due.length === 0) this.finish();
  }

  private allowance(ms: number): number {
    return Math.min(Math.ceil((this.o.around.limits.scrubBytesPerSecond * ms) / 1000), READ_BYTES_MAX);
  }

  private work(): void {
    while (this.credit > 0) {
      const task = this.tasks[0];
      if (task === undefined) return;
      const before = task.reading?.bytesRead ?? 0;
      const isOver = this.step(task, this.credit);
      const read = (task.reading?.bytesRead ?? before) - before;
      this.credit -= Math.max(1, read);
      this.count(task, read);
      if (isOver) this.over(task);
      // A step of a flush: the rest is the next tick's.
      else if (read === 0) return;
    }
  }

  private count(task: Task, bytes: number): void {
    this.o.around.count('scrub_bytes', bytes);
    if (task.isOfRun && this.report !== null)
      this.report = { ...this.report, bytesRead: this.report.bytesRead + bytes };
  }

  /** True when the shard is done with. */
  private step(task: Task, bytesMax: number): boolean {
    const replica = this.o.replicas.get(task.id);
    if (replica === null || replica.ledger.replica === 'filling') {
      task.observer?.ended(replica === null ? 'the shard is gone from this node' : 'this replica is being filled', 0);
      return true;
    }
    try {
      task.reading ??= new ReplicaReading(replica);
      const verdict = task.reading.step(bytesMax);
      if (verdict !== null) this.judged(task, replica, verdict);
      else task.observer?.progressed(task.reading.bytesRead, task.reading.bytesTotal);
      return verdict !== null;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      if (error.code === 'snapshot-gone') {
        // Mended, or replaced by a copy, under the reading: what is there now is read.
        task.reading?.close();
        task.reading = null;
        return false;
      }
      if (isDamage(error)) this.found(task, replica, error.message);
      task.observer?.ended(error.message, 0);
      return true;
    }
  }

  private judged(task: Task, replica: Replica, verdict: Verdict): void {
    const { around } = this.o;
    const { ledger, notes } = replica;
    ledger.scrubbedMs = around.wallMs;
    around.count('shards_scrubbed');
    if (verdict.note !== null) this.found(task, replica, verdict.note);
    else if (ledger.replica === 'full') notes.damage = null;
    task.observer?.ended(verdict.note, verdict.missing.length + verdict.unequal.length);
  }

  private found(task: Task, replica: Replica, reason: string): void {
    markDamaged(replica, reason, this.o.around);
    replica.ledger.damage = reason;
    if (!task.isOfRun || this.report === null || this.report.damaged.length >= FINDINGS_MAX) return;
    this.report = { ...this.report, damaged: [...this.report.damaged, { shard: task.id, reason }] };
  }

  private over(task: Task): void {
    task.reading?.close();
    const at = this.tasks.indexOf(task);
    if (at >= 0) this.tasks.splice(at, 1);
    if (!task.isOfRun || this.report === null) return;
    this.report = { ...this.report, shardsDone: this.report.shardsDone + 1 };
    if (!this.tasks.some(({ isOfRun }) => isOfRun)) this.finish();
  }

  private finish(): void {
    const { files, directory, around } = this.o;
    around.count('scrub_runs');
    if (this.report !== null) {
      const report = { ...this.report, finishedMs: Math.max(this.report.startedMs, around.wallMs) };
      this.report = report;
      replaceJson(files, directory, REPORT_FILE, report);
      this.tell(report);
    }
    try {
      for (const name of files.list(directory)) if (RUN_FILE.test(name)) files.remove(joinPath(directory, name));
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  }

  private tell({ startedMs, finishedMs, shards, bytesRead, damaged }: ScrubReport): void {
    const { around, replicas } = this.o;
    const [first] = [...replicas.ids()].sort();
    if (first === undefined) return;
    const found = damaged.length === 0 ? 'nothing damaged' : `${damaged.length} damaged`;
    const reason = `all ${shards} shards of a worker: ${bytesRead} bytes read again, ${found}`;
    // Of no other worker: none has the same shard.
    const id = `scrub-${around.self}-${first}-${startedMs.toString(36)}`;
    const outcome = damaged.length === 0 ? 'done' : 'damage';
    const given = {
      id,
      kind: 'scrub',
      shard: '',
      outcome,
      reason,
      startedMs,
      finishedMs: finishedMs ?? startedMs,
    } as const;
    around.repaired(repairRecord(given, {}, [around.self]));
  }
}

function readReport(files: Files, directory: string): ScrubReport | null {
  const kept = readJson(files, directory, REPORT_FILE);
  if (typeof kept !== 'object' || kept === null) return null;
  const { startedMs, finishedMs, shards, shardsDone, bytesRead, damaged } = kept as Record<string, unknown>;
  const areNumbers = [startedMs, finishedMs, shards, shardsDone, bytesRead].every((each) => typeof each === 'number');
  return areNumbers && Array.isArray(damaged) ? (kept as ScrubReport) : null;
}
