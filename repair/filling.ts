/**
 * Filling: a replica that cannot be brought level batch by batch is replaced by a copy of a full owner's.
 *
 * Stages of the one that is filled: `owing` (rule 31: what it holds above its floor goes into the outbox, and stays named
 * as open until it is durable there) -> `saving` (the state `filling` is made durable) -> `asking` -> `copying` -> full.
 * A crash while owing leaves a full replica with its old floor, which is fenced again at the next comparison, or, when a
 * flush has saved the state meanwhile, a filling one. That one owes everything anew before it asks: putting a batch into
 * the outbox twice is harmless, and nothing durable says how far it had come. The local content is replaced only when the
 * copy is whole. When a source dies, restarts or says no, pages that have come are kept, also over a restart here, and those
 * that are still the same are not given again (shards/fill-target.ts). Who gave something is asked again first, since only its own
 * pages are likely to be the same; who gave nothing new is avoided. When a copy ends, its place at the source goes to a shard that
 * has found none.
 * The other side is filling-source.ts; where there is none, nobody-full.ts says who goes on, which owes nothing.
 */

import { StorageError } from '../shards/errors.ts';
import { encodeKeys } from '../shards/series-keys.ts';
import { type ShardId, type ShardKey, shardKeyToJson } from '../shards/shard-key.ts';
import type { FillTarget, Storage } from '../shards/storage.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import { recordOfCopy } from './copy-record.ts';
import { liveFullHolders } from './held-shards.ts';
import type { Ledger } from './ledger.ts';
import { type OwnState, stateOwn } from './ledger-state.ts';
import type { NobodyFull } from './nobody-full.ts';
import type { AddOpen } from './open-versions.ts';
import type { Outbox } from './outbox.ts';
import type { OutboxSender } from './outbox-sender.ts';
import { OwedVersions, owedOf } from './owed-versions.ts';
import type { FillDescription } from './records.ts';
import type { MessageOf, Received } from './replica-messages.ts';
import {
  claimOf,
  FILE_LOST,
  flushOutcome,
  isNewcomer,
  type Replica,
  type ReplicaTable,
  rebuildReadable,
} from './replica-table.ts';
import type { Requests } from './requests.ts';
import type { Surroundings } from './surroundings.ts';

interface Job {
  readonly id: ShardId;
  readonly key: ShardKey;
  stage: 'owing' | 'saving' | 'asking' | 'copying';
  /** Versions that are not durable in the outbox yet, ascending; or what tells which they are. */
  owed: Set<Version> | OwedVersions;
  source: NodeNumber | null;
  readonly avoid: Set<NodeNumber>;
  /** They lack what is proven here: they can give nothing. */
  readonly below: Set<NodeNumber>;
  /** Since when nobody who was asked had a place for the copy. */
  queuedMs: number | null;
  /** Who has one now. */
  offered: NodeNumber | null;
  target: FillTarget | null;
  waiting: boolean;
  retryAtMs: number;
  bytesDone: number;
  /** Of pages that an earlier try had brought. */
  bytesKept: number;
  bytesTotal: number | null;
  /** Of whose copy pages are kept; undefined: not looked up. */
  origin: NodeNumber | null | undefined;
  /** How far a try with that one has come at most, in bytes. */
  reached: number;
  readonly startedMs: number;
  /** Why it is filled. */
  readonly reason: string;
  /** Batches that the outbox took over. */
  handed: number;
  /** When the copy that runs was granted. */
  grantedMs: number;
  restarts: number;
}

/** Batches rebuilt for the outbox at a time. */
const OWED_PER_STEP = 64;
/** Replicas that are filling without a job are looked for: among many shards not with every tick. */
const LOOK_EVERY_MS = 1_000;

export class Filling {
  private readonly jobs = new Map<ShardId, Job>();
  /** When those that are filling were last looked for, and how many shards there were then. */
  private looked = { ms: 0, shards: -1 };
  private readonly o: {
    storage: Storage;
    replicas: ReplicaTable;
    requests: Requests;
    outbox: Outbox;
    sender: OutboxSender;
    around: Surroundings;
    nobodyFull: NobodyFull;
    /** What this node has acknowledged of the shard counts no longer. */
    disown: (id: ShardId) => void;
  };

  constructor(options: Filling['o']) {
    this.o = options;
  }

  /** Idempotent. From here on the replica refuses mail and takes part in no proof. */
  demote(replica: Replica, reason: string): void {
    const { ledger } = replica;
    if (ledger.replica === 'filling') return;
    ledger.replica = 'filling';
    this.o.around.count('replicas_fenced');
    this.o.around.heldChanged();
    this.startJob(replica, reason);
    this.o.disown(replica.id);
  }

