import { describe, expect, test } from 'vitest';
import {
  dueNotifications,
  evaluate,
  failed,
  fingerprintOf,
  NEW_STATE,
  notified,
  RESEND_MS,
  RESOLVED_KEPT_MS,
  type RuleState,
  type Sample,
  samplesOf,
} from '../../server/alerts/evaluation.ts';
import { alertmanagerBody, webhookBody } from '../../server/alerts/notifier.ts';
import { compileRule, parseRule, RuleError } from '../../server/alerts/rule.ts';

const RECEIVER = 'http://127.0.0.1:9/hook';
const BASE = {
  database: 'd',
  query: 'SELECT mean(v) FROM m WHERE time > now() - 1m GROUP BY host',
  condition: '> 90',
  for: '10s',
  interval: '5s',
  labels: { severity: 'page' },
  annotations: { summary: 'busy' },
  notify: [{ webhook: RECEIVER }],
};

function compile(changes: object = {}) {
  return compileRule('busy', parseRule('busy', { ...BASE, ...changes }));
}

const hot = (host: string, value = 95): Sample => ({ labels: { host }, value });

/** Evaluates at each of the given seconds and returns the state names of host a, with the last state. */
function walk(rule: ReturnType<typeof compile>, steps: [number, Sample[]][]): { states: string[]; last: RuleState } {
  let state = NEW_STATE;
  const states = steps.map(([second, samples]) => {
    state = evaluate(rule, state, samples, false, second * 1000, 'n1');
    return Object.values(state.instances).find((one) => one.labels.host === 'a')?.state ?? 'inactive';
  });
  return { states, last: state };
}

describe('evaluation', () => {
  test('an instance is pending until the condition has held for `for`, then fires, then is resolved', () => {
    const { states, last } = walk(compile(), [
      [0, [hot('a')]],
      [5, [hot('a')]],
      [10, [hot('a')]],
      [15, [hot('a')]],
      [20, [hot('a', 10)]],
    ]);
    expect(states).toEqual(['pending', 'pending', 'firing', 'firing', 'resolved']);
    const [instance] = Object.values(last.instances);
    expect(instance).toMatchObject({
      startsAtMs: 10_000,
      endsAtMs: 20_000,
      labels: { alertname: 'busy', host: 'a', severity: 'page' },
    });
  });

  test('a dip below the threshold starts the pending time again', () => {
    const { states } = walk(compile(), [
      [0, [hot('a')]],
      [5, [hot('a', 1)]],
      [10, [hot('a')]],
      [15, [hot('a')]],
      [20, [hot('a')]],
    ]);
    expect(states).toEqual(['pending', 'inactive', 'pending', 'pending', 'firing']);
  });

  test('without `for` the first evaluation fires; a series that vanishes is resolved', () => {
    const { states } = walk(compile({ for: '0' }), [
      [0, [hot('a')]],
      [5, []],
    ]);
    expect(states).toEqual(['firing', 'resolved']);
  });

  test('a resolved instance is forgotten after a while and may fire again with a new start', () => {
    const rule = compile({ for: '0' });
    const { last } = walk(rule, [
      [0, [hot('a')]],
      [5, []],
    ]);
    const later = evaluate(rule, last, [], false, 5000 + RESOLVED_KEPT_MS, 'n1');
    expect(later.instances).toEqual({});
    const again = evaluate(rule, last, [hot('a')], false, 9000, 'n1');
    expect(Object.values(again.instances)[0]).toMatchObject({ state: 'firing', startsAtMs: 9000, endsAtMs: null });
  });

  test('a failover keeps the pending time: state is all that an evaluation needs', () => {
    const rule = compile();
    const before = walk(rule, [[0, [hot('a')]]]).last;
    const carried = JSON.parse(JSON.stringify(before)) as RuleState;
    const after = evaluate(rule, carried, [hot('a')], false, 10_000, 'n2');
    expect(Object.values(after.instances)[0]?.state).toBe('firing');
    expect(after.evaluator).toBe('n2');
  });

  test('a failed query keeps instances and says why', () => {
    const before = walk(compile({ for: '0' }), [[0, [hot('a')]]]).last;
    const after = failed(before, 'timeout', 5000, 'n1');
    expect(after.instances).toBe(before.instances);
    expect(after.error).toBe('timeout');
  });

  test.each([
    ['hold', 'firing'],
    ['fire', 'resolved'],
    ['annotate', 'resolved'],
  ])('on incomplete data %s leaves a firing alert whose series is missing %s', (mode, expected) => {
    const rule = compile({ for: '0', on_incomplete: mode });
    const before = walk(rule, [[0, [hot('a')]]]).last;
    const after = evaluate(rule, before, [], true, 5000, 'n1');
    expect(Object.values(after.instances)[0]?.state).toBe(expected);
    expect(after.incomplete).toBe(true);
  });

  test('on incomplete data annotate says so in the annotations', () => {
    const after = evaluate(compile({ for: '0' }), NEW_STATE, [hot('a')], true, 0, 'n1');
    expect(Object.values(after.instances)[0]?.annotations.incomplete).toMatch(/no owner/);
  });
});

