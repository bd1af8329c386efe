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
import type { HybridClock } from './clock.ts';
import type { ClusterSnapshot, DatabaseDefinition, HeldShard, Member, Statement } from './cluster.ts';
import {
  alterPolicyChanges,
  type Change,
  createDatabaseChanges,
  createPolicyChanges,
  databasesOf,
  dropDatabaseChanges,
  dropPolicyChanges,
  droppedThroughOf,
  type RetentionPolicyOptions,
} from './databases.ts';
import { Joining, normalAddress } from './joining.ts';
import { Liveness } from './liveness.ts';
import { describeMembers, type MemberDescription } from './member-description.ts';
import { isMemberKey, memberChange, memberKey, membersOf, viewHashOf } from './members.ts';
import { MembershipError } from './membership-error.ts';
import type { MembershipLimits } from './membership-limits.ts';
import { jsonOf, Metadata, type Register, type RegisterStore } from './metadata.ts';
import { MetadataSync } from './metadata-sync.ts';
import { decodeNodeMessage, encodeNodeMessage, type NodeMessage } from './node-messages.ts';
import { ownersOf } from './owners.ts';
import { admit } from './sponsor.ts';
import { Statements } from './statements.ts';

export interface NodeIdentity {
  readonly number: NodeNumber;
  readonly name: string;
  readonly clusterId: string | null;
  /** For the hashes of series; the cluster's. */
  readonly seed: string | null;
}

export type NodeEffect =
  | { readonly kind: 'send'; readonly to: NodeNumber; readonly message: Uint8Array }
  /** To a node whose number is unknown; its answer comes back through `receive` with the same address. */
  | { readonly kind: 'call'; readonly address: string; readonly message: Uint8Array }
  /** Joined or founded: make it durable before going on. */
  | { readonly kind: 'identity'; readonly identity: NodeIdentity }
  /** `snapshot()` is another one now. */
  | { readonly kind: 'cluster-changed' }
  /** This process must stop and say so. */
  | { readonly kind: 'refused'; readonly reason: string };

export interface NodeCoreOptions {
  readonly identity: NodeIdentity;
  /** http://HOST:PORT that other members use. */
  readonly address: string;
  readonly clock: HybridClock;
  readonly store: RegisterStore;
  readonly random: () => number;
  readonly limits: MembershipLimits;
  readonly emit: (effect: NodeEffect) => void;
}

export interface NodeCounters {
  badMessages: number;
  skewedPackets: number;
  heartbeatsReceived: number;
  registersMerged: number;
}

/** Registers that only the functions for members and databases may write. */
const RESERVED = /^(member|database|policy|dropped)\//;

export class NodeCore {
  readonly counters: NodeCounters = { badMessages: 0, skewedPackets: 0, heartbeatsReceived: 0, registersMerged: 0 };
  readonly #o: NodeCoreOptions;
  readonly #metadata: Metadata;
  readonly #liveness: Liveness;
  readonly #sync: MetadataSync;
  readonly #said = new Statements();
  readonly #address: string;
  #identity: NodeIdentity;
  #joining: Joining | null = null;
  #refused: string | null = null;
  #startedMs = 0;
  #nowMs = 0;
  #skewed = false;
  #members: Member[] = [];
  #databases: DatabaseDefinition[] = [];
  #droppedThrough: Record<string, number> = {};
  #viewHash = '';
  #snapshot: ClusterSnapshot | null = null;
  #liveText = '';

  constructor(options: NodeCoreOptions) {
    this.#o = options;
    this.#identity = options.identity;
    this.#address = normalAddress(options.address);
    this.#metadata = new Metadata(options.store);
    this.#liveness = new Liveness(options.limits);
    this.#sync = new MetadataSync(this.#metadata, options.limits, (to, message) => this.#send(to, message));
    this.#derive();
  }

  get identity(): NodeIdentity {
    return this.#identity;
  }

