/** A record of the log that is damaged at a start: nobody counts on what was acknowledged with it (repair/disowning.ts). */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { makeStamp, stampOf } from '../../shards/version.ts';
import { Engines } from './engine-trio.ts';
import { ID, NUMBERS, START, Trio } from './trio.ts';

let engines: Engines;
beforeEach(() => {
  engines = new Engines();
});
afterEach(() => engines.remove());

/** A bit of the last record falls over, while its process is gone. */
function damageLog(at: number): void {
  const files = engines.files[at]!;
  const path = '/memory/log/0000000001.log';
  files.flipBit(path, files.bytesOf(path).lastIndexOf('REC1') + 60);
}

test('a batch whose only other copy is in an outbox is not proven over by the owners, and comes back', () => {
  const trio = new Trio(2, {}, engines.open);
  trio.write(0, 'all');
  trio.pass(100);
  const owners = [0, 1, 2].filter((i) => trio.hosts[i]!.owns(ID));
  const [first, second] = owners as [number, number];
  const other = [0, 1, 2].find((i) => !owners.includes(i))!;
  trio.cut.add(NUMBERS[second]!);
  trio.hear();
  trio.write(other);
  trio.pass(3_000);
  const [open] = trio.hosts[other]!.openVersions();
  expect(open).toMatchObject({ shard: ID, acknowledgedBy: [NUMBERS[first]] });
  const version = open!.oldest;
  engines.kill(first);
  damageLog(first);
  trio.boot(NUMBERS[first]!, undefined, trio.files[first]);
  expect(engines.ledger(first).has(version)).toBe(false);
  expect(trio.hosts[first]!.heldShards()).toMatchObject([{ id: ID, state: 'damaged' }]);
  // Nothing of the outbox comes through for now.
  trio.onSend = (from, _, { t }) => (from === NUMBERS[other] && t.startsWith('mail') ? 'lost' : undefined);
  trio.cut.clear();
  for (let i = 0; i < 4; i++) {
    trio.hear();
    trio.repair(first, 'ring');
    trio.repair(second, 'ring');
    trio.pass(2_000);
  }
  for (const at of owners) expect(engines.ledger(at).floor < stampOf(version)).toBe(true);
  trio.onSend = () => undefined;
  for (let i = 0; i < 20; i++) {
    trio.pass(3_000);
    trio.hear();
    trio.repair(first, 'ring');
  }
  expect(owners.map((at) => engines.ledger(at).has(version))).toEqual([true, true]);
  expect(engines.ledger(first)).toMatchObject({ replica: 'full', mustDisown: false });
  expect(engines.ledger(first).since > makeStamp(START, 0)).toBe(true);
  expect(engines.ledger(first).floor > stampOf(version)).toBe(true);
});
