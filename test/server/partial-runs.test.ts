/** Partial requests in turns: what comes between them, what ends them, and what is said of shards that go meanwhile. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Ledger } from '../../repair/ledger.ts';
import type { PartialAnswer } from '../../server/partial-answer.ts';
import { PartialRuns } from '../../server/partial-runs.ts';
import { Ending } from '../../server/query/ending.ts';
import type { BackendPorts } from '../../server/query-backend.ts';
import { runLocal } from '../../server/query-backend.ts';
import type { WorkerPool } from '../../server/threads.ts';
import { FLOAT, STRING } from '../../shards/column.ts';
import { StorageError } from '../../shards/errors.ts';
import type { PartialLimits, SelectRequest } from '../../shards/query/partial.ts';
import type { QueryableShard, ScanRequest, SeriesSlice } from '../../shards/queryable.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import type { Steps } from '../../shards/steps.ts';
import { makeStamp } from '../../shards/version.ts';
import { MemoryShard } from '../query/memory-shard.ts';
import { KEY } from '../storage/helpers.ts';

const LIMITS: PartialLimits = {
  msMax: 1000,
  rowsScannedMax: 1e6,
  rowsMax: 1e6,
  seriesMax: 1e6,
  cellsMax: 1e6,
  bytesMax: 1e6,
};

function request(limits: Partial<PartialLimits> = {}): SelectRequest {
  return {
    kind: 'select',
    planned: null,
    measurements: ['m'],
    minNs: 0n,
    maxNs: KEY.endNs,
    condition: null,
    filter: null,
    dimensions: [],
    windows: null,
    states: [],
    aux: [],
    rows: { columns: [{ kind: 'field', name: 'v', type: FLOAT }], perGroup: null },
    descending: false,
    limits: { ...LIMITS, ...limits },
  };
}

/** Its scan takes so many steps of a millisecond each. */
class SlowShard extends MemoryShard {
  closed = 0;
  readonly readings = { open: 0 };
  readonly #steps: number;
  readonly #work: () => void;

  constructor(steps: number, work: () => void) {
    super(KEY);
    this.#steps = steps;
    this.#work = work;
    this.write('m,host=a', 1n, { v: { type: FLOAT, value: 1.5 } });
    this.write('m,host=b', 2n, { v: { type: FLOAT, value: 2.5 } });
  }

  override *scanSteps(scan: ScanRequest, visit: (slice: SeriesSlice) => boolean): Steps {
    try {
      for (let n = 0; n < this.#steps; n++) {
        this.#work();
        yield;
      }
      this.scan(scan, visit);
    } finally {
      this.closed++;
    }
  }
}

let clockMs: number;
let worked: number;
let shards: Map<ShardId, QueryableShard>;
let ledgers: Map<ShardId, { replica: string; converged: { through: string } | null; liveConverged: null; losses: [] }>;
let waiting: (() => void)[];
let answers: Map<number, PartialAnswer>;
let failures: unknown[];
let runs: PartialRuns;

beforeEach(() => {
  [clockMs, worked, shards, ledgers, waiting, answers, failures] = [0, 0, new Map(), new Map(), [], new Map(), []];
  runs = new PartialRuns({
    ledgerOf: (id) => (ledgers.get(id) ?? null) as Ledger | null,
    queryable: (id) => shards.get(id) ?? null,
    sayNothing: () => 7,
    answered: (number, answer) => answers.set(number, answer),
    failed: (_, error) => failures.push(error),
    nowMs: () => clockMs,
    later: (turn) => waiting.push(turn),
  });
});
afterEach(() => expect(failures).toEqual([]));

function add(id: string, steps: number, work = () => {}): SlowShard {
  const shard = new SlowShard(steps, () => {
    worked++;
    clockMs++;
    work();
  });
  shards.set(id, shard);
  ledgers.set(id, { replica: 'full', converged: { through: makeStamp(5000, 0) }, liveConverged: null, losses: [] });
  return shard;
}

/** One turn of the event loop: what was put off is done once. */
function turn(): void {
  for (const each of waiting.splice(0)) each();
}

function allTurns(): void {
  while (waiting.length > 0) turn();
}

