/** Merging and printing of large answers: in so many steps that none of them is long, and with the same outcome. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { type AnswerSink, answerQuery } from '../../server/http/query-answer.ts';
import { indented, indentJson } from '../../server/http/response-json.ts';
import { mergeStates } from '../../server/query/cells.ts';
import { Ending } from '../../server/query/ending.ts';
import { holtWinters } from '../../server/query/holt-winters.ts';
import { mergeRuns, runsOf } from '../../server/query/merge-runs.ts';
import { minimise } from '../../server/query/nelder-mead.ts';
import { TableRows } from '../../server/query/result.ts';
import { mergeRows } from '../../server/query/row-table.ts';
import { transform } from '../../server/query/transformations.ts';
import { mainTurns } from '../../server/turns.ts';
import type { SelectRequest, ShardSelect } from '../../shards/query/partial.ts';
import { allSteps, type Steps } from '../../shards/steps.ts';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

/** More in one step would be a stop. */
const STEP_ITEMS_MAX = 8192;

function counted<T>(steps: Steps<T>): { value: T; count: number } {
  for (let count = 1; ; count++) {
    const { value, done } = steps.next();
    if (done === true) return { value, count };
  }
}

const pointsOf = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ time: BigInt(i), value: Math.sin(i), aux: null }));

describe('functions with counts as arguments', () => {
  const options = { season: 0, withFit: false, intervalNs: 1n };

  it('forecasts of many values are made in short steps', () => {
    const level = pointsOf(5).map((point) => ({ ...point, value: 1 }));
    const stepsFor = (ahead: number): number => {
      const { value, count } = counted(holtWinters(level, { ...options, ahead }));
      expect(value).toHaveLength(ahead);
      return count;
    };
    // They are computed, and made into points.
    expect(stepsFor(400_000) - stepsFor(1)).toBeGreaterThan((2 * 400_000) / STEP_ITEMS_MAX - 2);
  });

  it('forecasts from many values compare few in a step', () => {
    const looks = vi.spyOn(Number, 'isNaN');
    const steps = holtWinters(pointsOf(40_000), { ...options, ahead: 1 });
    let most = 0;
    for (let step = 0; step < 100; step++) {
      looks.mockClear();
      steps.next();
      most = Math.max(most, looks.mock.calls.length);
    }
    steps.return([]);
    looks.mockRestore();
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(2 * STEP_ITEMS_MAX);
  });

  it('many variables are moved in short steps', () => {
    const size = 1_000;
    // biome-ignore lint/correctness/useYield: it has no steps.
    const flat = function* (): Steps<number> {
      return 0;
    };
    const { count } = counted(minimise(flat, new Float64Array(size), 1));
    // The middle is computed, and all corners are moved.
    expect(count).toBeGreaterThan(size + (2 * size * size) / (STEP_ITEMS_MAX + size) - 2);
  });

  it('indicators that look at a whole period for each value do so in short steps', () => {
    const [points, period] = [10_000, 2_000];
    const call = { name: 'chande_momentum_oscillator', parameter: period, further: [] };
    const spacing = { unitNs: 1n, intervalNs: 0n, descending: false };
    const { value, count } = counted(transform(call, pointsOf(points), spacing));
    expect(value).toHaveLength(points - period + 1);
    expect(count).toBeGreaterThan(((points - period) * period) / (2 * STEP_ITEMS_MAX));
  });
});

const SHARDS = 4;