  /** The replica's file was set aside: what is here now is not what was to be filled. */
  forget(id: ShardId): void {
    const job = this.jobs.get(id);
    job?.target?.abort();
    if (job?.owed instanceof OwedVersions) job.owed.close();
    this.jobs.delete(id);
  }

  describe(id: ShardId): FillDescription | null {
    const job = this.jobs.get(id);
    if (job === undefined) return null;
    const { source, bytesDone, bytesKept, bytesTotal, startedMs, restarts } = job;
    return { source, bytesDone: bytesDone + bytesKept, bytesTotal, startedMs, restarts };
  }

  addOpen(add: AddOpen): void {
    this.resume();
    for (const job of this.jobs.values()) {
      const { owed } = job;
      const oldest = owed instanceof Set ? owed.values().next().value : owed.least(this.o.replicas.get(job.id));
      if (oldest !== undefined) add(job.id, oldest, []);
    }
  }

  tick(): void {
    this.resume();
    for (const job of this.jobs.values()) this.step(job);
  }

  /** Replicas that were filling when the process began. */
  private resume(): void {
    const { replicas, storage } = this.o;
    // All are open from the start; of what is made later none is filling unless it was demoted here.
    const { nowMs } = this.o.around;
    if (storage.shards.size === this.looked.shards && nowMs - this.looked.ms < LOOK_EVERY_MS) return;
    this.looked = { ms: nowMs, shards: storage.shards.size };
    for (const id of replicas.ids()) {
      if (this.jobs.has(id)) continue;
      const replica = replicas.get(id)!;
      if (replica.ledger.replica === 'filling') this.startJob(replica, 'it was to be filled when the process began');
    }
  }

  private startJob(replica: Replica, reason: string): void {
    replica.notes.heldBackBy = `this replica is being filled: ${reason}`;
    const job: Job = {
      id: replica.id,
      key: replica.key,
      stage: 'owing',
      owed: owedOf(replica),
      source: null,
      avoid: new Set(),
      below: new Set(),
      queuedMs: null,
      offered: null,
      target: null,
      waiting: false,
      retryAtMs: 0,
      bytesDone: 0,
      bytesKept: 0,
      bytesTotal: null,
      origin: undefined,
      reached: 0,
      startedMs: this.o.around.nowMs,
      reason,
      handed: 0,
      grantedMs: 0,
      restarts: 0,
    };
    this.jobs.set(replica.id, job);
  }

  private step(job: Job): void {
    const replica = this.o.replicas.get(job.id);
    if (replica === null) {
      this.forget(job.id);
      return;
    }
    if (job.waiting || this.o.around.nowMs < job.retryAtMs) return;
    if (job.stage === 'owing') this.owe(job, replica);
    if (job.stage === 'saving') {
      // A file that is damaged cannot be saved to: it is replaced all the same, and until then a restart begins anew.
      if (flushOutcome(replica.stored) === 'refused') {
        this.later(job, 'fill_waits_for_disk');
        return;
      }
      job.stage = 'asking';
    }
    if (job.stage === 'asking') this.askSource(job, replica);
  }

  private owe(job: Job, replica: Replica): void {
    const { outbox, sender, around } = this.o;
    const owed = job.owed instanceof Set ? job.owed : job.owed.read(replica);
    if (owed === 'refused') this.later(job, 'fill_waits_for_disk');
    if (!(owed instanceof Set)) return;
    job.owed = owed;
    if (owed.size === 0) {
      job.stage = 'saving';
      return;
    }
    const page = [...owed].slice(0, OWED_PER_STEP);
    let rebuilt: ReturnType<typeof rebuildReadable>;
    try {
      rebuilt = rebuildReadable(replica.stored, new Set(page));
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.later(job, 'fill_waits_for_disk');
      return;
    }
    // Rows that no disk here gives back cannot be handed on; whoever else has them keeps them.
    if (rebuilt.unreadable !== null) around.count('fill_batches_unreadable', page.length - rebuilt.batches.length);
    const readable = new Set(rebuilt.batches.map(({ version }) => version));
    for (const version of page) if (!readable.has(version)) owed.delete(version);
    const owners = (key: ShardKey) => around.owners(key);
    let putting = 0;
    for (const { version, frame, keys } of rebuilt.batches) {
      // Each counts for itself: a full outbox takes as many as have been acknowledged since the last try, which then
      // are debts, and a page that had to get in as a whole would put those that went for it in again.
      const done = () => {
        if (owed.delete(version)) job.handed++;
        job.waiting = --putting > 0;
      };
      const lost = () => {
        job.waiting = --putting > 0;
        this.later(job, 'fill_waits_for_outbox');
      };
      putting++;
      const name = job.id + version;
      const taken =
        outbox.entries.get(name)?.acks.has(around.self) === true
          ? outbox.disown(name, around.self, frame, encodeKeys(keys), done, lost)
          : outbox.put(job.key, version, frame, encodeKeys(keys), [], owners, done, lost);
      if (!taken) {
        putting--;
        this.waitForRoom(job, replica, putting);
        break;
      }
      around.count('fill_batches_owed');
      sender.route(outbox.entries.get(name)!);
      // Others have most of it.
      for (const owner of around.owners(job.key)) sender.wasSent(name, owner);
    }
    job.waiting = putting > 0;
  }

