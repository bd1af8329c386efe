import { describe, expect, test } from 'vitest';
import { Liveness } from '../../repair/liveness.ts';
import { DEFAULT_MEMBERSHIP_LIMITS } from '../../repair/membership-limits.ts';
import { encodeNodeMessage } from '../../repair/node-messages.ts';
import { makeStamp } from '../../shards/version.ts';
import { A, Network, type TestNode, threeNodes } from './network.ts';

const described = (network: Network, at: TestNode, name: string) =>
  at.core.describeMembers(network.wall(at)).find((member) => member.name === name)!;

/** n1 does not hear n2 any more; n3 hears both. */
function deaf(): { network: Network; a: TestNode; b: TestNode; c: TestNode } {
  const network = new Network();
  const [a, b, c] = threeNodes(network);
  network.cut.add(`${b.address}>${a.address}`);
  network.run(6_000);
  return { network, a, b, c };
}

describe('a member that is silent at one other only', () => {
  test('is not live there, and people are told who hears it', () => {
    const { network, a, b, c } = deaf();
    expect(described(network, a, 'n2')).toMatchObject({ live: false, heardBy: 'n3' });
    expect(described(network, a, 'n2').why).toMatch(/^not heard for [4-6]\.\d s, but n3 hears it$/);
    expect(described(network, c, 'n2')).toMatchObject({ live: true, heardBy: null });
    expect(described(network, b, 'n1')).toMatchObject({ live: true });
  });

  test('is neither replaced nor given up there', () => {
    const { network, a, b } = deaf();
    expect(() => a.core.departures.giveUp(b.core.identity.number, true, network.nowMs)).toThrow('is live');
    const twin = network.start(network.disk('n2'), 'http://127.0.0.1:9999', [A]);
    network.run(40_000);
    expect(twin.core.state).toBe('refused');
    expect(b.core.state).toBe('up');
  });

  test('is dead when nobody hears it any more, also when old news go round', () => {
    const { network, a, b, c } = deaf();
    const old = c.core.snapshot().statements.find(({ member }) => member === b.core.identity.number)!;
    network.stop(b);
    network.run(8_000);
    const news = [{ member: old.member, sequence: old.sequence, agoMs: 0 }];
    const message = encodeNodeMessage({ kind: 'news-of', news });
    a.core.receive({ number: c.core.identity.number, address: null }, message, network.nowMs);
    expect(described(network, a, 'n2')).toMatchObject({ live: false, heardBy: null });
    a.core.departures.giveUp(b.core.identity.number, true, network.nowMs);
    expect(described(network, a, 'n2').state).toBe('removed');
  });
});

describe('a wall clock that steps back', () => {
  test('leaves the dead dead and the living alive, and how long ago each was heard', () => {
    const network = new Network(2);
    const [a, b, c] = threeNodes(network);
    network.stop(b);
    network.run(5_000);
    const before = described(network, a, 'n2');
    expect(before.live).toBe(false);
    // Less than the drift that is allowed: nobody is skewed by it.
    a.offsetMs -= 8_000;
    for (let ms = 0; ms < 6_000; ms += 100) {
      network.run(100);
      expect([described(network, a, 'n2').live, described(network, a, 'n3').live]).toEqual([false, true]);
    }
    // Nobody knows how long the step itself took: as long as from one look at the clock to the next, at most.
    expect(described(network, a, 'n2').lastHeardMsAgo).toBeGreaterThanOrEqual(before.lastHeardMsAgo! + 6_000 - 100);
    expect(described(network, c, 'n1').live).toBe(true);
  });

  test('is seen at once in how far the others are ahead', () => {
    const liveness = new Liveness(DEFAULT_MEMBERSHIP_LIMITS);
    const nowMs = 1_700_000_000_000;
    for (const member of ['a', 'b']) {
      liveness.packet(member.repeat(16), makeStamp(nowMs, 0), true, nowMs);
      liveness.wallClock(member.repeat(16), nowMs + 10, nowMs);
    }
    liveness.tick(nowMs);
    expect(liveness.isSelfSkewed(nowMs)).toBe(false);
    liveness.tick(nowMs - 60_000);
    expect(liveness.offsetMs('a'.repeat(16))).toBe(60_010);
    expect(liveness.isSelfSkewed(nowMs - 60_000)).toBe(true);
  });
});

describe('local health', () => {
  const member = 'a'.repeat(16);
  const { heartbeatIntervalMs, liveIntervals } = DEFAULT_MEMBERSHIP_LIMITS;

  test('a node that was held up does not take the others for dead, and is as strict as before when it has gone well for a while', () => {
    const liveness = new Liveness(DEFAULT_MEMBERSHIP_LIMITS);
    let nowMs = 1_700_000_000_000;
    const run = (ms: number) => {
      for (const end = nowMs + ms; nowMs < end; nowMs += 100) liveness.tick(nowMs);
    };
    liveness.packet(member, makeStamp(nowMs, 0), true, nowMs);
    run(1_000);
    nowMs += 4 * heartbeatIntervalMs;
    liveness.tick(nowMs);
    expect(liveness.isLive(member, nowMs)).toBe(true);
    expect(liveness.windowMs).toBe((liveIntervals + 4) * heartbeatIntervalMs);
    run(6 * heartbeatIntervalMs);
    expect(liveness.windowMs).toBe(liveIntervals * heartbeatIntervalMs);
    expect(liveness.isLive(member, nowMs)).toBe(false);
    nowMs += 1e9;
    liveness.tick(nowMs);
    expect(liveness.windowMs).toBe((liveIntervals + 8) * heartbeatIntervalMs);
    expect(liveness.isLive(member, nowMs)).toBe(false);
  });
});
