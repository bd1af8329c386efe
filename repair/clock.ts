/**
 * The hybrid logical clock of a node (Kulkarni et al. 2014; protocol rules 1 to 3).
 *
 * One stamp, `last`, only rises: minting takes the wall clock or `last` + 1, whichever is greater, so a wall clock that
 * steps back or forward never repeats or reorders a version. A counter that overflows carries into the milliseconds.
 *
 * Durability: `reservation` holds a stamp that nothing minted or stated as closed has passed. It is written *before*
 * the first use beyond the old one, `clockReserveMs` ahead, so minting costs one small durable write per that much time.
 * Minting never waits for that disk while the clock is in use: `reserveAhead`, called now and then, has the next stamp saved
 * beside other work when half of the time is over. It goes by the wall clock only near what the clock has reached, so that a wall clock that
 * jumps does not get its time onto the disk before it is judged.
 * A crash loses at most the rest of the reservation: the next start begins above it. Lifting by messages alone is not
 * written, since a lifted stamp that was never used promises nothing.
 *
 * If saving fails (full disk) the caller gets MembershipError `disk-failed` and the clock stays where it was.
 */
import {
  makeStamp,
  makeVersion,
  type NodeNumber,
  type Stamp,
  stampCounter,
  stampMs,
  type Version,
} from '../shards/version.ts';

import { MembershipError } from './membership-error.ts';

export interface ClockReservation {
  load(): Stamp;
  /** Durable when it returns. */
  save(stamp: Stamp): void;
  /**
   * Begins to save. `ended` comes later: true when the stamp is durable; false when it is not, or `save` has been called
   * meanwhile, which what began before must not undo. Absent: there is only `save`.
   */
  saveBeside?(stamp: Stamp, ended: (saved: boolean) => void): void;
}

export interface ClockLimits {
  readonly clockReserveMs: number;
  readonly clockDriftMaxMs: number;
}

const COUNTER_MAX = 0xffff;
/** A clock that was not used for longer is left alone: agents that write every minute find it reserved. */
const IN_USE_MS = 90_000;
/** 48 bits. A wall clock beyond it is a broken one. */
const MS_MAX = 2 ** 48 - 1;

export class HybridClock {
  readonly #reservation: ClockReservation;
  readonly #limits: ClockLimits;
  #ms: number;
  #counter: number;
  #reserved: Stamp;
  #reservingBeside = false;
  /** Durable writes so far, for metrics. */
  saves = 0;

  constructor(reservation: ClockReservation, limits: ClockLimits) {
    this.#reservation = reservation;
    this.#limits = limits;
    this.#reserved = reservation.load();
    this.#ms = stampMs(this.#reserved);
    this.#counter = stampCounter(this.#reserved);
  }

  /** A version greater than every one that this node has minted and every stamp that it has seen or closed. */
  mint(nowMs: number, node: NodeNumber): Version {
    const wall = wallMs(nowMs);
    let ms = this.#ms;
    let counter = this.#counter + 1;
    if (wall > ms) {
      ms = wall;
      counter = 0;
    } else if (counter > COUNTER_MAX) {
      ms += 1;
      counter = 0;
    }
    return makeVersion(this.#use(ms, counter), node);
  }

  /** Nothing is minted at or below the stamp afterwards. */
  closing(nowMs: number): Stamp {
    const wall = wallMs(nowMs);
    return wall > this.#ms ? this.#use(wall, 0) : this.#use(this.#ms, this.#counter);
  }

  /**
   * Raises the clock to a stamp that a message carried. `drift`: the stamp is further ahead of the wall clock than
   * `clockDriftMaxMs`, and the clock was not raised. A stamp that the clock has reached already is never refused.
   */
  lift(stamp: Stamp, nowMs: number): 'lifted' | 'drift' {
    const ms = stampMs(stamp);
    const counter = stampCounter(stamp);
    if (ms < this.#ms || (ms === this.#ms && counter <= this.#counter)) return 'lifted';
    if (ms > wallMs(nowMs) + this.#limits.clockDriftMaxMs) return 'drift';
    this.#ms = ms;
    this.#counter = counter;
    return 'lifted';
  }

  reserveAhead(nowMs: number): void {
    const wall = wallMs(nowMs);
    const { saveBeside } = this.#reservation;
    if (saveBeside === undefined || this.#reservingBeside || wall > this.#ms + IN_USE_MS) return;
    const ms = Math.max(wall, this.#ms);
    if (ms + this.#limits.clockReserveMs / 2 <= stampMs(this.#reserved)) return;
    const reserved = this.#stampToReserve(ms);
    this.#reservingBeside = true;
    saveBeside(reserved, (saved) => {
      this.#reservingBeside = false;
      if (saved && reserved > this.#reserved) this.#hasReserved(reserved);
    });
  }

  /** The greatest stamp minted, closed or seen. */
  now(): Stamp {
    return makeStamp(this.#ms, this.#counter);
  }

  #use(ms: number, counter: number): Stamp {
    if (ms > MS_MAX) throw new RangeError(`hybrid time ${ms} ms does not fit into 48 bits`);
    const stamp = makeStamp(ms, counter);
    if (stamp > this.#reserved) {
      const reserved = this.#stampToReserve(ms);
      try {
        this.#reservation.save(reserved);
      } catch (error) {
        throw new MembershipError('disk-failed', `cannot reserve time for the clock: ${(error as Error).message}`);
      }
      this.#hasReserved(reserved);
    }
    this.#ms = ms;
    this.#counter = counter;
    return stamp;
  }

  #stampToReserve(ms: number): Stamp {
    return makeStamp(Math.min(ms + this.#limits.clockReserveMs, MS_MAX), COUNTER_MAX);
  }

  #hasReserved(stamp: Stamp): void {
    this.#reserved = stamp;
    this.saves += 1;
  }
}

function wallMs(nowMs: number): number {
  return nowMs > 0 ? Math.floor(nowMs) : 0;
}
