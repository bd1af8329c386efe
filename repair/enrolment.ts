/**
 * How this node belongs to its cluster: fresh, founded or joined, left, refused. Answers calls of nodes that want to join
 * (sponsor.ts decides) and looks for the cluster itself (joining.ts decides whom to ask).
 *
 * Order when joining or founding: registers and clock are durable first, then `identity` is emitted, whose handler writes
 * node.json. A crash in between leaves a node that is fresh by its identity: it starts again under the same number.
 */
import type { NodeNumber, Stamp } from '../shards/version.ts';
import type { ClusterState } from './cluster-state.ts';
import { Joining, normalAddress } from './joining.ts';
import type { JudgedClock } from './judged-clock.ts';
import type { Liveness } from './liveness.ts';
import { memberChange, memberKey } from './members.ts';
import { MembershipError } from './membership-error.ts';
import type { MembershipLimits } from './membership-limits.ts';
import type { Register } from './metadata.ts';
import type { NodeEffect, NodeIdentity } from './node-effects.ts';
import { encodeNodeMessage, type NodeMessage } from './node-messages.ts';
import { admit } from './sponsor.ts';
import { Twins } from './twins.ts';

export interface EnrolmentOptions {
  readonly identity: NodeIdentity;
  readonly address: string;
  readonly state: ClusterState;
  readonly clock: JudgedClock;
  /** Of this start; `now`: the hybrid clock, `since`: as it was found. */
  readonly started: { readonly id: string; readonly since: Stamp; readonly now: () => Stamp };
  readonly liveness: Liveness;
  readonly limits: MembershipLimits;
  readonly random: () => number;
  readonly emit: (effect: NodeEffect) => void;
  /** What others said; durable. */
  readonly merge: (registers: readonly Register[], nowMs: number) => void;
  /** What this node says: durable, then to everybody. */
  readonly spread: (registers: readonly Register[], nowMs: number) => void;
  readonly changed: () => void;
}

export class Enrolment {
  readonly #o: EnrolmentOptions;
  readonly #address: string;
  #identity: NodeIdentity;
  #joining: Joining | null = null;
  #twins: Twins | null = null;
  #refused: string | null = null;
  #left: string | null = null;

  constructor(options: EnrolmentOptions) {
    this.#o = options;
    this.#identity = options.identity;
    this.#address = normalAddress(options.address);
  }

  get identity(): NodeIdentity {
    return this.#identity;
  }

