/**
 * Two processes with one node number: a copied data directory that was started beside the original. Both would mint
 * versions under that number (protocol rule 1), and each acknowledge what only it has. So each process has an
 * *incarnation*: an id drawn at its start, and the end of the clock reservation that it found (`since`).
 *
 * How it is told from a restart, after which packets of the former process may still arrive:
 *   - An answer to one's own call is proof: whoever held this directory before had ended before this process began (the
 *     lock), so it answers nothing that this process asks. A member that starts at another address than its register
 *     names asks that address, and the other members whom they hear, before it is up; whoever finds another address in its
 *     own register later, or moved, goes on asking that one.
 *   - A statement is proof when it closed time beyond the other's `since`. A process never closes beyond what is durably
 *     reserved, and its successor begins above that (rule 2): so of two incarnations of which each has closed more than the
 *     other began with, neither came after the other. That needs no clock, and old packets cannot forge it. A
 *     member that hears both within the liveness window tells both.
 *
 * One that finds a twin before it is up stops. Of two that run, the one that was started later (by wall clock, then id) stops:
 * nobody can tell which is the copy, but the other one goes on. Members that do not send the field are taken as before.
 * Nothing is durable; every telling is repeated with the next heartbeat, and every question with backoff.
 */
import type { NodeNumber, Stamp } from '../shards/version.ts';
import type { MembershipLimits } from './membership-limits.ts';
import type { Incarnation, NodeMessage } from './node-messages.ts';

type Of<K extends NodeMessage['kind']> = Extract<NodeMessage, { kind: K }>;

interface Seen extends Incarnation {
  /** The greatest stamp that it has stated as closed. */
  readonly closed: Stamp;
  readonly atMs: number;
}

export interface TwinsHost {
  readonly number: NodeNumber;
  readonly name: string;
  readonly own: Incarnation;
  /** The own hybrid clock: nothing of it was used by a former process. */
  now(): Stamp;
  windowMs(): number;
  /** Not before it has joined, and knows that it runs nowhere else. */
  isUp(): boolean;
  probe(address: string): void;
  call(address: string, message: NodeMessage): void;
  /** This process must stop. */
  refuse(reason: string): void;
  /** Another one must. */
  warn(reason: string): void;
}

/** Of one number, within a liveness window. */
const INCARNATIONS_MAX = 8;
/** Where a twin may be. */
const SUSPECTS_MAX = 4;
const ASK_MS_MIN = 1_000;
const ASK_MS_MAX = 300_000;

export class Twins {
  readonly #host: TwinsHost;
  readonly #limits: MembershipLimits;
  readonly #seen = new Map<NodeNumber, Map<string, Seen>>();
  readonly #suspects = new Map<string, { nextMs: number; waitMs: number }>();
  /** Asked before this member is up, and still to be heard. */
  #unheard: Set<string> | null = null;
  #checkedSinceMs = 0;
  #warnedOf = '';

  constructor(host: TwinsHost, limits: MembershipLimits) {
    this.#host = host;
    this.#limits = limits;
  }

  get own(): Incarnation {
    return this.#host.own;
  }

  get isChecking(): boolean {
    return this.#unheard !== null;
  }

  get problem(): string {
    return `asking ${[...(this.#unheard ?? [])].join(', ')} whether this member runs elsewhere as well`;
  }