describe('rows', () => {
  const ROWS = 40_000;
  const shardOf = (number: number, startNs: bigint): ShardSelect =>
    ({
      startNs,
      number,
      groups: { measurements: ['m'], tagValues: [] },
      states: [],
      seriesKeys: [`m,h=${number}`],
      aux: [],
      rows: {
        groups: new Uint32Array(ROWS),
        times: Float64Array.from({ length: ROWS }, (_, row) => row * SHARDS + (row % 2) * number),
        series: new Uint32Array(ROWS),
        columns: [Float64Array.from({ length: ROWS }, (_, row) => number + row / 1e6)],
      },
    }) as unknown as ShardSelect;

  it('of many shards are merged in short steps', () => {
    const shards = [0n, 1_000_000n].flatMap((startNs) =>
      Array.from({ length: SHARDS }, (_, number) => shardOf(number, startNs)),
    );
    const options = { dimensions: [], descending: false, emptyGroups: false };
    const { value, count } = counted(mergeRows(shards, [], 1, options));
    const { groups, table } = value;
    const rows = 2 * SHARDS * ROWS;
    // They are copied once, and those of a start merged twice.
    expect(count).toBeGreaterThan((3 * rows) / STEP_ITEMS_MAX);
    const order = [...groups[0]!.rows];
    expect(new Set(order).size).toBe(rows);
    for (let i = 1; i < rows; i++) {
      const [a, b] = [order[i - 1]!, order[i]!];
      const [x, y] = [table.times[a]!, table.times[b]!];
      if (x > y || (x === y && (table.columns[0]![a] as number) > (table.columns[0]![b] as number)))
        expect.fail(`rows ${a} and ${b}`);
    }
  });
});

describe('runs', () => {
  it('become one that is in order, and what is equal stays as it was', () => {
    const property = fc.property(fc.array(fc.nat(20), { maxLength: 300 }), (numbers) => {
      const items = Uint32Array.from(numbers, (_, i) => i);
      const compare = (a: number, b: number): number => numbers[a]! - numbers[b]!;
      const sorted = allSteps(mergeRuns(items.slice(), allSteps(runsOf(items, compare)), compare));
      expect([...sorted]).toEqual([...items].sort(compare));
    });
    fc.assert(property, { numRuns: 200 });
  });

  it('of many items in short steps', () => {
    const items = Uint32Array.from({ length: 100_000 }, (_, i) => (i * 7919) % 100_003);
    const compare = (a: number, b: number): number => a - b;
    const ends = counted(runsOf(items, compare));
    expect(ends.count).toBeGreaterThan(items.length / STEP_ITEMS_MAX);
    const { count, value } = counted(mergeRuns(items.slice(), ends.value, compare));
    expect(count).toBeGreaterThan((items.length * 16) / STEP_ITEMS_MAX);
    expect([...value]).toEqual([...items].sort(compare));
  });
});

it.each([
  [1, 60_000],
  [60_000, 1],
  [300, 200],
])('cells of %d groups and %d windows are merged in short steps', (groups, windows) => {
  const cells = groups * windows;
  const names = Array.from({ length: groups }, (_, g) => `g${String(g).padStart(6, '0')}`);
  const shards = Array.from({ length: SHARDS }, (_, number) => ({
    startNs: 0n,
    number,
    groups: { measurements: names.map(() => 'm'), tagValues: [names] },
    firstWindow: 0,
    windowCount: windows,
    states: [
      {
        count: Float64Array.from({ length: cells }, (_, cell) => ((cell + number) % 3 === 0 ? 0 : 1)),
        numbers: Float64Array.from({ length: cells }, (_, cell) => cell + number),
        integers: null,
        strings: null,
        times: null,
        numbers2: null,
        integers2: null,
        picked: null,
      },
    ],
    seriesKeys: [],
    aux: [],
    rows: null,
  })) as unknown as ShardSelect[];
  const request = {
    dimensions: ['h'],
    measurements: ['m'],
    states: [{ fn: 'sum', field: 'f', type: 0 }],
  } as unknown as SelectRequest;
  const { value, count } = counted(mergeStates(shards, request, 1e9));
  expect(count).toBeGreaterThanOrEqual(Math.floor((SHARDS * cells) / STEP_ITEMS_MAX));
  const { numbers, count: rows } = value.calls[0]!;
  for (const cell of [0, 1, 2, cells - 1]) {
    const has = [0, 1, 2, 3].filter((number) => (cell + number) % 3 !== 0);
    expect([rows[cell], numbers![cell]]).toEqual([has.length, has.reduce((sum, number) => sum + cell + number, 0)]);
  }
});

