/** Two processes with one number: one is told, and stops; a restart, however quick, is none (protocol rule 1). */
import { describe, expect, test } from 'vitest';
import { DEFAULT_MEMBERSHIP_LIMITS } from '../../repair/membership-limits.ts';
import type { Incarnation } from '../../repair/node-messages.ts';
import { encodeNodeMessage } from '../../repair/node-messages.ts';
import { Twins } from '../../repair/twins.ts';
import { makeStamp } from '../../shards/version.ts';
import { A, B, C, copyOf, D, Network, threeNodes } from './network.ts';

const E = 'http://127.0.0.1:8090';

describe('a copied data directory', () => {
  test('is refused when the original answers at the address that its register names; the original goes on', () => {
    const network = new Network();
    const [, b] = threeNodes(network);
    const twin = network.start(copyOf(b.disk), D, [A]);
    expect(twin.core.state).toBe('joining');
    expect(() => twin.core.mint(network.nowMs)).toThrow(/runs elsewhere/);
    network.run(500);
    expect(twin.refused).toMatch(/^node "n2" \(000000000000a002\) runs at http:\/\/127.0.0.1:8087 since .* already:/);
    expect(twin.refused).toMatch(
      /is a copy, start with an empty one instead; .* stop the one at http:\/\/127.0.0.1:8087/,
    );
    network.run(5_000);
    expect([b.refused, b.core.state]).toEqual([null, 'up']);
    expect(b.core.snapshot().members.find(({ name }) => name === 'n2')?.address).toBe(B);
  });

  test('is refused before it is up by what another member hears, when the original cannot be reached', () => {
    const network = new Network();
    const [a, b, c] = threeNodes(network);
    const disk = copyOf(b.disk);
    network.run(8_000);
    network.cut.add(`${D}>${B}`).add(`${B}>${D}`);
    const twin = network.start(disk, D);
    network.run(300);
    expect(twin.refused).toMatch(/runs at http:\/\/127.0.0.1:8087 since/);
    network.run(5_000);
    for (const node of [a, b, c]) expect([node.refused, node.core.state]).toEqual([null, 'up']);
  });

  test('of two that run already, the one that started later stops as soon as a member hears both', () => {
    for (const seed of [1, 2, 3, 4]) {
      const network = new Network(seed);
      const [a, b, c] = threeNodes(network);
      const disk = copyOf(b.disk);
      for (const at of [A, B, C]) network.cut.add(`${D}>${at}`).add(`${at}>${D}`);
      const twin = network.start(disk, D);
      network.run(20_000);
      expect([twin.core.state, twin.refused]).toEqual(['up', null]);
      // The two never reach each other.
      network.cut.clear();
      network.cut.add(`${D}>${B}`).add(`${B}>${D}`);
      network.loss = 0.2;
      network.run(15_000);
      expect(twin.refused).toMatch(/runs at http:\/\/127.0.0.1:8087/);
      expect(b.warned.join()).toMatch(/runs at http:\/\/127.0.0.1:8089 since .* as well/);
      network.loss = 0;
      network.run(3_000);
      for (const node of [a, b, c]) expect([node.refused, node.core.state]).toEqual([null, 'up']);
    }
  });

  test('is none when the former address of a member that moved is now that of another cluster, at once or later', () => {
    for (const later of [false, true]) {
      const network = new Network();
      const [a, b] = threeNodes(network);
      network.stop(b);
      const other = () => network.start(network.disk('n1'), B);
      if (!later) other();
      const moved = network.start(b.disk, D, [A]);
      network.run(10_000);
      if (later) other();
      network.run(400_000);
      expect([moved.refused, moved.core.state]).toEqual([null, 'up']);
      expect(a.core.snapshot().members.find(({ name }) => name === 'n2')?.address).toBe(D);
    }
  });

  test('of a cluster of one node stops when the two find each other', () => {
    const network = new Network();
    const a = network.start(network.disk('n1'), A);
    network.run(1_000);
    network.cut.add(`${A}>${B}`).add(`${B}>${A}`);
    const twin = network.start(copyOf(a.disk), B);
    network.run(30_000);
    expect(twin.core.state).toBe('up');
    network.cut.clear();
    network.run(60_000);
    expect(twin.refused).toMatch(/runs at http:\/\/127.0.0.1:8086/);
    expect([a.refused, a.core.state]).toEqual([null, 'up']);
  });

  test('that has joined nothing yet is found by its answer, and lets one of the two in', () => {
    const network = new Network();
    const disk = network.disk('n2');
    const first = network.start(disk, B, [C]);
    const second = network.start(copyOf(disk), C, [B]);
    network.run(5_000);
    expect([first, second].filter(({ refused }) => refused !== null)).toHaveLength(1);
  });

  test('that has joined nothing yet is not let in while its number is heard', () => {
    const network = new Network();
    const disk = network.disk('n2');
    const copy = copyOf(disk);
    network.start(network.disk('n1'), A);
    const b = network.start(disk, B, [A]);
    network.run(2_000);
    expect(b.core.state).toBe('up');
    const twin = network.start(copy, C, [A]);
    network.cut.add(`${B}>${C}`).add(`${C}>${B}`);
    network.run(300);
    expect(twin.refused).toMatch(/runs at http:\/\/127.0.0.1:8087 since/);
    expect(twin.disk.identity.clusterId).toBeNull();
    expect([b.refused, b.core.state]).toEqual([null, 'up']);
  });
});

