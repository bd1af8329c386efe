/**
 * Membership, metadata, liveness and the clock of one node: the part of repair that lives on the main thread.
 *
 * A message machine: `receive`, `tick` and the heartbeat go in, messages and events come out through `emit`. Nothing here
 * waits, and every handler is idempotent, because the network may lose, repeat, delay and reorder.
 *
 * Where the truth lives: registers in the store (meta.sqlite), durable before they are used or sent; the node's identity
 * in node.json, written by whoever handles `identity`. Order when joining: registers, clock, then identity. A crash in
 * between leaves a node that is still fresh by its identity; it starts again under the same number, and forgets those
 * registers first. Worst outcome: members see it `joining` until it comes back.
 */
import type { ShardKey } from '../shards/shard-key.ts';
import { type NodeNumber, type Stamp, stampOf, type Version } from '../shards/version.ts';
import type { ClusterSnapshot, HeldShard, Member, Statement } from './cluster.ts';
import { ClusterState } from './cluster-state.ts';
import { DatabaseRegisters } from './database-registers.ts';
import type { Change } from './databases.ts';
import { Departures } from './departures.ts';
import { Enrolment } from './enrolment.ts';
import { FreeRegisters } from './free-registers.ts';
import { JudgedClock } from './judged-clock.ts';
import { Liveness } from './liveness.ts';
import { describeMembers, type MemberDescription } from './member-description.ts';
import { isMemberKey } from './members.ts';
import { MembershipError } from './membership-error.ts';
import type { Register } from './metadata.ts';
import { MetadataSync } from './metadata-sync.ts';
import { type NodeIdentity, newCounters } from './node-effects.ts';
import { decodeNodeMessage, encodeNodeMessage, type NodeMessage } from './node-messages.ts';
import type { NodeCoreOptions } from './node-options.ts';
import { OwnerTable } from './owners.ts';
import { Rumours } from './rumours.ts';
import { Statements } from './statements.ts';
import { Suspicion } from './suspicion.ts';

export type { NodeCounters, NodeEffect, NodeIdentity } from './node-effects.ts';

export class NodeCore {
  readonly counters = newCounters();
  /** For everybody's use. */
  readonly registers: FreeRegisters;
  readonly definitions: DatabaseRegisters;
  readonly #o: NodeCoreOptions;
  readonly #state: ClusterState;
  readonly #clock: JudgedClock;
  readonly #liveness: Liveness;
  readonly #sync: MetadataSync;
  readonly #rumours: Rumours;
  readonly #said = new Statements();
  readonly #enrolment: Enrolment;
  readonly #suspicion: Suspicion;
  readonly departures: Departures;
  readonly #self: NodeNumber;
  #nowMs = 0;
  #startedMs = 0;
  #snapshot: ClusterSnapshot | null = null;
  readonly #owners = new OwnerTable();
  #watched: ReadonlySet<NodeNumber> = new Set();

