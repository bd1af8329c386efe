/** Rules of what may differ from InfluxDB: each is told to users, and none covers more than it says. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { ACCEPTED } from '../../scripts/differential/accepted.ts';
import type { Result } from '../../scripts/differential/answers.ts';
import { alike } from '../../scripts/differential/likeness.ts';
import { type ExpressionTree, queryText, type SelectTree } from '../../scripts/differential/query-tree.ts';
import { worldOf } from '../../scripts/differential/world.ts';

test('docs/compatibility.md lists the accepted differences by name, with their reasons', () => {
  const page = readFileSync(resolve(import.meta.dirname, '../../docs/compatibility.md'), 'utf8');
  const table = page.slice(page.indexOf('| what may differ |')).split('\n\n')[0]!.split('\n').slice(2);
  const listed = table.map((line) => line.split('|').map((cell) => cell.trim()));
  expect(listed.map(([, name, reason]) => [name, reason])).toEqual(
    ACCEPTED.map(({ name, reason }) => [name, reason.replaceAll('|', '\\|')]),
  );
});

const text = (of: string): ExpressionTree => ({ kind: 'text', text: of });
const call = (name: string, ...args: string[]): ExpressionTree => ({ kind: 'call', name, args: args.map(text) });

function select(fields: readonly ExpressionTree[], tail: readonly string[] = [], groupBy: string[] = []): SelectTree {
  return {
    kind: 'select',
    fields: fields.map((expression) => ({ expression, alias: null })),
    from: ['m0'],
    where: null,
    groupBy,
    tail,
  };
}

function rows(columns: readonly string[], ...values: (number | null)[][]): Result {
  return { series: [{ name: 'm0', columns: ['time', ...columns], values }] };
}

function isCovered(tree: SelectTree, expected: Result, given: Result): boolean {
  const measurements = [{ name: 'm0', fields: { v: 'float', n: 'integer' }, tags: [] }] as const;
  const world = { ...worldOf(1), measurements, hasTies: false };
  const compared = { tree, query: queryText(tree), world, expected, given };
  return ACCEPTED.some(({ covers }) => covers?.(compared) === true);
}

const WINDOWS = ['time(10s)'];
const DESC = ['ORDER BY time DESC'];

test('times of integrals from the end may differ, and not their values', () => {
  const tree = select([call('integral', 'v')], DESC, WINDOWS);
  const expected = rows(['integral'], [20, 1.5], [10, 3]);
  expect(isCovered(tree, expected, rows(['integral'], [10, 1.5], [0, 3]))).toBe(true);
  expect(isCovered(tree, expected, rows(['integral'], [10, 1.5], [0, 4]))).toBe(false);
  expect(isCovered({ ...tree, tail: [] }, expected, rows(['integral'], [10, 1.5], [0, 3]))).toBe(false);
});

test('integrals of integers over windows may differ, and not how many there are, or what is beside them', () => {
  const tree = select([call('integral', 'n')], DESC, WINDOWS);
  const expected = rows(['integral'], [20, 1.5], [10, 3]);
  expect(isCovered(tree, expected, rows(['integral'], [10, 1.5], [0, 4]))).toBe(true);
  expect(isCovered(tree, expected, rows(['integral'], [10, 1.5]))).toBe(false);
  const beside = select([call('integral', 'n'), call('count', 'n')], [], WINDOWS);
  const both = rows(['integral', 'count'], [0, 1.5, 2]);
  expect(isCovered(beside, both, rows(['integral', 'count'], [0, 2.5, 2]))).toBe(true);
  expect(isCovered(beside, both, rows(['integral', 'count'], [0, 1.5, 3]))).toBe(false);
});

test('a percentile may be missing behind one that is none, and not be another one', () => {
  const tree = select([call('percentile', 'v', '5'), call('count', 'v')], [], WINDOWS);
  const given = rows(['percentile', 'count'], [0, null, 1], [10, 2, 11]);
  expect(isCovered(tree, rows(['percentile', 'count'], [0, null, 1], [10, null, 11]), given)).toBe(true);
  expect(isCovered(tree, rows(['percentile', 'count'], [0, null, 1], [10, 3, 11]), given)).toBe(false);
  expect(isCovered(tree, rows(['percentile', 'count'], [0, null, 1], [10, null, 12]), given)).toBe(false);
  expect(isCovered(tree, rows(['percentile', 'count'], [0, null, 1]), given)).toBe(false);
});

test('a mode may be another one, and nothing beside it', () => {
  const tree = select([call('mode', 'v'), call('sum', 'v')]);
  const given = rows(['mode', 'sum'], [0, 1, 5]);
  expect(isCovered(tree, rows(['mode', 'sum'], [0, 2, 5]), given)).toBe(true);
  expect(isCovered(tree, rows(['mode', 'sum'], [0, 1, 6]), given)).toBe(false);
});

test('what InfluxDB takes for another query is held against that one', () => {
  const readings = (tree: SelectTree): string[] =>
    ACCEPTED.flatMap(({ readAs }) => readAs?.(tree, worldOf(1)) ?? []).map(queryText);
  expect(readings(select([call('top', 'v', 'host', '2')], ['LIMIT 2', 'OFFSET 1'], ['time(10s)', 'dc']))).toEqual([
    'SELECT top(v, host, 2) FROM (SELECT v FROM m0 GROUP BY dc, host LIMIT 4) GROUP BY time(10s), dc LIMIT 2 OFFSET 1',
  ]);
  expect(readings(select([text('v')], ['OFFSET 2']))).toEqual(['SELECT v FROM m0 LIMIT 1 OFFSET 2']);
  expect(readings(select([call('mean', 'v')], ['OFFSET 2'], WINDOWS))).toEqual([]);
  expect(readings(select([text('v')], ['LIMIT 3', 'OFFSET 2']))).toEqual([]);
});

test('answers are alike in any order of equal times, and of no others', () => {
  expect(alike(rows(['v'], [0, 1], [0, 2]), rows(['v'], [0, 2], [0, 1]))).toBe(true);
  expect(alike(rows(['v'], [0, 1], [1, 2]), rows(['v'], [1, 2], [0, 1]))).toBe(false);
});

const outer = (tree: SelectTree, from: SelectTree): SelectTree => ({ ...tree, from: [from] });

test('a quotient of integers in a subquery is held against one that is cut, and what is a float is not', () => {
  const world = worldOf(1);
  const reading = (of: string): string[] => {
    const { fields } = world.measurements[0]!;
    const [name] = Object.entries(fields).find(([, kind]) => kind === of)!;
    const inner = select([]);
    const quotient: ExpressionTree = { kind: 'binary', op: '/', left: text(name), right: text('4') };
    const tree = outer(select([call('max', 'c')]), { ...inner, fields: [{ expression: quotient, alias: 'c' }] });
    return ACCEPTED.flatMap(({ readAs }) => readAs?.(tree, world) ?? [])
      .map(queryText)
      .map((one) => one.replace(name, 'NAME'));
  };
  expect(reading('integer')).toEqual(['SELECT max(c::integer) FROM (SELECT NAME / 4 AS c FROM m0)']);
  expect(reading('float')).toEqual([]);
});

test('rows of groups that a subquery joins may come in another order, and not be others', () => {
  const tree = outer(select([text('c')]), select([call('max', 'v')], [], ['host']));
  const given = rows(['c'], [1, 5], [9, 7]);
  expect(isCovered(tree, rows(['c'], [9, 7], [1, 5]), given)).toBe(true);
  expect(isCovered(tree, rows(['c'], [9, 7], [1, 6]), given)).toBe(false);
  expect(isCovered({ ...tree, groupBy: ['host'] }, rows(['c'], [9, 7], [1, 5]), given)).toBe(false);
  expect(
    isCovered(outer(tree, select([call('max', 'v')], [], ['host', 'time(10s)'])), rows(['c'], [9, 7], [1, 5]), given),
  ).toBe(false);
});

test('limits in a subquery may differ where it has groups that the query around it joins', () => {
  const tree = outer(select([text('c')]), select([text('v')], ['LIMIT 2'], ['host']));
  const [expected, given] = [rows(['c'], [1, 5], [9, 7], [10, 1]), rows(['c'], [1, 5], [9, 7])];
  expect(isCovered(tree, expected, given)).toBe(true);
  expect(isCovered({ ...tree, groupBy: ['host'] }, expected, given)).toBe(false);
  expect(isCovered({ ...tree, groupBy: ['*'] }, expected, given)).toBe(false);
  expect(isCovered(outer(tree, select([text('v')], [], ['host'])), expected, given)).toBe(false);
});

test('functions without windows may end with what lies before the range, others not', () => {
  const where = { kind: 'test', text: 'time >= 5' } as const;
  const tree = { ...outer(select([call('sum', 'c')]), select([call('max', 'v')], [], WINDOWS)), where };
  const given = rows(['sum'], [5, 1]);
  expect(isCovered(tree, {}, given)).toBe(true);
  expect(isCovered({ ...tree, where: null }, {}, given)).toBe(false);
  expect(isCovered({ ...tree, groupBy: WINDOWS }, {}, given)).toBe(false);
  expect(isCovered(outer(tree, select([call('max', 'v')])), {}, given)).toBe(false);
});
