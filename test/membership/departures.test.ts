import { describe, expect, test } from 'vitest';
import type { Handover } from '../../repair/departures.ts';
import type { ShardKey } from '../../shards/shard-key.ts';
import { A, B, D, Network, type TestNode, threeNodes } from './network.ts';

const NOTHING: Handover = { shards: 0, bytes: 0, writes: 0, outboxEntries: 0, outboxBytes: 0 };

const states = (node: TestNode) =>
  node.core
    .snapshot()
    .members.map(({ name, state, removal }) => `${name} ${state}${removal === undefined ? '' : ` ${removal}`}`)
    .sort();

const described = (network: Network, at: TestNode, name: string) =>
  at.core.describeMembers(network.nowMs).find((member) => member.name === name)!;

const refusal = (run: () => void): string => {
  try {
    run();
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`;
  }
  return 'not refused';
};

describe('leaving', () => {
  test('owns nothing at once, goes when it has been empty twice, and minted nothing in between; everybody hears it', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    a.core.departures.leave(b.core.identity.number, network.nowMs);
    network.run(1_000);
    for (const node of [a, b, c]) expect(states(node)).toEqual(['n1 up', 'n2 leaving', 'n3 up']);
    expect(b.core.departures.isLeaving).toBe(true);
    b.core.mint(network.nowMs);
    b.core.departures.handover({ ...NOTHING, shards: 4, bytes: 1_000 }, network.nowMs);
    network.run(2_000);
    b.core.departures.handover({ ...NOTHING, shards: 1, bytes: 100 }, network.nowMs);
    network.run(1_000);
    expect(described(network, c, 'n2')).toMatchObject({
      why: 'handing over: 1 of 4 shards left, about 1 s',
      handover: { shards: 1, shardsAtFirst: 4, bytes: 100 },
    });
    b.core.departures.handover({ ...NOTHING, writes: 1 }, network.nowMs);
    b.core.mint(network.nowMs);
    b.core.departures.handover(NOTHING, network.nowMs);
    expect(refusal(() => b.core.mint(network.nowMs))).toContain('leaving: this node is leaving the cluster');
    expect(states(b)).toEqual(['n1 up', 'n2 leaving', 'n3 up']);
    b.core.departures.handover(NOTHING, network.nowMs);
    expect(b.core.state).toBe('left');
    expect(b.left).toContain('node "n2"');
    expect(refusal(() => b.core.definitions.createDatabase('x', null, network.nowMs))).toContain(
      'has left the cluster',
    );
    network.run(1_000);
    for (const node of [a, c]) {
      expect(states(node)).toEqual(['n1 up', 'n2 removed left', 'n3 up']);
      expect(described(network, node, 'n2').why).toBe('left the cluster after it had handed everything over');
    }
  });

  test('a write that came in between two looks is waited for', () => {
    const network = new Network();
    const [a] = threeNodes(network);
    a.core.departures.leave(a.core.identity.number, network.nowMs);
    a.core.departures.handover(NOTHING, network.nowMs);
    a.core.departures.handover({ ...NOTHING, outboxEntries: 1, outboxBytes: 50 }, network.nowMs);
    a.core.departures.handover(NOTHING, network.nowMs);
    expect(a.core.state).toBe('up');
    a.core.departures.handover(NOTHING, network.nowMs);
    expect(a.core.state).toBe('left');
  });

  test('its last word is repeated, also by a process that was started again, until it has come through', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    a.core.departures.leave(b.core.identity.number, network.nowMs);
    network.run(1_000);
    network.loss = 1;
    b.core.departures.handover(NOTHING, network.nowMs);
    b.core.departures.handover(NOTHING, network.nowMs);
    network.run(1_000);
    expect(states(a)).toEqual(['n1 up', 'n2 leaving', 'n3 up']);
    const again = network.start(b.disk, B);
    expect(again.core.state).toBe('left');
    network.loss = 0;
    network.run(5_000);
    for (const node of [a, c]) expect(states(node)).toEqual(['n1 up', 'n2 removed left', 'n3 up']);
  });

  test('a fresh node finds its sponsor among those who stay', () => {
    const network = new Network();
    const [a, b] = threeNodes(network);
    b.core.departures.leave(b.core.identity.number, network.nowMs);
    b.core.departures.handover(NOTHING, network.nowMs);
    b.core.departures.handover(NOTHING, network.nowMs);
    const d = network.start(network.disk('n4'), D, [B, A]);
    network.run(6_000);
    expect(d.core.state).toBe('up');
    expect(states(a)).toEqual(['n1 up', 'n2 removed left', 'n3 up', 'n4 up']);
  });

  test('is refused to a member that is dead, to the last one, and to one that is unknown', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    network.stop(c);
    network.run(5_000);
    const leave = (number: string) => refusal(() => a.core.departures.leave(number, network.nowMs));
    expect(leave(c.core.identity.number)).toContain('member-state: member "n3"');
    expect(leave(c.core.identity.number)).toContain('is not live, so it cannot hand over what it holds');
    expect(leave('f'.repeat(16))).toContain('member-not-found');
    network.stop(b);
    network.run(5_000);
    expect(leave(a.core.identity.number)).toContain('no other live member stays that could take what member "n1"');
    expect(states(a)).toEqual(['n1 up', 'n2 up', 'n3 up']);
  });
});

describe('when all have been told to leave at the same moment', () => {
  const KEY: ShardKey = {
    database: 'd',
    databaseGeneration: 0,
    retentionPolicy: 'autogen',
    retentionPolicyGeneration: 0,
    startNs: 0n,
    endNs: 1n << 50n,
    number: 0,
  };
  function allLeaving(): { network: Network; nodes: TestNode[] } {
    const network = new Network();
    const nodes = threeNodes(network);
    nodes[0]!.core.definitions.createDatabase('d', null, network.nowMs);
    network.run(1_000);
    for (const { core } of nodes) core.departures.leave(core.identity.number, network.nowMs);
    network.run(1_000);
    return { network, nodes };
  }

  test('all go on as owners, hand nothing over, and say what is the matter', () => {
    const { network, nodes } = allLeaving();
    for (const node of nodes) {
      const { core } = node;
      const described = core.describeMembers(network.nowMs);
      expect(described.map(({ state }) => state)).toEqual(['leaving', 'leaving', 'leaving']);
      for (const { why } of described) expect(why).toContain('told to leave, as all others were');
      expect(states(node)).toEqual(['n1 up', 'n2 up', 'n3 up']);
      expect([...core.owners(KEY)].sort()).toEqual(nodes.map((each) => each.core.identity.number).sort());
      expect(core.departures.isLeaving).toBe(false);
      // Empty or not: it is asked nothing, and what was asked before does not keep it from taking writes.
      core.departures.handover(NOTHING, network.nowMs);
      core.departures.handover(NOTHING, network.nowMs);
      expect(core.state).toBe('up');
      core.mint(network.nowMs);
    }
    expect(new Set(nodes.map(({ core }) => core.snapshot().viewHash)).size).toBe(1);
  });

  test('one that joins owns everything, and they leave', () => {
    const { network, nodes } = allLeaving();
    const d = network.start(network.disk('n4'), D, [A, B]);
    network.run(6_000);
    expect(d.core.state).toBe('up');
    for (const { core } of nodes) {
      expect(core.owners(KEY)).toEqual([d.core.identity.number]);
      expect(core.departures.isLeaving).toBe(true);
      core.departures.handover(NOTHING, network.nowMs);
      core.departures.handover(NOTHING, network.nowMs);
      expect(core.state).toBe('left');
    }
    network.run(1_000);
    expect(states(d)).toEqual(['n1 removed left', 'n2 removed left', 'n3 removed left', 'n4 up']);
  });

  test('one that was empty before it heard of it mints again, and is then asked twice anew', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    const leave = ({ core }: TestNode) => core.departures.leave(core.identity.number, network.nowMs);
    leave(a);
    a.core.departures.handover(NOTHING, network.nowMs);
    expect(refusal(() => a.core.mint(network.nowMs))).toContain('leaving: ');
    leave(b);
    leave(c);
    network.run(1_000);
    a.core.mint(network.nowMs);
    network.start(network.disk('n4'), D, [A, B]);
    network.run(6_000);
    a.core.departures.handover(NOTHING, network.nowMs);
    expect(a.core.state).toBe('up');
    a.core.departures.handover(NOTHING, network.nowMs);
    expect(a.core.state).toBe('left');
  });
});

describe('giving up a member', () => {
  test('needs force and a dead member; it is final, and the dead one is told when it comes back', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    const dead = c.core.identity.number;
    const giveUp = (force: boolean) => refusal(() => a.core.departures.giveUp(dead, force, network.nowMs));
    expect(giveUp(true)).toContain('is live: let it leave, or stop it first');
    network.stop(c);
    network.run(5_000);
    expect(giveUp(false)).toContain('loses what only it holds');
    expect(giveUp(true)).toBe('not refused');
    network.run(500);
    for (const node of [a, b]) expect(states(node)).toEqual(['n1 up', 'n2 up', 'n3 removed forced']);
    expect(described(network, b, 'n3').why).toBe('given up by an operator, and with it what only it held');
    const again = network.start(c.disk, c.address, [A]);
    network.run(10_000);
    expect(again.core.state).toBe('refused');
    expect(again.refused).toContain('Removal is final');
    expect(giveUp(true)).toBe('not refused');
  });

  test('what may be lost with it is acknowledged at any node, once, for all, also those that are away, and over restarts', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    const dead = c.core.identity.number;
    const acknowledge = (node: TestNode, number: string) =>
      refusal(() => node.core.departures.acknowledgeLoss(number, network.nowMs));
    const known = (node: TestNode) =>
      node.core.snapshot().members.map(({ name, lossAcknowledgedMs }) => [name, lossAcknowledgedMs]);
    expect(acknowledge(a, dead)).toContain('was neither given up nor replaced: nothing is lost with it');
    network.stop(c);
    network.run(5_000);
    a.core.departures.giveUp(dead, true, network.nowMs);
    network.run(500);
    network.stop(a);
    const { viewHash } = b.core.snapshot();
    const ms = network.nowMs;
    expect(acknowledge(b, dead)).toBe('not refused');
    network.run(500);
    const again = network.start(a.disk, A, [B]);
    network.run(5_000);
    expect(acknowledge(again, dead)).toBe('not refused');
    network.run(500);
    network.stop(b);
    const restarted = network.start(b.disk, B, [A]);
    network.run(500);
    for (const node of [again, restarted]) {
      expect(known(node)).toEqual([
        ['n1', undefined],
        ['n2', undefined],
        ['n3', ms],
      ]);
      // No pass waits for it: it is no part of the view.
      expect(node.core.snapshot().viewHash).toBe(viewHash);
    }
    expect(acknowledge(again, 'f'.repeat(16))).toContain('member-not-found');
  });

  test('is refused by a node that has just started: it cannot know yet who is dead', () => {
    const network = new Network();
    const [a, b] = threeNodes(network);
    const again = network.start(a.disk, A);
    expect(refusal(() => again.core.departures.giveUp(b.core.identity.number, true, network.nowMs))).toContain(
      'has just started',
    );
  });
});
