/**
 * One worker's replicas and everything that keeps them equal to the others': direct mail, outbox, ring, filling.
 *
 * A message machine: `submit`, `receive`, `tick` in; effects out. It knows no network, timers or clock. The caller calls
 * `tick` often (every 50 ms or so), and `receive` with messages in any order, any number of times, or not at all.
 * Rules, states and messages: PROTOCOL.md beside this file.
 */
import { type ShardId, type ShardKey, type ShardKeyJson, shardKeyToJson } from '../shards/shard-key.ts';
import type { Storage } from '../shards/storage.ts';
import { type NodeNumber, STAMP_ZERO } from '../shards/version.ts';
import { BatchesAsked } from './batches-asked.ts';
import { RepairBudget, type RepairRates } from './budget.ts';
import type { ClusterSnapshot, HeldShard, Statement } from './cluster.ts';
import { CommitQueue } from './commit.ts';
import { DebtSettling } from './debt-settling.ts';
import type { Handover } from './departures.ts';
import { describeReplica } from './descriptions.ts';
import { Disowning } from './disowning.ts';
import { Filling } from './filling.ts';
import { FillingSource } from './filling-source.ts';
import { type FoundWrite, findWrite, type SoughtWrite } from './found-writes.ts';
import { handoverOf } from './handover.ts';
import type { ReplicaHostOptions } from './host-options.ts';
import { KnownDeletes } from './known-deletes.ts';
import { LettingGo } from './letting-go.ts';
import { Levelling, type LevelOrder, type LevelResult } from './levelling.ts';
import { noteLosses } from './losses.ts';
import { LossesFile } from './losses-file.ts';
import { Mail, type SubmittedWrite, type WriteOutcome } from './mail.ts';
import { MailReceiver } from './mail-receiver.ts';
import { MessageError } from './message-checks.ts';
import { NobodyFull } from './nobody-full.ts';
import { OpenList } from './open-versions.ts';
import { Outbox } from './outbox.ts';
import { OutboxArrivals } from './outbox-arrivals.ts';
import { OutboxSender } from './outbox-sender.ts';
import { OutgoingBundles } from './outgoing-bundles.ts';
import { OwnerTable } from './owners.ts';
import type { OutboxStatus, RepairMode, RepairStatus, ScrubReport, ShardDescription } from './records.ts';
import { type RepairParts, routeRepair } from './repair-messages.ts';
import type { OrderStatus, RepairOrder } from './repair-order.ts';
import { Repairs } from './repairs.ts';
import { RepairsFile } from './repairs-file.ts';
import { checkReplicaLimits } from './replica-limits.ts';
import { decodeMessage, encodeMessage, type Message, type Received } from './replica-messages.ts';
import { isYoung, ReplicaTable } from './replica-table.ts';
import { Requests } from './requests.ts';
import { Retention } from './retention.ts';
import { Ring } from './ring.ts';
import { RingAnswers } from './ring-answers.ts';
import type { Surroundings } from './surroundings.ts';
import { Upkeep } from './upkeep.ts';

export type { HostEffect, ReplicaHostOptions } from './host-options.ts';
export type { SubmittedWrite, WriteOutcome } from './mail.ts';

export class ReplicaHost {
  private readonly options: ReplicaHostOptions;
  private readonly ownerTable = new OwnerTable();
  private readonly counted = new Map<string, number>();
  private readonly toSelf: Received[] = [];
  private nowMs = 0;
  private wallMs = 0;
  private snapshot: ClusterSnapshot | null = null;
  private live: ReadonlySet<NodeNumber> = new Set();
  private turning = false;
  private readonly budget: RepairBudget;
  private readonly bundles: OutgoingBundles;
  private readonly replicas: ReplicaTable;
  private readonly deletes: KnownDeletes;
  private readonly commit: CommitQueue;
  private readonly requests: Requests;
  private readonly asked: BatchesAsked;
  private readonly outbox: Outbox;
  private readonly sender: OutboxSender;
  private readonly mail: Mail;
  private readonly receiver: MailReceiver;
  private readonly arrivals: OutboxArrivals;
  private readonly filling: Filling;
  private readonly fillingSource: FillingSource;
  private readonly ring: Ring;
  private readonly debts: DebtSettling;
  private readonly retention: Retention;
  private readonly repairsTable: Repairs;
  private readonly losses: LossesFile;
  private readonly upkeep: Upkeep;
  private readonly levelling: Levelling;
  private readonly around: Surroundings;
  private readonly parts: RepairParts;

