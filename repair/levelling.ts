/**
 * Levelling: before a query reads a replica, that replica gets what the others have and it lacks, up to this moment and
 * not only up to what is closed (read repair).
 *
 * Whoever asks has heard from the members which of them hold the shard, and who of them has writes of it in its outbox
 * that no owner has yet; such a member takes no part until they have left. Each other member of the shard's ring (its
 * owners and those that still hold it) is compared with at the same time: one round trip each where nothing is missing.
 * What differs is fetched from one after the other, so that what several have comes once. What a member acknowledged before it was asked is in its ledger when it answers, so afterwards it
 * is in this one's.
 *
 *   `all`     every member of the ring takes part
 *   `quorum`  more than half of the owners, and every holder that is no owner: it holds what was written under an earlier
 *             view, and lets go only after all owners are proven to have it. Of those that take part as many must have been
 *             proven with all owners since their replica was made (`isNewcomer`): an owner that lost its disk lacks what
 *             was acknowledged under its name. Not where nobody is known to have been, as in a shard that was just made,
 *             nor where all owners and holders take part
 *
 * States of a job: waiting (for its turn) -> pulling -> ended, with one result. A job ends when its level is reached, when
 * it no longer can be, when the replica has changed under it, or when its time is up. Nothing is kept of it afterwards.
 */
