/**
 * Who is live, and whose clock is off. Everything by arguments: no timers here.
 *
 * A member is live when a packet of it was accepted within `liveIntervals` heartbeat intervals. Its clock offset is the
 * wall clock that its heartbeat carried, or the stamp of a packet where that is further ahead than allowed, less the
 * local wall clock on arrival (so a late message makes a clock look slower by its delay, which is small against the
 * allowed drift). A node that was held up itself (its ticks come late) gives the others that many more intervals, and takes
 * them back one at a time (Lifeguard's local health). Clocks are judged against the *lower median* of the clocks heard lately, the own one included: of two
 * members that disagree the faster one is the skewed one, on both nodes alike, because a clock that runs ahead does more
 * harm (its versions win) and the other node can go on (protocol rule 3).
 */
import type { NodeNumber, Stamp } from '../shards/version.ts';
import { stampMs } from '../shards/version.ts';
import type { MembershipLimits } from './membership-limits.ts';

interface Heard {
  /** Any packet, also a refused one. */
  atMs: number;
  /** A packet that was accepted; null before the first. */
  acceptedMs: number | null;
  /** null before the first heartbeat, which carries the wall clock: it is not judged by, and not judged. */
  offsetMs: number | null;
}

/** What another member has said of one that is silent here (suspicion.ts). */
export interface Hearsay {
  readonly by: NodeNumber;
  /** Of the statement that was heard there. */
  readonly sequence: number;
  readonly atMs: number;
}

/** Intervals given at most to members that this node may have failed to hear. */
const HELD_UP_MAX = 8;

export class Liveness {
  readonly #limits: MembershipLimits;
  readonly #heard = new Map<NodeNumber, Heard>();
  /** Own hybrid clock ahead of the own wall clock: what others will see of this node. */
  #selfAheadMs = 0;
  readonly #hearsay = new Map<NodeNumber, Hearsay>();
  /** Since when each could have been heard here: its silence of before says nothing. */
  readonly #expected = new Map<NodeNumber, number>();
  /** Intervals in which this node was held up, less those that went well since. */
  #heldUp = 0;
  #tickedMs: number | null = null;
  #relaxedMs = 0;
  /** The local wall clock, as it was seen last. */
  #seenMs = Number.NEGATIVE_INFINITY;
  /** Of the clocks heard lately, ascending; until something about them changes. */
  #offsets: { readonly nowMs: number; readonly windowMs: number; readonly sorted: Float64Array } | null = null;

  constructor(limits: MembershipLimits) {
    this.#limits = limits;
  }

  get windowMs(): number {
    return this.#limits.heartbeatIntervalMs * (this.#limits.liveIntervals + this.#heldUp);
  }