  get state(): 'joining' | 'up' | 'refused' {
    if (this.#refused !== null) return 'refused';
    return this.#identity.clusterId === null ? 'joining' : 'up';
  }

  /** Why this node is not up; null when it is. */
  get problem(): string | null {
    return this.#refused ?? (this.#identity.clusterId === null ? (this.#joining?.problem ?? 'not started') : null);
  }

  /** Call once. A node with an identity serves at once; a fresh one founds (nobody to join) or begins to join. */
  start(join: readonly string[], nowMs: number): void {
    this.#startedMs = nowMs;
    this.#nowMs = nowMs;
    const host = {
      number: this.#identity.number,
      name: this.#identity.name,
      address: this.#address,
      clusterId: () => this.#identity.clusterId,
      ownRegisters: () => this.#ownRegisters(),
      memberAddresses: () => this.#others().map((member) => normalAddress(member.address)),
      call: (address: string, message: NodeMessage) =>
        this.#o.emit({ kind: 'call', address, message: encodeNodeMessage(message) }),
      found: (atMs: number) => this.#found(atMs),
      refuse: (reason: string) => this.#refuse(reason),
      random: this.#o.random,
    };
    this.#joining = new Joining(host, this.#o.limits, join);
    if (this.#identity.clusterId === null) {
      this.#metadata.clear();
      this.#derive();
      if (this.#joining.told.length === 0) this.#found(nowMs);
    } else {
      this.#claimOwnMember(nowMs);
      this.#changed();
    }
    this.tick(nowMs);
  }

  /** Every packet, before its frames are used. False: its stamp is too far ahead, use nothing of it. */
  heard(from: NodeNumber, stamp: Stamp, nowMs: number): boolean {
    this.#nowMs = nowMs;
    this.#liveness.packet(from, stamp, false, nowMs);
    const accepted = this.#o.clock.lift(stamp, this.#wall(nowMs)) === 'lifted';
    if (accepted) this.#liveness.packet(from, stamp, true, nowMs);
    else this.counters.skewedPackets += 1;
    this.#watch(nowMs);
    return accepted;
  }

  /** `from.number` is null for calls and their answers. Returns the answer to a call. Never throws for bad bytes. */
  receive(
    from: { readonly number: NodeNumber | null; readonly address: string | null },
    message: Uint8Array,
    nowMs: number,
  ): Uint8Array | null {
    this.#nowMs = nowMs;
    if (this.#refused !== null) return null;
    try {
      const decoded = decodeNodeMessage(message, this.#o.limits);
      const answer =
        from.number === null
          ? this.#receiveCall(from.address ?? '', decoded, nowMs)
          : this.#receiveFrom(from.number, decoded, nowMs);
      return answer === null ? null : encodeNodeMessage(answer);
    } catch (error) {
      if (!(error instanceof MembershipError)) throw error;
      this.counters.badMessages += 1;
      return null;
    }
  }

  /** Throws MembershipError `joining` or `skewed`. */
  mint(nowMs: number): Version {
    this.#mayMint(nowMs);
    return this.#o.clock.mint(nowMs, this.#identity.number);
  }

  /** Nothing is minted at or below it afterwards. A skewed node, which mints nothing, closes by the others' clock. */
  closing(nowMs: number): Stamp {
    return this.#o.clock.closing(this.#wall(nowMs));
  }

  /** The own statement, to all members. `shards` null: unchanged since the last call. */
  heartbeat(closed: Stamp, open: Statement['open'], shards: readonly HeldShard[] | null, nowMs: number): void {
    this.#nowMs = nowMs;
    const statement = this.#said.own(this.#identity.number, { viewHash: this.#viewHash, closed, open }, shards);
    if (this.state !== 'up') return;
    const message = encodeNodeMessage({
      kind: 'heartbeat',
      statement: statement as Statement & { open: { shard: string; oldest: string; acknowledgedBy: NodeNumber[] }[] },
      wallMs: nowMs,
      metadataHash: this.#metadata.hash(),
    });
    for (const member of this.#others()) this.#o.emit({ kind: 'send', to: member.number, message });
    this.#changed();
  }

  /** Often, at least several times a heartbeat interval. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#refused !== null || this.#joining === null) return;
    this.#watch(nowMs);
    const alone = this.#others().every((member) => !this.#liveness.isHeard(member.number, nowMs));
    if (this.#identity.clusterId === null || alone) this.#joining.tick(nowMs);
    else this.#joining.rest();
  }

  /** The same object until something has changed. */
  snapshot(): ClusterSnapshot {
    if (this.#snapshot === null) {
      const present = new Set(this.#members.filter(({ state }) => state !== 'removed').map(({ number }) => number));
      this.#snapshot = {
        viewHash: this.#viewHash,
        self: this.#identity.number,
        members: this.#members,
        live: this.#live(),
        databases: this.#databases,
        droppedThrough: this.#droppedThrough,
        statements: this.#said.statements(present),
        heldBy: this.#said.heldBy(present),
      };
    }
    return this.#snapshot;
  }

  /** Empty when the retention policy is not known here in that generation. */
  owners(shard: ShardKey): NodeNumber[] {
    return ownersOf(this.snapshot(), shard);
  }

  describeMembers(nowMs: number): MemberDescription[] {
    return describeMembers(this.#members, this.#identity.number, this.#liveness, nowMs);
  }

  createDatabase(
    name: string,
    policy: (RetentionPolicyOptions & { readonly name?: string }) | null,
    nowMs: number,
  ): void {
    this.#mayMint(nowMs);
    this.#write(createDatabaseChanges(this.#metadata, name, policy, this.#o.clock.closing(nowMs)), nowMs);
  }

  dropDatabase(name: string, nowMs: number): void {
    this.#write(dropDatabaseChanges(this.#metadata, name), nowMs);
  }

  createRetentionPolicy(database: string, name: string, options: RetentionPolicyOptions, nowMs: number): void {
    this.#mayMint(nowMs);
    const created = this.#o.clock.closing(nowMs);
    this.#write(createPolicyChanges(this.#metadata, database, name, options, created), nowMs);
  }

  alterRetentionPolicy(database: string, name: string, options: RetentionPolicyOptions, nowMs: number): void {
    this.#write(alterPolicyChanges(this.#metadata, database, name, options), nowMs);
  }

  dropRetentionPolicy(database: string, name: string, nowMs: number): void {
    this.#write(dropPolicyChanges(this.#metadata, database, name), nowMs);
  }

  /** `value`: JSON-able. Durable when it returns. */
  putRegister(key: string, value: unknown, nowMs: number): void {
    checkKey(key);
    this.#write([{ key, rank: 0, value }], nowMs);
  }

  deleteRegister(key: string, nowMs: number): void {
    checkKey(key);
    const register = this.#metadata.get(key);
    if (register !== null && register.value !== null) this.#write([{ key, rank: 0, value: undefined }], nowMs);
  }

  register(key: string): unknown | undefined {
    const register = this.#metadata.get(key);
    return register === null ? undefined : jsonOf(register);
  }

  registers(prefix: string): { key: string; value: unknown; version: Version }[] {
    return this.#metadata
      .withPrefix(prefix)
      .filter((register) => register.value !== null)
      .map((register) => ({ key: register.key, value: jsonOf(register), version: register.version }));
  }

  /** For metrics and tests. */
  metadataHash(): string {
    return this.#metadata.hash();
  }

  isSkewed(): boolean {
    return this.#skewed;
  }

  #receiveFrom(from: NodeNumber, message: NodeMessage, nowMs: number): null {
    if (from === this.#identity.number || this.#identity.clusterId === null) return null;
    switch (message.kind) {
      case 'heartbeat':
        this.#heartbeatHeard(from, message.statement, message.wallMs, nowMs);
        this.#sync.hashHeard(from, message.metadataHash, nowMs);
        break;
      case 'ask-shards': {
        const list = this.#said.shardsOf(this.#identity.number);
        if (list !== null && list.sequence >= message.sequence) {
          this.#send(from, { kind: 'shards', sequence: list.sequence, shards: [...list.shards] });
        }
        break;
      }
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
    this.#watch(nowMs);
    const news = this.#said.statement(statement);
    if (news?.askShards) this.#send(from, { kind: 'ask-shards', sequence: statement.shardListSequence });
    if (news !== null) this.#changed();
  }

  /** A call, or the answer to one: `address` is where the call went. */
  #receiveCall(address: string, message: NodeMessage, nowMs: number): NodeMessage | null {
    const joining = this.#joining;
    if (joining === null) return null;
    switch (message.kind) {
      case 'probe': {
        const clusterId = this.#identity.clusterId;
        const same = clusterId !== null && message.clusterId === clusterId;
        if (same) this.#merge(message.registers, nowMs);
        const { number, name } = this.#identity;
        const registers = same ? this.#metadata.withPrefix('member/') : [];
        return {
          kind: 'presence',
          clusterId,
          number,
          name,
          address: this.#address,
          join: [...joining.told],
          registers,
        };
      }
      case 'presence':
        if (message.clusterId !== null && message.clusterId === this.#identity.clusterId) {
          this.#merge(message.registers, nowMs);
        }
        joining.presence(address, message, nowMs);
        return null;
      case 'join':
        return this.#sponsor(message, nowMs);
      case 'welcome':
        this.#welcomed(address, message, nowMs);
        return null;
      case 'refuse':
        joining.refused(address, message, nowMs);
        return null;
      default:
        throw new MembershipError('bad-message', `${message.kind} may not be called`);
    }
  }

  #sponsor(message: Extract<NodeMessage, { kind: 'join' }>, nowMs: number): NodeMessage {
    const { clusterId, seed } = this.#identity;
    if (clusterId === null || seed === null) {
      return { kind: 'refuse', code: 'busy', reason: 'this node belongs to no cluster yet' };
    }
    if (this.#liveness.isSelfSkewed(nowMs)) {
      return { kind: 'refuse', code: 'busy', reason: 'the clock of this node is skewed, so it may not admit members' };
    }
    const decision = admit(message, {
      self: this.#identity,
      members: this.#members,
      lastHeardMsAgo: (number) => this.#liveness.lastHeardMsAgo(number, nowMs),
      windowMs: this.#liveness.windowMs,
      upForMs: nowMs - this.#startedMs,
      membersMax: this.#o.limits.membersMax,
    });
    if ('kind' in decision) return decision;
    this.#write(decision.changes, nowMs);
    return {
      kind: 'welcome',
      number: message.number,
      clusterId,
      seed,
      // Above every statement under a view without the joiner: those were closed before the change above.
      stamp: this.#o.clock.closing(nowMs),
      registers: this.#firstRegisters(),
    };
  }

  #welcomed(address: string, message: Extract<NodeMessage, { kind: 'welcome' }>, nowMs: number): void {
    if (this.#identity.clusterId !== null || message.number !== this.#identity.number) return;
    if (this.#o.clock.lift(message.stamp, nowMs) === 'drift') {
      this.#joining!.problem =
        `the clock of ${address} is more than ${this.#o.limits.clockDriftMaxMs} ms ahead of this node's: set the clocks`;
      return;
    }
    // Saved with the reservation: a crash must not take the clock below what the sponsor has stated.
    this.#o.clock.closing(nowMs);
    this.#identity = { ...this.#identity, clusterId: message.clusterId, seed: message.seed };
    this.#merge(message.registers, nowMs);
    this.#claimOwnMember(nowMs);
    this.#o.emit({ kind: 'identity', identity: this.#identity });
    this.#changed();
  }

  #found(nowMs: number): void {
    const hex = (digits: number): string =>
      Array.from({ length: digits }, () => Math.floor(this.#o.random() * 16).toString(16)).join('');
    this.#identity = { ...this.#identity, clusterId: hex(16), seed: hex(32) };
    this.#claimOwnMember(nowMs);
    this.#o.emit({ kind: 'identity', identity: this.#identity });
    this.#changed();
  }

  /** Makes the own register say `up` and the own address; a member that was removed stops. */
  #claimOwnMember(nowMs: number): void {
    const { number, name } = this.#identity;
    const own = this.#members.find((member) => member.number === number);
    if (own?.state === 'removed') {
      const heir = this.#members.find((member) => member.name === name && member.state !== 'removed');
      const by = heir === undefined ? '' : `: the name now belongs to member ${heir.number} at ${heir.address}`;
      this.#refuse(
        `node "${name}" (${number}) was removed from the cluster${by}. Removal is final: start it with an empty data directory`,
      );
      return;
    }
    const state = own === undefined || own.state === 'joining' ? 'up' : own.state;
    if (own !== undefined && own.state === state && normalAddress(own.address) === this.#address) return;
    // Not `mint`: a skewed node may still say where it is.
    const version = this.#o.clock.mint(this.#wall(nowMs), number);
    this.#spread([{ ...memberChange({ number, name, address: this.#address, state }), version }], nowMs);
  }

  #ownRegisters(): Register[] {
    const own = this.#metadata.get(memberKey(this.#identity.number));
    return own === null ? [] : [own];
  }

  /** What a joiner must know to begin with; the rest comes by push-pull. */
  #firstRegisters(): Register[] {
    const first = this.#metadata.all().filter(({ key }) => RESERVED.test(key));
    let bytes = 0;
    return first.filter(({ key, value }) => {
      bytes += key.length + (value?.length ?? 0) + 100;
      return bytes < this.#o.limits.messageBytesMax / 2;
    });
  }

  #write(changes: readonly Change[], nowMs: number): void {
    this.#mayMint(nowMs);
    this.#spread(
      changes.map((change) => ({ ...change, version: this.#o.clock.mint(nowMs, this.#identity.number) })),
      nowMs,
    );
  }

  /** Durable here, then to everybody. */
  #spread(changes: readonly (Change & { version: Version })[], nowMs: number): void {
    const registers = changes.map(({ key, rank, value, version }): Register => {
      const text = value === undefined ? null : JSON.stringify(value);
      const size = text?.length ?? 0;
      if (size > this.#o.limits.registerBytesMax) {
        throw new MembershipError(
          'register-too-large',
          `${key} would have ${size} characters, at most ${this.#o.limits.registerBytesMax} are allowed`,
        );
      }
      return { key, rank, version, value: text };
    });
    const changed = this.#merge(registers, nowMs);
    if (changed.length === 0) return;
    for (const member of this.#others()) this.#sync.sendRegisters(member.number, changed, []);
  }

  #merge(registers: readonly Register[], nowMs: number): Register[] {
    if (this.#metadata.size + registers.length > this.#o.limits.registersMax) {
      const added = registers.filter(({ key }) => this.#metadata.get(key) === null).length;
      if (this.#metadata.size + added > this.#o.limits.registersMax) {
        throw new MembershipError(
          'too-many-registers',
          `the cluster's metadata would have ${this.#metadata.size + added} entries, at most ${this.#o.limits.registersMax} are allowed`,
        );
      }
    }
    const changed = this.#metadata.merge(registers);
    if (changed.length === 0) return changed;
    this.counters.registersMerged += changed.length;
    // Later changes made here must win over what was just learned, also where it came round a node that is ahead.
    for (const { version } of changed) this.#o.clock.lift(stampOf(version), this.#wall(nowMs));
    if (changed.some(({ key }) => RESERVED.test(key))) this.#derive();
    if (changed.some(({ key }) => isMemberKey(key))) this.#membersChanged(nowMs);
    this.#changed();
    return changed;
  }

  #membersChanged(nowMs: number): void {
    for (const member of this.#members) {
      if (member.state !== 'removed') continue;
      this.#liveness.forget(member.number);
      this.#said.forget(member.number);
      this.#sync.forget(member.number);
    }
    // Another's register of this node may be older than what this node knows of itself.
    if (this.#identity.clusterId !== null && this.#members.some(({ number }) => number === this.#identity.number)) {
      this.#claimOwnMember(nowMs);
    }
  }

  #derive(): void {
    this.#members = membersOf(this.#metadata);
    this.#databases = databasesOf(this.#metadata);
    this.#droppedThrough = droppedThroughOf(this.#metadata);
    this.#viewHash = viewHashOf(this.#members, this.#databases, this.#droppedThrough);
  }

  /** Emits when who is live, or whether this node may mint, has changed. */
  #watch(nowMs: number): void {
    this.#liveness.setSelf(this.#o.clock.now(), nowMs);
    this.#skewed = this.#liveness.isSelfSkewed(nowMs);
    const text = this.#live().join();
    if (text === this.#liveText) return;
    this.#liveText = text;
    this.#changed();
  }

  #live(): NodeNumber[] {
    return this.#members
      .filter(({ number, state }) => {
        if (state === 'removed') return false;
        return number === this.#identity.number ? !this.#skewed : this.#liveness.isLive(number, this.#nowMs);
      })
      .map(({ number }) => number);
  }

  #others(): Member[] {
    return this.#members.filter(({ number, state }) => number !== this.#identity.number && state !== 'removed');
  }

