/** When waiting writes leave, against a clock and an event loop in memory. */
import { beforeEach, describe, expect, test } from 'vitest';
import { WriteGathering } from '../../server/write-gathering.ts';

/** A node whose clients have `inFlight` batches on their way. */
class Loop {
  nowMs = 1_000;
  inFlight = 0;
  waiting = 0;
  departures: number[] = [];
  #later: (() => void)[] = [];
  #timers: { readonly at: number; readonly work: () => void }[] = [];
  readonly gathering = new WriteGathering({
    nowMs: () => this.nowMs,
    later: (work) => this.#later.push(work),
    after: (ms, work) => this.#timers.push({ at: this.nowMs + ms, work }),
    inFlight: () => this.inFlight,
    leave: () => {
      this.departures.push(this.waiting);
      this.waiting = 0;
      this.inFlight = 1;
      this.gathering.left();
    },
  });

  /** So many writes come in one turn. */
  come(count: number, bytes = 100): void {
    for (let i = 0; i < count; i++) {
      this.waiting++;
      this.gathering.joined(bytes);
    }
    this.turn();
  }

  turn(): void {
    for (const work of this.#later.splice(0)) work();
  }

  pass(ms: number): void {
    this.nowMs += ms;
    const due = this.#timers.filter(({ at }) => at <= this.nowMs);
    this.#timers = this.#timers.filter(({ at }) => at > this.nowMs);
    for (const { work } of due) work();
  }

  settle(): void {
    const answered = this.departures.at(-1)!;
    this.inFlight = 0;
    for (let i = 0; i < answered; i++) this.gathering.answered();
    this.gathering.settled();
    this.turn();
  }
}

describe('waiting writes', () => {
  let loop: Loop;
  beforeEach(() => {
    loop = new Loop();
  });

  test('leave at once when nothing is on its way and nobody was here before', () => {
    loop.come(3);
    expect(loop.departures).toEqual([3]);
  });

  test('of one client leave at once every time', () => {
    for (let i = 0; i < 5; i++) {
      loop.come(1);
      loop.settle();
    }
    expect(loop.departures).toEqual([1, 1, 1, 1, 1]);
  });

  test('gather while a batch is on its way, and then until those who were in it are back', () => {
    loop.come(2);
    loop.come(3);
    loop.come(4);
    expect(loop.departures).toEqual([2]);
    loop.settle();
    loop.come(1);
    expect(loop.departures).toEqual([2]);
    loop.come(1);
    expect(loop.departures).toEqual([2, 9]);
  });

  test('wait four milliseconds at most for a batch that is long on its way', () => {
    loop.come(1);
    loop.come(1);
    loop.pass(3);
    expect(loop.departures).toEqual([1]);
    loop.pass(1);
    expect(loop.departures).toEqual([1, 1]);
  });

  test('a timer that was set for writes that have left does not hurry those after them', () => {
    loop.come(1);
    loop.come(1);
    loop.pass(2);
    loop.settle();
    loop.come(1);
    loop.come(1);
    loop.pass(2);
    expect(loop.departures).toEqual([1, 2]);
    loop.pass(2);
    expect(loop.departures).toEqual([1, 2, 1]);
  });

  test('after many were answered together, the first ones back wait for all of them', () => {
    loop.come(32);
    loop.settle();
    loop.come(3);
    loop.come(12);
    loop.come(16);
    expect(loop.departures).toEqual([32]);
    loop.come(1);
    expect(loop.departures).toEqual([32, 32]);
  });

  test('the first ones back wait for a millisecond at most, and the next time for fewer', () => {
    loop.come(32);
    loop.settle();
    loop.come(3);
    loop.pass(1);
    expect(loop.departures).toEqual([32, 3]);
    loop.settle();
    loop.come(3);
    expect(loop.departures).toEqual([32, 3, 3]);
  });

  test('who comes when the answers are long out waits for nobody', () => {
    loop.come(32);
    loop.settle();
    loop.pass(50);
    loop.come(1);
    expect(loop.departures).toEqual([32, 1]);
  });

  test('much to parse waits for nothing', () => {
    loop.come(1);
    loop.come(1, 1_200_000);
    expect(loop.departures).toEqual([1, 1]);
  });

  test('bodies of some thousand short lines gather like small ones, until they are much together', () => {
    loop.come(1, 750_000);
    loop.come(1, 750_000);
    expect(loop.departures).toEqual([1]);
    loop.come(1, 750_000);
    expect(loop.departures).toEqual([1, 2]);
  });
});
