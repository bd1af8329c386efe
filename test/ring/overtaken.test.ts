/** A pass whose cutoff a newer proof has left behind: nothing has failed, and it says so. */
import { describe, expect, test } from 'vitest';
import type { Message } from '../../repair/replica-messages.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const [FIRST, SECOND] = NUMBERS as [string, string, string];

/** The first token from the first member to the second is lost, so that the pass waits; a later one of another member is proven meanwhile. */
function overtaken() {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.pass(200);
  trio.hear();
  let pass: string | null = null;
  trio.onSend = (from: string, to: string, message: Message) => {
    if (message.t !== 'token' || from !== FIRST || to !== SECOND) return;
    pass ??= message.pass;
    return message.pass === pass ? 'lost' : undefined;
  };
  const order = trio.repair(0, 'ring');
  expect(order.state).toBe('running');
  trio.write(1, 'all');
  trio.pass(200);
  trio.hear();
  trio.repair(1, 'ring');
  const statusOf = () => trio.hosts[0]!.repairs().find(({ id }) => id === order.id)!;
  /** The older token comes through. */
  const goesOn = (atToken: () => void = () => {}) => {
    trio.onSend = (_, __, message) => {
      if (message.t === 'token' && message.pass === pass) atToken();
    };
    trio.pass(1_000);
  };
  return { trio, pass: pass!, statusOf, goesOn };
}

describe('a pass that comes to a replica whose floor is above its cutoff', () => {
  test('ends as overtaken, not as failed; what was asked for has been done', () => {
    const { trio, pass, statusOf, goesOn } = overtaken();
    expect(trio.passes.filter(({ outcome }) => outcome === 'proven').length).toBeGreaterThan(0);
    goesOn();
    expect(trio.passes.filter(({ id }) => id === pass)).toMatchObject([
      { outcome: 'overtaken', reason: expect.stringContaining('overtaken by a newer proof: the floor of') },
    ]);
    expect(trio.hosts[0]!.counters()).toMatchObject({ passes_overtaken: 1 });
    expect(trio.hosts[0]!.counters().passes_failed).toBeUndefined();
    expect(statusOf()).toMatchObject({ state: 'done', message: 'all replicas proven equal by a newer pass' });
    expect(trio.hosts[0]!.describeShard(ID)!.lastPass).toMatchObject({ id: pass, outcome: 'overtaken' });
  });

  test('what was asked for has failed where the replica here is not full meanwhile', () => {
    const { trio, pass, statusOf, goesOn } = overtaken();
    goesOn(() => {
      trio.storages[0]!.ledgers.get(ID)!.replica = 'damaged';
    });
    expect(trio.passes.filter(({ id }) => id === pass)).toMatchObject([{ outcome: 'overtaken' }]);
    expect(statusOf()).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('overtaken by a newer proof'),
    });
  });
});