  /** Several times an interval; that it was not is how a node notices that it was held up. */
  tick(nowMs: number): void {
    this.#follow(nowMs);
    const { heartbeatIntervalMs } = this.#limits;
    const missed = Math.floor((nowMs - (this.#tickedMs ?? nowMs)) / heartbeatIntervalMs);
    this.#tickedMs = nowMs;
    if (missed > 0) this.#heldUp = Math.min(HELD_UP_MAX, this.#heldUp + missed);
    else if (this.#heldUp > 0 && Math.abs(nowMs - this.#relaxedMs) >= heartbeatIntervalMs) this.#heldUp--;
    else return;
    this.#relaxedMs = nowMs;
  }

  /** Some clock other than the own one has been told since the start. */
  get knowsClocks(): boolean {
    for (const { offsetMs } of this.#heard.values()) if (offsetMs !== null) return true;
    return false;
  }

  /** A packet with the sender's hybrid stamp. */
  packet(from: NodeNumber, stamp: Stamp, accepted: boolean, nowMs: number): void {
    this.#follow(nowMs);
    const heard = this.#of(from, nowMs);
    if (!this.#within(heard.atMs, nowMs)) this.#offsets = null;
    heard.atMs = nowMs;
    const aheadMs = stampMs(stamp) - nowMs;
    if (aheadMs > this.#limits.clockDriftMaxMs) this.#setOffset(heard, aheadMs);
    if (accepted) heard.acceptedMs = nowMs;
  }

  /** What a heartbeat said of the sender's wall clock. */
  wallClock(from: NodeNumber, wallMs: number, nowMs: number): void {
    this.#setOffset(this.#of(from, nowMs), wallMs - nowMs);
  }

  setSelf(stamp: Stamp, nowMs: number): void {
    const aheadMs = stampMs(stamp) - nowMs;
    this.#selfAheadMs = aheadMs > this.#limits.clockDriftMaxMs ? aheadMs : 0;
  }

  /** The member is known here from now on; to be said again changes nothing. */
  expect(member: NodeNumber, nowMs: number): void {
    this.#follow(nowMs);
    if (!this.#expected.has(member)) this.#expected.set(member, nowMs);
  }

  forget(member: NodeNumber): void {
    this.#heard.delete(member);
    this.#expected.delete(member);
    this.#hearsay.delete(member);
    this.#offsets = null;
  }

  /** Accepted lately and not skewed. */
  isLive(member: NodeNumber, nowMs: number): boolean {
    const heard = this.#heard.get(member);
    if (heard === undefined || heard.acceptedMs === null) return false;
    return this.#within(heard.acceptedMs, nowMs) && !this.isSkewed(member, nowMs);
  }

  /** Heard lately in any way. */
  isHeard(member: NodeNumber, nowMs: number): boolean {
    const heard = this.#heard.get(member);
    return heard !== undefined && this.#within(heard.atMs, nowMs);
  }

  isSkewed(member: NodeNumber, nowMs: number): boolean {
    const heard = this.#heard.get(member);
    return heard !== undefined && heard.offsetMs !== null && this.#isOff(heard.offsetMs, nowMs);
  }

  /** The own wall clock is off, or the own hybrid clock is ahead of everybody (after the wall clock was set back). */
  isSelfSkewed(nowMs: number): boolean {
    return Math.abs(this.selfOffsetMs(nowMs)) > this.#limits.clockDriftMaxMs;
  }

  /** True when the local wall clock itself is within the allowed drift of the median. */
  agreesWithMedian(nowMs: number): boolean {
    return !this.#isOff(0, nowMs);
  }

  /** `by` has heard the member's statement with that sequence. Repeated news are none. */
  heardBy(member: NodeNumber, by: NodeNumber, sequence: number, atMs: number): void {
    const known = this.#hearsay.get(member);
    if (known === undefined || sequence > known.sequence) this.#hearsay.set(member, { by, sequence, atMs });
  }

  /** null unless somebody has heard the member since it was heard here. */
  hearsayOf(member: NodeNumber): Hearsay | null {
    const hearsay = this.#hearsay.get(member) ?? null;
    return hearsay === null || hearsay.atMs <= (this.#heard.get(member)?.atMs ?? -Infinity) ? null : hearsay;
  }

  /** By this node itself. */
  heardHereMsAgo(member: NodeNumber, nowMs: number): number | null {
    const heard = this.#heard.get(member);
    return heard === undefined ? null : Math.max(0, nowMs - heard.atMs);
  }

  /** By this node, or by one that told it so: what has to be long ago before a member is taken for dead. */
  lastHeardMsAgo(member: NodeNumber, nowMs: number): number | null {
    const hearsay = this.hearsayOf(member);
    return hearsay === null ? this.heardHereMsAgo(member, nowMs) : Math.max(0, nowMs - hearsay.atMs);
  }

  /**
   * Whether it has been silent for a whole window in which it could have been heard, so that it may be taken for dead. One
   * that has just been let in, or that this node has just heard of, has not had the time to speak.
   */
  isSilent(member: NodeNumber, nowMs: number): boolean {
    const agoMs = this.lastHeardMsAgo(member, nowMs);
    const expectedMs = this.#expected.get(member) ?? nowMs;
    return (agoMs ?? Number.POSITIVE_INFINITY) > this.windowMs && nowMs - expectedMs > this.windowMs;
  }

  offsetMs(member: NodeNumber): number | null {
    return this.#heard.get(member)?.offsetMs ?? null;
  }

  /** Ahead of the median; negative: behind it. */
  selfOffsetMs(nowMs: number): number {
    const wallMs = -this.medianOffsetMs(nowMs);
    if (Math.abs(wallMs) > this.#limits.clockDriftMaxMs || this.#selfAheadMs === 0) return wallMs;
    return this.#selfAheadMs - this.#medianWith(this.#selfAheadMs, nowMs);
  }

  /** For people, of this node while its wall clock agrees with the others' again and its hybrid clock is still ahead. */
  handedOut(nowMs: number): string {
    const lastMs = nowMs + this.#selfAheadMs;
    const [last, from] = [lastMs, lastMs - this.#limits.clockDriftMaxMs].map((ms) => new Date(ms).toISOString());
    return `this node gave writes times up to ${last} while its clock was ahead, and takes part again from ${from}`;
  }

  /** Of the wall clocks heard lately and the own one, relative to the own one. */
  medianOffsetMs(nowMs: number): number {
    return this.#medianWith(0, nowMs);
  }

  /** The lower median of the clocks heard lately and one more. */
  #medianWith(ownMs: number, nowMs: number): number {
    const sorted = this.#offsetsAt(nowMs);
    // With the own one put in its place there is one more, and the middle is at this index.
    const middle = sorted.length >> 1;
    const below = middle > 0 ? sorted[middle - 1]! : Number.NEGATIVE_INFINITY;
    const above = middle < sorted.length ? sorted[middle]! : Number.POSITIVE_INFINITY;
    return Math.min(Math.max(ownMs, below), above);
  }

  /** With each packet it is asked for each member whether its clock is off: they are put in order once. */
  #offsetsAt(nowMs: number): Float64Array {
    const { windowMs } = this;
    const known = this.#offsets;
    if (known !== null && known.nowMs === nowMs && known.windowMs === windowMs) return known.sorted;
    const offsets: number[] = [];
    for (const { atMs, offsetMs } of this.#heard.values())
      if (offsetMs !== null && this.#within(atMs, nowMs)) offsets.push(offsetMs);
    const sorted = Float64Array.from(offsets).sort();
    this.#offsets = { nowMs, windowMs, sorted };
    return sorted;
  }

  #setOffset(heard: Heard, offsetMs: number): void {
    if (heard.offsetMs === offsetMs) return;
    heard.offsetMs = offsetMs;
    this.#offsets = null;
  }

  #of(from: NodeNumber, nowMs: number): Heard {
    let heard = this.#heard.get(from);
    if (heard === undefined) {
      heard = { atMs: nowMs, acceptedMs: null, offsetMs: null };
      this.#heard.set(from, heard);
    }
    return heard;
  }

  #isOff(offsetMs: number, nowMs: number): boolean {
    return Math.abs(offsetMs - this.medianOffsetMs(nowMs)) > this.#limits.clockDriftMaxMs;
  }

  /**
   * When the local wall clock steps back, everything stays as long ago as it was, and the others' clocks are that much
   * further ahead: who is dead does not come to life because of it.
   */
  #follow(nowMs: number): void {
    const backMs = this.#seenMs - nowMs;
    this.#seenMs = nowMs;
    if (backMs <= 0) return;
    for (const heard of this.#heard.values()) {
      heard.atMs -= backMs;
      if (heard.acceptedMs !== null) heard.acceptedMs -= backMs;
      if (heard.offsetMs !== null) heard.offsetMs += backMs;
    }
    for (const [member, hearsay] of this.#hearsay)
      this.#hearsay.set(member, { ...hearsay, atMs: hearsay.atMs - backMs });
    for (const [member, sinceMs] of this.#expected) this.#expected.set(member, sinceMs - backMs);
    if (this.#tickedMs !== null) this.#tickedMs -= backMs;
    this.#relaxedMs -= backMs;
    this.#offsets = null;
  }

  #within(atMs: number, nowMs: number): boolean {
    return nowMs - atMs <= this.windowMs;
  }
}
