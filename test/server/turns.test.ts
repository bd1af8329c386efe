/** Work in turns: who gets them, for how long, and what ends it. A step takes a millisecond of a clock that the tests turn. */
import { expect, test } from 'vitest';
import { Ending } from '../../server/query/ending.ts';
import { QueryError } from '../../server/query/query-error.ts';
import { inRanges, Turns } from '../../server/turns.ts';
import type { Steps } from '../../shards/steps.ts';

class Bench {
  nowMs = 0;
  readonly told: string[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly turns = new Turns({ nowMs: () => this.nowMs, later: (turn) => void this.#waiting.push(turn) });

  *work(name: string, steps: number): Steps<string> {
    for (let step = 1; step < steps; step++) {
      this.nowMs++;
      this.told.push(name);
      yield;
    }
    this.nowMs++;
    this.told.push(name);
    return name;
  }

  run(name: string, steps: number, ending = new Ending()): void {
    const { told } = this;
    this.turns.run(
      this.work(name, steps),
      ending,
      (value) => told.push(`${value} done`),
      (error) => told.push(`${name}: ${error.message}`),
    );
  }

  /** One turn of the event loop; how long it was held. */
  turn(): number {
    const before = this.nowMs;
    for (const turn of this.#waiting.splice(0)) turn();
    return this.nowMs - before;
  }

  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** What was told since the last time. */
  take(): string {
    return this.told.splice(0).join(' ');
  }
}

const unexpected = (): never => expect.fail('not to be called');

test('what is short is done in the call, what is long in turns', () => {
  const bench = new Bench();
  bench.run('a', 1);
  expect([bench.take(), bench.isWaiting]).toEqual(['a a done', false]);
  bench.nowMs += 100;
  bench.run('b', 12);
  expect(bench.take()).toBe('b b b b b');
  expect([bench.turn(), bench.take()]).toEqual([5, 'b b b b b']);
  expect([bench.turn(), bench.take()]).toEqual([2, 'b b b done']);
  expect(bench.isWaiting).toBe(false);
});

test('the loop is held for one turn, however many there are and however they come', () => {
  const bench = new Bench();
  bench.nowMs = 100;
  const names = Array.from({ length: 20 }, (_, n) => `w${n}`);
  for (const name of names) bench.run(name, 30);
  // All came in one turn of the loop.
  expect(bench.nowMs).toBe(105);
  let most = 0;
  while (bench.isWaiting) most = Math.max(most, bench.turn());
  expect(most).toBe(5);
  expect(bench.told.filter((each) => each.endsWith('done'))).toHaveLength(20);
});

test('each has its turn before one has the next', () => {
  const bench = new Bench();
  bench.nowMs = 100;
  for (const name of ['a', 'b', 'c']) bench.run(name, 11);
  bench.take();
  const order: string[] = [];
  while (bench.isWaiting) {
    bench.turn();
    order.push(bench.take().split(' ')[0]!);
  }
  expect(order).toEqual(['a', 'b', 'c', 'a', 'c', 'b']);
});

test('what begins when another is done has what is left of its turn', () => {
  const bench = new Bench();
  bench.nowMs = 100;
  bench.turns.run(bench.work('a', 3), new Ending(), () => bench.run('b', 10), unexpected);
  expect([bench.nowMs, bench.take()]).toEqual([105, 'a a a b b']);
  while (bench.isWaiting) expect(bench.turn()).toBeLessThanOrEqual(5);
  expect(bench.take()).toMatch(/b done$/);
});

test('what has ended, and what fails, is told once and goes on no more', () => {
  const bench = new Bench();
  bench.nowMs = 100;
  const ending = new Ending();
  bench.run('a', 20, ending);
  ending.end(new QueryError('left'));
  bench.take();
  expect([bench.turn(), bench.take(), bench.isWaiting]).toEqual([0, 'a: left', false]);
  function* fails(): Steps {
    yield;
    throw new Error('broken');
  }
  bench.turns.run(fails(), new Ending(), unexpected, (error) => bench.told.push(error.message));
  expect(bench.take()).toBe('broken');
});

test('a promise of it', async () => {
  const bench = new Bench();
  expect(await bench.turns.of(bench.work('a', 2), new Ending())).toBe('a');
});

test('a loop in ranges has all items once', () => {
  for (const items of [0, 1, 8191, 8192, 8193, 50_000]) {
    let next = 0;
    const steps = inRanges(items, (from, to) => {
      expect(from).toBe(next);
      expect(to - from).toBeLessThanOrEqual(8192);
      next = to;
    });
    for (const _ of steps);
    expect(next).toBe(items);
  }
});
