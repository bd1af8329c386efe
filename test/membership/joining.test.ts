import { describe, expect, test } from 'vitest';
import { stampMs, stampOf } from '../../shards/version.ts';
import { A, B, C, Network, type TestNode, threeNodes } from './network.ts';

const names = (node: TestNode) =>
  node.core
    .snapshot()
    .members.map(({ name, state }) => `${name} ${state}`)
    .sort();

describe('joining', () => {
  test('a fresh node without --join founds a cluster, serves at once, and has a durable identity', () => {
    const network = new Network();
    const a = network.start(network.disk('n1'), A);
    expect(a.core.state).toBe('up');
    expect(a.disk.identity.clusterId).toMatch(/^[0-9a-f]{16}$/);
    expect(a.disk.identity.seed).toMatch(/^[0-9a-f]{32}$/);
    expect(names(a)).toEqual(['n1 up']);
    expect(a.core.snapshot().live).toEqual([a.core.identity.number]);
    a.core.mint(network.nowMs);
  });

  test('a fresh node refuses to mint until it has joined through an established one, and then shares its seed and view', () => {
    const network = new Network();
    const b = network.start(network.disk('n2'), B, [A]);
    network.run(1_000);
    expect(b.core.state).toBe('joining');
    expect(() => b.core.mint(network.nowMs)).toThrow(/joining/);
    expect(b.core.problem).toContain(A);
    const a = network.start(network.disk('n1'), A);
    a.core.definitions.createDatabase('telegraf', null, network.nowMs);
    network.run(6_000);
    expect(b.core.state).toBe('up');
    expect(b.disk.identity).toMatchObject({ clusterId: a.disk.identity.clusterId, seed: a.disk.identity.seed });
    expect(names(a)).toEqual(['n1 up', 'n2 up']);
    expect(names(b)).toEqual(names(a));
    expect(b.core.snapshot().viewHash).toBe(a.core.snapshot().viewHash);
    expect(b.core.snapshot().databases.map(({ name }) => name)).toEqual(['telegraf']);
    expect(b.core.snapshot().live).toHaveLength(2);
  });

  test('three fresh nodes that name each other and start at once make one cluster, founded by the first address', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const network = new Network(seed);
      const all = [A, B, C];
      const nodes = [C, A, B].map((address, i) =>
        network.start(network.disk(`n${i}`), address, seed % 2 ? all : all.filter((x) => x !== address)),
      );
      network.run(10_000);
      expect(nodes.map((node) => node.core.state)).toEqual(['up', 'up', 'up']);
      expect(new Set(nodes.map((node) => node.disk.identity.clusterId)).size).toBe(1);
      expect(new Set(nodes.map((node) => node.core.snapshot().viewHash)).size).toBe(1);
    }
  });

  test('fresh nodes that name each other in a circle make one cluster', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const network = new Network(seed);
      network.loss = seed % 3 === 0 ? 0.2 : 0;
      const nodes = [
        network.start(network.disk('x'), A, [B]),
        network.start(network.disk('y'), B, [C]),
        network.start(network.disk('z'), C, [A]),
      ];
      network.run(30_000);
      expect(nodes.map((node) => node.core.state)).toEqual(['up', 'up', 'up']);
      expect(new Set(nodes.map((node) => node.disk.identity.clusterId)).size).toBe(1);
    }
  });

  test('a fresh node that the others were not told of waits for them, also when its address sorts first', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const network = new Network(seed);
      const nodes = [
        network.start(network.disk('x'), A, [B, C]),
        network.start(network.disk('y'), B, [C]),
        network.start(network.disk('z'), C, [B]),
      ];
      network.run(20_000);
      expect(nodes.map((node) => node.core.state)).toEqual(['up', 'up', 'up']);
      expect(new Set(nodes.map((node) => node.disk.identity.clusterId)).size).toBe(1);
    }
  });

  test('fresh nodes that name more addresses than are asked found nothing, and say why', () => {
    const network = new Network();
    const many = Array.from({ length: 80 }, (_, i) => `http://127.0.0.1:${9_000 + i}`);
    const nodes = many.map((address, i) => network.start(network.disk(`n${i}`), address, many));
    network.run(5_000);
    expect(new Set(nodes.map((node) => node.core.state))).toEqual(new Set(['joining']));
    expect(nodes[0]!.core.problem).toMatch(/more than 64 addresses/);
  });

  test('a fresh node does not found while one of its addresses is silent', () => {
    const network = new Network();
    const a = network.start(network.disk('n1'), A, [B, C]);
    const b = network.start(network.disk('n2'), B, [A, C]);
    network.run(20_000);
    expect([a.core.state, b.core.state]).toEqual(['joining', 'joining']);
    const c = network.start(network.disk('n3'), C, [A, B]);
    network.run(12_000);
    expect([a, b, c].map((node) => node.core.state)).toEqual(['up', 'up', 'up']);
    expect(new Set([a, b, c].map((node) => node.disk.identity.clusterId)).size).toBe(1);
  });

  /** Whether a joiner mints, and reserves, above what its sponsor stated under the view without it. */
  function startsAbove(network: Network): boolean {
    const a = network.start(network.disk('n1'), A, [], 8_000);
    network.run(1_000);
    const oldView = a.core.snapshot().viewHash;
    const closed = a.core.closing(network.wall(a));
    a.core.heartbeat(closed, [], null, network.wall(a));
    expect(a.core.snapshot().statements[0]!.viewHash).toBe(oldView);
    const b = network.start(network.disk('n2'), B, [A]);
    network.run(300);
    expect(b.core.state).toBe('up');
    return stampOf(b.core.mint(network.nowMs)) > closed && b.disk.reserved > closed;
  }

  test('a joiner starts above everything that its sponsor stated under the view without it', () => {
    expect(startsAbove(new Network())).toBe(true);
  });

  test('a joiner whose clock is not lifted would start below it', () => {
    const network = new Network();
    network.liftsClocks = false;
    expect(startsAbove(network)).toBe(false);
  });

  test('a node that lost its disk comes back under its name with another number, once its old self is silent', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    const old = b.core.identity.number;
    const owned = a.core.snapshot().members.find((member) => member.number === old);
    expect(owned?.state).toBe('up');
    network.stop(b);
    const again = network.start(network.disk('n2'), B, [A, C]);
    network.run(500);
    expect(again.core.state).toBe('joining');
    expect(again.core.problem).toContain('"n2" is a live member');
    network.run(9_000);
    expect(again.core.state).toBe('up');
    expect(names(a)).toEqual(['n1 up', 'n2 removed', 'n2 up', 'n3 up']);
    expect(names(c)).toEqual(names(a));
    expect(a.core.snapshot().live).not.toContain(old);
    expect(a.core.snapshot().live).toContain(again.core.identity.number);
  });

  test('a fresh node under the name of a live member is refused, and told which', () => {
    const network = new Network();
    const [a, b] = threeNodes(network);
    const twin = network.start(network.disk('n2'), 'http://127.0.0.1:9999', [A]);
    network.run(40_000);
    expect(twin.core.state).toBe('refused');
    expect(twin.refused).toContain(`"n2" is a live member already: number ${b.core.identity.number} at ${B}`);
    expect(b.core.state).toBe('up');
    expect(names(a)).toEqual(['n1 up', 'n2 up', 'n3 up']);
  });

  test('a sponsor that has just started waits before it takes a member of the same name for dead', () => {
    const network = new Network();
    const [a, b] = threeNodes(network);
    const again = network.start(a.disk, A);
    const twin = network.start(network.disk('n2'), 'http://127.0.0.1:9999', [A]);
    network.deliver();
    expect(twin.core.problem).toContain('waiting to hear whether "n2"');
    network.run(40_000);
    expect(twin.core.state).toBe('refused');
    expect(again.core.snapshot().live).toContain(b.core.identity.number);
  });

  test('of two fresh nodes under one name that come in the same moment the first stays, and the second is refused', () => {
    const network = new Network();
    const a = network.start(network.disk('n1'), A);
    network.run(10_000);
    const first = network.start(network.disk('n2'), B, [A]);
    const second = network.start(network.disk('n2'), 'http://127.0.0.1:9999', [A]);
    network.run(40_000);
    expect([first.core.state, second.core.state].sort()).toEqual(['refused', 'up']);
    expect([first.refused, second.refused].join()).toContain('"n2" is a live member already');
    expect(names(a)).toEqual(['n1 up', 'n2 up']);
  });

  test('a fresh node that was removed before it belonged draws another number, and joins when it is started again', () => {
    const network = new Network();
    const a = network.start(network.disk('n1'), A);
    const disk = network.disk('n2');
    const { number } = disk.identity;
    const b = network.start(disk, B, [A]);
    network.run(1_000);
    network.stop(b);
    disk.identity = { ...disk.identity, clusterId: null, seed: null };
    network.run(9_000);
    a.core.departures.giveUp(number, true, network.nowMs);
    const refused = network.start(disk, B, [A]);
    network.run(2_000);
    expect(refused.core.state).toBe('refused');
    expect(refused.refused).toContain(`(${number}) was removed from the cluster before it had joined: start it again`);
    network.stop(refused);
    expect(disk.identity).toMatchObject({ name: 'n2', clusterId: null });
    const again = network.start(disk, B, [A]);
    network.run(2_000);
    expect(again.core.state).toBe('up');
    expect(again.core.identity.number).not.toBe(number);
    expect(names(a)).toEqual(['n1 up', 'n2 removed', 'n2 up']);
  });

  test('a node that crashed between joining and writing its identity joins again under the same number', () => {
    const network = new Network();
    const a = network.start(network.disk('n1'), A);
    const disk = network.disk('n2');
    const b = network.start(disk, B, [A]);
    network.run(1_000);
    expect(b.core.state).toBe('up');
    network.stop(b);
    disk.identity = { ...disk.identity, clusterId: null, seed: null };
    const again = network.start(disk, B, [A]);
    network.run(2_000);
    expect(again.core.state).toBe('up');
    expect(names(a)).toEqual(['n1 up', 'n2 up']);
  });

  test('a node of another cluster is refused with both cluster ids', () => {
    const network = new Network();
    const a = network.start(network.disk('n1'), A);
    const disk = network.disk('n2');
    const b = network.start(disk, B);
    network.stop(b);
    const again = network.start(disk, B, [A]);
    network.run(1_000);
    expect(again.core.state).toBe('refused');
    expect(again.refused).toContain(a.disk.identity.clusterId);
    expect(again.refused).toContain(disk.identity.clusterId);
    expect(a.core.state).toBe('up');
  });

  test('a restarted node serves at once with all peers absent', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    a.core.definitions.createDatabase('telegraf', null, network.nowMs);
    network.run(1_000);
    const before = b.core.mint(network.nowMs);
    for (const node of [a, b, c]) network.stop(node);
    const again = network.start(b.disk, B, [A, C]);
    expect(again.core.state).toBe('up');
    expect(again.core.mint(network.nowMs - 60_000) > before).toBe(true);
    expect(again.core.snapshot().databases.map(({ name }) => name)).toEqual(['telegraf']);
    expect(again.core.snapshot().live).toEqual([again.core.identity.number]);
    again.core.definitions.createDatabase('other', null, network.nowMs);
    network.run(5_000);
    expect(again.core.describeMembers(network.nowMs).map(({ why }) => why)).toContain(
      'not heard since this node started',
    );
  });

  test('members that come back on other ports find each other again', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    for (const node of [a, b, c]) network.stop(node);
    const moved = [
      network.start(a.disk, 'http://127.0.0.1:9001'),
      network.start(b.disk, 'http://127.0.0.1:9002', ['http://127.0.0.1:9001']),
      network.start(c.disk, 'http://127.0.0.1:9003', ['http://127.0.0.1:9001']),
    ];
    network.run(15_000);
    for (const node of moved) {
      expect(node.core.snapshot().live).toHaveLength(3);
      expect(
        node.core
          .snapshot()
          .members.map(({ address }) => address)
          .sort(),
      ).toEqual(moved.map(({ address }) => address));
    }
  });

  test('a member that was replaced while it was cut off stops when it hears of it', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    network.split([b], [a, c]);
    network.run(5_000);
    const heir = network.start(network.disk('n2'), 'http://127.0.0.1:9999', [A]);
    network.run(10_000);
    expect(heir.core.state).toBe('up');
    network.cut.clear();
    network.run(10_000);
    expect(b.core.state).toBe('refused');
    expect(b.refused).toContain('was removed');
    expect(b.refused).toContain(heir.core.identity.number);
  });

  test('a node whose clock is far behind the cluster does not join, and says why', () => {
    const network = new Network();
    network.start(network.disk('n1'), A);
    const b = network.start(network.disk('n2'), B, [A], -3_600_000);
    network.run(10_000);
    expect(b.core.state).toBe('joining');
    expect(b.core.problem).toContain('set the clocks');
    b.offsetMs = 0;
    network.run(10_000);
    expect(b.core.state).toBe('up');
    expect(stampMs(b.core.mint(network.nowMs))).toBeGreaterThanOrEqual(network.nowMs);
  });

  test('a node that lost its disk on both sides of a partition is one member again when the sides meet', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    network.split([a], [b]);
    network.stop(c);
    const second = network.start(network.disk('n3'), C, [A]);
    network.split([second], [b]);
    network.run(8_000);
    expect(second.core.state).toBe('up');
    network.stop(second);
    network.run(5_000);
    const third = network.start(network.disk('n3'), C, [B]);
    network.cut.clear();
    network.split([a], [b, third]);
    network.run(8_000);
    expect(third.core.state).toBe('up');
    network.cut.clear();
    network.run(10_000);
    for (const node of [a, b, third]) {
      expect(names(node)).toEqual(['n1 up', 'n2 up', 'n3 removed', 'n3 removed', 'n3 up']);
      expect(node.core.snapshot().live).toContain(third.core.identity.number);
    }
  });
});