const rowsOf = ({ results }: PartialAnswer): (number | undefined)[] =>
  results.flatMap((result) => (result.kind === 'select' ? result.shards.map(({ rows }) => rows?.times.length) : []));

test('what is done within the first turn is answered at once', () => {
  add('s', 4);
  runs.begin(1, ['s'], request());
  expect([rowsOf(answers.get(1)!), waiting.length, runs.count]).toEqual([[2], 0, 0]);
});

test('what takes longer is done in turns of some milliseconds, those under way one after the other', () => {
  add('long', 100);
  add('short', 20);
  runs.begin(1, ['long'], request());
  runs.begin(2, ['short'], request());
  const longest: number[] = [];
  while (waiting.length > 0) {
    // A write that comes now is not kept waiting.
    expect(waiting).toHaveLength(1);
    const before = worked;
    turn();
    longest.push(worked - before);
  }
  expect(Math.max(...longest)).toBe(5);
  expect([...answers.keys()]).toEqual([2, 1]);
  expect([...answers.values()].map(rowsOf)).toEqual([[2], [2]]);
});

test('of those that come together, the first turns that are given at once take no longer than one', () => {
  for (const id of ['a', 'b', 'c', 'd']) add(id, 3);
  for (const [number, id] of [...shards.keys()].entries()) runs.begin(number, [id], request());
  // A write that has come with them is waiting behind.
  expect([worked, [...answers.keys()], waiting.length]).toEqual([5, [0], 1]);
  turn();
  expect([worked, [...answers.keys()]]).toEqual([10, [0, 1, 2]]);
  turn();
  expect([worked, [...answers.keys()]]).toEqual([12, [0, 1, 2, 3]]);
  // The time that has gone by since is time for others: nothing waits behind what was long over.
  clockMs += 3;
  runs.begin(9, ['a'], request());
  clockMs += 3;
  runs.begin(10, ['a'], request());
  expect([answers.has(9), answers.has(10), waiting.length]).toEqual([true, true, 0]);
});

test('few hold what they have read at a time: the others begin in order, and what is small is not kept waiting', () => {
  let open = 0;
  let most = 0;
  const order: number[] = [];
  for (let n = 0; n < 10; n++) {
    const id = `long${n}`;
    const shard = add(id, 100);
    const { scanSteps } = shard;
    shard.scanSteps = function* (scan, visit) {
      most = Math.max(most, ++open);
      try {
        yield* scanSteps.call(shard, scan, visit);
        order.push(n);
      } finally {
        open--;
      }
    };
    runs.begin(n, [id], request({ msMax: 1e6 }));
    turn();
  }
  add('small', 0);
  for (let n = 0; n < 10; n++) turn();
  runs.begin(10, ['small'], request());
  expect(rowsOf(answers.get(10)!)).toEqual([2]);
  // Its time is counted from when it came, though it waits.
  add('hurried', 100);
  runs.begin(11, ['hurried'], request({ msMax: 400 }));
  runs.cancel(9);
  while (waiting.length > 0) {
    expect(waiting).toHaveLength(1);
    const before = worked;
    turn();
    expect(worked - before).toBeLessThanOrEqual(5);
  }
  // One more while it is tried.
  expect([most, open, runs.count]).toEqual([5, 0, 0]);
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(answers.get(11)!.results).toEqual([{ kind: 'refused', message: 'query-timeout limit exceeded' }]);
  expect(answers.has(9)).toBe(false);
});

test('a run that is cancelled, or has had its time, works no more', () => {
  const shard = add('s', 1000);
  runs.begin(1, ['s'], request());
  turn();
  // Its series are not let go between the steps.
  expect(shard.readings.open).toBe(1);
  runs.cancel(1);
  expect(shard.readings.open).toBe(0);
  const before = worked;
  while (waiting.length > 0) turn();
  expect([worked - before, shard.closed, answers.size, runs.count]).toEqual([0, 1, 0, 0]);
  runs.cancel(1);

  runs.begin(2, ['s'], request({ msMax: 50 }));
  while (waiting.length > 0) turn();
  expect(answers.get(2)!.results).toEqual([{ kind: 'refused', message: 'query-timeout limit exceeded' }]);
  expect([worked, shard.closed, runs.count, shard.readings.open]).toEqual([before + 51, 2, 0, 0]);
});

