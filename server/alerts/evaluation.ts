/**
 * One evaluation of a rule: (state before, what the query gave, time) -> (state after, what to notify). Pure.
 *
 * Instances go inactive -> pending -> firing -> resolved -> inactive, as in Prometheus. State is what travels to the
 * other nodes, so that a restart or a failover continues where the last evaluation stood: `activeAtMs` of a pending
 * instance, `startsAtMs` and the last notification of a firing one. Firing alerts are notified again every
 * `RESEND_MS` (a receiver such as Alertmanager forgets alerts that are not repeated); resolved ones are kept for
 * `RESOLVED_KEPT_MS`, so that a resolution that could not be sent is repeated.
 */
import { createHash } from 'node:crypto';
import type { ResultSeries } from '../query/result.ts';
import type { CompiledRule, Notifier, Rule } from './rule.ts';

export const RESEND_MS = 60_000;
export const RESOLVED_KEPT_MS = 15 * 60_000;
/** Instances of one rule; more is an error of the rule. */
export const INSTANCES_MAX = 10_000;

export interface AlertInstance {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing' | 'resolved';
  readonly value: number;
  readonly activeAtMs: number;
  /** When it began to fire; null while pending. */
  readonly startsAtMs: number | null;
  /** When it was resolved; null before. */
  readonly endsAtMs: number | null;
  /** Per receiver (by its URL) the last time it took a notification of the present state. */
  readonly notifiedAtMs: Readonly<Record<string, number>>;
}

export interface RuleState {
  /** By fingerprint of the labels. */
  readonly instances: Readonly<Record<string, AlertInstance>>;
  readonly evaluatedAtMs: number | null;
  /** Name of the node that evaluated last. */
  readonly evaluator: string | null;
  /** Why the last evaluation could not judge, or null. */
  readonly error: string | null;
  readonly incomplete: boolean;
}

export const NEW_STATE: RuleState = {
  instances: {},
  evaluatedAtMs: null,
  evaluator: null,
  error: null,
  incomplete: false,
};

/** What the query gave: the newest value of each series. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What one receiver must be told now; instances in the order of their fingerprints. */
export interface DueNotification {
  readonly receiver: Notifier;
  readonly instances: readonly AlertInstance[];
}

export function fingerprintOf(labels: Readonly<Record<string, string>>): string {
  const text = JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** The newest row that has a number, per series: rows are in time order unless the query says DESC. */
export function samplesOf(series: readonly ResultSeries[]): Sample[] {
  const samples: Sample[] = [];
  for (const one of series) {
    let newest: { time: bigint; value: number } | null = null;
    for (const row of one.values) {
      const time = one.timeColumn < 0 ? 0n : BigInt(row[one.timeColumn] as bigint | number);
      const cell = row.find(
        (value, index) => index !== one.timeColumn && (typeof value === 'number' || typeof value === 'bigint'),
      );
      if (cell === undefined || cell === null) continue;
      if (newest === null || time >= newest.time) newest = { time, value: Number(cell) };
    }
    if (newest !== null) samples.push({ labels: one.tags ?? {}, value: newest.value });
  }
  return samples;
}

export function evaluate(
  compiled: CompiledRule,
  before: RuleState,
  samples: readonly Sample[],
  incomplete: boolean,
  nowMs: number,
  evaluator: string,
): RuleState {
  const { rule, name } = compiled;
  if (samples.length > INSTANCES_MAX) {
    return failed(before, `the query gave ${samples.length} series, more than ${INSTANCES_MAX}`, nowMs, evaluator);
  }
  if (incomplete && rule.on_incomplete === 'hold') {
    return { ...before, evaluatedAtMs: nowMs, evaluator, error: null, incomplete: true };
  }
  const annotations =
    incomplete && rule.on_incomplete === 'annotate'
      ? { ...rule.annotations, incomplete: 'judged on incomplete data: no owner of some shards was up' }
      : rule.annotations;
  const instances: Record<string, AlertInstance> = {};
  const seen = new Set<string>();
  for (const sample of samples) {
    const labels = { ...sample.labels, ...rule.labels, alertname: name };
    const fingerprint = fingerprintOf(labels);
    if (seen.has(fingerprint)) continue;
    seen.add(fingerprint);
    const next = compiled.judge(sample.value)
      ? active(before.instances[fingerprint], { labels, annotations, value: sample.value }, compiled.forMs, nowMs)
      : inactive(before.instances[fingerprint], sample.value, nowMs);
    if (next !== null) instances[fingerprint] = next;
  }
  for (const [fingerprint, instance] of Object.entries(before.instances)) {
    if (seen.has(fingerprint)) continue;
    const next = inactive(instance, instance.value, nowMs);
    if (next !== null) instances[fingerprint] = next;
  }
  return { instances, evaluatedAtMs: nowMs, evaluator, error: null, incomplete };
}

/** The query could not be answered: instances stay as they are, and the reason is shown. */
export function failed(before: RuleState, error: string, nowMs: number, evaluator: string): RuleState {
  return { ...before, evaluatedAtMs: nowMs, evaluator, error };
}

export function receiverKey(receiver: Notifier): string {
  return 'webhook' in receiver ? receiver.webhook : receiver.alertmanager;
}

/** What has to be sent now: each receiver that has not taken the present state of an instance, or not lately. */
export function dueNotifications(rule: Rule, state: RuleState, nowMs: number): DueNotification[] {
  const fingerprints = Object.keys(state.instances).sort();
  return rule.notify.flatMap((receiver) => {
    const key = receiverKey(receiver);
    const instances = fingerprints.map((one) => state.instances[one]!).filter((one) => isDue(one, key, nowMs));
    return instances.length > 0 ? [{ receiver, instances }] : [];
  });
}

/** Notes that a receiver has taken the notifications; without it they are sent again at the next evaluation. */
export function notified(state: RuleState, { receiver, instances: sent }: DueNotification, nowMs: number): RuleState {
  const instances: Record<string, AlertInstance> = { ...state.instances };
  for (const instance of sent) {
    const fingerprint = fingerprintOf(instance.labels);
    const current = instances[fingerprint];
    if (current?.state !== instance.state) continue;
    instances[fingerprint] = { ...current, notifiedAtMs: { ...current.notifiedAtMs, [receiverKey(receiver)]: nowMs } };
  }
  return { ...state, instances };
}

function active(
  before: AlertInstance | undefined,
  seen: Pick<AlertInstance, 'labels' | 'annotations' | 'value'>,
  forMs: number,
  nowMs: number,
): AlertInstance {
  if (before?.state === 'firing') return { ...before, ...seen };
  const activeAtMs = before?.state === 'pending' ? before.activeAtMs : nowMs;
  const fires = nowMs - activeAtMs >= forMs;
  return {
    ...seen,
    state: fires ? 'firing' : 'pending',
    activeAtMs,
    startsAtMs: fires ? nowMs : null,
    endsAtMs: null,
    notifiedAtMs: {},
  };
}

function inactive(before: AlertInstance | undefined, value: number, nowMs: number): AlertInstance | null {
  if (before === undefined || before.state === 'pending') return null;
  if (before.state === 'firing') return { ...before, value, state: 'resolved', endsAtMs: nowMs, notifiedAtMs: {} };
  return nowMs - before.endsAtMs! < RESOLVED_KEPT_MS ? before : null;
}

function isDue(instance: AlertInstance, receiver: string, nowMs: number): boolean {
  if (instance.state === 'pending') return false;
  const last = instance.notifiedAtMs[receiver];
  return last === undefined || (instance.state === 'firing' && nowMs - last >= RESEND_MS);
}