  constructor(options: NodeCoreOptions) {
    this.#o = options;
    this.#self = options.identity.number;
    this.#state = new ClusterState(options.store, options.limits);
    this.registers = new FreeRegisters(this.#state.metadata, (changes, nowMs) => this.#write(changes, nowMs));
    this.definitions = new DatabaseRegisters(this.#state.metadata, {
      createdAt: (nowMs) => {
        this.#mayMint(nowMs);
        return this.#clock.closing(nowMs);
      },
      write: (changes, nowMs) => this.#write(changes, nowMs),
    });
    this.#liveness = new Liveness(options.limits);
    this.#clock = new JudgedClock(options.clock, this.#liveness, options.limits, options.identity.number);
    this.#sync = new MetadataSync(this.#state.metadata, options.limits, (to, message) => this.#send(to, message));
    this.#rumours = new Rumours({
      limits: options.limits,
      counters: this.counters,
      random: options.random,
      send: (to, message) => this.#send(to, message),
      others: () => this.#others().map(({ number }) => number),
      isLive: (member) => this.#liveness.isLive(member, this.#nowMs),
    });
    this.#enrolment = new Enrolment({
      identity: options.identity,
      address: options.address,
      state: this.#state,
      clock: this.#clock,
      started: { id: options.processId, since: options.clock.now(), now: () => options.clock.now() },
      liveness: this.#liveness,
      limits: options.limits,
      random: options.random,
      emit: options.emit,
      merge: (registers, nowMs) => this.#merge(registers, nowMs),
      spread: (registers, nowMs) => this.#spread(registers, nowMs),
      changed: () => this.#changed(),
    });
    this.#suspicion = new Suspicion({
      self: this.#self,
      limits: options.limits,
      liveness: this.#liveness,
      random: options.random,
      others: () => this.#others(),
      sequenceOf: (member) => this.#said.sequenceOf(member),
      send: (to, message) => this.#send(to, message),
    });
    this.departures = new Departures({
      self: this.#self,
      state: this.#state,
      liveness: this.#liveness,
      isUp: () => this.state === 'up',
      clock: this.#clock,
      mayMint: (nowMs) => this.#mayMint(nowMs),
      spread: (registers, nowMs) => this.#spread(registers, nowMs),
      sendRegisters: (to, registers) => this.#sync.sendRegisters(to, registers, []),
    });
  }

  get identity(): NodeIdentity {
    return this.#enrolment.identity;
  }

  get state(): 'joining' | 'up' | 'left' | 'refused' {
    return this.#enrolment.state;
  }

  /** Why this node is not up; null when it is. */
  get problem(): string | null {
    return this.#enrolment.problem;
  }

  /** A member that starts at another address waits until it knows whether it runs elsewhere as well. */
  get isCheckingTwins(): boolean {
    return this.#enrolment.twins?.isChecking === true;
  }

  /** Call once. A node with an identity serves at once; a fresh one founds (nobody to join) or begins to join. */
  start(join: readonly string[], nowMs: number): void {
    this.#nowMs = nowMs;
    this.#startedMs = nowMs;
    this.#enrolment.start(join, nowMs);
    for (const { number } of this.#others()) this.#liveness.expect(number, nowMs);
    this.tick(nowMs);
  }

  /**
   * Every packet, before its frames are used. False: use nothing of it. Its stamp is too far ahead, or its sender was
   * removed: no cutoff waits for a removed member, so what it still sends may lie below floors, where it would be
   * acknowledged and discarded (protocol rules 7 and 23). It learns of its removal by asking (enrolment.ts).
   */
  heard(from: NodeNumber, stamp: Stamp, nowMs: number): boolean {
    this.#nowMs = nowMs;
    if (this.#state.member(from)?.state === 'removed') {
      this.counters.removedPackets += 1;
      return false;
    }
    const accepted = this.#clock.heard(from, stamp, nowMs);
    if (!accepted) this.counters.skewedPackets += 1;
    this.#watchOne(from, nowMs);
    return accepted;
  }

  /** `from.number` is null for calls and their answers. Returns the answer to a call. Never throws for bad bytes. */
  receive(
    from: { readonly number: NodeNumber | null; readonly address: string | null },
    message: Uint8Array,
    nowMs: number,
  ): Uint8Array | null {
    this.#nowMs = nowMs;
    if (this.state === 'refused') return null;
    try {
      const decoded = decodeNodeMessage(message, this.#o.limits);
      const answer =
        from.number === null
          ? this.#enrolment.receive(from.address ?? '', decoded, nowMs)
          : this.#receiveFrom(from.number, decoded, nowMs);
      return answer === null ? null : encodeNodeMessage(answer);
    } catch (error) {
      if (!(error instanceof MembershipError)) throw error;
      this.counters.badMessages += 1;
      return null;
    }
  }

  /** No answer to the last call to that address is to be expected any more. */
  unanswered(address: string, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#enrolment.unanswered(address, nowMs);
  }

  /** Nothing at or below it is minted from now on; a stamp too far ahead changes nothing. */
  lift(stamp: Stamp, nowMs: number): void {
    this.#clock.lift(stamp, nowMs);
  }

  /** Throws MembershipError `joining` or `skewed`. */
  mint(nowMs: number): Version {
    this.#mayMint(nowMs);
    return this.#clock.mint(nowMs);
  }

  /**
   * Nothing is minted at or below it afterwards. A skewed node, which mints nothing, closes by the others' clock; so that
   * it is not too late for that, a node that has just started lets its clock stand until it knows one of theirs.
   */
  closing(nowMs: number): Stamp {
    return this.#clock.closing(this.isListening(nowMs) ? 0 : nowMs);
  }

  /** Has just started, and has heard no other member: it may have missed anything. Over after a liveness window. */
  isListening(nowMs: number): boolean {
    const upMs = nowMs - this.#startedMs;
    if (upMs < 0 || upMs > this.#liveness.windowMs || this.#liveness.knowsClocks) return false;
    return this.#state.standing.some(({ number, state }) => number !== this.#self && state === 'up');
  }

  /**
   * The own statement, to all members. `shards` null: unchanged since the last call. `viewHash`: the view that the
   * workers had when they were asked what is open, which a change since then must not replace (protocol rule 11).
   */
  heartbeat(
    closed: Stamp,
    open: Statement['open'],
    shards: readonly HeldShard[] | null,
    nowMs: number,
    viewHash = this.#state.viewHash,
  ): void {
    this.#nowMs = nowMs;
    const statement = this.#said.own(this.#self, { viewHash, closed, open }, shards);
    if (this.state !== 'up') return;
    const message = encodeNodeMessage({
      kind: 'heartbeat',
      statement: statement as Statement & { open: { shard: string; oldest: string; acknowledgedBy: NodeNumber[] }[] },
      wallMs: nowMs,
      metadataHash: this.#state.metadata.hash(),
      handover: this.departures.progress,
      incarnation: this.#enrolment.twins?.own,
    });
    for (const member of this.#others()) this.#o.emit({ kind: 'send', to: member.number, message });
    this.#changed();
  }

  /** Often, at least several times a heartbeat interval. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.state === 'refused') return;
    this.#liveness.tick(nowMs);
    this.#watch(nowMs);
    this.#clock.reserveAhead(nowMs);
    if (this.state === 'up') {
      this.#suspicion.tick(nowMs);
      this.#rumours.tick(nowMs);
    }
    const alone = this.#others().every((member) => !this.#liveness.isHeard(member.number, nowMs));
    this.#enrolment.tick(alone, nowMs);
    this.departures.tick(nowMs);
  }

  /** The same object until something has changed. */
  snapshot(): ClusterSnapshot {
    if (this.#snapshot === null) {
      const { present } = this.#state;
      this.#snapshot = {
        viewHash: this.#state.viewHash,
        self: this.#self,
        members: this.#state.standing,
        live: this.#live(),
        databases: this.#state.databases,
        droppedThrough: this.#state.droppedThrough,
        statements: this.#said.statements(present),
        ...this.#said.lists(present),
      };
    }
    return this.#snapshot;
  }

  /** Empty when the retention policy is not known here in that generation. */
  owners(shard: ShardKey): readonly NodeNumber[] {
    return this.#owners.owners(this.snapshot(), shard);
  }

  describeMembers(nowMs: number): MemberDescription[] {
    return describeMembers(this.#state.members, this.#self, this.#liveness, this.departures.handovers, nowMs);
  }

  metadataHash(): string {
    return this.#state.metadata.hash();
  }

  isSkewed(): boolean {
    return this.#clock.skewed;
  }

  #receiveFrom(from: NodeNumber, message: NodeMessage, nowMs: number): null {
    if (from === this.#self || this.state !== 'up') return null;
    switch (message.kind) {
      case 'heartbeat':
        this.#heartbeatHeard(from, message.statement, message.wallMs, nowMs);
        if (message.incarnation !== undefined)
          this.#enrolment.twins?.heard(from, message.incarnation, message.statement.closed, nowMs);
        this.departures.heard(from, message.handover);
        this.#sync.hashHeard(from, message.metadataHash, nowMs);
        break;
      case 'ask-shards': {
        const list = this.#said.shardsOf(this.#self);
        if (list !== null && list.sequence >= message.sequence) this.#send(from, { kind: 'shards', ...list });
        break;
      }
      case 'ask-after':
      case 'news-of':
        this.#suspicion.receive(from, message, nowMs);
        break;
      case 'shards':
        if (this.#said.shards(from, message.sequence, message.shards)) this.#changed();
        break;
      case 'digest':
        this.#sync.digest(from, message);
        break;
      case 'keys':
        this.#sync.keys(from, message);
        break;
      case 'registers':
        this.#merge(message.registers, nowMs);
        this.#sync.wanted(from, message.want);
        break;
      case 'rumour':
        this.#rumours.heard(from, message.registers, this.#merge(message.registers, nowMs));
        break;
      case 'rumour-heard':
        this.#rumours.answered(from, message);
        break;
      default:
        throw new MembershipError('bad-message', `${message.kind} may only be called`);
    }
    return null;
  }

  #heartbeatHeard(from: NodeNumber, statement: Statement, wallMs: number, nowMs: number): void {
    if (statement.member !== from) {
      throw new MembershipError('bad-message', `a statement of ${statement.member} from ${from}`);
    }
    this.counters.heartbeatsReceived += 1;
    this.#liveness.wallClock(from, wallMs, nowMs);
    this.#watchOne(from, nowMs);
    const news = this.#said.statement(statement);
    if (news?.askShards) this.#send(from, { kind: 'ask-shards', sequence: statement.shardListSequence });
    if (news !== null) this.#changed();
  }

  #write(changes: readonly Change[], nowMs: number): void {
    this.#mayMint(nowMs);
    this.#spread(
      changes.map((change) => this.#state.registerOf(change, this.#clock.mint(nowMs))),
      nowMs,
    );
  }

  /** Durable here, then told to others. */
  #spread(registers: readonly Register[], nowMs: number): void {
    const changed = this.#merge(registers, nowMs);
    if (changed.length > 0) this.#rumours.begin(changed);
  }

  #merge(registers: readonly Register[], nowMs: number): Register[] {
    const changed = this.#state.merge(registers);
    if (changed.length === 0) return changed;
    this.counters.registersMerged += changed.length;
    // Later changes made here must win over what was just learned, also where it came round a node that is ahead.
    for (const { version } of changed) this.#clock.lift(stampOf(version), nowMs);
    if (changed.some(({ key }) => isMemberKey(key))) this.#membersChanged(nowMs);
    this.#changed();
    return changed;
  }

  #membersChanged(nowMs: number): void {
    for (const member of this.#state.members) {
      if (member.state !== 'removed') {
        this.#liveness.expect(member.number, nowMs);
        continue;
      }
      this.#liveness.forget(member.number);
      this.#said.forget(member.number);
      this.#enrolment.twins?.forget(member.number);
      this.#sync.forget(member.number);
      this.departures.heard(member.number, null);
    }
    // Another's register of this node may be older than what this node knows of itself.
    this.#enrolment.confirmOwnMember(nowMs);
  }

  /** Emits when who is live, or whether this node may mint, has changed. */
  #watch(nowMs: number): void {
    this.#clock.judge(nowMs);
    const live = new Set(this.#live());
    if (live.size === this.#watched.size && [...live].every((number) => this.#watched.has(number))) return;
    this.#watched = live;
    this.#changed();
  }

  /** After a packet: what it means for others, and who has been silent for too long, is seen with the next tick. */
  #watchOne(from: NodeNumber, nowMs: number): void {
    this.#clock.judge(nowMs);
    const isSame =
      this.#watched.has(from) === this.#liveness.isLive(from, nowMs) &&
      this.#watched.has(this.#self) !== this.#clock.skewed;
    if (!isSame) this.#watch(nowMs);
  }

  #live(): NodeNumber[] {
    return this.#state.members
      .filter(({ number, state }) => {
        if (state === 'removed') return false;
        return number === this.#self ? !this.#clock.skewed : this.#liveness.isLive(number, this.#nowMs);
      })
      .map(({ number }) => number);
  }

  #others(): Member[] {
    return this.#state.members.filter(({ number, state }) => number !== this.#self && state !== 'removed');
  }

  #mayMint(nowMs: number): void {
    if (this.state === 'refused') throw new MembershipError('stopped-member', this.problem ?? 'stopped');
    if (this.state === 'left') throw new MembershipError('leaving', this.problem ?? 'left');
    if (this.departures.isDraining()) {
      throw new MembershipError(
        'leaving',
        'this node is leaving the cluster and takes nothing more: ask another member',
      );
    }
    if (this.state === 'joining') {
      throw new MembershipError('joining', `joining: this node is not a member of a cluster yet (${this.problem})`);
    }
    if (nowMs !== this.#nowMs) {
      this.#nowMs = nowMs;
      this.#watch(nowMs);
    }
  }

  #send(to: NodeNumber, message: NodeMessage): void {
    this.#o.emit({ kind: 'send', to, message: encodeNodeMessage(message) });
  }

  #changed(): void {
    this.#snapshot = null;
    this.#o.emit({ kind: 'cluster-changed' });
  }
}