test('a shard that goes, begins to be filled or proves to be damaged meanwhile is left to others, the rest is answered', () => {
  const gone = add('gone', 20);
  const filling = add('filling', 20);
  add('damaged', 20, () => {
    if (worked === 50) throw new StorageError('damaged-block', 'a block is damaged');
  });
  add('sound', 20);
  runs.begin(1, ['gone', 'filling', 'damaged', 'sound'], request());
  turn();
  shards.set('gone', new MemoryShard(KEY));
  for (let n = 0; n < 4; n++) turn();
  ledgers.get('filling')!.replica = 'filling';
  while (waiting.length > 0) turn();
  const answer = answers.get(1)!;
  expect([rowsOf(answer), answer.absent, answer.nothingAsOf]).toEqual([[2], ['gone', 'filling', 'damaged'], null]);
  expect([gone.closed, filling.closed]).toEqual([1, 1]);
});

test('what is said of the whole holds of what was read first', () => {
  add('s', 20);
  runs.begin(1, ['s'], request());
  ledgers.get('s')!.converged = { through: makeStamp(9000, 0) };
  while (waiting.length > 0) turn();
  expect(answers.get(1)!.convergedThroughMs).toBe(5000);
  // That there is nothing is remembered by who asked: not when something may have come meanwhile.
  const none = { ...request(), measurements: ['none'] };
  runs.begin(2, ['s'], none);
  expect(answers.get(2)!.nothingAsOf).toBe(7);
  Object.assign(shards.get('s')!, {
    series: () => {
      clockMs += 6;
      return new Uint32Array(0);
    },
  });
  runs.begin(3, ['s'], none);
  expect(answers.has(3)).toBe(false);
  turn();
  expect(answers.get(3)!.nothingAsOf).toBeNull();
});

test('rows and cells are counted over all shards of the place', () => {
  for (const id of ['a', 'b', 'c']) add(id, 1);
  runs.begin(1, ['a', 'b', 'c'], request({ rowsMax: 5 }));
  allTurns();
  expect(answers.get(1)!.results).toEqual([
    { kind: 'refused', isTooManyRows: true, message: expect.stringMatching(/more than 5 rows at once/) },
  ]);
  runs.begin(2, ['a', 'b', 'c'], request({ rowsMax: 6 }));
  allTurns();
  expect(rowsOf(answers.get(2)!)).toEqual([2, 2, 2]);
  const states = { rows: null, states: [{ fn: 'stddev', field: 'v', type: FLOAT }] } as const;
  runs.begin(3, ['a', 'b', 'c'], { ...request({ cellsMax: 2 }), ...states });
  allTurns();
  expect(answers.get(3)!.results[0]).toMatchObject({ kind: 'refused' });
  runs.begin(4, ['a', 'b', 'c'], { ...request({ cellsMax: 3 }), ...states });
  allTurns();
  expect(answers.get(4)!.results[0]).toMatchObject({ kind: 'select' });
});

test('of bytes all runs hold together what two statements may: one that has much and grows ends', () => {
  const TEXT = { type: STRING, value: 'x'.repeat(400) } as const;
  const asked = (): SelectRequest => ({
    ...request({ bytesMax: 1000 }),
    rows: { columns: [{ kind: 'field', name: 's', type: STRING }], perGroup: null },
  });
  const texts = ['a', 'b', 'c'].map((id) => {
    const shard = add(id, 0);
    for (let time = 1n; time <= 2n; time++) shard.write('m,host=a', time, { s: TEXT });
    shard.scanSteps = function* (scan, visit) {
      shard.scan(scan, visit);
      for (let n = 0; n < 20; n++) {
        clockMs++;
        yield;
      }
    };
    return id;
  });
  const small = add('small', 20);
  small.write('m,host=a', 1n, { s: { type: STRING, value: '' } });
  texts.forEach((id, number) => {
    runs.begin(number, [id], asked());
    turn();
  });
  runs.begin(3, ['small'], asked());
  allTurns();
  const refused = { kind: 'refused', message: expect.stringMatching(/^queries under way hold too many bytes/) };
  const results = [...answers].sort(([a], [b]) => a - b).map(([, { results }]) => results[0]);
  expect(results.filter(({ kind } = { kind: 'select' } as never) => kind === 'refused')).toEqual([refused]);
  expect(rowsOf(answers.get(3)!)).toEqual([1]);
  runs.begin(4, [texts[2]!], asked());
  allTurns();
  expect(rowsOf(answers.get(4)!)).toEqual([2]);
});

