/** More shards to be copied than their sources give at a time: each place is taken as soon as it is free. */
import { expect, test } from 'vitest';
import { type ShardKey, shardId, shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp } from '../../shards/version.ts';
import { KEY, START, Trio } from './trio.ts';

const SHARDS = 12;
const RETRY_MS = 1_000;
const KEYS: ShardKey[] = Array.from({ length: SHARDS }, (_, n) => {
  return { ...KEY, startNs: BigInt(n) << 50n, endNs: BigInt(n + 1) << 50n };
});

test('what waits for a place is copied when one is free, and is not said to have been broken off', () => {
  const trio = new Trio(3, { snapshotsMax: 1, fillPageBytes: 64, requestTimeoutMs: RETRY_MS });
  for (const key of KEYS) trio.hosts[0]!.submit([trio.prepare(0, 'all', true, key)], trio.now);
  trio.pass(100);
  const floor = makeStamp(trio.now, 0);
  for (const { ledgers } of trio.storages.slice(0, 2)) for (const ledger of ledgers.values()) ledger.adoptFloor(floor);
  trio.hear();
  for (const key of KEYS) {
    const through = makeStamp(START + 60_000, 0);
    // Below that floor the third one has not what others have.
    const claim = { floor: through, floorRoot: [99, 'a'.repeat(32), 'b'.repeat(32)] as const };
    const question = { t: 'compare', request: 1, key: shardKeyToJson(key), from: 0, preview: false } as const;
    trio.say(0, 2, { ...question, through, ...claim });
  }
  const states = () => KEYS.map((key) => trio.storages[2]!.ledgers.get(shardId(key))?.replica);
  expect(states()).toEqual(Array(SHARDS).fill('filling'));
  trio.pass(RETRY_MS - 100);
  expect(states()).toEqual(Array(SHARDS).fill('full'));
  expect(trio.hosts[2]!.counters()).toMatchObject({ replicas_filled: SHARDS });
  expect(trio.hosts[2]!.counters().fill_waits_for_source).toBeGreaterThan(0);
  expect(trio.hosts[2]!.counters().fill_restarts ?? 0).toBe(0);
  expect(trio.repairs.filter(({ kind }) => kind === 'copy')).toHaveLength(SHARDS);
  for (const { reason } of trio.repairs) expect(reason).not.toContain('broken off');
});