  constructor(options: ReplicaHostOptions) {
    checkReplicaLimits(options.limits);
    this.options = options;
    const { storage, ledgerOf, limits, files, outboxDirectory, emit } = options;
    this.budget = new RepairBudget(options.workMs ?? (() => 0), (name, by) => this.count(name, by));
    this.bundles = new OutgoingBundles((to, lane, message) => emit({ kind: 'send', to, lane, message }));
    const around = this.surroundings();
    this.around = around;
    // A turn of its own: what the end of a sync causes (answers, the next group) leaves at once, not with the next tick.
    const sync: Storage['sync'] = (done) => storage.sync((error) => this.turn(this.wallMs, () => done(error)));
    const replicas = new ReplicaTable(storage, ledgerOf, around, options.isHere);
    const deletes = new KnownDeletes(replicas, around);
    const commit = new CommitQueue(storage, sync, replicas, around);
    const requests = new Requests(around);
    const asked = new BatchesAsked(around);
    const outbox = new Outbox(files, outboxDirectory, limits.outboxBytesMax, limits.outboxSegmentBytes);
    this.arrivals = new OutboxArrivals(commit, replicas, around);
    const receiver = new MailReceiver(commit, replicas, this.arrivals, around);
    const sender = new OutboxSender(outbox, around, (entry, frame, keys) => {
      const message = { t: 'mail' as const, key: entry.key, version: entry.version, isFromOutbox: true };
      this.toSelf.push({ message, attachments: [frame, keys] });
    });
    const written = (request: number, outcome: WriteOutcome) => emit({ kind: 'written', request, outcome });
    this.mail = new Mail({ commit, outbox, sender, around, written });
    const disown = (id: ShardId) => this.mail.disown(id, around.self, 'the replica here is being filled');
    const nobodyFull = new NobodyFull(requests, around);
    this.filling = new Filling({ storage, replicas, requests, outbox, sender, around, nobodyFull, disown });
    this.fillingSource = new FillingSource(replicas, around);
    const answers = new RingAnswers(replicas, around, (replica, reason) => this.filling.demote(replica, reason));
    const progressed: Repairs['progressed'] = (pass, progress) => this.repairsTable.progressed(pass, progress);
    const isBusy = (id: ShardId, pass: string) =>
      this.ring.held.isWorkingOn(id, pass) || commit.pending(id) > 0 || this.fillingSource.isGiving(id);
    const lettingGo = new LettingGo({ storage, around, isBusy });
    const { filling } = this;
    const pulling = { replicas, commit, requests, asked, around };
    this.ring = new Ring({ ...pulling, filling, outbox, lettingGo, deletes, progressed });
    const { ring } = this;
    const directory = options.scrubDirectory;
    this.upkeep = new Upkeep({ replicas, requests, filling, around, files, directory });
    this.losses = new LossesFile(files, directory);
    replicas.formerLosses = (id) => this.losses.all(id);
    const file = new RepairsFile(files, directory);
    this.repairsTable = new Repairs({ replicas, requests, ring, scrubs: this.upkeep.scrubs, around, file });
    this.upkeep.observer = this.repairsTable;
    const levelled = (result: LevelResult) => emit({ kind: 'levelled', result });
    this.levelling = new Levelling({ ...pulling, proofs: ring.proofs, levelled });
    this.ring.proofs.suspected = (...what) => this.upkeep.conflicts.found(...what);
    const removed = (id: ShardId) => {
      this.filling.forget(id);
      this.upkeep.forget(id);
    };
    this.retention = new Retention({ storage, outbox, around, removed });
    this.debts = new DebtSettling({ outbox, replicas, around });
    this.replicas = replicas;
    this.deletes = deletes;
    this.commit = commit;
    this.requests = requests;
    this.asked = asked;
    this.outbox = outbox;
    this.sender = sender;
    this.receiver = receiver;
    const { fillingSource, debts, upkeep, repairsTable: repairs } = this;
    const disowning = new Disowning({ replicas, mail: this.mail, sender, around });
    this.parts = { ring, debts, disowning, answers, fillingSource, upkeep, requests, repairs };
    if (outbox.damaged > 0) this.counted.set('outbox_damaged', outbox.damaged);
  }

  setCluster(snapshot: ClusterSnapshot, nowMs: number): void {
    this.turn(nowMs, () => {
      // Owners follow from what the view's hash covers; a snapshot comes with every heartbeat of every member.
      const isOtherView = snapshot.viewHash !== this.snapshot?.viewHash;
      this.snapshot = snapshot;
      this.live = new Set(snapshot.live);
      if (this.deletes.hear(snapshot)) this.around.heldChanged();
      this.replicas.makeLost();
      if (!isOtherView) return;
      this.sender.reroute();
      this.replicas.viewChanged(snapshot);
      this.count('losses_noted', noteLosses(this.replicas, snapshot, this.losses));
    });
  }

