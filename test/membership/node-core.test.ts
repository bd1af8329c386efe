import { describe, expect, test } from 'vitest';
import { DEFAULT_MEMBERSHIP_LIMITS } from '../../repair/membership-limits.ts';
import { decodeNodeMessage, encodeNodeMessage } from '../../repair/node-messages.ts';
import { ownersOf, rendezvousOrder } from '../../repair/owners.ts';
import type { ShardKey } from '../../shards/shard-key.ts';
import { stampMs } from '../../shards/version.ts';
import { A, B, C, Network, randomFrom, threeNodes } from './network.ts';

const HELD = { id: '00000000000000ab', key: ['db', 0, 'autogen', 0, '0', '3600', 1], state: 'full' } as const;
const key = (number: number): ShardKey => ({
  database: 'db',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: 3_600_000_000_000n,
  number,
});

describe('liveness', () => {
  test('a member that falls silent is live for three heartbeats more, then not, with the reason', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    expect(a.core.snapshot().live).toHaveLength(3);
    network.stop(c);
    network.run(2_000);
    expect(a.core.snapshot().live).toHaveLength(3);
    const changes = a.changes;
    network.run(2_000);
    expect(a.core.snapshot().live).toEqual([a.core.identity.number, b.core.identity.number].sort());
    expect(a.changes).toBeGreaterThan(changes);
    const described = a.core.describeMembers(network.nowMs);
    expect(described.find(({ name }) => name === 'n3')).toMatchObject({
      live: false,
      why: expect.stringMatching(/^not heard for [34]\.\d s$/),
    });
    expect(described.find(({ name }) => name === 'n2')).toMatchObject({ live: true, skewed: false });
  });

  test('statements and shard lists reach the others, also the list that was lost at first', () => {
    const network = new Network();
    const [a, b] = threeNodes(network);
    network.cut.add(`${A}>${B}`);
    const closed = a.core.closing(network.nowMs);
    a.core.heartbeat(
      closed,
      [{ shard: HELD.id, oldest: 'a'.repeat(32), acknowledgedBy: [] }],
      [{ ...HELD, key: [...HELD.key] }],
      network.nowMs,
    );
    network.deliver();
    expect(b.core.snapshot().heldBy[a.core.identity.number]).toBeUndefined();
    network.cut.clear();
    network.run(2_000);
    expect(b.core.snapshot().heldBy[a.core.identity.number]).toEqual([HELD]);
    const statement = b.core.snapshot().statements.find(({ member }) => member === a.core.identity.number)!;
    expect(statement.viewHash).toBe(b.core.snapshot().viewHash);
    expect(statement.closed > closed).toBe(true);
    const again = network.start(a.disk, A);
    again.core.heartbeat(again.core.closing(network.nowMs), [], [], network.nowMs);
    network.run(1_500);
    expect(b.core.snapshot().heldBy[a.core.identity.number]).toEqual([]);
  });

  test('the snapshot is the same object until something changes', () => {
    const network = new Network();
    const { core } = network.start(network.disk('n1'), A);
    expect(core.snapshot()).toBe(core.snapshot());
    const before = core.snapshot();
    core.tick(network.nowMs + 10);
    expect(core.snapshot()).toBe(before);
    core.definitions.createDatabase('db', null, network.nowMs);
    expect(core.snapshot()).not.toBe(before);
  });
});

