/**
 * Who is live, and whose clock is off. Everything by arguments: no timers here.
 *
 * A member is live when a packet of it was accepted within `liveIntervals` heartbeat intervals. Its clock offset is the
 * wall clock that its heartbeat carried, or the stamp of a packet where that is further ahead than allowed, less the
 * local wall clock on arrival (so a late message makes a clock look slower by its delay, which is small against the
 * allowed drift). Clocks are judged against the *lower median* of the clocks heard lately, the own one included: of two
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

export class Liveness {
  readonly #limits: MembershipLimits;
  readonly #heard = new Map<NodeNumber, Heard>();
  /** Own hybrid clock ahead of the own wall clock: what others will see of this node. */
  #selfAheadMs = 0;

  constructor(limits: MembershipLimits) {
    this.#limits = limits;
  }

  get windowMs(): number {
    return this.#limits.heartbeatIntervalMs * this.#limits.liveIntervals;
  }

  /** Some clock other than the own one has been told since the start. */
  get knowsClocks(): boolean {
    for (const { offsetMs } of this.#heard.values()) if (offsetMs !== null) return true;
    return false;
  }

  /** A packet with the sender's hybrid stamp. */
  packet(from: NodeNumber, stamp: Stamp, accepted: boolean, nowMs: number): void {
    const heard = this.#of(from, nowMs);
    heard.atMs = nowMs;
    const aheadMs = stampMs(stamp) - nowMs;
    if (aheadMs > this.#limits.clockDriftMaxMs) heard.offsetMs = aheadMs;
    if (accepted) heard.acceptedMs = nowMs;
  }

  /** What a heartbeat said of the sender's wall clock. */
  wallClock(from: NodeNumber, wallMs: number, nowMs: number): void {
    this.#of(from, nowMs).offsetMs = wallMs - nowMs;
  }

  setSelf(stamp: Stamp, nowMs: number): void {
    const aheadMs = stampMs(stamp) - nowMs;
    this.#selfAheadMs = aheadMs > this.#limits.clockDriftMaxMs ? aheadMs : 0;
  }

  forget(member: NodeNumber): void {
    this.#heard.delete(member);
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

  lastHeardMsAgo(member: NodeNumber, nowMs: number): number | null {
    const heard = this.#heard.get(member);
    return heard === undefined ? null : Math.max(0, nowMs - heard.atMs);
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

  /** Of the wall clocks heard lately and the own one, relative to the own one. */
  medianOffsetMs(nowMs: number): number {
    return this.#medianWith(0, nowMs);
  }

  #medianWith(ownMs: number, nowMs: number): number {
    const offsets = [ownMs];
    for (const { atMs, offsetMs } of this.#heard.values()) {
      if (offsetMs !== null && this.#within(atMs, nowMs)) offsets.push(offsetMs);
    }
    offsets.sort((a, b) => a - b);
    return offsets[(offsets.length - 1) >> 1]!;
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

  /** A local clock that stepped back makes arrivals lie in the future: they count as lately. */
  #within(atMs: number, nowMs: number): boolean {
    return nowMs - atMs <= this.windowMs;
  }
}
