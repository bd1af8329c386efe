/** What counts as missing when a batch is asked for, comes, and is asked for again: the cases that seeds have shown. */
import { describe, expect, test } from 'vitest';
import { encodeMessage } from '../../repair/replica-messages.ts';
import { shardId, shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp, makeVersion } from '../../shards/version.ts';

import { shardOf } from './books.ts';
import { FetchTraffic } from './fetch-traffic.ts';
import type { SimNode } from './sim-node.ts';
import { Violation } from './violation.ts';

const KEY = shardOf('d', 0, 0);
const SHARD = shardId(KEY);
const START_MS = 1_700_000_000_000;
const VERSION = makeVersion(makeStamp(START_MS, 0), 'a'.repeat(16));
const TIMEOUT_MS = 500;
const TICK_MS = 40;
const PARTS = [new Uint8Array(90), new Uint8Array(10)];

/** A node whose replica lacks the batch unless told otherwise. */
function situation() {
  const has = { batch: false };
  const open = {
    storage: { shards: new Map([[SHARD, null]]) },
    ledgerOf: () => ({ replica: 'full', has: () => has.batch }),
  };
  const clock = { wallMs: START_MS };
  const node = Object.assign(clock, { name: 'n1', number: '1'.repeat(16), process: { open } }) as unknown as SimNode;
  const traffic = new FetchTraffic({ requestTimeoutMs: TIMEOUT_MS, tickMs: TICK_MS });
  const ask = (request: number, ms: number, isAmongFaults = true) => {
    clock.wallMs = ms;
    const question = { t: 'fetch', request, key: shardKeyToJson(KEY), versions: [VERSION] } as const;
    traffic.leaves(node, 'x', encodeMessage(question), ms, isAmongFaults);
  };
  const come = (request: number) => {
    const answer = { t: 'fetch-answer', request, shard: SHARD, status: 'ok', versions: [VERSION] } as const;
    traffic.arrives(node, encodeMessage(answer, PARTS));
  };
  return { traffic, has, ask, come };
}

describe('what is fetched and what was missing', () => {
  test('a batch that is refused by the disk and asked for again in the same millisecond is missing twice', () => {
    const { traffic, ask, come } = situation();
    ask(1, START_MS);
    come(1);
    ask(2, START_MS);
    come(2);
    expect([traffic.fetched, traffic.missing]).toEqual([200, 200]);
    traffic.check();
  });

  test('one that two questions are out for is missing once and fetched twice', () => {
    const { traffic, ask, come } = situation();
    ask(1, START_MS);
    ask(2, START_MS);
    come(1);
    come(2);
    expect([traffic.fetched, traffic.missing]).toEqual([200, 100]);
    expect(() => traffic.check()).toThrow(Violation);
  });

  test('one that was there is not missing', () => {
    const { traffic, has, ask, come } = situation();
    has.batch = true;
    ask(1, START_MS);
    come(1);
    expect(() => traffic.check()).toThrow(Violation);
  });

  test('among faults a question that waited as long as one waits is the network’s, afterwards it is not', () => {
    for (const [isAmongFaults, bytes] of [
      [true, 100],
      [false, 200],
    ] as const) {
      const { traffic, ask, come } = situation();
      ask(1, START_MS, isAmongFaults);
      ask(2, START_MS + TIMEOUT_MS, isAmongFaults);
      come(1);
      come(2);
      expect([traffic.fetched, traffic.missing]).toEqual([bytes, 100]);
    }
  });

  test.each([
    [TIMEOUT_MS - TICK_MS, 100],
    [TIMEOUT_MS - TICK_MS - 1, 200],
  ])('a process whose disk calls it takes the time of its last turn: after %i ms', (ms, bytes) => {
    const { traffic, ask, come } = situation();
    ask(1, START_MS);
    ask(2, START_MS + ms);
    come(1);
    come(2);
    expect([traffic.fetched, traffic.missing]).toEqual([bytes, 100]);
  });
});