  /** Room is made by what a full owner acknowledges: where nobody is full there is none, ever, and whoever goes on owes nothing. */
  private waitForRoom(job: Job, replica: Replica, putting: number): void {
    this.later(job, 'fill_waits_for_outbox');
    if (liveFullHolders(this.o.around, job.id).length > 0)
      replica.notes.heldBackBy = `this replica is being filled: its outbox has no room yet for what it owes (${job.reason})`;
    // What it is has to be durable first, or a restart might make a full one of it that names no loss.
    else if (putting === 0 && flushOutcome(replica.stored) !== 'refused') this.askWhetherToGoOn(job, replica);
  }

  private later(job: Job, why: string): void {
    this.o.around.count(why);
    job.retryAtMs = this.o.around.nowMs + this.o.around.limits.backoffMsMax;
  }

  private askSource(job: Job, replica: Replica): void {
    const { around, requests, storage } = this.o;
    const source = this.chooseSource(job);
    if (source === null) {
      this.askWhetherToGoOn(job, replica);
      return;
    }
    job.source = source;
    job.waiting = true;
    const question = { t: 'fill-open' as const, key: shardKeyToJson(job.key), ...claimOf(replica.ledger) };
    requests.ask(source, job.key.number, question, (answer) => {
      // The shard has gone, or its copy is made by another job.
      if (this.jobs.get(job.id) !== job) return;
      job.waiting = false;
      const message = answer?.message as MessageOf<'fill-answer'> | undefined;
      if (message?.status !== 'ok') return this.restart(job, message?.status ?? 'no answer');
      job.stage = 'copying';
      job.queuedMs = null;
      job.grantedMs = around.nowMs;
      job.bytesTotal = message.bytesTotal;
      job.bytesDone = 0;
      job.bytesKept = 0;
      if (job.origin !== source) job.reached = 0;
      job.origin = source;
      around.budget.charge(answer!.attachments[0]?.byteLength ?? 0);
      let target: FillTarget;
      try {
        target = storage.beginFill(job.key, source);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        return this.restart(job, error.message);
      }
      job.target = target;
      this.accept(job, target, answer!);
    });
  }

  private askWhetherToGoOn(job: Job, replica: Replica): void {
    const outcome = this.o.nobodyFull.ask(replica);
    if (outcome === 'over') job.below.clear();
    if (outcome === 'goes on') this.jobs.delete(job.id);
  }

  /** Whose pages are kept comes first: others cut theirs otherwise. */
  private chooseSource(job: Job): NodeNumber | null {
    const { around, storage } = this.o;
    const sources = liveFullHolders(around, job.id).filter((member) => !job.below.has(member));
    const fresh = sources.filter((member) => !job.avoid.has(member));
    if (fresh.length === 0) job.avoid.clear();
    const choice = fresh.length > 0 ? fresh : sources;
    if (choice.length === 0) return null;
    const { offered } = job;
    job.offered = null;
    if (job.origin === undefined) job.origin = storage.copyOrigin(job.id);
    if (job.origin !== null && choice.includes(job.origin)) return job.origin;
    if (offered !== null && sources.includes(offered)) return offered;
    return choice[Math.floor(around.random() * choice.length)]!;
  }

