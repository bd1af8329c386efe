/** Virtual time of a simulation: a queue of events in one order, and the sources of chance, which all follow from the seed. */
import { crc32 } from 'node:zlib';

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class VirtualTime {
  now: number;
  private order = 0;
  private readonly heap: Event[] = [];

  constructor(startMs: number) {
    this.now = startMs;
  }

  after(delayMs: number, run: () => void): void {
    this.push({ at: this.now + delayMs, order: this.order++, run });
  }

  /** Runs events up to `untilMs`, or until `done` says so; it is asked every `everyMs`. */
  runUntil(untilMs: number, done: () => boolean = () => false, everyMs = 50): boolean {
    for (let checked = this.now; ; ) {
      const event = this.heap[0];
      if (event === undefined || event.at > untilMs) break;
      this.pop();
      this.now = Math.max(this.now, event.at);
      event.run();
      if (this.now - checked < everyMs) continue;
      checked = this.now;
      if (done()) return true;
    }
    this.now = untilMs;
    return done();
  }

  private push(event: Event): void {
    const { heap } = this;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

export class Chance {
  /** In [0, 1); Mulberry32. */
  readonly next: () => number;
  private readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
    let s = Math.imul(seed, 2654435761) ^ 0x9e37;
    this.next = () => {
      s = (s + 0x6d2b79f5) | 0;
      let t = Math.imul(s ^ (s >>> 15), 1 | s);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /** A stream of its own, whatever is drawn from this one: what is left out of a run does not change the rest. */
  fork(name: string): Chance {
    return new Chance(crc32(`${this.seed} ${name}`));
  }

  /** Both ends inclusive. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  of(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)]!;
  }

  hex(digits: number): string {
    return Array.from({ length: digits }, () => Math.floor(this.next() * 16).toString(16)).join('');
  }
}
