/** What a statement says and from whom one is taken (protocol rules 7, 11, 12, 23). */
import { expect, test } from 'vitest';
import { Statements } from '../../repair/statements.ts';
import { startHeartbeat } from '../../server/heartbeat.ts';
import { A, B, Network, threeNodes } from './network.ts';

test('nothing of a removed member is used, and it is counted', () => {
  const network = new Network();
  const [a, b, c] = threeNodes(network);
  network.split([a, b], [c]);
  network.run(5_000);
  const fresh = network.disk('n3');
  network.start(fresh, 'http://127.0.0.1:8089', [A, B]);
  network.run(8_000);
  const removed = a.core.snapshot().members.find(({ number }) => number === c.core.identity.number)!;
  expect(removed.state).toBe('removed');
  expect(a.core.heard(removed.number, c.core.closing(network.nowMs), network.nowMs)).toBe(false);
  expect(a.core.counters.removedPackets).toBe(1);
  expect(a.core.heard(b.core.identity.number, b.core.closing(network.nowMs), network.nowMs)).toBe(true);
});

test('the view changes while the workers are asked: the statement names the view that they had, the next one the new', async () => {
  const network = new Network();
  const [a] = threeNodes(network);
  const before = a.core.snapshot().viewHash;
  let answer: (open: never[][]) => void = () => {};
  const stop = startHeartbeat({
    core: a.core,
    pool: { callAll: () => new Promise<never[][]>((resolve) => (answer = resolve)) } as never,
    intervalMs: 1e9,
    nowMs: () => network.nowMs,
    beforeAsking: () => {},
    takeHeld: () => null,
    afterBeat: () => undefined,
    onError: (error) => {
      throw error;
    },
  });
  a.core.definitions.createDatabase('d', null, network.nowMs);
  const after = a.core.snapshot().viewHash;
  const own = () => a.core.snapshot().statements.find(({ member }) => member === a.core.identity.number)!;
  const { sequence } = own();
  answer([[]]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(own().sequence).toBeGreaterThan(sequence);
  expect([own().viewHash, after === before]).toEqual([before, false]);
  await stop();
  a.core.heartbeat(a.core.closing(network.nowMs), [], null, network.nowMs);
  expect(own().viewHash).toBe(after);
});

test('the sequence of a list in the snapshot is the one that its statement names, once it has come', () => {
  const network = new Network();
  const [a, b] = threeNodes(network);
  const number = a.core.identity.number;
  network.cut.add(`${B}>${A}`);
  a.core.heartbeat(a.core.closing(network.nowMs), [], [], network.nowMs);
  network.deliver();
  const said = () => b.core.snapshot().statements.find(({ member }) => member === number)!.shardListSequence;
  expect(b.core.snapshot().heldSequence[number]).not.toBe(said());
  network.cut.clear();
  network.run(2_000);
  expect(b.core.snapshot().heldSequence[number]).toBe(said());
});

test('while the list that a statement names is on its way the one before it counts, of the same view', () => {
  const said = new Statements();
  const spoken = (sequence: number, shardListSequence: number, viewHash = 'v') => {
    const statement = { member: A, sequence, shardListSequence, viewHash, closed: `${sequence}`, open: [] };
    return { statement, asks: said.statement(statement)?.askShards };
  };
  const heard = () => said.statements(new Set([A])).map(({ sequence }) => sequence);
  expect(spoken(1, 1).asks).toBe(true);
  expect(heard()).toEqual([1]);
  said.shards(A, 1, []);
  expect(spoken(2, 1).asks).toBe(false);
  expect(heard()).toEqual([2]);
  expect(spoken(3, 2).asks).toBe(true);
  expect(heard()).toEqual([2]);
  said.shards(A, 2, []);
  expect(heard()).toEqual([3]);
  // Of another view nothing can be put together with it; and a list that is newer than any statement names none.
  spoken(4, 3, 'w');
  expect(heard()).toEqual([4]);
  said.shards(A, 4, []);
  expect(heard()).toEqual([4]);
  expect(said.sequenceOf(A)).toBe(4);
});
