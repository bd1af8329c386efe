/** Keys that are read a few lines ahead: what was read of another body, or in the middle of a string, is no key. */
import { describe, expect, test } from 'vitest';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { broughtBy, NOW } from './brought-keys.ts';

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => 10 + from + i);
const lineOf = (letter: string) => (number: number) => `m,t=${letter}${number} v=1 ${NOW}`;
/** The keys that a body brings. */
const keysOf = (stage: IngestStage, lines: readonly string[]) =>
  broughtBy(stage, lines)
    .map(({ key }) => key)
    .sort();
const keyOf = (letter: string) => (number: number) => `m,t=${letter}${number}`;

describe('keys that are read ahead', () => {
  test('of a body before mean nothing at the same places of the next one', () => {
    const stage = new IngestStage('seed', 1000, 4, LINE_LIMITS);
    const known = numbers(0, 20);
    keysOf(stage, known.map(lineOf('a')));
    // Behind five new ones the known ones are read ahead, and then found by what followed last time.
    const new5 = numbers(0, 5);
    keysOf(stage, [...new5.map(lineOf('b')), ...numbers(0, 8).map(lineOf('a'))]);
    const followers = numbers(8, 14);
    // The seventh line begins where one was read ahead that nobody asked for.
    expect(
      keysOf(
        stage,
        [...followers, 30].map((n, i) => lineOf(i < 6 ? 'a' : 'c')(n)),
      ),
    ).toEqual([...followers.map(keyOf('a')), 'm,t=c30']);
    const held = stage.seriesCount;
    keysOf(stage, [lineOf('c')(30), lineOf('b')(12), lineOf('c')(30)]);
    expect(stage.seriesCount).toBe(held);
  });

  test('in strings of several lines are none', () => {
    const stage = new IngestStage('seed', 1000, 4, LINE_LIMITS);
    const all = numbers(0, 40);
    const keys = keysOf(
      stage,
      all.map((n) => `m,t=x${n} s="one\nm,t=y${n} v=2 1\n${'z'.repeat(n % 7)}",v=1 ${NOW}`),
    );
    expect(keys).toEqual(all.map(keyOf('x')));
    expect(stage.seriesCount).toBe(40);
  });
});