  submit(writes: readonly SubmittedWrite[], nowMs: number): void {
    this.turn(nowMs, () => this.mail.submit(writes));
  }

  /** Batches that come together get into the log together. A message that is malformed or unknown is counted and dropped. */
  receive(from: NodeNumber, messages: readonly Uint8Array[], nowMs: number): void {
    this.turn(nowMs, () => {
      for (const message of messages) this.receiveOne(from, message);
    });
  }

  private receiveOne(from: NodeNumber, message: Uint8Array): void {
    let received: Received;
    try {
      received = decodeMessage(message);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      this.count(error.code === 'malformed-message' ? 'messages_malformed' : 'messages_unknown');
      return;
    }
    this.dispatch(from, received, message);
  }

  tick(nowMs: number): void {
    this.turn(nowMs, () => {
      this.commit.tick();
      this.requests.tick();
      this.asked.tick();
      this.mail.tick();
      this.debts.tick();
      this.retention.tick();
      this.losses.tick(this.nowMs);
      this.budget.metered(() => {
        this.budget.tick(this.nowMs);
        this.sender.tick();
        this.arrivals.tick();
        this.filling.tick();
        this.fillingSource.tick();
        this.ring.tick();
      });
      this.repairsTable.tick();
      this.upkeep.tick();
      this.levelling.tick();
    });
  }

  /** Answered by the effect `levelled`, once, within the order's time. */
  level(orders: readonly LevelOrder[], nowMs: number): void {
    this.turn(nowMs, () => {
      for (const order of orders) this.levelling.start(order);
    });
  }

  /** Shards of which this node has writes that no full owner is known to have. */
  unplaced(): ShardKeyJson[] {
    const keys = new Map<ShardId, ShardKey>();
    for (const { id, key } of this.outbox.unplaced) keys.set(id, key);
    this.filling.addOpen((id) => {
      const replica = this.replicas.get(id);
      if (replica !== null) keys.set(id, replica.key);
    });
    return [...keys.values()].map(shardKeyToJson);
  }

  findWrites(writes: readonly SoughtWrite[]): FoundWrite[] {
    const { snapshot, wallMs } = this.around;
    return writes.map((write) => findWrite(this.replicas, this.outbox, snapshot, wallMs, write));
  }

  /** To be called after everything minted at or below the closing stamp has been submitted. */
  openVersions(): Statement['open'] {
    const list = new OpenList();
    this.mail.addOpen((id, version, by) => list.add(id, version, by));
    this.filling.addOpen((id, version, by) => list.add(id, version, by));
    return list.list();
  }

  /** Of a leaving member: what others still need of this worker. */
  handover(): Handover {
    return handoverOf(this.replicas, this.outbox, this.mail.waiting, this.snapshot, this.wallMs);
  }

  heldShards(): HeldShard[] {
    const held: HeldShard[] = [];
    for (const id of this.replicas.ids()) {
      const { key, ledger } = this.replicas.get(id)!;
      const young = isYoung(ledger) || !this.deletes.of(key);
      const since = ledger.since === STAMP_ZERO ? undefined : ledger.since;
      held.push({ id, key: shardKeyToJson(key), state: ledger.replica, young, since });
    }
    return held;
  }

  owns(id: ShardId): boolean {
    const replica = this.replicas.get(id);
    return replica !== null && this.ownerTable.owners(this.snapshot, replica.key).includes(this.options.self);
  }

  describeShards(): ShardDescription[] {
    return [...this.replicas.ids()].map((id) => this.describeShard(id)!);
  }

  describeShard(id: ShardId): ShardDescription | null {
    const replica = this.replicas.get(id);
    if (replica === null) return null;
    return describeReplica(replica, {
      around: this.around,
      outbox: this.outbox,
      fill: this.filling.describe(id),
    });
  }

  /**
   * The file of a shard was damaged and has been set aside: what it held is not here any more, whoever was told that it is
   * (rule 8). The shard is absent now, or new and empty but for what the log held, and the ring brings the rest.
   */
  shardLost(id: ShardId): void {
    this.turn(this.wallMs, () => {
      this.count('shards_set_aside');
      this.replicas.lost(id);
      this.filling.forget(id);
      this.upkeep.forget(id);
      this.mail.disown(id, this.options.self, 'its file was lost');
      this.sender.disownHere(id);
      this.options.emit({ kind: 'held-changed' });
    });
  }

  /** Before the process began; to be said once of each at its start. */
  shardWasLost(id: ShardId): void {
    this.turn(this.wallMs, () => this.replicas.lost(id));
  }