describe('notifications', () => {
  const rule = compile({ for: '0' });
  const firing = evaluate(rule, NEW_STATE, [hot('a'), hot('b')], false, 1000, 'n1');

  test('firing is due until taken, then again after the resend time, then once more when resolved', () => {
    const [due] = dueNotifications(rule.rule, firing, 1000);
    expect(due?.instances).toHaveLength(2);
    const taken = notified(firing, due!, 1000);
    expect(dueNotifications(rule.rule, taken, 1000 + RESEND_MS - 1)).toEqual([]);
    expect(dueNotifications(rule.rule, taken, 1000 + RESEND_MS)[0]?.instances).toHaveLength(2);
    const resolved = evaluate(rule, taken, [hot('a')], false, 6000, 'n1');
    const [second] = dueNotifications(rule.rule, resolved, 6000);
    expect(second?.instances.map((one) => [one.labels.host, one.state])).toEqual([['b', 'resolved']]);
    expect(dueNotifications(rule.rule, notified(resolved, second!, 6000), 1_000_000)[0]?.instances).toHaveLength(1);
  });

  test('a receiver that took it is not told again because another one is down', () => {
    const two = compile({ for: '0', notify: [{ webhook: RECEIVER }, { alertmanager: 'http://127.0.0.1:8' }] });
    const [first] = dueNotifications(two.rule, firing, 1000);
    const after = notified(firing, first!, 1000);
    expect(dueNotifications(two.rule, after, 6000).map((due) => due.receiver)).toEqual([
      { alertmanager: 'http://127.0.0.1:8' },
    ]);
  });

  test('pending instances are not notified', () => {
    const pending = evaluate(compile(), NEW_STATE, [hot('a')], false, 0, 'n1');
    expect(dueNotifications(rule.rule, pending, 0)).toEqual([]);
  });

  test('the webhook body has the form of Alertmanager version 4', () => {
    const instances = dueNotifications(rule.rule, firing, 1000)[0]!.instances;
    const body = webhookBody(instances, { rule: 'busy', externalUrl: 'http://n1:8086', nowMs: 1000 });
    expect(body).toMatchObject({
      version: '4',
      status: 'firing',
      groupLabels: { alertname: 'busy' },
      commonLabels: { alertname: 'busy', severity: 'page' },
      commonAnnotations: { summary: 'busy' },
      truncatedAlerts: 0,
    });
    const alerts = (body as { alerts: Record<string, unknown>[] }).alerts;
    expect(alerts[0]).toMatchObject({
      status: 'firing',
      startsAt: '1970-01-01T00:00:01.000Z',
      endsAt: '0001-01-01T00:00:00Z',
    });
    expect(new Set(alerts.map((one) => one.fingerprint)).size).toBe(2);
  });

  test('the Alertmanager body ends a firing alert ahead of time unless it is repeated', () => {
    const instances = dueNotifications(rule.rule, firing, 1000)[0]!.instances;
    const [first] = alertmanagerBody(instances, { rule: 'busy', externalUrl: 'http://n1', nowMs: 1000 }) as {
      endsAt: string;
    }[];
    expect(Date.parse(first!.endsAt)).toBe(1000 + 4 * RESEND_MS);
  });
});

describe('samples', () => {
  test('the newest number of each series counts, whatever the order of rows; null and text are passed over', () => {
    const series = (values: (bigint | number | string | null)[][]) => ({
      name: 'm',
      tags: { host: 'a' },
      columns: ['time', 'v'],
      timeColumn: 0,
      values,
    });
    expect(
      samplesOf([
        series([
          [1n, 5],
          [2n, 7],
          [3n, null],
        ]),
      ]),
    ).toEqual([{ labels: { host: 'a' }, value: 7 }]);
    expect(
      samplesOf([
        series([
          [3n, 9],
          [2n, 7],
        ]),
      ])[0]?.value,
    ).toBe(9);
    expect(
      samplesOf([
        series([
          [1n, 'x'],
          [2n, null],
        ]),
      ]),
    ).toEqual([]);
  });

  test('a fingerprint does not depend on the order of labels', () => {
    expect(fingerprintOf({ a: '1', b: '2' })).toBe(fingerprintOf({ b: '2', a: '1' }));
  });
});

describe('rules', () => {
  test.each([
    [{ condition: 'usage > 90' }, /condition/],
    [{ for: 'soon' }, /for: expected a duration/],
    [{ query: 'DROP DATABASE d' }, /SELECT/],
    [{ interval: '10ms' }, /at least 1s/],
    [{ notify: [{ webhook: 'ftp://x' }] }, /notify/],
    [{ colour: 'red' }, /colour/i],
    [{ labels: { 'not ok': 'x' } }, /label/],
  ])('%j is refused with a line that says what is wrong', (changes, message) => {
    expect(() => compile(changes)).toThrow(RuleError);
    expect(() => compile(changes)).toThrow(message);
  });

  test.each([
    ['> 90', 91, 90],
    ['>= 90', 90, 89],
    ['< -1.5', -2, -1.5],
    ['<= 0', 0, 1],
    ['== 3', 3, 4],
    ['!= 3', 4, 3],
  ])('%s holds for %d and not for %d', (condition, yes, no) => {
    const { judge } = compile({ condition });
    expect([judge(yes), judge(no)]).toEqual([true, false]);
  });
});