describe('no twin', () => {
  test('restarts at the same address and at others, with packets of before still on their way', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const network = new Network(seed);
      const [a, b, c] = threeNodes(network);
      let at = b;
      for (const address of [B, D, D, E, B, B]) {
        network.run(100 * (seed % 3));
        // What the former process said last is heard after what the next one says.
        const late = network.takePackets();
        at = network.start(at.disk, address);
        network.run(1_500);
        network.putPackets(late);
        network.run(seed % 2 === 0 ? 1_500 : 200);
        expect(at.refused).toBeNull();
      }
      network.run(5_000);
      for (const node of [a, at, c]) expect([node.refused, node.warned, node.core.state]).toEqual([null, [], 'up']);
    }
  });

  test('a member whose former address is silent goes on after a while, and at once when nobody listens there', () => {
    const network = new Network();
    const [, b] = threeNodes(network);
    network.stop(b);
    network.cut.add(`${D}>${A}`);
    const moved = network.start(b.disk, D);
    network.run(2_000);
    expect(moved.core.state).toBe('joining');
    network.run(2_200);
    expect(moved.core.state).toBe('up');
    network.cut.clear();
    network.stop(moved);
    const again = network.start(b.disk, E);
    network.run(200);
    again.core.unanswered(D, network.nowMs);
    expect(again.core.state).toBe('up');
  });

  test('members that do not say which process they are', () => {
    const network = new Network();
    const [a, b] = threeNodes(network);
    const again = network.start(b.disk, D);
    const { number, name, clusterId } = b.disk.identity;
    const presence = { clusterId, number, name, address: B, join: [], registers: [] };
    again.core.receive(
      { number: null, address: B },
      encodeNodeMessage({ kind: 'presence', ...presence }),
      network.nowMs,
    );
    network.run(1_000);
    expect([again.refused, again.core.state, a.core.state]).toEqual([null, 'up', 'up']);
  });
});

describe('two incarnations that are heard', () => {
  const nowMs = 1_700_000_000_000;
  const stamp = (s: number) => makeStamp(nowMs + 1_000 * s, 0);
  const process = (id: string, sinceS: number): Incarnation => ({
    id: id.repeat(16),
    since: stamp(sinceS),
    startedMs: nowMs,
    address: `http://${id}:8086`,
  });
  const heardBy = () => {
    const told: string[] = [];
    const twins = new Twins(
      {
        number: '1'.repeat(16),
        name: 'n1',
        own: process('1', 0),
        now: () => stamp(0),
        windowMs: () => 3_000,
        isUp: () => true,
        probe: () => {},
        call: (address) => told.push(address),
        refuse: () => {},
        warn: () => {},
      },
      DEFAULT_MEMBERSHIP_LIMITS,
    );
    return { told, twins };
  };
  const member = '2'.repeat(16);

  test('are twins in any order when each has closed more than the other began with, within the window', () => {
    for (const backwards of [false, true]) {
      const { told, twins } = heardBy();
      const heard = [
        () => twins.heard(member, process('a', 0), stamp(7), nowMs),
        () => twins.heard(member, process('b', 5), stamp(6), nowMs),
      ];
      for (const say of backwards ? heard.reverse() : heard) say();
      expect(told.sort()).toEqual(['http://a:8086', 'http://b:8086']);
    }
  });

  test('are none when the one may have come after the other, or was heard long ago', () => {
    const { told, twins } = heardBy();
    twins.heard(member, process('b', 5), stamp(6), nowMs);
    // All of its reservation, and nothing beyond it.
    twins.heard(member, process('a', 0), stamp(5), nowMs + 10);
    twins.heard(member, process('b', 5), stamp(9), nowMs + 20);
    expect(told).toEqual([]);
    twins.heard(member, process('c', 7), stamp(10), nowMs + 3_100);
    expect(told).toEqual([]);
  });
});
