/**
 * What waits for one destination of a subscription (ALL), or for whichever of them takes it first (ANY).
 *
 * Bounded, in memory, and on its own: what does not fit any more, and what no destination takes, is counted and gone. A
 * write never waits for it.
 */
import type { Destination } from './destination.ts';
import type { ForwardedWrite } from './forwarded-write.ts';

const QUEUE_BYTES_MAX = 32 * 1024 * 1024;
/** Bodies that are sent in one go. */
const BATCH_BYTES = 1024 * 1024;

export interface DestinationCounts {
  readonly destination: string;
  pointsWritten: number;
  writeFailures: number;
}

export interface OutletPorts {
  linesOf(write: ForwardedWrite): Promise<readonly string[]>;
  failed(destination: string, error: Error): void;
}

export class Outlet {
  readonly counts: readonly DestinationCounts[];
  /** Points for which too much waited, or which nobody took. */
  pointsDropped = 0;
  readonly #destinations: readonly Destination[];
  readonly #ports: OutletPorts;
  #queue: ForwardedWrite[] = [];
  /** Of what waits and what is being sent. */
  bytes = 0;
  #first = 0;
  #isSending = false;
  #isClosed = false;

  constructor(destinations: readonly Destination[], ports: OutletPorts) {
    this.#destinations = destinations;
    this.#ports = ports;
    this.counts = destinations.map(({ name }) => ({ destination: name, pointsWritten: 0, writeFailures: 0 }));
  }

  offer(write: ForwardedWrite): void {
    if (this.bytes + write.bytes > QUEUE_BYTES_MAX) {
      this.pointsDropped += write.points;
      return;
    }
    this.bytes += write.bytes;
    this.#queue.push(write);
    if (this.#isSending) return;
    this.#isSending = true;
    void this.#sendAll();
  }

  close(): void {
    this.#isClosed = true;
    for (const { points } of this.#queue.splice(0)) this.pointsDropped += points;
    for (const destination of this.#destinations) destination.close();
  }

  async #sendAll(): Promise<void> {
    // The write that brought it is answered first.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0 && !this.#isClosed) {
      const batch = this.#nextBatch();
      const points = batch.reduce((sum, each) => sum + each.points, 0);
      if (!(await this.#send(batch, points))) this.pointsDropped += points;
      this.bytes -= batch.reduce((sum, each) => sum + each.bytes, 0);
    }
    this.#isSending = false;
  }

  #nextBatch(): ForwardedWrite[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && (count === 0 || bytes + this.#queue[count]!.bytes <= BATCH_BYTES))
      bytes += this.#queue[count++]!.bytes;
    return this.#queue.splice(0, count);
  }

  /** To one after the other, each time another one first, until one has taken it. */
  async #send(batch: readonly ForwardedWrite[], points: number): Promise<boolean> {
    const count = this.#destinations.length;
    const first = this.#first++;
    for (let i = 0; i < count; i++) {
      const at = (first + i) % count;
      const { name, send } = this.#destinations[at]!;
      try {
        const leftOut = Math.min(points, await send(await this.#linesOf(batch)));
        this.counts[at]!.pointsWritten += points - leftOut;
        this.pointsDropped += leftOut;
        return true;
      } catch (error) {
        if (this.#isClosed) return false;
        this.counts[at]!.writeFailures++;
        this.#ports.failed(name, error as Error);
      }
    }
    return false;
  }

  async #linesOf(batch: readonly ForwardedWrite[]): Promise<string[]> {
    const lines: string[] = [];
    for (const write of batch) for (const line of await this.#ports.linesOf(write)) lines.push(line);
    return lines;
  }
}
