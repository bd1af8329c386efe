/** Keys that are read a few lines ahead: what was read of another body, or in the middle of a string, is no key. */
import { describe, expect, test } from 'vitest';
import type { GroupSchema } from '../../shards/batch-builder.ts';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { decodeKeys } from '../../shards/series-keys.ts';

const NOW = 1_700_000_000_000_000_000n;
const POLICY = {
  database: 'd',
  databaseGeneration: 1,
  retentionPolicy: 'r',
  retentionPolicyGeneration: 1,
  shardDurationNs: 604_800_000_000_000n,
  shardsPerGroup: 4,
  oldestNs: null,
};
const NO_SCHEMA: GroupSchema = { typeOf: () => null, learn: () => {}, revision: 0 };

/** The keys that a body brings. */
function keysOf(stage: IngestStage, lines: readonly string[]): string[] {
  stage.begin(POLICY, NOW);
  const { kind } = stage.add([Buffer.from(lines.join('\n'))], 'n', NOW, () => NO_SCHEMA);
  expect(kind).toBe('taken');
  return stage
    .targets()
    .flatMap((target) => decodeKeys(stage.seal(target, '0'.repeat(32), 1, true, false).keys))
    .map(({ key }) => key)
    .sort();
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => 10 + from + i);
const lineOf = (letter: string) => (number: number) => `m,t=${letter}${number} v=1 ${NOW}`;
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
