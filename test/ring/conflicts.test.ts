/** Equal batches with unequal content (protocol rule 4): the side that is not true to itself loses, else the greater bytes win. */
import { expect, test } from 'vitest';
import { decodeBatch, encodeBatch } from '../../shards/batch-codec.ts';
import { StorageError } from '../../shards/errors.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import type { Version } from '../../shards/version.ts';
import { ID, Trio } from './trio.ts';

const shardOf = (trio: Trio, at: number) => trio.storages[at]!.shards.get(ID)!;
const ledgerOf = (trio: Trio, at: number) => trio.storages[at]!.ledgers.get(ID)!;

function live(trio: Trio, ms: number): void {
  for (let passed = 0; passed < ms; passed += 500) {
    trio.pass(500);
    trio.hear();
  }
}

function written(): { trio: Trio; version: Version } {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  return { trio, version: ledgerOf(trio, 0).versions()[0]! };
}

/** The batch with another value, as one member has it. */
function rewrite(trio: Trio, at: number, version: Version, isListed: boolean): Uint8Array {
  const kept = shardOf(trio, at).batches.get(version)!;
  const batch = decodeBatch(kept.frame);
  if (batch.kind !== 'write') throw new Error('a write');
  const [group] = batch.groups;
  const columns = group!.columns.map((column) => ({ ...column, values: Float64Array.of(at, 77) }) as typeof column);
  const frame = encodeBatch({ ...batch, groups: [{ ...group!, columns }] });
  shardOf(trio, at).batches.set(version, { ...kept, frame });
  const held = holdFrame(frame);
  if (isListed) ledgerOf(trio, at).restate(version, held.content);
  held.release();
  return frame;
}

function expectEqual(trio: Trio, version: Version, frame: Uint8Array): void {
  const frames = [0, 1, 2].map((at) => Buffer.from(shardOf(trio, at).batches.get(version)!.frame).toString('hex'));
  expect(frames).toEqual(Array(3).fill(Buffer.from(frame).toString('hex')));
  expect(trio.storages.map((_, at) => ledgerOf(trio, at).replica)).toEqual(['full', 'full', 'full']);
  expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
}

test.each([0, 1, 2])('rows of member %i are not what its ledger says: it loses', (at) => {
  const { trio, version } = written();
  const { frame } = shardOf(trio, at === 0 ? 1 : 0).batches.get(version)!;
  rewrite(trio, at, version, false);
  expect(trio.repair(at, 'scrub').state).toBe('failed');
  trio.hear();
  live(trio, 3_000);
  expectEqual(trio, version, frame);
});

test.each([0, 1, 2])('member %i lists and stores other rows under the version: the greater bytes win', (at) => {
  const { trio, version } = written();
  const before = shardOf(trio, at).batches.get(version)!.frame;
  const after = rewrite(trio, at, version, true);
  const greater = Buffer.compare(before, after) > 0 ? before : after;
  for (let i = 0; i < 4; i++) {
    trio.repair(0, 'ring');
    live(trio, 2_000);
  }
  expectEqual(trio, version, greater);
  const told = trio.repairs.filter(({ kind }) => kind === 'conflict').map(({ reason }) => reason ?? '');
  expect(told.some((reason) => reason.includes('the greater bytes are kept'))).toBe(true);
  expect(told.every((reason) => reason.startsWith(`batch ${version} has another content at n`))).toBe(true);
  const resolved = trio.hosts.map((host) => host.counters().conflicts_resolved ?? 0);
  expect(resolved.reduce((sum, each) => sum + each)).toBe(greater === before ? 1 : 2);
});

test('settled content that differs at the floor: the one whose rows are not what it says is filled', () => {
  const { trio, version } = written();
  expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done' });
  const { frame } = shardOf(trio, 0).batches.get(version)!;
  const ledger = ledgerOf(trio, 2);
  const { floor } = ledger;
  Object.assign(ledger, { collapsed: { ...ledger.floorRoot(), content: 5n } });
  trio.hear();
  trio.write(0, 'all');
  trio.hear();
  for (let i = 0; i < 4; i++) {
    trio.repair(0, 'ring');
    live(trio, 6_000);
  }
  expect(ledgerOf(trio, 2).floor >= floor).toBe(true);
  expectEqual(trio, version, frame);
});

test('the disk refuses the replacement: it is let go of, and mending puts the greater bytes in place later', () => {
  const { trio, version } = written();
  const before = shardOf(trio, 1).batches.get(version)!.frame;
  const after = rewrite(trio, 1, version, true);
  const greater = Buffer.compare(before, after) > 0 ? before : after;
  const open = new Set<object>();
  let refused = 0;
  for (const at of [0, 1, 2]) {
    const { care } = shardOf(trio, at);
    const replace = care.replace.bind(care);
    care.replace = (request) => {
      const real = replace(request);
      open.add(real);
      const step = (): boolean => {
        if (refused++ === 0) throw new StorageError('disk-full', 'no room');
        real.step();
        return !open.delete(real);
      };
      return { ...real, step, abandon: () => void open.delete(real) };
    };
  }
  for (let i = 0; i < 6; i++) {
    trio.repair(0, 'ring');
    live(trio, 3_000);
  }
  expect(refused).toBeGreaterThan(1);
  expect(open.size).toBe(0);
  expectEqual(trio, version, greater);
});
