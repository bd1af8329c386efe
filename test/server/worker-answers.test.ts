/** What a statement makes of its workers' answers: what ends it early, what stops then, and shards that go meanwhile. */
import { expect, test } from 'vitest';
import type { PartialAnswer } from '../../server/partial-answer.ts';
import type { PartialAnswers } from '../../server/query/backend.ts';
import { Deadlines } from '../../server/query/deadlines.ts';
import { Ending } from '../../server/query/ending.ts';
import { Running } from '../../server/query/running.ts';
import { RunningQueries } from '../../server/query/running-queries.ts';
import { type BackendPorts, createQueryBackend, runLocal } from '../../server/query-backend.ts';
import type { WorkerPool } from '../../server/threads.ts';
import type { PartialResult, SelectRequest } from '../../shards/query/partial.ts';

interface Asked {
  readonly worker: number;
  readonly ids: readonly string[];
  answer(answer: Partial<PartialAnswer>): void;
  fail(error: Error): void;
}

const NOTHING: PartialAnswer = {
  results: [],
  absent: [],
  damaged: [],
  young: [],
  losses: [],
  convergedThroughMs: null,
  liveConvergedThroughMs: null,
  nothingAsOf: null,
};

function workers() {
  const asked: Asked[] = [];
  const cancelled: number[] = [];
  const said: { atOnce: Partial<PartialAnswer> | null } = { atOnce: null };
  const pool = {
    workerOf: (number: number) => number,
    ask(worker: number, _: string, [ids]: [string[]], done: (a: PartialAnswer) => void, fail: (e: Error) => void) {
      const answer = (each: Partial<PartialAnswer>) => done({ ...NOTHING, ...each });
      const number = asked.push({ worker, ids, answer, fail });
      if (said.atOnce !== null) answer(said.atOnce);
      return number;
    },
    cancel: (worker: number) => cancelled.push(worker),
    changesOf: () => 0,
  } as unknown as WorkerPool;
  return { asked, cancelled, pool, said };
}

const REQUEST = { kind: 'select', planned: null, limits: { rowsMax: 3 } } as unknown as SelectRequest;
const shards = (count: number) =>
  Array.from({ length: count }, (_, number) => ({ id: `s${number}`, number, key: { number } }));

/** So many rows of one shard. */
const rows = (count: number): PartialResult[] => [
  { kind: 'select', seriesMatched: 1, shards: [{ rows: { times: new Array(count) } }] } as never,
];

test('when one worker fails the others stop', async () => {
  const { asked, cancelled, pool } = workers();
  const running = runLocal(pool, shards(3), REQUEST, new Ending());
  asked[1]!.fail(new Error('worker died'));
  await expect(running).rejects.toThrow('worker died');
  expect(cancelled).toEqual(expect.arrayContaining([0, 2]));
});

test('with a statement all that is still worked for it ends', async () => {
  const { asked, cancelled, pool } = workers();
  const request = new Ending();
  const running = new Running(new Deadlines(1000), request, new RunningQueries('0', 0).begin([], undefined));
  const parts = [0, 1].map((part) => runLocal(pool, [shards(2)[part]!], REQUEST, running.ending));
  asked[0]!.fail(new Error('one part failed'));
  await expect(parts[0]).rejects.toThrow('one part failed');
  expect(cancelled).not.toContain(1);
  running.done();
  await expect(parts[1]).rejects.toThrow('statement is over');
  expect(cancelled).toContain(1);
  expect(request.reason).toBeNull();
});

test('what ends a statement, or has it planned anew, is not waited for with, and not hidden by a limit', async () => {
  for (const verdict of [{ kind: 'stale' }, { kind: 'refused', message: 'too many series' }] as const) {
    const { asked, cancelled, pool } = workers();
    const running = runLocal(pool, shards(3), REQUEST, new Ending());
    asked[0]!.answer({ results: rows(3) });
    asked[2]!.answer({ results: [...rows(3), verdict] });
    expect((await running).results).toContainEqual(verdict);
    expect(cancelled).toContain(1);
  }
});

/** All shards are here; so says the list, until one is not known any more. */
function backendOver(pool: WorkerPool, unknown: Set<string>, heldAway: Set<string>) {
  const ports = {
    pool,
    places: {
      isLocal: (id: string) => !unknown.has(id) && !heldAway.has(id),
      isKnown: (id: string) => !unknown.has(id),
      isSecondBest: () => false,
      remoteHolders: () => [],
    },
    snapshot: () => ({ self: 'n1', members: [] }),
  };
  return createQueryBackend(ports as unknown as BackendPorts);
}

test('of a shard that goes while it is read only that one is asked for again; one that nobody knows is left out', async () => {
  for (const isStraight of [true, false]) {
    const { asked, pool, said } = workers();
    const [unknown, heldAway] = [new Set<string>(), new Set<string>()];
    const backend = backendOver(pool, unknown, heldAway);
    const targets = shards(4) as never;
    const running = isStraight
      ? new Promise<PartialAnswers>((resolve, reject) =>
          expect(backend.runHere!(targets, REQUEST, resolve, reject, new Ending())).toBe(true),
        )
      : backend.run(targets, REQUEST, new Ending());
    unknown.add('s1');
    heldAway.add('s2');
    said.atOnce = { results: rows(1) };
    asked[0]!.answer({ results: rows(1) });
    for (const each of asked.slice(1, 4)) each.answer({ absent: each.ids });
    const { results, missing } = await running;
    expect(asked.slice(4).map(({ ids }) => ids)).toEqual([['s3']]);
    expect(results).toHaveLength(2);
    expect(missing.map(({ id }) => id)).toEqual(['s2']);
  }
});

test('what was refused is the answer, whatever shards are not there', async () => {
  const { asked, pool } = workers();
  const refused = { kind: 'refused', message: 'too many series' } as const;
  const backend = backendOver(pool, new Set(), new Set());
  const running = backend.run(shards(2) as never, REQUEST, new Ending());
  asked[0]!.answer({ absent: ['s0'] });
  asked[1]!.answer({ results: [refused] });
  expect((await running).results).toEqual([refused]);
  expect(asked).toHaveLength(2);
});
