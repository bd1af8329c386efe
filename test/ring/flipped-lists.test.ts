/** Identity lists that make sense when the file is opened, and are not what was saved: protocol I13. */
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { Ledger } from '../../repair/ledger.ts';
import { DecodedLists } from '../../repair/ledger-epoch.ts';
import type { ReplicaHost } from '../../repair/replica-host.ts';
import type { Surroundings } from '../../repair/surroundings.ts';
import type { NodeNumber } from '../../shards/version.ts';
import { Engines } from './engine-trio.ts';
import { fence } from './lonely.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

function holds(host: ReplicaHost, number: NodeNumber): boolean {
  return (host as unknown as { around: Surroundings }).around.owners(KEY).includes(number);
}

/** Two acknowledged batches that only one node has, and its file, which nobody has open. */
function restarted(change: (file: Database.Database) => void): { engines: Engines; trio: Trio; own: number } {
  const engines = new Engines({}, () => new Ledger());
  const trio = new Trio(1, {}, engines.open);
  const own = NUMBERS.findIndex((number, i) => holds(trio.hosts[i]!, number));
  for (let i = 0; i < 2; i++) {
    trio.write(own, 'one');
    trio.pass(100);
  }
  engines.all[own]!.shards.get(ID)!.flush();
  engines.kill(own);
  const file = new Database(engines.path(own));
  change(file);
  file.close();
  trio.boot(NUMBERS[own]!, undefined, trio.files[own]!);
  trio.hear();
  return { engines, trio, own };
}

function flip(file: Database.Database, at: number): void {
  const bytes = file.prepare('SELECT identities FROM ledger_epochs').pluck().get() as Buffer;
  bytes[at]! ^= 1;
  file.prepare('UPDATE ledger_epochs SET identities = ?').run(bytes);
}

test.each([
  ['a bit of the node number fell over', (file: Database.Database) => flip(file, 4)],
  ['a bit of the first content sum fell over', (file: Database.Database) => flip(file, 30)],
  ['the list is gone', (file: Database.Database) => file.exec('DELETE FROM ledger_epochs')],
])('%s while the node was down: it is damage, and no row goes that is stored', (_, change) => {
  const { engines, trio, own } = restarted(change);
  try {
    expect(engines.ledger(own)).toMatchObject({ replica: 'damaged', damage: expect.stringContaining('identity list') });
    for (let i = 0; i < 400; i++) {
      trio.pass(1_000);
      if (i % 5 === 0) trio.hear();
      for (const engine of engines.all) engine.step(5, () => trio.now);
    }
    const shard = engines.all[own]!.shards.get(ID)!;
    expect(shard.sizes().rows).toBe(4);
    expect(engines.ledger(own)).toMatchObject({ replica: 'full', damage: null });
    // What is stored is listed, so it can be given to others.
    for (const [version, content] of shard.recomputeContent(engines.ledger(own).floor))
      expect(engines.ledger(own).contentOf(version)).toBe(content);
  } finally {
    engines.remove();
  }
});

test.each([
  ['a bit fell over', (file: Database.Database) => flip(file, 30)],
  ['it is gone', (file: Database.Database) => file.exec('DELETE FROM ledger_epochs')],
])('a list is damaged while the node runs, %s: it is made anew from what is stored', (_, change) => {
  const decoded = new DecodedLists(1);
  const engines = new Engines({}, () => new Ledger(0, decoded));
  try {
    const trio = new Trio(1, {}, engines.open);
    const own = NUMBERS.findIndex((number, i) => holds(trio.hosts[i]!, number));
    const sets: string[] = [];
    engines.setAside = (_at, id) => sets.push(id);
    for (let i = 0; i < 2; i++) {
      trio.write(own, 'one');
      trio.pass(100);
    }
    const shard = engines.all[own]!.shards.get(ID)!;
    shard.flush();
    const ledger = engines.ledger(own);
    const file = new Database(engines.path(own));
    const rowOf = () => file.prepare('SELECT identities FROM ledger_epochs').pluck().get();
    const before = rowOf();
    change(file);
    expect(rowOf()).not.toEqual(before);
    expect(ledger.versions()).toEqual([...shard.recomputeContent(ledger.floor).keys()].sort());
    expect(rowOf()).toEqual(before);
    file.close();
    engines.all[own]!.step(5, () => trio.now);
    expect(sets).toEqual([]);
    expect(shard.sizes().rows).toBe(4);
  } finally {
    engines.remove();
  }
});

test('the file of a program that saved no sums of its lists opens, and has them with the next save', () => {
  const { engines, trio, own } = restarted((file) => {
    const state = JSON.parse(file.prepare('SELECT state FROM ledger_state').pluck().get() as string);
    expect(state.total).toMatchObject([2, expect.any(String), expect.any(String), 4]);
    delete state.total;
    file.prepare('UPDATE ledger_state SET state = ?').run(JSON.stringify(state));
  });
  try {
    expect(engines.ledger(own)).toMatchObject({ replica: 'full', damage: null, listed: 2 });
    trio.write(own, 'one');
    trio.pass(100);
    engines.all[own]!.shards.get(ID)!.flush();
    engines.kill(own);
    const file = new Database(engines.path(own));
    const state = JSON.parse(file.prepare('SELECT state FROM ledger_state').pluck().get() as string);
    file.close();
    expect(engines.ledger(own).listed).toBeGreaterThan(0);
    expect(state.total[0]).toBe(engines.ledger(own).listed);
  } finally {
    engines.remove();
  }
});

test.each([
  ['as its process ends right after it turned filling', false],
  ['as a damaged one that is then found below a floor', true],
])('what only a replica has that is to be filled is handed on, though its list is gone: %s', (_, isFencedLater) => {
  const engines = new Engines({}, () => new Ledger());
  try {
    const trio = new Trio(3, {}, engines.open);
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    trio.pass(100);
    trio.cut = new Set([NUMBERS[0]!, NUMBERS[1]!]);
    trio.hear();
    trio.write(2);
    const own = engines.ledger(2).newest!;
    if (!isFencedLater) trio.say(0, 2, fence);
    engines.all[2]!.shards.get(ID)!.flush();
    engines.kill(2);
    const file = new Database(engines.path(2));
    expect(file.prepare('DELETE FROM ledger_epochs').run().changes).toBe(1);
    file.close();
    // With an outbox that has nothing of it.
    trio.boot(NUMBERS[2]!);
    if (isFencedLater) {
      expect(engines.ledger(2).replica).toBe('damaged');
      trio.say(0, 2, fence);
    }
    expect(engines.ledger(2).replica).toBe('filling');
    // Until it is known what that is, no cutoff passes it.
    const open = trio.hosts[2]!.openVersions();
    expect(open.every(({ oldest }) => oldest <= own) && open.length > 0).toBe(true);
    trio.cut.clear();
    for (let i = 0; i < 20; i++) {
      trio.hear();
      trio.pass(1_000);
      for (const engine of engines.all) engine.step(5, () => trio.now);
    }
    for (const at of [0, 1, 2]) {
      expect(engines.ledger(at).replica).toBe('full');
      expect(engines.ledger(at).has(own) && engines.all[at]!.shards.get(ID)!.sizes().rows).toBe(4);
    }
  } finally {
    engines.remove();
  }
});
