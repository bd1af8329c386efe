/** Which writes may be missing at owners at the end although an outbox has them, and for how long. */
import { describe, expect, test } from 'vitest';
import { makeStamp, makeVersion, STAMP_ZERO, type Stamp, type Version } from '../../shards/version.ts';
import type { Copies } from './copies.ts';
import { Discarded } from './discarded.ts';
import type { SimNode } from './sim-node.ts';
import { VirtualTime } from './virtual-time.ts';

const SHARD = 'shard';
const VERSION = makeVersion(makeStamp(1_000, 0), 'a'.repeat(16));
const ABOVE = makeStamp(1_001, 0);

function situation(floors: readonly Stamp[]) {
  const nodes = floors.map((floor) => {
    const batches = new Map<Version, null>();
    const open = { storage: { shards: new Map([[SHARD, {}]]) }, ledgerOf: () => ({ floor }) };
    return { process: { open }, stored: () => batches, batches } as unknown as SimNode & {
      batches: Map<Version, null>;
    };
  });
  const outbox = { has: true };
  const discarded = new Discarded(nodes, { isSomewhere: () => outbox.has } as unknown as Copies);
  return { nodes, outbox, discarded, time: new VirtualTime(0) };
}

describe('a write that an outbox alone has', () => {
  test('has been discarded when the floors of all owners have passed it, and is nowhere soon', () => {
    const { nodes, outbox, discarded, time } = situation([ABOVE, ABOVE]);
    expect(discarded.has(VERSION, SHARD, nodes)).toBe(true);
    time.after(400, () => {
      outbox.has = false;
    });
    discarded.check(time, 1_000);
    expect(time.now).toBeLessThan(1_000);
  });

  test('and stays there for longer is a fault', () => {
    const { nodes, discarded, time } = situation([ABOVE, ABOVE]);
    discarded.has(VERSION, SHARD, nodes);
    expect(() => discarded.check(time, 1_000)).toThrow(/still in an outbox 1000 ms later/);
  });

  test('is owed to an owner whose floor has not passed it', () => {
    const { nodes, discarded } = situation([ABOVE, STAMP_ZERO]);
    expect(discarded.has(VERSION, SHARD, nodes)).toBe(false);
  });
});

test('what some replica has was not discarded', () => {
  const { nodes, discarded } = situation([ABOVE, ABOVE]);
  nodes[1]!.batches.set(VERSION, null);
  expect(discarded.has(VERSION, SHARD, nodes)).toBe(false);
});
