import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { SERIES_PER_TARGET } from '../../scripts/bench/metric-rows.ts';
import { cpuOptions, makeWorkload, START_SECONDS, WORKLOADS, type Workload } from '../../scripts/bench/workloads.ts';

const SCALE = 0.01;

function small(letter: string, seed = 1): Workload {
  const options = WORKLOADS.find((workload) => workload.letter === letter)!.options(seed, SCALE);
  return makeWorkload({ ...options, rowsPerBody: Math.min(options.rowsPerBody, 200) });
}

function hashOf({ requests }: Workload): string {
  const hash = createHash('sha256');
  for (const request of requests.all) hash.update(request);
  return hash.digest('hex');
}

/** Lines of all bodies, in the order of sending. */
function linesOf({ requests }: Workload): string[] {
  return requests.all.flatMap((request) => {
    const [head, body] = request.toString('latin1').split('\r\n\r\n') as [string, string];
    expect(head).toMatch(/^POST \/write\?db=bench HTTP\/1\.1\r\n/);
    expect(Number(/Content-Length: (\d+)/.exec(head)?.[1])).toBe(body.length);
    return body.trimEnd().split('\n');
  });
}

interface Row {
  readonly key: string;
  readonly fields: ReadonlyMap<string, number>;
  readonly seconds: number;
}

function rowOf(line: string): Row {
  const [key, fields, time] = line.split(' ') as [string, string, string];
  expect(time).toMatch(/^\d{10}000000000$/);
  const values = fields.split(',').map((field): [string, number] => {
    const [name, value] = field.split('=') as [string, string];
    return [name, Number(value.replace(/i$/, ''))];
  });
  return { key, fields: new Map(values), seconds: Number(time.slice(0, 10)) };
}

/** Newest row of each series and time. */
function stored(rows: readonly Row[]): Row[] {
  return [...new Map(rows.map((row) => [`${row.key} ${row.seconds}`, row])).values()];
}

describe.each(WORKLOADS.map(({ letter }) => letter))('workload %s', (letter) => {
  const workload = small(letter);
  const rows = linesOf(workload).map(rowOf);

  test('is the same for the same seed and another for another', () => {
    expect(hashOf(small(letter))).toBe(hashOf(workload));
    expect(hashOf(small(letter, 2))).not.toBe(hashOf(workload));
  });

  test('says truly how many rows and values it has, and what they add up to', () => {
    const { summary } = workload;
    expect(rows.length).toBe(summary.rows);
    expect(rows.reduce((sum, { fields }) => sum + fields.size, 0)).toBe(summary.values);
    const kept = stored(rows);
    for (const { measurement, field, count, sum, writtenCount, writtenSum } of summary.truth) {
      const valuesIn = (some: readonly Row[]) =>
        some.filter(({ key }) => key.startsWith(`${measurement},`)).map(({ fields }) => fields.get(field)!);
      const add = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
      expect([valuesIn(kept).length, valuesIn(rows).length]).toEqual([count, writtenCount]);
      expect(add(valuesIn(kept))).toBeCloseTo(sum, 3);
      expect(add(valuesIn(rows))).toBeCloseTo(writtenSum, 3);
    }
  });
});

test('each target has a thousand series', () => {
  expect(SERIES_PER_TARGET).toBe(1000);
});

test('late and rewritten rows: a fifth comes late by at most an hour, a hundredth twice, the second far after the first', () => {
  const workload = makeWorkload({
    ...cpuOptions(1, 0.05, { lateShare: 0.2, rewrittenShare: 0.01 }),
    rowsPerBody: 500,
  });
  const { summary, requests } = workload;
  let newest = 0;
  let late = 0;
  const bodyOf = new Map<string, number>();
  let again = 0;
  for (const [body, request] of requests.all.entries()) {
    for (const line of request.toString('latin1').split('\r\n\r\n')[1]!.trimEnd().split('\n')) {
      const { key, seconds } = rowOf(line);
      const id = `${key} ${seconds}`;
      const before = bodyOf.get(id);
      if (before === undefined) {
        if (seconds < newest) late++;
        expect(newest - seconds).toBeLessThanOrEqual(3600 + 10);
        bodyOf.set(id, body);
      } else {
        again++;
        expect(body - before).toBeGreaterThanOrEqual(summary.windowBodies);
      }
      newest = Math.max(newest, seconds);
    }
  }
  expect(late / summary.rows).toBeCloseTo(0.2, 1);
  expect(again / summary.rows).toBeCloseTo(0.01, 2);
  expect(summary.rows - bodyOf.size).toBe(again);
});

test('advancing moves every time stamp and nothing else', () => {
  const options = cpuOptions(1, 0.01, { rounds: 20, rowsPerBody: 30 });
  const moved = makeWorkload(options);
  moved.requests.advance(123_456);
  expect(linesOf(moved)).toEqual(linesOf(makeWorkload({ ...options, startSeconds: START_SECONDS + 123_456 })));
});