describe('skewed clocks', () => {
  test('a node that starts an hour ahead of two others mints nothing, is shown, is not live, and is back when started with the right clock', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    network.stop(c);
    const ahead = network.start(c.disk, C, [], 3_600_000);
    network.run(4_000);
    expect(() => ahead.core.mint(network.wall(ahead))).toThrow(
      expect.objectContaining({ code: 'skewed', retry: true }),
    );
    expect(() => ahead.core.definitions.createDatabase('x', null, network.wall(ahead))).toThrow(/skewed/);
    for (const { core } of [a, b]) {
      expect(core.snapshot().live).not.toContain(ahead.core.identity.number);
      expect(stampMs(core.mint(network.nowMs))).toBeLessThan(network.nowMs + 1_000);
      expect(core.describeMembers(network.nowMs).find(({ name }) => name === 'n3')).toMatchObject({
        skewed: true,
        why: expect.stringContaining('ahead'),
      });
    }
    expect(ahead.core.snapshot().live).not.toContain(ahead.core.identity.number);
    // It has let its clock stand until it knew theirs, so that nothing of the wrong hour is reserved.
    network.stop(ahead);
    const right = network.start(c.disk, C);
    network.run(4_000);
    expect(stampMs(right.core.mint(network.nowMs))).toBeLessThan(network.nowMs + 1_000);
    for (const { core } of [a, b]) expect(core.snapshot().live).toContain(right.core.identity.number);
  });

  test('a node an hour behind follows the others and closes by their time but mints nothing until its clock is set', () => {
    const network = new Network();
    const [a, , c] = threeNodes(network);
    network.stop(c);
    const behind = network.start(c.disk, C, [], -3_600_000);
    network.run(4_000);
    expect(() => behind.core.mint(network.wall(behind))).toThrow(/behind the median/);
    expect(stampMs(behind.core.closing(network.wall(behind)))).toBeGreaterThan(network.nowMs - 2_000);
    a.core.mint(network.nowMs);
    expect(a.core.snapshot().live).not.toContain(behind.core.identity.number);
    behind.offsetMs = 0;
    network.run(2_000);
    behind.core.mint(network.nowMs);
    expect(a.core.snapshot().live).toContain(behind.core.identity.number);
  });

  test('of two members that disagree exactly one mints', () => {
    for (const offsetMs of [3_600_000, -3_600_000]) {
      const network = new Network();
      const [a, b, c] = threeNodes(network);
      network.stop(c);
      b.offsetMs = offsetMs;
      network.run(6_000);
      expect([a.core.isSkewed(), b.core.isSkewed()].filter(Boolean)).toHaveLength(1);
    }
  });

  test('a node whose clock was set back after running ahead is skewed among others, and goes on alone', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    for (const node of [b, c]) network.stop(node);
    network.run(4_000);
    a.offsetMs = 3_600_000;
    a.core.mint(network.wall(a));
    a.offsetMs = 0;
    network.run(1_000);
    const version = a.core.mint(network.nowMs);
    expect(stampMs(version)).toBeGreaterThanOrEqual(network.nowMs + 3_590_000);
    const again = [network.start(b.disk, B), network.start(c.disk, C)];
    network.run(3_000);
    // Its clock need not be set: it says until when it is out.
    const out = /gave writes times up to .*Z while its clock was ahead, and takes part again from .*Z$/;
    expect(() => a.core.mint(network.nowMs)).toThrow(out);
    const [own] = a.core.describeMembers(network.nowMs).filter(({ name }) => name === 'n1');
    expect(own).toMatchObject({ skewed: true, why: expect.stringMatching(out) });
    for (const node of again) expect(stampMs(node.core.mint(network.nowMs))).toBeLessThan(network.nowMs + 10_000);
  });

  test('a single node never judges its clock skewed by itself', () => {
    const network = new Network();
    const { core } = network.start(network.disk('n1'), A, [], -1_000_000_000);
    core.mint(network.nowMs - 1_000_000_000);
  });
});

describe('owners', () => {
  test('are the same on all nodes, at most as many as members, and none for a policy that is not known', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    a.core.definitions.createDatabase('db', { replication: 2 }, network.nowMs);
    expect(b.core.owners(key(0))).toEqual([]);
    network.run(1_000);
    for (let n = 0; n < 20; n++) {
      const owners = a.core.owners(key(n));
      expect(owners).toHaveLength(2);
      expect(b.core.owners(key(n))).toEqual(owners);
      expect(ownersOf(c.core.snapshot(), key(n))).toEqual(owners);
    }
    a.core.definitions.alterRetentionPolicy('db', 'autogen', { replication: 9 }, network.nowMs);
    expect(a.core.owners(key(0))).toHaveLength(3);
    expect(a.core.owners({ ...key(0), databaseGeneration: 1 })).toEqual([]);
    expect(a.core.owners({ ...key(0), retentionPolicy: 'none' })).toEqual([]);
  });

  test('a new name moves only what it wins, and shares are even', () => {
    const names = ['n1', 'n2', 'n3', 'n4'];
    const counts = new Map<string, number>();
    for (let i = 0; i < 2_000; i++) {
      const before = rendezvousOrder(names, `shard${i}`);
      const after = rendezvousOrder([...names, 'n5'], `shard${i}`);
      expect(after.filter((name) => name !== 'n5')).toEqual(before);
      counts.set(after[0]!, (counts.get(after[0]!) ?? 0) + 1);
    }
    for (const count of counts.values()) expect(Math.abs(count - 400)).toBeLessThan(100);
  });
});

