/**
 * When the writes that wait leave together: a group commit.
 *
 * A batch costs this thread, the workers and the disk about the same for one row as for a hundred, so writes wait for
 * company where it costs them next to nothing:
 *
 * - While a batch is on its way: the worker would let them wait for its sync anyway. Not longer than GATHER_MS_MAX, since
 *   a batch may be on its way for long (another owner's sync, a timeout).
 * - Just after a batch was settled: clients that were answered together come back together, some of them first. When as
 *   many as were here are back, or after LINGER_MS_MAX, the writes leave. Without this every other batch would hold only
 *   the few that came first. Who writes alone waits for nobody.
 *
 * Much to parse (GATHERED_BYTES_MAX) never waits.
 */

const GATHER_MS_MAX = 4;
const LINGER_MS_MAX = 1;
/** Parsing this much takes one or two milliseconds. */
const GATHERED_BYTES_MAX = 1024 * 1024;

/**
 * Takes those that came first, as many as are not larger together, but one at least. A set, since V8 throws code away that has
 * seen an empty list filled where the next list is.
 */
export function takeUpTo<T>(queue: Set<T>, bytesMax: number, bytesOf: (each: T) => number): T[] {
  const taken: T[] = [];
  let bytes = 0;
  for (const each of queue) {
    bytes += bytesOf(each);
    if (taken.length > 0 && bytes > bytesMax) break;
    taken.push(each);
    queue.delete(each);
  }
  return taken;
}

export interface GatheringPorts {
  nowMs(): number;
  /** Runs `work` after the current turn of the event loop. */
  later(work: () => void): void;
  /** Runs `work` after so many milliseconds. */
  after(ms: number, work: () => void): void;
  /** Batches that are not settled. */
  inFlight(): number;
  /** Takes all writes that wait; `left` is called while they are taken. */
  leave(): void;
}

export class WriteGathering {
  readonly #ports: GatheringPorts;
  #waiting = 0;
  #waitingBytes = 0;
  #isScheduled = false;
  /** How often writes have left; a timer that was set before the last time means nothing any more. */
  #departures = 0;
  #gatheringFor = -1;
  #lingeringFor = -1;
  /** Answered since writes left last. */
  #answered = 0;
  /** Writes that were here when the last batch was settled, which was at `#settledMs`. */
  #company = 0;
  #settledMs = 0;

  constructor(ports: GatheringPorts) {
    this.#ports = ports;
  }

  joined(bytes: number): void {
    this.#waiting++;
    this.#waitingBytes += bytes;
    this.#schedule();
  }

  left(): void {
    this.#departures++;
    this.#waiting = 0;
    this.#waitingBytes = 0;
    this.#answered = 0;
  }

  answered(): void {
    this.#answered++;
  }

  /** Batches were settled; requests that waited for nothing else have been answered. */
  settled(): void {
    if (this.#ports.inFlight() === 0) {
      this.#company = this.#answered + this.#waiting;
      this.#settledMs = this.#ports.nowMs();
    }
    if (this.#waiting > 0) this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#ports.later(() => {
      this.#isScheduled = false;
      if (this.#waiting === 0) return;
      const isBehind = this.#ports.inFlight() > 0;
      if (this.#waitingBytes >= GATHERED_BYTES_MAX || (!isBehind && this.#isWholeCompany())) this.#ports.leave();
      else if (isBehind) this.#gather();
      else this.#linger();
    });
  }

  #isWholeCompany(): boolean {
    if (this.#waiting >= this.#company) return true;
    return this.#ports.nowMs() - this.#settledMs > LINGER_MS_MAX;
  }

  #gather(): void {
    if (this.#gatheringFor === this.#departures) return;
    this.#gatheringFor = this.#departures;
    this.#leaveAfter(GATHER_MS_MAX);
  }

  #linger(): void {
    if (this.#lingeringFor === this.#departures) return;
    this.#lingeringFor = this.#departures;
    this.#leaveAfter(LINGER_MS_MAX);
  }

  #leaveAfter(ms: number): void {
    const departures = this.#departures;
    this.#ports.after(ms, () => {
      if (this.#departures === departures && this.#waiting > 0) this.#ports.leave();
    });
  }
}