  get state(): 'joining' | 'up' | 'left' | 'refused' {
    if (this.#refused !== null) return 'refused';
    if (this.#left !== null) return 'left';
    return this.#identity.clusterId === null || this.#twins?.isChecking ? 'joining' : 'up';
  }

  get problem(): string | null {
    if (this.state !== 'joining') return this.#refused ?? this.#left;
    return (this.#twins?.isChecking ? this.#twins.problem : this.#joining?.problem) ?? 'not started';
  }

  /** From the start on. */
  get twins(): Twins | null {
    return this.#twins;
  }

  start(join: readonly string[], nowMs: number): void {
    const { number, name } = this.#identity;
    this.#twins = this.#twinsOf(nowMs);
    this.#joining = new Joining(
      {
        number,
        name,
        address: this.#address,
        clusterId: () => this.#identity.clusterId,
        ownRegisters: () => this.#o.state.ownRegisters(number),
        memberAddresses: () => this.#memberAddresses(),
        incarnation: this.#twins.own,
        call: (address, message) => this.#call(address, message),
        found: (atMs) => this.#found(atMs),
        refuse: (reason) => this.#refuse(reason),
        wasRemoved: () => this.#comeAnew(),
        random: this.#o.random,
      },
      this.#o.limits,
      join,
    );
    if (this.#identity.clusterId !== null) {
      const own = this.#o.state.member(number);
      const isElsewhere = own !== null && own.state !== 'removed' && normalAddress(own.address) !== this.#address;
      if (isElsewhere) this.#twins.check(normalAddress(own.address), this.#memberAddresses(), nowMs);
      else this.#goOn(nowMs);
      return;
    }
    // What an earlier attempt to join left behind may belong to another cluster.
    this.#o.state.clear();
    if (this.#joining.told.length === 0) this.#found(nowMs);
  }

  /** `alone`: no other member was heard lately. */
  tick(alone: boolean, nowMs: number): void {
    this.#whileChecking(nowMs, (twins) => twins.tick(nowMs));
    if (this.#twins?.isChecking || this.#refused !== null) return;
    if (this.#identity.clusterId === null || alone) this.#joining?.tick(nowMs);
    else this.#joining?.rest();
    if (this.state === 'up') this.#removeNamesakes(nowMs);
  }

  /** After members' registers changed. */
  confirmOwnMember(nowMs: number): void {
    const own = this.#o.state.member(this.#identity.number);
    if (this.#identity.clusterId === null || own === null || this.#twins?.isChecking) return;
    // Somebody else says so: the cluster, of before this node moved, or another process with its number.
    if (own.state !== 'removed') this.#twins?.suspect(normalAddress(own.address), nowMs);
    this.#claimOwnMember(nowMs);
  }

  /** No answer to the last call to that address is to be expected any more. */
  unanswered(address: string, nowMs: number): void {
    this.#whileChecking(nowMs, (twins) => twins.settled(normalAddress(address)));
  }

  /** A call, or the answer to one: `address` is where that call went. */
  receive(address: string, message: NodeMessage, nowMs: number): NodeMessage | null {
    const joining = this.#joining;
    if (joining === null) return null;
    const { clusterId, number, name } = this.#identity;
    switch (message.kind) {
      case 'probe': {
        const same = clusterId !== null && message.clusterId === clusterId;
        // Whoever looks for a cluster to join has to find another member.
        if (!same && this.#left !== null) return null;
        if (same) this.#o.merge(message.registers, nowMs);
        const registers = same ? this.#o.state.metadata.withPrefix('member/') : [];
        const join = [...joining.told];
        const heard = this.#twins?.heardOf(message.number, message.incarnation?.id, nowMs);
        const incarnation = this.#twins?.own;
        return {
          kind: 'presence',
          clusterId,
          number,
          name,
          address: this.#address,
          join,
          registers,
          incarnation,
          heard,
        };
      }
      case 'presence':
        if (message.clusterId !== null && message.clusterId === clusterId) this.#o.merge(message.registers, nowMs);
        this.#whileChecking(nowMs, (twins) => {
          if (!twins.answered(normalAddress(address), message)) joining.presence(address, message, nowMs);
        });
        return null;
      case 'twin':
        this.#twins?.told(message);
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

  /** A member that is known to run nowhere else. */
  #goOn(nowMs: number): void {
    this.#claimOwnMember(nowMs);
    this.#o.changed();
  }

  #whileChecking(nowMs: number, work: (twins: Twins) => void): void {
    const twins = this.#twins;
    if (twins === null) return;
    const before = twins.isChecking;
    work(twins);
    if (before && !twins.isChecking && this.#refused === null) this.#goOn(nowMs);
  }

  #twinsOf(nowMs: number): Twins {
    const { number, name } = this.#identity;
    const { started, liveness, limits, emit } = this.#o;
    const own = { id: started.id, since: started.since, startedMs: Math.max(0, nowMs), address: this.#address };
    return new Twins(
      {
        number,
        name,
        own,
        now: started.now,
        windowMs: () => liveness.windowMs,
        isUp: () => this.state === 'up',
        probe: (address) => this.#joining!.probe(address),
        call: (address, message) => this.#call(address, message),
        refuse: (reason) => this.#refuse(reason),
        warn: (reason) => emit({ kind: 'twin', reason }),
      },
      limits,
    );
  }

  #call(address: string, message: NodeMessage): void {
    this.#o.emit({ kind: 'call', address, message: encodeNodeMessage(message) });
  }

  #sponsor(message: Extract<NodeMessage, { kind: 'join' }>, nowMs: number): NodeMessage {
    const { clusterId, seed } = this.#identity;
    if (clusterId === null || seed === null) {
      return { kind: 'refuse', code: 'busy', reason: 'this node belongs to no cluster yet' };
    }
    this.#o.clock.judge(nowMs);
    if (this.#o.clock.skewed) {
      return { kind: 'refuse', code: 'busy', reason: 'the clock of this node is skewed, so it may not admit members' };
    }
    const decision = admit(message, {
      self: this.#identity,
      members: this.#o.state.members,
      lastHeardMsAgo: (number: NodeNumber) => this.#o.liveness.lastHeardMsAgo(number, nowMs),
      windowMs: this.#o.liveness.windowMs,
      isSilent: (number: NodeNumber) => this.#o.liveness.isSilent(number, nowMs),
      membersMax: this.#o.limits.membersMax,
    });
    if ('kind' in decision) return decision;
    const registers = decision.changes.map((change) => this.#o.state.registerOf(change, this.#o.clock.mint(nowMs)));
    this.#o.spread(registers, nowMs);
    return {
      kind: 'welcome',
      number: message.number,
      clusterId,
      seed,
      // Above every statement under a view without the joiner: those were closed before the change above.
      stamp: this.#o.clock.closing(nowMs),
      registers: this.#o.state.firstRegisters(),
    };
  }

  #welcomed(address: string, message: Extract<NodeMessage, { kind: 'welcome' }>, nowMs: number): void {
    if (this.#identity.clusterId !== null || message.number !== this.#identity.number) return;
    if (!this.#o.clock.lift(message.stamp, nowMs)) {
      const max = this.#o.limits.clockDriftMaxMs;
      this.#joining!.problem = `the clock of ${address} is more than ${max} ms ahead of this node's: set the clocks`;
      return;
    }
    // Saved with the reservation: a crash must not take the clock below what the sponsor has stated.
    this.#o.clock.closing(nowMs);
    this.#belong(message.clusterId, message.seed, message.registers, nowMs);
  }

  #found(nowMs: number): void {
    this.#belong(this.#hex(16), this.#hex(32), [], nowMs);
  }

  #belong(clusterId: string, seed: string, registers: readonly Register[], nowMs: number): void {
    this.#identity = { ...this.#identity, clusterId, seed };
    this.#o.merge(registers, nowMs);
    this.#claimOwnMember(nowMs);
    this.#o.emit({ kind: 'identity', identity: this.#identity });
    this.#o.changed();
  }

  /** Makes the own register say `up` and the own address; a member that was removed stops. */
  #claimOwnMember(nowMs: number): void {
    const { number, name } = this.#identity;
    const own = this.#o.state.member(number);
    if (own?.state === 'removed' && own.removal === 'left') {
      this.#leave();
      return;
    }
    if (own?.state === 'removed') {
      const heir = this.#o.state.members.find((member) => member.name === name && member.state !== 'removed');
      const by = heir === undefined ? '' : `: the name now belongs to member ${heir.number} at ${heir.address}`;
      this.#refuse(
        `node "${name}" (${number}) was removed from the cluster${by}. Removal is final: start it with --readmit, which sets its data aside and joins anew, or with an empty data directory`,
      );
      return;
    }
    const state = own === null || own.state === 'joining' ? 'up' : own.state;
    if (own !== null && own.state === state && normalAddress(own.address) === this.#address) return;
    const change = memberChange({ number, name, address: this.#address, state });
    this.#o.spread([this.#o.state.registerOf(change, this.#o.clock.mintForSelf(nowMs))], nowMs);
  }

  /**
   * Sponsors that did not hear of each other may have let in two numbers under one name: a node that lost its disk twice.
   * The later one, which is this node, does what its sponsor would have done, under the same conditions (sponsor.ts).
   * Nobody else would: the earlier number is never heard again and would hold every watermark back.
   */
  #removeNamesakes(nowMs: number): void {
    const { state, liveness, clock } = this.#o;
    const { number, name } = this.#identity;
    const own = state.metadata.get(memberKey(number));
    if (own === null || clock.skewed) return;
    const gone = state.members.filter((member) => {
      if (member.name !== name || member.number === number || member.state === 'removed') return false;
      return (
        liveness.isSilent(member.number, nowMs) && state.metadata.get(memberKey(member.number))!.version < own.version
      );
    });
    if (gone.length === 0) return;
    const changes = gone.map((member) => memberChange({ ...member, state: 'removed', removal: 'replaced' }));
    this.#o.spread(
      changes.map((change) => state.registerOf(change, clock.mint(nowMs))),
      nowMs,
    );
  }

  /**
   * Replaced, or given up, before it belonged: let in, and not heard in time. Nothing of the cluster is in its directory, which
   * is that of a fresh node but for the number.
   */
  #comeAnew(): void {
    const { number, name } = this.#identity;
    this.#identity = { ...this.#identity, number: this.#hex(16) };
    this.#o.emit({ kind: 'identity', identity: this.#identity });
    this.#refuse(
      `node "${name}" (${number}) was removed from the cluster before it had joined: start it again, and it joins as a fresh member, ${this.#identity.number}`,
    );
  }

  #hex(digits: number): string {
    return Array.from({ length: digits }, () => Math.floor(this.#o.random() * 16).toString(16)).join('');
  }

  #memberAddresses(): string[] {
    return this.#o.state.members
      .filter(({ number, state }) => number !== this.#identity.number && state !== 'removed')
      .map(({ address }) => normalAddress(address));
  }

  #leave(): void {
    if (this.#left !== null) return;
    this.#left = `node "${this.#identity.name}" (${this.#identity.number}) has left the cluster: the others have all that it held, and its data directory may be deleted. To come back it has to start with an empty one`;
    this.#o.emit({ kind: 'left', reason: this.#left });
  }

  #refuse(reason: string): void {
    if (this.#refused !== null) return;
    this.#refused = reason;
    this.#o.emit({ kind: 'refused', reason });
  }
}
