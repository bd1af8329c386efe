/** Passes that were asked for, and of whose end the starter hears nothing. */
import { expect, test } from 'vitest';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];
const PASS_MS_MAX = 20_000;
/** Nothing is heard of a pass for so long: then it is over. */
const SILENCE_MS = PASS_MS_MAX + 2 * DEFAULT_REPLICA_LIMITS.hopTimeoutMs;

/** The third owner lacks a batch. */
function uneven(): Trio {
  const trio = new Trio(3, { passMsMax: PASS_MS_MAX });
  for (let i = 0; i < 4; i++) trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  trio.onSend = (_, to, { t }) => (t === 'mail' && to === THIRD ? 'lost' : null);
  trio.write(0);
  trio.pass(1_500);
  trio.hear();
  return trio;
}
const start = (trio: Trio) => trio.hosts[0]!.startRepair({ id: 'p', shard: ID, mode: 'ring' }, trio.now);
const status = (trio: Trio) => trio.hosts[0]!.repairs('p')[0]!;

test('one that fails elsewhere, and whose end is lost, is begun anew and ends', () => {
  const trio = uneven();
  let lost = 0;
  trio.onSend = (from, to, { t }) => {
    if (t === 'mail' && to === THIRD) return 'lost';
    // What the third asks is not heard, so its pull fails, and the one message that says so is not heard either.
    if (lost === 0 && from === THIRD && to === SECOND && t === 'compare') return 'lost';
    return t === 'pass-ended' && ++lost === 1 ? 'lost' : null;
  };
  start(trio);
  trio.pass(SILENCE_MS);
  expect([lost, status(trio).state]).toEqual([1, 'running']);
  trio.hear();
  trio.pass(DEFAULT_REPLICA_LIMITS.requestTimeoutMs * DEFAULT_REPLICA_LIMITS.requestTriesMax);
  expect(status(trio)).toMatchObject({ state: 'done', message: 'all replicas proven equal', batchesMoved: 1 });
  expect(trio.hosts[0]!.counters()).toMatchObject({ passes_unheard: 1 });
});

test('one whose token died with its holders is begun anew and ends', () => {
  const trio = uneven();
  trio.onSend = (from, _, { t }) => (t === 'mail' || (from === THIRD && t !== 'token-answer') ? 'lost' : null);
  start(trio);
  trio.pass(1_000);
  for (const number of [SECOND, THIRD]) {
    const at = NUMBERS.indexOf(number);
    trio.boot(number, trio.storages[at]!.disk, trio.files[at]);
  }
  trio.onSend = () => {};
  trio.hear();
  trio.pass(SILENCE_MS - 2_000);
  expect(status(trio)).toMatchObject({ state: 'running' });
  trio.pass(3_000);
  expect(status(trio)).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
});

test('one of which no end is ever heard has failed after some passes, and says why', () => {
  const trio = uneven();
  const passes = new Set<string>();
  trio.onSend = (from, to, message) => {
    if (message.t === 'token' && from === FIRST) passes.add(message.pass);
    // All that is said of a pass to its starter but that it is worked on.
    return to === FIRST && message.t !== 'token-answer' ? 'lost' : null;
  };
  start(trio);
  const triesMax = DEFAULT_REPLICA_LIMITS.passTriesMax;
  trio.pass(triesMax * SILENCE_MS - 1_000);
  expect(status(trio).state).toBe('running');
  // It has each token until it hears that it was taken on.
  trio.pass(triesMax * DEFAULT_REPLICA_LIMITS.hopTimeoutMs);
  const { state, message, finishedMs, workedMs } = status(trio);
  expect(state).toBe('failed');
  expect(passes.size).toBe(triesMax);
  expect(message).toContain(`the end of pass ${[...passes].at(-1)} was not heard`);
  expect(finishedMs).not.toBe(null);
  expect(workedMs).toBeGreaterThan(triesMax * SILENCE_MS);
  expect(workedMs).toBeLessThan(triesMax * (SILENCE_MS + DEFAULT_REPLICA_LIMITS.hopTimeoutMs));
});

test('one that is told of while it goes on is not begun anew, however long it takes', () => {
  const trio = uneven();
  let starts = 0;
  let pass = '';
  trio.onSend = (from, _, message) => {
    if (message.t !== 'token') return null;
    if (from === FIRST) [starts, pass] = [starts + 1, message.pass];
    return 'lost';
  };
  start(trio);
  trio.pass(50);
  trio.onSend = (_, __, { t }) => (t === 'token' ? 'lost' : null);
  // Its token is at others, who say every now and then how far it is.
  trio.say(1, 0, { t: 'token-answer', pass, hop: 1, status: 'handed', reason: '', claim: null });
  for (let i = 0; i < 4; i++) {
    trio.pass(SILENCE_MS - 1_000);
    trio.say(1, 0, { t: 'pass-progress', shard: ID, pass, hop: 2, hops: 4, batches: 1, rows: 2, bytes: 100 });
  }
  expect(status(trio)).toMatchObject({ state: 'running', hop: 2, message: `pass ${pass}` });
  expect(starts).toBe(1);
});
