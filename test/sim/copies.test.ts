/** Which writes the checks count as lost: those of which the simulation destroyed every copy, and no others. */
import { expect, test } from 'vitest';
import { makeStamp, makeVersion, type NodeNumber, type Version } from '../../shards/version.ts';
import { Copies } from './copies.ts';
import type { SimNode } from './sim-node.ts';

const SHARD = 'shard';
const VERSION = makeVersion(makeStamp(1_000, 0), 'a'.repeat(16));

function setUp(durability: 'fsync' | 'interval' = 'fsync') {
  const nodes: SimNode[] = [];
  const copies = new Copies({ nodes, durability, isOver: () => false, shardOf: () => SHARD });
  const add = (name: string, has: boolean) => {
    const batches = new Map<Version, null>(has ? [[VERSION, null]] : []);
    const ledger = { lists: (version: Version) => batches.has(version), replica: 'full', floor: makeStamp(0, 0) };
    const open = { storage: { shards: new Map([[SHARD, {}]]) }, ledgerOf: () => ledger };
    const owners: NodeNumber[] = ['1', '2'];
    const process = { open, host: { outbox: { entries: new Map() } }, ownersOf: () => owners };
    const disk = { logWasDamaged: false, lostFiles: new Set<string>() };
    const node = { name, number: String(nodes.length + 1), process, stored: () => batches, disk, batches };
    nodes.push(node as unknown as SimNode);
    return node as unknown as SimNode & { batches: Map<Version, null>; process: unknown };
  };
  const kill = (node: SimNode) => {
    copies.dies(node);
    const { process } = node;
    node.process = null;
    return () => {
      node.process = process;
      copies.restarted(node);
    };
  };
  return { copies, add, kill };
}

test('a write is lost with the last disk that has it, and not before', () => {
  const { copies, add, kill } = setUp();
  const [first, second] = [add('n1', true), add('n2', true)];
  copies.acknowledged(VERSION);
  kill(first);
  copies.diskLost(first, 'wiped');
  expect(copies.isLost(VERSION)).toBe(false);
  kill(second);
  expect(copies.isLost(VERSION)).toBe(false);
  copies.diskLost(second, 'given up');
  expect(copies.isLost(VERSION)).toBe(true);
  expect(copies.counts).toMatchObject({ wiped: 1, 'given up': 1 });
});

test('what a process does not have again after a crash was lost by the code, unless nothing had been synced or bits had fallen over', () => {
  const { copies, add, kill } = setUp();
  const node = add('n1', true);
  const restart = kill(node);
  node.batches.clear();
  expect(restart).toThrow(/n1 lost .* in a crash/);

  const unsynced = setUp('interval');
  const other = unsynced.add('n1', true);
  const again = unsynced.kill(other);
  other.batches.clear();
  again();
  expect(unsynced.copies.lost.get(VERSION)).toBe('unsynced');
  expect(copies.lost.size).toBe(0);
});

test('what lay in a file that was set aside is destroyed, and what lay in another is not', () => {
  for (const lost of [SHARD, 'another']) {
    const { copies, add, kill } = setUp();
    const node = add('n1', true);
    const restart = kill(node);
    node.batches.clear();
    node.disk.lostFiles = new Set([lost]);
    if (lost === SHARD) restart();
    else expect(restart).toThrow(/n1 lost .* in a crash/);
    expect(copies.lost.get(VERSION)).toBe(lost === SHARD ? 'file lost' : undefined);
  }
});

test('an acknowledged write that is on no disk, though none was destroyed, is a fault', () => {
  const { copies, add } = setUp();
  add('n1', false);
  expect(() => copies.acknowledged(VERSION)).toThrow(/acknowledged and on no disk/);
});

test('a replica that goes on the word of an owner whose disk was destroyed since takes the last copy with it', () => {
  const { copies, add, kill } = setUp();
  const owner = add('n1', true);
  add('n2', false);
  const holder = add('n3', true);
  kill(owner);
  copies.diskLost(owner, 'wiped');
  copies.letsGo(holder, {} as never, SHARD);
  holder.batches.clear();
  expect(copies.isLost(VERSION)).toBe(true);
});

test('one that goes on the word of owners who never had it is no excuse', () => {
  const { copies, add } = setUp();
  add('n1', false);
  const holder = add('n3', true);
  copies.letsGo(holder, {} as never, SHARD);
  holder.batches.clear();
  expect(copies.isLost(VERSION)).toBe(false);
});
