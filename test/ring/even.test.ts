/** Passes of equal replicas, said in few bytes (ring-even.ts): what is understood is what would have been said in full. */
import { describe, expect, test } from 'vitest';
import type { Message } from '../../repair/replica-messages.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];

/** Replicas that are equal, with a floor. */
function equal(): Trio {
  const trio = new Trio();
  for (let i = 0; i < 3; i++) trio.write(i, 'all');
  trio.pass(100);
  trio.hear();
  trio.repair(0, 'ring');
  trio.pass(100);
  trio.hear();
  for (const log of [trio.passes, trio.sent]) log.length = 0;
  trio.bytes.clear();
  return trio;
}

const bytesOf = ({ bytes }: Trio) => [...bytes.values()].reduce((sum, each) => sum + each, 0);

/** What the replicas know of their last pass. */
function known(trio: Trio) {
  return trio.storages.map((storage) => storage.ledgers.get(ID)!.converged);
}

describe('an even pass', () => {
  test('costs at most 100 bytes a hop of a shard alone, and no answers', () => {
    const trio = equal();
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', hops: 4 });
    expect(trio.sent).toEqual(['token', 'token', 'even', 'even', 'even', 'even']);
    expect(bytesOf(trio) / 4).toBeLessThanOrEqual(100);
  });

  test('all members record and adopt the same as of a pass that is said in full', () => {
    const trio = equal();
    trio.repair(0, 'ring');
    const short = { records: [...trio.passes], converged: known(trio) };
    expect(short.records).toHaveLength(3);
    for (const record of short.records) expect(record).toEqual(short.records[0]);
    expect(short.records[0]).toMatchObject({ outcome: 'proven', kind: 'full', order: [...NUMBERS], starter: FIRST });
    expect(short.records[0]!.hops.map(({ from, to }) => [from, to])).toEqual([
      [FIRST, SECOND],
      [SECOND, THIRD],
      [THIRD, FIRST],
      [FIRST, SECOND],
    ]);
    expect(new Set(short.converged.map((each) => JSON.stringify(each))).size).toBe(1);
    trio.passes.length = 0;
    trio.proofsInFull();
    trio.repair(0, 'ring');
    const names = { id: '', startedMs: 0, finishedMs: 0 };
    expect({ ...trio.passes[0], ...names }).toEqual({ ...short.records[0], ...names });
    const [before, after] = [short.converged[0], known(trio)[0]];
    expect({ ...after, pass: '' }).toEqual({ ...before, pass: '' });
  });

  test('one batch that a member lacks: nothing is said in short', () => {
    const trio = equal();
    trio.onSend = (_, to, message) => (message.t === 'mail' && to === THIRD ? 'lost' : null);
    trio.write(0);
    trio.pass(100);
    trio.hear();
    trio.sent.length = 0;
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', batchesMoved: 1 });
    expect(trio.sent).not.toContain('even');
  });

  test('a token that is lost is repeated in full, so that whoever has forgotten the pass understands it', () => {
    const trio = equal();
    const full: Message[] = [];
    let lost = 0;
    trio.onSend = (_, __, message) => {
      if (message.t === 'token' && message.final !== null) full.push(message);
      return message.t === 'even' && message.finishedMs === null && lost++ === 0 ? 'lost' : null;
    };
    trio.repair(0, 'ring');
    expect(trio.passes).toEqual([]);
    trio.pass(1_100);
    expect(full).toHaveLength(1);
    expect(trio.passes.map(({ outcome }) => outcome)).toEqual(['proven', 'proven', 'proven']);
  });

  test('a pass that is not known here is not believed, nor one from a member whose turn it is not', () => {
    const trio = equal();
    const said: Message[] = [];
    trio.onSend = (_, to, message) => {
      if (message.t === 'even' && to === FIRST) said.push(message);
      return message.t === 'even' && message.finishedMs !== null ? 'lost' : null;
    };
    const before = known(trio)[0];
    trio.repair(0, 'ring');
    const [, proof] = said;
    expect(proof).toMatchObject({ t: 'even', hop: 4, finishedMs: expect.any(Number) });
    trio.say(2, 0, proof!);
    trio.say(1, 0, { ...(proof as Message & { t: 'even' }), hop: 3 });
    trio.say(1, 0, { ...(proof as Message & { t: 'even' }), pass: 'none-1' });
    expect(trio.hosts[0]!.counters()).toMatchObject({ passes_unknown: 3 });
    expect(known(trio)[0]).toEqual(before);
    trio.say(1, 0, proof!);
    expect(known(trio)[0]!.pass).not.toBe(before!.pass);
  });

  test('a member that works for long says so before its predecessor asks again, and nobody is left out', () => {
    const trio = equal();
    let isHeld = true;
    trio.onSend = (from, _, message) =>
      from === SECOND && isHeld && (message.t === 'token' || message.t === 'even') ? 'lost' : null;
    trio.repair(0, 'ring');
    trio.pass(900);
    expect(trio.sent.filter((kind) => kind === 'token')).toHaveLength(1);
    expect(trio.sent).toContain('token-answer');
    isHeld = false;
    trio.pass(1_000);
    expect(trio.passes[0]).toMatchObject({ outcome: 'proven', kind: 'full', skipped: [] });
  });
});
