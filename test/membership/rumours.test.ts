import { describe, expect, test } from 'vitest';
import type { MembershipLimits } from '../../repair/membership-limits.ts';
import { A, B, C, Network, type TestNode, threeNodes } from './network.ts';

/** Nothing comes by comparison: what arrives was told. */
const NO_PUSH_PULL = { metadataSyncIntervalMs: 1e9 };

function manyNodes(count: number, seed: number, limits: Partial<MembershipLimits>): [Network, TestNode[]] {
  const network = new Network(seed, limits);
  const address = (index: number) => `http://127.0.0.1:${9000 + index}`;
  const nodes = Array.from({ length: count }, (_, index) => {
    const node = network.start(network.disk(`n${index}`), address(index), index === 0 ? [] : [address(0)]);
    network.run(2_000);
    return node;
  });
  // What each missed while it joined is compared, then no more.
  network.run(3_000);
  return [network, nodes];
}

const knows = (node: TestNode, name: string) =>
  node.core.snapshot().databases.some((database) => database.name === name);
const pushed = (nodes: readonly TestNode[]) => nodes.reduce((sum, { core }) => sum + core.counters.rumoursPushed, 0);

describe('rumours', () => {
  test('news whose source dies after one push reaches everybody', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const [network, nodes] = manyNodes(12, seed, { rumourFirstPeers: 1 });
      Object.assign(network.limits, NO_PUSH_PULL);
      const [source, ...others] = nodes;
      source!.core.definitions.createDatabase('news', null, network.wall(source!));
      network.deliver();
      expect(others.filter((node) => knows(node, 'news'))).toHaveLength(1);
      network.stop(source!);
      network.run(3_000);
      expect(others.filter((node) => !knows(node, 'news')).map(({ address }) => address)).toEqual([]);
    }
  });

  test('a member that the source does not reach hears of it from another one, without a comparison', () => {
    const network = new Network(3);
    const [a, b, c] = threeNodes(network);
    Object.assign(network.limits, NO_PUSH_PULL);
    network.cut.add(`${A}>${C}`);
    a.core.definitions.createDatabase('news', null, network.wall(a));
    network.deliver();
    expect([knows(b, 'news'), knows(c, 'news')]).toEqual([true, false]);
    network.run(500);
    expect(knows(c, 'news')).toBe(true);
  });

  test('everybody is told at once where members are few, and interest is lost when all are informed', () => {
    const network = new Network(4);
    const nodes = threeNodes(network);
    network.run(3_000);
    const before = pushed(nodes);
    nodes[0].core.definitions.createDatabase('news', null, network.wall(nodes[0]));
    network.deliver();
    expect(nodes.map((node) => knows(node, 'news'))).toEqual([true, true, true]);
    network.run(2_000);
    const told = pushed(nodes) - before;
    // The registers of a database and its policy: to both others, and by each of those at most once to the other.
    expect(told).toBeGreaterThanOrEqual(4);
    expect(told).toBeLessThanOrEqual(8);
    network.run(5_000);
    expect(pushed(nodes) - before).toBe(told);
  });

  test('feedback makes a rumour die out: so many pushes that found an informed member, for each that was not', () => {
    const [network, nodes] = manyNodes(30, 7, {});
    const before = pushed(nodes);
    nodes[0]!.core.definitions.createDatabase('news', null, network.wall(nodes[0]!));
    network.run(5_000);
    expect(nodes.every((node) => knows(node, 'news'))).toBe(true);
    const told = pushed(nodes) - before;
    const registers = 2;
    const { rumourKnownMax } = network.limits;
    expect(told).toBeLessThanOrEqual(registers * nodes.length * (rumourKnownMax + 2));
    network.run(5_000);
    expect(pushed(nodes) - before).toBe(told);
  });

  test('members that do not answer are not told for ever', () => {
    const network = new Network(5);
    const nodes = threeNodes(network);
    const [a, b, c] = nodes;
    Object.assign(network.limits, NO_PUSH_PULL);
    // They are heard and do not hear.
    network.cut.add(`${A}>${B}`).add(`${A}>${C}`);
    a.core.definitions.createDatabase('news', null, network.wall(a));
    network.run(network.limits.rumourIntervalMs * (network.limits.rumourRoundsMax + 3));
    const told = pushed([a]);
    expect(told).toBeGreaterThan(network.limits.rumourRoundsMax);
    network.run(5_000);
    expect(pushed([a])).toBe(told);
    expect([knows(b, 'news'), knows(c, 'news')]).toEqual([false, false]);
  });

  test('so many registers at once that not all are told come by comparison, and a newer value takes the place of an older one', () => {
    const network = new Network(8, { rumoursMax: 5 });
    const nodes = threeNodes(network);
    const [a, b, c] = nodes;
    network.cut.add(`${A}>${C}`);
    for (let index = 0; index < 20; index++) a.core.registers.put(`rule/${index}`, index, network.wall(a));
    for (let value = 0; value < 20; value++) a.core.registers.put('rule/0', { value }, network.wall(a));
    network.deliver();
    const before = pushed([b]);
    network.run(600);
    expect(pushed([b]) - before).toBeLessThanOrEqual(5 * network.limits.rumourKnownMax);
    network.run(5_000);
    expect(c.core.registers.get('rule/0')).toEqual({ value: 19 });
    expect(c.core.registers.withPrefix('rule/')).toHaveLength(20);
  });

  test('what a rumour left behind comes by comparison, and what comes so is told to nobody', () => {
    const network = new Network(6);
    const nodes = threeNodes(network);
    const [a, b, c] = nodes;
    network.split([c], [a, b]);
    for (let index = 0; index < 20; index++) a.core.definitions.createDatabase(`d${index}`, null, network.wall(a));
    network.run(10_000);
    network.cut.clear();
    const before = pushed([c]);
    network.run(3_000);
    expect(knows(c, 'd19')).toBe(true);
    expect(pushed([c])).toBe(before);
    expect(b.core.metadataHash()).toBe(c.core.metadataHash());
  });
});