describe('functions of rows and subqueries', () => {
  const ROWS = 60_000;
  const memory = new MemoryBackend({ shardsPerGroup: 1, shardDurationNs: 1_000_000_000n });

  /** Steps of the main thread for a statement. */
  const stepsOf = async (text: string): Promise<number> => {
    let steps = 0;
    const run = mainTurns.run.bind(mainTurns);
    const spy = vi.spyOn(mainTurns, 'run').mockImplementation((work, ending, done, failed) => {
      const watched = function* (): Steps<never> {
        for (;;) {
          steps++;
          const { value, done } = work.next();
          if (done === true) return value as never;
          yield;
        }
      };
      run(watched(), ending, done as (value: never) => void, failed);
    });
    const [result] = await ask(memory, text, { database: 't', nowNs: 2n * BigInt(ROWS) });
    spy.mockRestore();
    expect(result!.error).toBeUndefined();
    expect(result!.series!.length).toBeGreaterThan(0);
    return steps;
  };

  it.each([
    ['derivative(v)', 'm', 5],
    ['non_negative_difference(v)', 'm', 5],
    ['moving_average(v, 3)', 'm', 5],
    ['cumulative_sum(v)', 'm', 4],
    ['elapsed(v)', 'm', 4],
    ['integral(v)', 'm', 2],
    ['median(v)', 'm', 1],
    ['v', '(SELECT v FROM m)', 4],
    ['derivative(v)', '(SELECT v FROM m)', 7],
  ])('%s from %s goes over the rows in short steps', async (fields, from, passes) => {
    if (memory.shards.size === 0) {
      await ask(memory, 'CREATE DATABASE t');
      const lines = Array.from({ length: ROWS }, (_, n) => `m v=${(n * 7) % 1000} ${n}`);
      memory.write('t', lines.join('\n'));
    }
    const plain = await stepsOf('SELECT v FROM m');
    const steps = await stepsOf(`SELECT ${fields} FROM ${from}`);
    // Besides those in which the rows of the shard are merged, of which a plain answer makes more.
    expect(steps).toBeGreaterThanOrEqual(Math.floor((passes * ROWS) / STEP_ITEMS_MAX) + Math.floor(plain / 2));
  });
});

describe('printing', () => {
  const ROWS = 300_000;
  const values = new TableRows(
    { times: BigInt64Array.from({ length: ROWS }, (_, n) => BigInt(n)), columns: [new Float64Array(ROWS).fill(1.25)] },
    0,
    ROWS,
  );

  it.each(['json', 'pretty', 'csv'])('%s leaves the loop to others between pieces', async (form) => {
    const fields = new Map([['q', 'x'], ...(form === 'pretty' ? [['pretty', 'true'] as const] : [])]);
    let [pieces, turns, bytes, isOver] = [0, 0, 0, false];
    const add = (piece: string | Buffer): void => {
      pieces++;
      bytes += piece.length;
    };
    let goOn = (): void => {};
    const sink: AnswerSink = {
      hasBegun: true,
      // As a socket does that takes all at once: it is full, and empty again before any other event.
      write: (piece) => {
        add(piece);
        process.nextTick(() => goOn());
        return false;
      },
      onDrained: (listener) => {
        goOn = listener;
      },
      end: add,
      breakOff: expect.fail,
      noContent: expect.fail,
      refuse: (_status, message) => expect.fail(message),
    };
    const service = {
      async *execute() {
        yield { statementId: 0, series: [{ name: 'm', columns: ['time', 'f'], timeColumn: 0, values }] };
      },
    };
    const others = (): void => {
      turns++;
      if (!isOver) setImmediate(others);
    };
    setImmediate(others);
    const limits = { bodyBytesMax: 1, rowsMax: 0, nowNs: () => 0n };
    await answerQuery({ method: 'GET', fields, csv: form === 'csv' }, sink, new Ending(), service, limits);
    isOver = true;
    expect(bytes).toBeGreaterThan(3_000_000);
    expect(pieces).toBeGreaterThan(20);
    // Some milliseconds of it at a time: more than one.
    expect(turns).toBeGreaterThan(2);
  });

  it('indented in pieces as in one', () => {
    const compact = '{"a":[{"b":"x{\\"]"},[],{}],"c":[1,2.5,null,true],"d":{"e":[[1],[2]]}}';
    const tokens = compact.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g)!;
    expect([...indented(tokens.map((token) => Buffer.from(token)))].join('')).toBe(indentJson(compact));
    expect(indentJson(compact)).toBe(`${JSON.stringify(JSON.parse(compact), null, 4)}\n`);
  });
});
