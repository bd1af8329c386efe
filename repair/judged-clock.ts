/**
 * The hybrid clock of a node as the other members' clocks allow it to be used (protocol rule 3).
 *
 * While the local wall clock is further than `clockDriftMaxMs` from the members' median, nothing is minted, and the
 * median stands in for the wall clock: such a node still follows the others and closes by their time, so it holds no
 * watermark back. While the local clock agrees with the median, a packet whose stamp is too far ahead is refused.
 */
import type { NodeNumber, Stamp, Version } from '../shards/version.ts';
import type { HybridClock } from './clock.ts';
import type { Liveness } from './liveness.ts';
import { MembershipError } from './membership-error.ts';
import type { MembershipLimits } from './membership-limits.ts';

export class JudgedClock {
  readonly #clock: HybridClock;
  readonly #liveness: Liveness;
  readonly #limits: MembershipLimits;
  readonly #node: NodeNumber;
  skewed = false;

  constructor(clock: HybridClock, liveness: Liveness, limits: MembershipLimits, node: NodeNumber) {
    this.#clock = clock;
    this.#liveness = liveness;
    this.#limits = limits;
    this.#node = node;
  }

  /** False: the stamp is too far ahead. */
  heard(from: NodeNumber, stamp: Stamp, nowMs: number): boolean {
    this.#liveness.packet(from, stamp, false, nowMs);
    const accepted = this.lift(stamp, nowMs);
    if (accepted) this.#liveness.packet(from, stamp, true, nowMs);
    return accepted;
  }

  lift(stamp: Stamp, nowMs: number): boolean {
    return this.#clock.lift(stamp, this.#wall(nowMs)) === 'lifted';
  }

  closing(nowMs: number): Stamp {
    return this.#clock.closing(this.#wall(nowMs));
  }

  /** Throws MembershipError `skewed`. */
  mint(nowMs: number): Version {
    if (this.skewed) throw this.#skewedError(nowMs);
    return this.#clock.mint(nowMs, this.#node);
  }

  /** For the own member register alone: also a skewed node may say where it is. */
  mintForSelf(nowMs: number): Version {
    return this.#clock.mint(this.#wall(nowMs), this.#node);
  }

  /** Judges the own clock anew. */
  judge(nowMs: number): void {
    this.#liveness.setSelf(this.#clock.now(), nowMs);
    this.skewed = this.#liveness.isSelfSkewed(nowMs);
  }

  /** Now and then, so that minting finds its time reserved. */
  reserveAhead(nowMs: number): void {
    if (!this.skewed) this.#clock.reserveAhead(this.#wall(nowMs));
  }

  #wall(nowMs: number): number {
    return this.#liveness.agreesWithMedian(nowMs) ? nowMs : nowMs + this.#liveness.medianOffsetMs(nowMs);
  }

  #skewedError(nowMs: number): MembershipError {
    const { clockDriftMaxMs } = this.#limits;
    const offMs = this.#liveness.selfOffsetMs(nowMs);
    if (this.#liveness.agreesWithMedian(nowMs)) {
      // The wall clock was set right; a hybrid clock never goes back.
      return new MembershipError('skewed', `skewed: ${this.#liveness.handedOut(nowMs)}`);
    }
    const side = offMs > 0 ? 'ahead of' : 'behind';
    return new MembershipError(
      'skewed',
      `skewed: the clock of this node is ${Math.round(Math.abs(offMs))} ms ${side} the median of the members' clocks, at most ${clockDriftMaxMs} ms are allowed: set the clock`,
    );
  }
}