import { type ShardId, type ShardKey, shardId } from '../shards/shard-key.ts';
import type { NodeNumber, Stamp } from '../shards/version.ts';
import type { BatchesAsked } from './batches-asked.ts';
import type { CommitQueue } from './commit.ts';
import { heldIn } from './held-shards.ts';
import { type RepairSample, type RepairStep, repairRecord, sampleOf, stepOf } from './repair-records.ts';
import { isNewcomer, type Replica, type ReplicaTable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import type { Proofs } from './ring-proof.ts';
import { Pull, type Pulled } from './ring-pull.ts';
import type { Surroundings } from './surroundings.ts';

export type ReadLevel = 'quorum' | 'all';

/** A member that takes no part, and why not. */
export interface AbsentMember {
  readonly member: NodeNumber;
  readonly reason: string;
}

export interface LevelOrder {
  readonly request: number;
  readonly shard: ShardKey;
  readonly level: ReadLevel;
  /** The view under which `holders` and `without` were put together. */
  readonly viewHash: string;
  /** Members that hold the shard, as they said themselves. */
  readonly holders: readonly NodeNumber[];
  /** Members that may take no part; none must be named for `all`. */
  readonly without: readonly AbsentMember[];
  readonly timeoutMs: number;
}

export interface LevelResult {
  readonly request: number;
  readonly shard: ShardId;
  /**
   * `short`: too few took part. `not-here`: this replica cannot be read, or has writes of its own to hand on first.
   * `other-view`, `busy`: to be asked again.
   */
  readonly outcome: 'level' | 'short' | 'not-here' | 'other-view' | 'busy';
  /** Members that took part, this one first. */
  readonly members: readonly NodeNumber[];
  readonly missing: readonly AbsentMember[];
  readonly owners: number;
  readonly batches: number;
  readonly rows: number;
  readonly bytes: number;
}

interface Job {
  readonly order: LevelOrder;
  readonly id: ShardId;
  readonly deadlineMs: number;
  owners: readonly NodeNumber[];
  /** The replica as it was when the job began; null before. */
  replica: Replica | null;
  readonly pulls: Map<NodeNumber, Pull>;
  /** From whom something is fetched now, and when that was last seen to go on; others wait behind. */
  fetching: { readonly source: NodeNumber; movedMs: number } | null;
  readonly fetches: { readonly source: NodeNumber; readonly go: () => void }[];
  readonly members: NodeNumber[];
  /** Of the members: not proven with all owners since their replica was made. */
  readonly newcomers: Set<NodeNumber>;
  readonly missing: AbsentMember[];
  batches: number;
  rows: number;
  bytes: number;
  readonly beganMs: number;
  readonly steps: RepairStep[];
  readonly samples: RepairSample[];
}

/** Beyond every version: whatever the source has at the moment at which it answers. */
const EVERYTHING: Stamp = 'f'.repeat(16);
const NEWCOMER = 'not proven with all owners since its replica was made';

export class Levelling {
  private readonly running = new Set<Job>();
  private readonly waiting: Job[] = [];
  private readonly o: {
    readonly replicas: ReplicaTable;
    readonly commit: CommitQueue;
    readonly requests: Requests;
    readonly asked: BatchesAsked;
    readonly around: Surroundings;
    readonly proofs: Proofs;
    readonly levelled: (result: LevelResult) => void;
  };

  constructor(options: Levelling['o']) {
    this.o = options;
  }

  start(order: LevelOrder): void {
    const { around } = this.o;
    const job: Job = {
      order,
      id: shardId(order.shard),
      deadlineMs: around.nowMs + order.timeoutMs,
      owners: [],
      replica: null,
      pulls: new Map(),
      fetching: null,
      fetches: [],
      members: [around.self],
      newcomers: new Set(),
      missing: [],
      batches: 0,
      rows: 0,
      bytes: 0,
      beganMs: around.nowMs,
      steps: [],
      samples: [],
    };
    around.count('read_repairs');
    if (this.waiting.length >= around.limits.levellingsWaitingMax) this.end(job, 'busy');
    else {
      this.waiting.push(job);
      this.next();
    }
  }

  tick(): void {
    const { nowMs } = this.o.around;
    for (const job of this.running) {
      if (nowMs < job.deadlineMs) {
        this.fetchNext(job);
        continue;
      }
      for (const member of job.pulls.keys()) job.missing.push({ member, reason: 'no answer in time' });
      this.end(job, 'short');
    }
    while (this.waiting.length > 0 && nowMs >= this.waiting[0]!.deadlineMs) this.end(this.waiting.shift()!, 'busy');
    this.next();
  }

  private next(): void {
    while (this.waiting.length > 0 && this.running.size < this.o.around.limits.levellingsAtOnceMax)
      this.begin(this.waiting.shift()!);
  }

  private begin(job: Job): void {
    const { around, replicas, commit, requests, asked, proofs } = this.o;
    const { order } = job;
    this.running.add(job);
    if (around.snapshot?.viewHash !== order.viewHash) {
      this.end(job, 'other-view');
      return;
    }
    const replica = replicas.get(job.id);
    const barred = new Map(order.without.map(({ member, reason }) => [member, reason]));
    if (replica === null || replica.ledger.replica !== 'full' || barred.has(around.self)) {
      this.end(job, 'not-here');
      return;
    }
    job.replica = replica;
    if (isNewcomer(replica.ledger)) job.newcomers.add(around.self);
    job.owners = around.owners(order.shard);
    const ring = new Set([...job.owners, ...this.holders(job)]);
    ring.delete(around.self);
    const sources: NodeNumber[] = [];
    for (const member of ring) {
      const reason = barred.get(member) ?? (around.isLive(member) ? null : 'not live');
      if (reason === null) sources.push(member);
      else job.missing.push({ member, reason });
    }
    if (order.level === 'all')
      for (const absent of order.without) if (!ring.has(absent.member)) job.missing.push(absent);
    for (const source of sources) {
      const pull = new Pull({
        replica,
        source,
        through: EVERYTHING,
        kind: 'reads',
        commit,
        requests,
        asked,
        around,
        meet: (claim) => proofs.meet(replica, claim, source),
        moved: (batches, rows) => {
          around.count('read_repair_batches_taken', batches);
          around.count('read_repair_rows_taken', rows);
          if (job.fetching?.source === source) job.fetching.movedMs = around.nowMs;
        },
        differs: (go) => {
          job.fetches.push({ source, go });
          this.fetchNext(job);
        },
        done: (result) => this.pulled(job, source, result),
      });
      job.pulls.set(source, pull);
    }
    if (this.judge(job)) return;
    for (const pull of [...job.pulls.values()]) pull.start();
  }

  /** As they said when they were asked, and as they said before: who let go meanwhile answers so. */
  private *holders({ order, id }: Job): Generator<NodeNumber> {
    yield* order.holders;
    const { snapshot } = this.o.around;
    for (const { number, state } of snapshot?.members ?? [])
      if (state !== 'removed' && heldIn(snapshot?.heldBy[number], id) !== undefined) yield number;
  }

  private pulled(job: Job, source: NodeNumber, result: Pulled): void {
    if (!this.running.has(job)) return;
    job.pulls.delete(source);
    this.note(job, source, result);
    job.batches += result.batches;
    job.rows += result.rows;
    job.bytes += result.bytes;
    // An owner that has nothing of the shard holds nothing back.
    const isAbsent = result.reason === 'source is absent';
    if (isAbsent || result.isNewcomer === true) job.newcomers.add(source);
    if (result.outcome === 'ok' || isAbsent) job.members.push(source);
    else job.missing.push({ member: source, reason: result.reason.replace(/^source is /, '') });
    if (job.fetching?.source === source) job.fetching = null;
    if (this.judge(job)) this.next();
    else this.fetchNext(job);
  }

  /** One that does not go on does not hold up the others. */
  private fetchNext(job: Job): void {
    const { nowMs, limits } = this.o.around;
    if (job.fetching !== null && nowMs - job.fetching.movedMs < limits.requestTimeoutMs) return;
    const next = job.fetches.shift();
    if (next === undefined) return;
    job.fetching = { source: next.source, movedMs: nowMs };
    next.go();
  }

  /** True when the job is over. */
  private judge(job: Job): boolean {
    const now = this.o.replicas.get(job.id);
    if (now === null || now.stored !== job.replica!.stored || now.ledger.replica !== 'full') {
      this.end(job, 'not-here');
      return true;
    }
    const isOwner = (member: NodeNumber) => job.owners.includes(member);
    const lost = job.missing.filter(({ member }) => isOwner(member)).length;
    const open = [...job.pulls.keys()];
    let [isLost, isReached] = [job.missing.length > 0, open.length === 0];
    if (job.order.level === 'quorum') {
      const needed = majority(job.owners.length);
      isLost = job.owners.length - lost < needed || lost < job.missing.length;
      const isEnough = job.members.filter(isOwner).length >= needed && open.every(isOwner);
      isReached = isEnough && (this.areProven(job, needed) || (open.length === 0 && job.missing.length === 0));
      isLost ||= open.length === 0 && !isReached;
    }
    if (isLost && open.length === 0 && !this.areProven(job, majority(job.owners.length)))
      for (const member of job.newcomers) if (isOwner(member)) job.missing.push({ member, reason: NEWCOMER });
    if (isLost) this.end(job, 'short');
    else if (isReached) this.end(job, 'level');
    return isLost || isReached;
  }

  /** Those who take part, as far as that matters; or nobody of whom it is known could be. */
  private areProven({ id, members, newcomers, pulls }: Job, needed: number): boolean {
    const proven = members.length - members.filter((member) => newcomers.has(member)).length;
    if (proven > 0) return proven >= needed;
    const heldBy = this.o.around.snapshot?.heldBy;
    return ![...pulls.keys()].some((member) => heldIn(heldBy?.[member], id)?.young === false);
  }

  private note({ beganMs, steps, samples }: Job, source: NodeNumber, result: Pulled): void {
    const { self, nowMs } = this.o.around;
    const { epochs: epochsDiffering, batches, rows, bytes, found } = result;
    if (batches === 0) return;
    steps.push(stepOf(source, self, { epochsDiffering, batches, rows, bytes, ms: nowMs - beganMs }, found.decided));
    const sample = sampleOf(self, source, found);
    if (sample !== null) samples.push(sample);
  }

  private tell({ id, order, beganMs, steps, samples, members, missing }: Job, outcome: LevelResult['outcome']): void {
    const { around } = this.o;
    if (steps.length === 0) return;
    const finishedMs = around.wallMs;
    const startedMs = finishedMs - (around.nowMs - beganMs);
    const reason = `for a query with consistency=${order.level}${outcome === 'level' ? '' : `: ${outcome}`}`;
    const given = {
      id: `read-${around.self}-${id}-${finishedMs.toString(36)}-${order.request}`,
      kind: 'read-repair',
      shard: id,
      outcome: outcome === 'level' ? 'done' : 'failed',
    } as const;
    const others = [...members, ...missing.map(({ member }) => member)];
    around.repaired(repairRecord({ ...given, reason, startedMs, finishedMs }, { steps, samples }, others));
  }

  private end(job: Job, outcome: LevelResult['outcome']): void {
    const { around, levelled } = this.o;
    this.running.delete(job);
    for (const [source, pull] of job.pulls) {
      const stopped = pull.stop();
      if (stopped !== null) this.note(job, source, stopped);
    }
    this.tell(job, outcome);
    if (outcome !== 'level') around.count('read_repairs_short');
    const { id, members, missing, owners, batches, rows, bytes } = job;
    const { request } = job.order;
    levelled({ request, shard: id, outcome, members, missing, owners: owners.length, batches, rows, bytes });
  }
}

export function majority(owners: number): number {
  return Math.floor(owners / 2) + 1;
}