describe('messages', () => {
  test('damaged, cut, future and nonsensical bytes are counted and change nothing', () => {
    const network = new Network();
    const [a, b] = threeNodes(network);
    const from = { number: b.core.identity.number, address: null };
    const good = encodeNodeMessage({ kind: 'ask-shards', sequence: 1 });
    const random = randomFrom(5);
    const before = a.core.metadataHash();
    let bad = 0;
    const give = (bytes: Uint8Array) => {
      a.core.receive(from, bytes, network.nowMs);
      a.core.receive({ number: null, address: C }, bytes, network.nowMs);
      bad += 2;
    };
    give(new Uint8Array(0));
    give(Uint8Array.of(9, 123, 125));
    for (let i = 1; i < good.length; i++) give(good.subarray(0, i));
    for (const text of [
      'null',
      '[]',
      '{"kind":"heartbeat"}',
      '{"kind":"registers","registers":[{"key":"x"}],"want":[]}',
    ]) {
      give(Buffer.concat([Buffer.of(1), Buffer.from(text)]));
    }
    for (let i = 0; i < 200; i++) give(Buffer.from(Array.from({ length: 30 }, () => 2 + Math.floor(random() * 250))));
    give(new Uint8Array(DEFAULT_MEMBERSHIP_LIMITS.messageBytesMax + 1));
    expect(a.core.counters.badMessages).toBe(bad);
    expect(a.core.metadataHash()).toBe(before);
    expect(a.core.state).toBe('up');
    expect(() => decodeNodeMessage(Uint8Array.of(9, 123, 125), DEFAULT_MEMBERSHIP_LIMITS)).toThrow(
      expect.objectContaining({ code: 'future-message' }),
    );
  });

  test('a statement in another name is refused', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    const statement = {
      ...b.core.snapshot().statements[0]!,
      member: c.core.identity.number,
      sequence: 2 ** 50,
      open: [],
    };
    const rest = { wallMs: 0, metadataHash: '0'.repeat(32), handover: null };
    const bytes = encodeNodeMessage({ kind: 'heartbeat', statement, ...rest });
    a.core.receive({ number: b.core.identity.number, address: null }, bytes, network.nowMs);
    expect(a.core.counters.badMessages).toBe(1);
  });

  test('a register too large, or under a reserved name, is refused', () => {
    const network = new Network(1, { registerBytesMax: 100, registersMax: 3 });
    const { core } = network.start(network.disk('n1'), A);
    expect(() => core.registers.put('rule/a', 'x'.repeat(200), network.nowMs)).toThrow(
      expect.objectContaining({ code: 'register-too-large' }),
    );
    expect(() => core.registers.put('member/0', 1, network.nowMs)).toThrow(
      expect.objectContaining({ code: 'invalid-name' }),
    );
    core.registers.put('rule/a', { a: 1 }, network.nowMs);
    core.registers.put('rule/b', 2, network.nowMs);
    expect(() => core.registers.put('rule/c', 3, network.nowMs)).toThrow(
      expect.objectContaining({ code: 'too-many-registers' }),
    );
    core.registers.remove('rule/b', network.nowMs);
    expect(core.registers.get('rule/b')).toBeUndefined();
    expect(core.registers.withPrefix('rule/').map(({ key, value }) => [key, value])).toEqual([['rule/a', { a: 1 }]]);
  });
});
