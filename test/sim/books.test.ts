/** Whom the books hold to a proof: all members of the pass, but not who has let the shard go since it began. */
import { describe, expect, test } from 'vitest';
import type { PassRecord } from '../../repair/records.ts';
import { shardId } from '../../shards/shard-key.ts';
import { makeStamp, makeVersion, type NodeNumber, STAMP_ZERO, stampOf, type Version } from '../../shards/version.ts';
import { Books, shardOf } from './books.ts';
import { Expiry } from './expiry.ts';
import type { Scenario } from './scenario.ts';
import type { SimNode } from './sim-node.ts';
import type { Written } from './workload.ts';

const KEY = shardOf('d', 0, 0);
const SHARD = shardId(KEY);
const START_MS = 1_700_000_000_000;
const VERSION = makeVersion(makeStamp(START_MS, 0), 'a'.repeat(16));
const CUTOFF = makeStamp(START_MS + 1_000, 0);

/** What the books ask of a node. */
function nodeOf(name: string, number: NodeNumber, owners: readonly NodeNumber[]) {
  const batches = new Map<Version, bigint | null>([[VERSION, null]]);
  const disk = { logWasDamaged: false, lostFiles: new Set<string>() };
  const ledger = { lists: (version: Version) => batches.has(version), replica: 'full', floor: STAMP_ZERO };
  const open = { storage: { shards: new Map([[SHARD, {}]]) }, ledgerOf: () => ledger };
  const process = { ownersOf: () => owners, open, host: { outbox: { entries: new Map() } } };
  const node = { name, number, up: true, disk, process, stored: () => batches };
  return { node: node as unknown as SimNode, number, batches };
}

/** Two owners and a former one, all with the one batch that was written and acknowledged. */
function situation() {
  const numbers = ['1', '2', '3'].map((digit) => digit.repeat(16));
  const owners = numbers.slice(0, 2);
  const [first, second, former] = numbers.map((number, i) => nodeOf(`n${i + 1}`, number, owners)) as [
    ReturnType<typeof nodeOf>,
    ReturnType<typeof nodeOf>,
    ReturnType<typeof nodeOf>,
  ];
  const time = { now: START_MS };
  const nodes = [first, second, former].map(({ node }) => node);
  const expiry = new Expiry({ expiriesMs: [], clockStepMsMax: 0 } as unknown as Scenario, time);
  const books = new Books(nodes, 'fsync', 'last-write-wins', time, expiry);
  books.write(1, first.node, KEY, { batch: { version: VERSION }, keys: [], shard: SHARD } as unknown as Written);
  books.answered(1, true);
  /** The former owner removes its replica. */
  const letGo = () => {
    books.letsGo(former.node, KEY);
    former.batches.clear();
  };
  /** A full pass over all three ends. */
  const ends = (startedMs: number) => {
    const record = { id: `pass of ${startedMs}`, shard: SHARD, kind: 'full', outcome: 'proven', order: numbers };
    return books.passEnded(first.node, { ...record, startedMs, cutoff: CUTOFF } as unknown as PassRecord);
  };
  return { books, time, first, second, former, letGo, ends };
}

test('the batch lies below the cutoff', () => {
  expect(stampOf(VERSION) < CUTOFF).toBe(true);
});

describe('a member that has let its replica go', () => {
  test('is not held to the proof of a pass that was overtaken by the one on whose word it went', () => {
    const { books, time, former, letGo, ends } = situation();
    time.now = START_MS + 500;
    ends(START_MS + 100);
    letGo();
    time.now = START_MS + 510;
    expect(ends(START_MS + 50)).toBe(true);
    expect(() => books.restarted(former.node)).not.toThrow();
  });

  test('is held to the proof of a pass that began after that and names it again', () => {
    const { books, time, former, letGo, ends } = situation();
    letGo();
    time.now = START_MS + 20_000;
    expect(() => ends(START_MS + 10_000)).toThrow(/is not on n3/);
    former.batches.set(VERSION, null);
    expect(ends(START_MS + 11_000)).toBe(true);
    books.restarted(former.node);
    former.batches.clear();
    expect(() => books.restarted(former.node)).toThrow(/n3 lost .* in a crash/);
  });
});

test('a member that has let nothing go is held to every proof', () => {
  const { books, second, letGo, ends } = situation();
  letGo();
  expect(ends(START_MS)).toBe(true);
  expect(() => books.restarted(second.node)).not.toThrow();
  second.batches.clear();
  expect(() => books.restarted(second.node)).toThrow(/n2 lost .* in a crash/);
  expect(() => ends(START_MS + 1)).toThrow(/is not on n2/);
});
