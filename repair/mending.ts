/**
 * Mending: a damaged replica becomes full again by itself (protocol rules 15, 20, 21 and 32).
 *
 * A round reads the replica again (replica-reading.ts). Batches above the floor that are not what the ledger says are
 * fetched from another holder, whose copy must have the sum that the ledger lists, and put back whole. Of what is settled
 * the sums of windows are compared with a full owner's, where they differ those of series groups, and groups that differ or
 * cannot be read here are replaced by that owner's (level.ts). Then it is read once more: when nothing is wrong any more
 * and the settled rows were compared, it is full. Everything else stays where it is, and is served meanwhile.
 *
 * The floor stands still all the while: a damaged replica holds it back. A crash leaves a damaged replica, which begins anew.
 * Nothing gives up for as long as a member that may have what is missing cannot be asked. After `mendRoundsMax` rounds with
 * a full owner the replica is filled, as one below a floor is. When nobody is full and all others that hold the shard cannot
 * give it either, the rows are lost: they are counted and reported, and the replica goes on without them; of several damaged
 * ones that with the least number, and the others copy it.
 */
import { BatchError } from '../shards/batch-codec.ts';
import { isDamage, StorageError } from '../shards/errors.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { Filling } from './filling.ts';
import { liveFullHolders } from './held-shards.ts';
import { Mend, MendError, type MendProgress, type Step } from './mend.ts';
import type { Received } from './replica-messages.ts';
import { READ_BYTES_MAX } from './replica-reading.ts';
import { markDamaged, type Replica, type ReplicaTable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import type { Surroundings } from './surroundings.ts';

interface Job {
  readonly progress: MendProgress;
  run: Mend | null;
  steps: Generator<Step, void, Received | null> | null;
  /** What the next step is told. */
  answer: Received | null;
  waiting: boolean;
  retryAtMs: number;
  backoffMs: number;
  tries: number;
  /** How often it would not do piece by piece. */
  hopeless: number;
}

/** What may be saved up of the rate while nothing was read. */
const SAVED_MS_MAX = 100;
/** Steps of a tick that read nothing: each writes a block or asks a question. */
const STEPS_PER_TICK = 4;
/** Damage is looked for: among many shards not with every tick. */
const LOOK_EVERY_MS = 250;

export interface MendObserver {
  mendBegun(id: ShardId, progress: MendProgress): void;
  mendEnded(id: ShardId, progress: MendProgress, problem: string | null): void;
}

export class Mending {
  private readonly jobs = new Map<ShardId, Job>();
  private readonly o: {
    replicas: ReplicaTable;
    requests: Requests;
    filling: Filling;
    around: Surroundings;
    observer: MendObserver;
  };
  private tickedMs: number | null = null;
  /** Bytes that may be read now. A block is read whole: what it has more is waited for afterwards. */
  private credit = 0;
  private lookedMs = Number.NEGATIVE_INFINITY;

  constructor(options: Mending['o']) {
    this.o = options;
  }

  tick(): void {
    const { around } = this.o;
    const elapsedMs = Math.min(SAVED_MS_MAX, around.nowMs - (this.tickedMs ?? around.nowMs));
    this.tickedMs = around.nowMs;
    const allowed = (ms: number) => Math.ceil((around.limits.mendBytesPerSecond * ms) / 1000);
    const most = Math.min(allowed(SAVED_MS_MAX), READ_BYTES_MAX);
    this.credit = Math.min(most, this.credit + allowed(Math.max(1, elapsedMs)));
    let steps = STEPS_PER_TICK;
    if (around.nowMs - this.lookedMs >= LOOK_EVERY_MS) this.look();
    // The one that was served first is the last at the next tick.
    for (const [id, job] of [...this.jobs]) {
      if (this.credit <= 0 || steps <= 0) break;
      while (this.credit > 0 && steps-- > 0 && this.isReady(id, job)) this.credit -= this.step(id, job, this.credit);
      if (this.jobs.delete(id) && job.progress.state === 'running') this.jobs.set(id, job);
    }
  }

  /** For replicas that have met damage. */
  private look(): void {
    const { replicas, around } = this.o;
    this.lookedMs = around.nowMs;
    for (const id of replicas.ids()) {
      const replica = replicas.get(id)!;
      const damaged = replica.ledger.replica === 'full' ? replica.stored.care.damaged[0] : undefined;
      if (damaged !== undefined) markDamaged(replica, damaged.message, around);
      if (replica.ledger.replica === 'damaged' && !this.jobs.has(id)) this.begin(replica);
    }
  }

  /** The replica's file was set aside or replaced. */
  forget(id: ShardId): void {
    const job = this.jobs.get(id);
    if (job === undefined) return;
    this.end(id, job, 'the replica was replaced');
    this.jobs.delete(id);
  }

  private begin(replica: Replica): void {
    const progress: MendProgress = {
      state: 'running',
      reason: replica.ledger.damage ?? replica.notes.damage?.reason ?? 'damaged',
      stage: 'reading',
      source: null,
      windows: 0,
      groups: 0,
      batches: 0,
      rows: 0,
      bytes: 0,
      bytesRead: 0,
      bytesTotal: 0,
      sinceMs: this.o.around.nowMs,
      bytesReadInAll: 0,
      round: 0,
      isWaiting: false,
      rowsLost: 0,
      batchesLost: 0,
      differing: [],
      steps: [],
    };
    const job = {
      progress,
      run: null,
      steps: null,
      answer: null,
      waiting: false,
      retryAtMs: 0,
      backoffMs: 0,
      tries: 0,
      hopeless: 0,
    };
    this.jobs.set(replica.id, job);
    this.o.around.count('mends_begun');
    this.o.observer.mendBegun(replica.id, progress);
  }

  private isReady(id: ShardId, job: Job): boolean {
    if (job.progress.state !== 'running') return false;
    const replica = this.o.replicas.get(id);
    if (replica === null || replica.ledger.replica !== 'damaged') {
      const isFull = replica?.ledger.replica === 'full';
      this.end(id, job, isFull ? null : 'the replica is being filled, or gone');
      return false;
    }
    return !job.waiting && this.o.around.nowMs >= job.retryAtMs;
  }

  /** Returns the bytes that were read. */
  private step(id: ShardId, job: Job, bytesMax: number): number {
    const { replicas, around, requests } = this.o;
    const replica = replicas.get(id)!;
    try {
      if (job.steps === null) {
        job.run = new Mend(replica, around, job.progress, job.tries);
        job.steps = job.run.run();
      }
      job.run!.bytesMax = bytesMax;
      const { done, value } = job.steps.next(job.answer);
      job.answer = null;
      if (done === true) {
        this.end(id, job, null);
        around.count('replicas_mended');
        return 0;
      }
      if (value.kind === 'turn') return value.bytes;
      job.waiting = true;
      const { steps } = job;
      requests.ask(value.to, replica.key.number, value.question, (answer) => {
        if (job.steps !== steps) return;
        job.waiting = false;
        job.answer = answer;
      });
      return 0;
    } catch (error) {
      this.failed(id, job, error);
      return bytesMax;
    }
  }

  private failed(id: ShardId, job: Job, error: unknown): void {
    const isExpected = error instanceof MendError || error instanceof StorageError || error instanceof BatchError;
    if (!isExpected) throw error;
    job.run?.stop();
    job.run = null;
    job.steps = null;
    job.answer = null;
    const { replicas, filling, around } = this.o;
    const replica = replicas.get(id);
    if (replica === null) return;
    around.count('mend_retries');
    // Who waits for a member that has to be told has asked nobody for rows.
    if (!replica.ledger.mustDisown) job.tries++;
    const { backoffMsMin, backoffMsMax } = around.limits;
    job.backoffMs = Math.min(backoffMsMax, Math.max(backoffMsMin, 2 * job.backoffMs));
    job.retryAtMs = around.nowMs + job.backoffMs;
    job.progress.stage = `waiting: ${error.message}`;
    job.progress.isWaiting = true;
    const isFileDamaged = error instanceof StorageError && isDamage(error) && error.code !== 'damaged-block';
    if (error instanceof MendError && error.isHopeless) job.hopeless++;
    // What cannot be written where it stands is replaced as a whole, if there is somebody to take it from. Otherwise what is
    // missing may still be on its way to that one.
    if (
      (isFileDamaged || job.hopeless > around.limits.mendRoundsMax) &&
      liveFullHolders(this.o.around, id).length > 0
    ) {
      filling.demote(replica, `it is damaged and cannot be mended piece by piece: ${error.message}`);
      this.end(id, job, `filled instead: ${error.message}`);
    }
  }

  private end(id: ShardId, job: Job, problem: string | null): void {
    if (job.progress.state !== 'running') return;
    job.run?.stop();
    job.progress.state = problem === null ? 'done' : 'failed';
    this.o.observer.mendEnded(id, job.progress, problem);
  }
}