  private askPage(job: Job, target: FillTarget, snapshot: number, index: number): void {
    const { requests, around } = this.o;
    const { budget } = around;
    const estimate = around.limits.fillPageBytes;
    const page = { t: 'fill-page' as const, key: shardKeyToJson(job.key), snapshot, index };
    const kept = target.kept(index);
    const question = kept === null ? page : { ...page, kept };
    job.waiting = true;
    budget.whenOpen('copies', estimate, () => {
      // Forgotten, or begun anew, while it waited.
      if (this.jobs.get(job.id) !== job || job.target !== target) return budget.settle(estimate, 0);
      requests.ask(job.source!, job.key.number, question, (answer) => {
        budget.settle(estimate, answer?.attachments[0]?.byteLength ?? 0);
        if (this.jobs.get(job.id) !== job || job.target !== target) return;
        job.waiting = false;
        const message = answer?.message as MessageOf<'fill-answer'> | undefined;
        if (message?.status !== 'ok' || message.index !== index)
          return this.restart(job, message?.status ?? 'no answer');
        this.accept(job, target, answer!);
      });
    });
  }

  private accept(job: Job, target: FillTarget, answer: Received): void {
    const message = answer.message as MessageOf<'fill-answer'>;
    const page = answer.attachments[0];
    const { index, last } = message;
    // The source reads the next page while this one is written. The first one names those that may be kept.
    if (!last && index > 0) this.askPage(job, target, message.snapshot, index + 1);
    try {
      if (message.same === true) job.bytesKept += target.keep(index);
      else if (page !== undefined && page.byteLength > 0) {
        target.accept(page);
        job.bytesDone += page.byteLength;
      }
      if (!last) {
        if (index === 0) this.askPage(job, target, message.snapshot, 1);
        return;
      }
      const replaced = this.o.replicas.get(job.id);
      if (replaced === null) {
        // Removed since the last tick.
        target.abort();
        this.jobs.delete(job.id);
        return;
      }
      const own = ownState(replaced.ledger);
      target.finish((database) => stateOwn(database, own));
      job.target = null;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      // What cannot be written, or makes no sense, is not gone on with.
      target.abort();
      Object.assign(job, { target: null, origin: null, bytesDone: 0, bytesKept: 0 });
      this.restart(job, error.message);
      return;
    }
    const replica = this.o.replicas.get(job.id)!;
    replica.notes.heldBackBy = null;
    replica.notes.damage = null;
    if (job.bytesKept === 0) replica.notes.fillPageMs = (this.o.around.nowMs - job.grantedMs) / Math.max(1, index);
    this.jobs.delete(job.id);
    this.o.around.count('replicas_filled');
    this.o.around.count('fill_bytes', job.bytesDone);
    this.o.around.heldChanged();
    this.o.around.repaired(recordOfCopy(job, replica.stored.sizes().rows, this.o.around));
    this.passPlace(job.source!);
  }

  /** Of those that would ask there, whoever has waited for longest does at once, and not when it would try again. */
  private passPlace(source: NodeNumber): void {
    const queued = [...this.jobs.values()].filter((job) => job.queuedMs !== null && !job.waiting);
    for (const job of queued.sort((a, b) => a.queuedMs! - b.queuedMs!)) {
      if (!liveFullHolders(this.o.around, job.id).includes(source)) continue;
      Object.assign(job, { offered: source, retryAtMs: 0 });
      this.step(job);
      if (job.source === source) return;
    }
  }

  private restart(job: Job, reason: string): void {
    const { around } = this.o;
    job.target?.suspend();
    job.target = null;
    // What is still asked of the former source is not waited for.
    job.waiting = false;
    const reached = job.bytesDone + job.bytesKept;
    // Who has brought the copy further is asked for the rest.
    if (job.source !== null && reached <= job.reached) job.avoid.add(job.source);
    if (job.source !== null && reason === 'floor') job.below.add(job.source);
    job.reached = Math.max(reached, job.reached);
    job.source = null;
    job.stage = 'asking';
    job.bytesTotal = null;
    const isBusy = reason === 'busy';
    job.queuedMs = isBusy ? (job.queuedMs ?? around.nowMs) : null;
    job.retryAtMs = around.nowMs + (isBusy ? around.limits.requestTimeoutMs : around.limits.backoffMsMin);
    // Of what had no place nothing was broken off.
    if (!isBusy) job.restarts++;
    around.count(isBusy ? 'fill_waits_for_source' : 'fill_restarts');
  }
}

/** Of a replica that a copy takes the place of. */
function ownState(ledger: Ledger): OwnState {
  const { since, mustDisown, lostThrough, lostFiles } = ledger;
  return {
    replica: mustDisown ? 'damaged' : 'full',
    damage: mustDisown ? FILE_LOST : null,
    newcomer: isNewcomer(ledger),
    mustDisown,
    lostThrough,
    lostFiles,
    since,
  };
}