  #mayMint(nowMs: number): void {
    if (this.#refused !== null) throw new MembershipError('stopped-member', this.#refused);
    if (this.#identity.clusterId === null) {
      throw new MembershipError('joining', `joining: this node is not a member of a cluster yet (${this.problem})`);
    }
    if (nowMs !== this.#nowMs) {
      this.#nowMs = nowMs;
      this.#watch(nowMs);
    }
    if (!this.#skewed) return;
    const off = this.#liveness.selfOffsetMs(nowMs);
    throw new MembershipError(
      'skewed',
      `skewed: the clock of this node is ${Math.abs(off)} ms ${off > 0 ? 'ahead of' : 'behind'} the median of the members' clocks, at most ${this.#o.limits.clockDriftMaxMs} ms are allowed: set the clock`,
    );
  }

  /** The local wall clock; where that one is wrong, the cluster's. */
  #wall(nowMs: number): number {
    return this.#liveness.agreesWithMedian(nowMs) ? nowMs : nowMs + this.#liveness.medianOffsetMs(nowMs);
  }

  #send(to: NodeNumber, message: NodeMessage): void {
    this.#o.emit({ kind: 'send', to, message: encodeNodeMessage(message) });
  }

  #refuse(reason: string): void {
    if (this.#refused !== null) return;
    this.#refused = reason;
    this.#o.emit({ kind: 'refused', reason });
  }

  #changed(): void {
    this.#snapshot = null;
    this.#o.emit({ kind: 'cluster-changed' });
  }
}

function checkKey(key: string): void {
  if (key === '' || key.length > 1_024 || RESERVED.test(key)) {
    throw new MembershipError('invalid-name', `a register may not be called ${JSON.stringify(key.slice(0, 100))}`);
  }
}
