/** Writes that too few owners can acknowledge: refused as soon as that is known, with the names of those that are missing. */
import { describe, expect, test } from 'vitest';
import type { MailAnswer } from '../../repair/mail-messages.ts';
import type { SubmittedWrite } from '../../repair/replica-host.ts';
import { StorageError } from '../../shards/errors.ts';
import { NUMBERS, Trio } from './trio.ts';

const PERMANENT = /partial write|hinted handoff|unable to parse|not found|beyond retention|unknown database/i;

function away(...members: number[]): Trio {
  const trio = new Trio();
  trio.write(0, 'all');
  for (const at of members) trio.cut.add(NUMBERS[at]!);
  trio.hear();
  return trio;
}

function write(trio: Trio, consistency: SubmittedWrite['consistency']): number {
  const prepared = { ...trio.prepare(0), consistency };
  trio.hosts[0]!.submit([prepared], trio.now);
  // Not before it is in the outbox, which its disk has not been asked for yet.
  expect(trio.outcomes.has(prepared.request)).toBe(false);
  trio.settle();
  return prepared.request;
}

test.each([
  ['all', [2], '2 of 3 replicas, without n3 (not live)'],
  ['all', [1, 2], '1 of 3 replicas, without n2 (not live), n3 (not live)'],
  ['quorum', [1, 2], '1 of 2 replicas, without n2 (not live), n3 (not live)'],
] as const)('%s without owners %j: at once, and all get it when they are back', (consistency, members, said) => {
  const trio = away(...members);
  const request = write(trio, consistency);
  const message = `write not acknowledged: ${said}; safe to retry`;
  expect(trio.outcomes.get(request)).toEqual({ ok: false, code: 'not-acknowledged', status: 503, message });
  expect(message).not.toMatch(PERMANENT);
  expect(trio.hosts[0]!.counters()).toMatchObject({ outbox_entries_taken: 1, writes_failed: 1 });
  trio.cut.clear();
  trio.hear();
  trio.pass(6_000);
  expect(trio.counts()).toEqual([2, 2, 2]);
  expect(trio.hosts[0]!.counters().outbox_bytes).toBe(0);
});

test('quorum with one owner away is met at once', () => {
  const trio = away(2);
  expect(trio.outcomes.get(write(trio, 'quorum'))).toEqual({ ok: true });
});

test('an owner that is live and silent is waited for', () => {
  const trio = away();
  trio.cut.add(NUMBERS[2]!);
  const late = write(trio, 'all');
  trio.pass(1_500);
  expect(trio.outcomes.has(late)).toBe(false);
  trio.cut.clear();
  trio.pass(1_200);
  expect(trio.outcomes.get(late)).toEqual({ ok: true });
  trio.cut.add(NUMBERS[2]!);
  const unanswered = write(trio, 'all');
  trio.pass(2_900);
  expect(trio.outcomes.has(unanswered)).toBe(false);
  trio.pass(200);
  expect(trio.outcomes.get(unanswered)).toMatchObject({
    message: expect.stringContaining('without n3 (no answer); safe'),
  });
});

test('one that dies while it is waited for is waited for no longer', () => {
  const trio = away();
  trio.cut.add(NUMBERS[2]!);
  const request = write(trio, 'all');
  trio.pass(1_200);
  expect(trio.outcomes.has(request)).toBe(false);
  trio.hear();
  trio.pass(50);
  expect(trio.outcomes.get(request)).toMatchObject({ message: expect.stringContaining('without n3 (not live)') });
});

test('an owner that was not heard since the start is given the time of mail', () => {
  const trio = away();
  trio.unheard.add(NUMBERS[2]!);
  trio.cut.add(NUMBERS[2]!);
  trio.hear();
  const early = write(trio, 'all');
  trio.pass(500);
  expect(trio.outcomes.has(early)).toBe(false);
  trio.cut.clear();
  trio.hear();
  trio.pass(500);
  expect(trio.outcomes.get(early)).toEqual({ ok: true });
  trio.cut.add(NUMBERS[2]!);
  trio.hear();
  const never = write(trio, 'all');
  trio.pass(950);
  expect(trio.outcomes.has(never)).toBe(false);
  trio.pass(100);
  expect(trio.outcomes.get(never)).toMatchObject({ ok: false, message: expect.stringContaining('n3 (not live)') });
});

test.each([
  ['partial write: not found', 'refused'],
  ['not-found', 'not-found'],
])('of what another member says, %j, nothing reaches clients that an agent takes for permanent', (code, shown) => {
  const trio = away();
  trio.onSend = (from, _to, message) => {
    if (from !== NUMBERS[2] || message.t !== 'mail-answers') return null;
    const answers: MailAnswer[] = message.answers.map(([id, version]) => [id, version, 'refused', code, true, code]);
    trio.say(2, 0, { ...message, answers });
    return 'lost';
  };
  const request = write(trio, 'all');
  trio.pass(3_100);
  const message = `write not acknowledged: 2 of 3 replicas, without n3 (${shown}); safe to retry`;
  expect(trio.outcomes.get(request)).toMatchObject({ ok: false, message });
  expect(message).not.toMatch(PERMANENT);
});

describe('the only owner, whose disk is slow', () => {
  const begun = () => {
    const trio = new Trio(1);
    const at = NUMBERS.findIndex((_, i) => {
      trio.write(i);
      return trio.counts()[i] === 1;
    });
    const storage = trio.storages[at]!;
    const synced: ((error: Error | null) => void)[] = [];
    storage.sync = (done) => void synced.push(done);
    const slow = trio.prepare(at);
    trio.hosts[at]!.submit([slow], trio.now);
    const tick = (ms: number): void => {
      trio.now += ms;
      trio.hosts[at]!.tick(trio.now);
    };
    const counter = (name: string) => trio.hosts[at]!.counters()[name] ?? 0;
    return { tick, counter, synced, outcome: () => trio.outcomes.get(slow.request) };
  };

  test('is waited for until the time of the write is over, and not that of mail', () => {
    const { tick, counter, synced, outcome } = begun();
    tick(2_900);
    expect(outcome()).toBe(undefined);
    for (const done of synced) done(null);
    expect(outcome()).toEqual({ ok: true });
    expect(counter('outbox_entries_taken')).toBe(0);
  });

  test('is answered for once when that is over, whatever becomes of it then', () => {
    const { tick, counter, synced, outcome } = begun();
    tick(3_000);
    expect(outcome()).toMatchObject({ status: 503, message: expect.stringContaining('(no answer)') });
    const failed = counter('writes_failed');
    for (const done of synced) done(new StorageError('disk-failed', 'no'));
    tick(50);
    expect(counter('writes_failed')).toBe(failed);
  });
});