test('a statement that ends cancels what workers still do for it, and nothing else', async () => {
  const asked: { resolve: (answer: PartialAnswer) => void }[] = [];
  const cancelled: number[][] = [];
  const pool = {
    workerOf: (number: number) => number,
    ask: (_worker: number, _method: string, _args: unknown, resolve: (answer: PartialAnswer) => void) =>
      asked.push({ resolve }) + 40,
    cancel: (worker: number, call: number) => cancelled.push([worker, call]),
  } as unknown as WorkerPool & BackendPorts['pool'];
  const two = [0, 1].map((number) => ({ id: `s${number}`, number }));
  const ending = new Ending();
  const running = runLocal(pool, two, request(), ending);
  ending.end(new Error('query-timeout limit exceeded'));
  await expect(running).rejects.toThrow('query-timeout limit exceeded');
  expect(cancelled).toEqual([
    [0, 41],
    [1, 42],
  ]);
  const later = new Ending();
  const done = runLocal(pool, two, request(), later);
  const answer = {
    results: [],
    absent: [],
    damaged: [],
    young: [],
    convergedThroughMs: null,
    liveConvergedThroughMs: null,
  };
  for (const { resolve } of asked.slice(2)) resolve({ ...answer, losses: [], nothingAsOf: null });
  await done;
  later.end(new Error('over'));
  expect(cancelled).toHaveLength(2);
});

test('a regular expression that is none is an error of the statement', () => {
  add('s', 1);
  const condition = { op: '=~', key: '_tagKey', regex: '(' } as const;
  const listed = { kind: 'catalog', what: 'tag-values', measurements: null, condition: null, filter: null } as const;
  runs.begin(1, ['s'], { ...listed, tagKeys: condition, limits: LIMITS });
  expect(answers.get(1)!.results).toEqual([{ kind: 'refused', message: expect.any(String) }]);
});

test('rows are counted as workers answer: those that are not needed any more stop', async () => {
  const asked: ((answer: PartialAnswer) => void)[] = [];
  const cancelled: number[][] = [];
  const pool = {
    workerOf: (number: number) => number,
    ask: (_worker: number, _method: string, _args: unknown, resolve: (answer: PartialAnswer) => void) =>
      asked.push(resolve),
    cancel: (worker: number, call: number) => cancelled.push([worker, call]),
  } as unknown as WorkerPool;
  add('s', 1);
  runs.begin(1, ['s'], request());
  const three = [0, 1, 2].map((number) => ({ id: `s${number}`, number }));
  const running = runLocal(pool, three, request({ rowsMax: 3 }), new Ending());
  asked[1]!(answers.get(1)!);
  expect(cancelled).toEqual([]);
  asked[2]!(answers.get(1)!);
  const message = 'query holds more than 3 rows; narrow the time range or use LIMIT';
  expect((await running).results).toEqual([{ kind: 'refused', isTooManyRows: true, message }]);
  expect(cancelled.map(([worker]) => worker)).toContain(0);
});

test('a pattern is held against tag values in turns, before anything is read', () => {
  const shard = add('s', 4);
  let left = 30;
  shard.judgeSteps = function* () {
    for (; left > 0; left--) {
      clockMs++;
      yield;
    }
  };
  runs.begin(1, ['s'], { ...request(), condition: { op: '=~', key: 'host', regex: '[ab]' } });
  expect([left > 20, worked]).toEqual([true, 0]);
  allTurns();
  expect([left, rowsOf(answers.get(1)!)]).toEqual([0, [2]]);
});