  startRepair(request: { id: string; shard: ShardId; mode: RepairMode }, nowMs: number): void {
    this.turn(nowMs, () => this.repairsTable.start(request.id, request.shard, request.mode));
  }

  noteOrder(order: RepairOrder): void {
    this.repairsTable.noteOrder(order);
  }

  /** Orders and repairs that were begun, durably: to be called before anybody is told of them. */
  keepRepairs(): void {
    this.repairsTable.save();
  }

  /** All parts of the order that are here. */
  controlRepair(order: string, action: 'pause' | 'resume' | 'cancel'): void {
    this.turn(this.wallMs, () => this.repairsTable.control(order, action));
  }

  /** All shards of this worker, one after the other. */
  startScrub(nowMs: number): void {
    this.turn(nowMs, () => this.upkeep.scrubs.startAll());
  }

  scrub(): ScrubReport | null {
    return this.upkeep.scrubs.lastRun();
  }

  /** Parts of one order, or a mend; '': all. */
  repairs(order = ''): RepairStatus[] {
    return this.repairsTable.list(order);
  }

  orders(id = ''): OrderStatus[] {
    return this.repairsTable.orderStatus(id);
  }

  setRepairRates(rates: RepairRates): void {
    this.turn(this.wallMs, () => this.budget.set(rates));
  }

  outboxStatus(): OutboxStatus[] {
    return this.sender.status();
  }

  counters(): Record<string, number> {
    const now = {
      writes_waiting: this.mail.waiting,
      outbox_bytes: this.outbox.bytes,
      repair_requests_waiting: this.budget.waits,
      outbox_debts: [...this.outbox.debts.values()].reduce((sum, { batches }) => sum + batches, 0),
    };
    return { ...Object.fromEntries(this.counted), ...now };
  }

  close(): void {
    this.outbox.close();
  }

  /** One entry from outside, with what it causes here: the log's next group, messages to self, answers to mail. */
  private turn(nowMs: number, work: () => void): void {
    // A wall clock that steps back must not stop the time-outs until it has caught up.
    if (nowMs > this.wallMs) this.nowMs = Math.max(nowMs, this.nowMs + nowMs - this.wallMs);
    this.wallMs = nowMs;
    if (this.turning) {
      work();
      return;
    }
    this.turning = true;
    try {
      work();
      let received = this.toSelf.shift();
      while (received !== undefined) {
        this.dispatch(this.options.self, received);
        received = this.toSelf.shift();
      }
      this.commit.pump();
      this.receiver.flush();
      this.drainSelf();
      this.bundles.flush();
    } finally {
      this.turning = false;
    }
  }

  private drainSelf(): void {
    for (let received = this.toSelf.shift(); received !== undefined; received = this.toSelf.shift()) {
      this.dispatch(this.options.self, received);
      this.receiver.flush();
    }
  }

  /** `bytes`: what came from another member. */
  private dispatch(from: NodeNumber, received: Received, bytes: Uint8Array | null = null): void {
    const { message, attachments } = received;
    if (message.t === 'mail') this.receiver.receive(from, message, attachments, bytes);
    else if (message.t === 'mail-offers') this.receiver.offered(from, message);
    else if (message.t === 'mail-answers') this.mail.answers(from, message.answers);
    else this.budget.metered(() => routeRepair(this.parts, from, message, received));
  }

  private count(name: string, by = 1): void {
    this.counted.set(name, (this.counted.get(name) ?? 0) + by);
  }

  private surroundings(): Surroundings {
    const host = this;
    const { self, limits, random, emit, released = () => {} } = this.options;
    return {
      self,
      limits,
      random,
      budget: this.budget,
      get nowMs() {
        return host.nowMs;
      },
      get wallMs() {
        return host.wallMs;
      },
      get snapshot() {
        return host.snapshot;
      },
      owners: (key: ShardKey) => host.ownerTable.owners(host.snapshot, key),
      isLive: (member) => host.live.has(member),
      send: (to, shardNumber, message: Message, attachments = []) => {
        if (to === self) host.toSelf.push({ message, attachments });
        else if (!host.bundles.take(to, shardNumber, message))
          emit({ kind: 'send', to, lane: shardNumber, message: encodeMessage(message, attachments) });
      },
      sendAll: (to, lane, message, attachments) => {
        const bytes = encodeMessage(message, attachments);
        for (const member of to) emit({ kind: 'send', to: member, lane, message: bytes });
      },
      count: (name, by) => host.count(name, by),
      released,
      passEnded: (record) => {
        host.repairsTable.passEnded(record);
        emit({ kind: 'pass', record });
      },
      repaired: (record) => emit({ kind: 'repair', record }),
      heldChanged: () => emit({ kind: 'held-changed' }),
    };
  }
}
