/** Users and grants that several nodes change, also on two sides of a partition. */
import { expect, test } from 'vitest';
import type { NodeCore } from '../../repair/node-core.ts';
import { Network, randomFrom, type TestNode, threeNodes } from './network.ts';

const seen = (core: NodeCore) => {
  const { users } = core.definitions;
  return users.list().map((user) => ({ ...user, grants: users.grants(user.name) }));
};

function parted(): { network: Network; nodes: readonly TestNode[]; a: UserChanges; b: UserChanges } {
  const network = new Network();
  const [a, b, c] = threeNodes(network);
  a.core.definitions.createDatabase('db', null, network.nowMs);
  a.core.definitions.users.create({ name: 'u', passwordHash: 'first', admin: false }, network.nowMs);
  network.run(2_000);
  network.split([a], [b, c]);
  return { network, nodes: [a, b, c], a: changes(network, a), b: changes(network, b) };
}

type UserChanges = ReturnType<typeof changes>;

function changes(network: Network, { core }: TestNode) {
  const { users } = core.definitions;
  return {
    create: (name: string, passwordHash: string, admin = false) =>
      users.create({ name, passwordHash, admin }, network.nowMs),
    drop: (name: string) => users.drop(name, network.nowMs),
    setPassword: (name: string, hash: string) => users.setPassword(name, hash, network.nowMs),
    setAdmin: (name: string, admin: boolean) => users.setAdmin(name, admin, network.nowMs),
    grant: (name: string, db: string, privilege: 'READ' | 'WRITE' | 'ALL') =>
      users.grant(name, db, privilege, network.nowMs),
    dropDatabase: (db: string) => core.definitions.dropDatabase(db, network.nowMs),
    createDatabase: (db: string) => core.definitions.createDatabase(db, null, network.nowMs),
  };
}

function expectOnAll({ network, nodes }: ReturnType<typeof parted>, expected: ReturnType<typeof seen>): void {
  network.cut.clear();
  network.run(5_000);
  for (const { core } of nodes) expect(seen(core)).toEqual(expected);
}

test('of a password, a rank and grants that were changed on two sides none is lost', () => {
  const all = parted();
  all.a.setPassword('u', 'second');
  all.b.setAdmin('u', true);
  all.b.grant('u', 'db', 'WRITE');
  expectOnAll(all, [
    { name: 'u', admin: true, passwordHash: 'second', grants: [{ database: 'db', privilege: 'WRITE' }] },
  ]);
});

test('of two changes of the same grant the later one counts', () => {
  const all = parted();
  all.b.grant('u', 'db', 'WRITE');
  all.network.run(1_000);
  all.a.grant('u', 'db', 'READ');
  expectOnAll(all, [
    { name: 'u', admin: false, passwordHash: 'first', grants: [{ database: 'db', privilege: 'READ' }] },
  ]);
});

test('of two users of one name one counts whole', () => {
  const all = parted();
  all.a.create('v', 'of a', true);
  all.network.run(1_000);
  all.b.create('v', 'of b');
  expectOnAll(all, [
    { name: 'u', admin: false, passwordHash: 'first', grants: [] },
    { name: 'v', admin: false, passwordHash: 'of b', grants: [] },
  ]);
});

test('DROP USER wins over all that the other side did to that user, however late', () => {
  const all = parted();
  all.a.drop('u');
  all.network.run(10_000);
  all.b.setPassword('u', 'late');
  all.b.setAdmin('u', true);
  all.b.grant('u', 'db', 'ALL');
  expectOnAll(all, []);
  all.a.create('u', 'again');
  expectOnAll(all, [{ name: 'u', admin: false, passwordHash: 'again', grants: [] }]);
});

test('a database that was dropped and made again on one side has none of the grants of the other', () => {
  const all = parted();
  all.a.dropDatabase('db');
  all.a.createDatabase('db');
  all.network.run(10_000);
  all.b.grant('u', 'db', 'ALL');
  expectOnAll(all, [{ name: 'u', admin: false, passwordHash: 'first', grants: [] }]);
});

test('no register keeps the hash of a user that was dropped', () => {
  const { nodes, a } = parted();
  const texts = () => JSON.stringify([...nodes[0]!.disk.store.rows.values()]);
  expect(texts()).toContain('first');
  a.drop('u');
  expect(texts()).not.toContain('first');
});

test('random changes under random partitions and restarts come out equal everywhere', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const network = new Network(seed);
    const nodes = threeNodes(network) as TestNode[];
    const random = randomFrom(seed * 31);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
    for (let step = 0; step < 40; step++) {
      const at = Math.floor(random() * 3);
      const change = changes(network, nodes[at]!);
      const [name, db, what] = [pick(['u', 'v']), pick(['x', 'y']), random()];
      try {
        if (what < 0.2) change.create(name, `${step}`, random() < 0.5);
        else if (what < 0.3) change.drop(name);
        else if (what < 0.4) change.setPassword(name, `${step}`);
        else if (what < 0.5) change.setAdmin(name, random() < 0.5);
        else if (what < 0.7) change.grant(name, db, pick(['READ', 'WRITE', 'ALL']));
        else if (what < 0.75) change.createDatabase(db);
        else if (what < 0.8) change.dropDatabase(db);
        else if (what < 0.9) {
          network.cut.clear();
          network.split(
            [pick(nodes)],
            nodes.filter(() => random() < 0.7),
          );
        } else nodes[at] = network.start(nodes[at]!.disk, nodes[at]!.address);
      } catch (error) {
        if (!(error instanceof Error && 'code' in error)) throw error;
      }
      network.run(pick([100, 300, 1_000]));
    }
    network.cut.clear();
    network.run(8_000);
    const [first, ...others] = nodes.map(({ core }) => core);
    for (const core of others) {
      expect(core.metadataHash()).toBe(first!.metadataHash());
      expect(seen(core)).toEqual(seen(first!));
    }
  }
});