  /** Before this member is up: it was at `former` when its register was written. */
  check(former: string, others: readonly string[], nowMs: number): void {
    this.suspect(former, nowMs + ASK_MS_MIN);
    this.#unheard = new Set([former, ...others.slice(0, this.#limits.joinAddressesMax)]);
    this.#checkedSinceMs = nowMs;
    for (const address of this.#unheard) this.#host.probe(address);
  }

  /** It has answered, or will not. */
  settled(address: string): void {
    this.#unheard?.delete(address);
    if (this.#unheard?.size === 0) this.#unheard = null;
  }

  /** A process with the own number may be there. */
  suspect(address: string, nextMs: number): void {
    if (address === this.#host.own.address || this.#suspects.has(address)) return;
    if (this.#suspects.size >= SUSPECTS_MAX) this.#suspects.delete(this.#suspects.keys().next().value!);
    this.#suspects.set(address, { nextMs, waitMs: ASK_MS_MIN });
  }

  tick(nowMs: number): void {
    if (this.#unheard !== null && Math.abs(nowMs - this.#checkedSinceMs) > this.#limits.twinWaitMs)
      this.#unheard = null;
    for (const [address, suspect] of this.#suspects) {
      if (nowMs < suspect.nextMs && suspect.nextMs - nowMs <= ASK_MS_MAX) continue;
      suspect.nextMs = nowMs + suspect.waitMs;
      suspect.waitMs = Math.min(2 * suspect.waitMs, ASK_MS_MAX);
      this.#host.probe(address);
    }
  }

  /** The answer to an own call. True: it came from another process with the own number. */
  answered(address: string, message: Of<'presence'>): boolean {
    const { number, own } = this.#host;
    for (const seen of message.heard ?? []) this.#heardElsewhere(seen);
    const isTwin = message.number === number && message.incarnation !== undefined && message.incarnation.id !== own.id;
    // Of two that belong to nothing yet one has to go on.
    if (isTwin) this.#judge({ ...message.incarnation!, address }, !this.#host.isUp() && message.clusterId !== null);
    else this.#suspects.delete(address);
    this.settled(address);
    return isTwin;
  }

  /** What the one who probes is told of its own number. */
  heardOf(number: NodeNumber, but: string | undefined, nowMs: number): Of<'presence'>['heard'] {
    const others = [...this.#within(number, nowMs).values()].filter(({ id }) => id !== but);
    if (but === undefined || others.length === 0) return undefined;
    return others.map(({ atMs, ...seen }) => ({ ...seen, agoMs: Math.max(0, nowMs - atMs) }));
  }

  /** With a heartbeat of another member. */
  heard(member: NodeNumber, incarnation: Incarnation, closed: Stamp, nowMs: number): void {
    const known = this.#within(member, nowMs);
    const before = known.get(incarnation.id);
    const seen = { ...incarnation, closed: before !== undefined && before.closed > closed ? before.closed : closed };
    known.delete(incarnation.id);
    if (known.size >= INCARNATIONS_MAX) known.delete(known.keys().next().value!);
    for (const other of known.values()) {
      if (other.closed <= seen.since || seen.closed <= other.since) continue;
      this.#tell(member, seen, other);
      this.#tell(member, other, seen);
    }
    known.set(incarnation.id, { ...seen, atMs: nowMs });
    this.#seen.set(member, known);
  }

  /** By a member that hears both. */
  told({ number, id, other }: Of<'twin'>): void {
    if (number === this.#host.number && id === this.#host.own.id && other.id !== id) this.#judge(other, false);
  }

  forget(member: NodeNumber): void {
    this.#seen.delete(member);
  }

  #tell(number: NodeNumber, to: Incarnation, { id, since, startedMs, address }: Incarnation): void {
    this.#host.call(to.address, { kind: 'twin', number, id: to.id, other: { id, since, startedMs, address } });
  }

  /** A member says that it heard it lately. */
  #heardElsewhere(seen: NonNullable<Of<'presence'>['heard']>[number]): void {
    const { own, now, windowMs } = this.#host;
    const isUp = this.#host.isUp();
    if (seen.id === own.id || seen.agoMs > windowMs() || seen.closed <= own.since) return;
    // This process has closed nothing before it is up, but cannot have come before one that it finds there.
    if (!isUp || now() > seen.since) this.#judge(seen, !isUp);
  }

  #judge(other: Incarnation, otherStays: boolean): void {
    const { name, number, own, refuse, warn } = this.#host;
    const at = `at ${other.address} since ${new Date(other.startedMs).toISOString()}`;
    const who = `node "${name}" (${number}) runs ${at}`;
    const isLater = other.startedMs === own.startedMs ? own.id > other.id : own.startedMs > other.startedMs;
    if (otherStays || isLater) {
      refuse(
        `${who} already: two processes with one number would use versions twice. If this data directory is a copy, start with an empty one instead; if the node was to move to ${own.address}, stop the one at ${other.address} first`,
      );
    } else if (this.#warnedOf !== other.id) {
      this.#warnedOf = other.id;
      warn(`${who} as well, on a copy of this data directory: that process is told to stop, since it started later`);
    }
  }

  #within(member: NodeNumber, nowMs: number): Map<string, Seen> {
    const known = this.#seen.get(member) ?? new Map<string, Seen>();
    for (const [id, { atMs }] of known) if (nowMs - atMs > this.#host.windowMs()) known.delete(id);
    return known;
  }
}
