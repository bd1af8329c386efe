/**
 * Sending notifications. Bodies are those that receivers already understand: Alertmanager's webhook format (version
 * "4") and Alertmanager's own `POST /api/v2/alerts`.
 *
 * Nothing is retried here: what a receiver has not taken stays due and is sent with the next evaluation. `groupKey`,
 * fingerprint and `startsAt` are the same whichever node sends, so a receiver can drop what it has had.
 */
import { Agent, request } from 'undici';
import { type AlertInstance, type DueNotification, fingerprintOf, RESEND_MS } from './evaluation.ts';

const SEND_TIMEOUT_MS = 10_000;
/** Alertmanager resolves an alert by itself at `endsAt`: four resends ahead, as Prometheus does. */
const ENDS_AHEAD_MS = 4 * RESEND_MS;
const NEVER = '0001-01-01T00:00:00Z';

const agent = new Agent({ connections: 8, headersTimeout: SEND_TIMEOUT_MS, bodyTimeout: SEND_TIMEOUT_MS });

export interface NotificationContext {
  readonly rule: string;
  /** Address of this cluster for people who read the alert. */
  readonly externalUrl: string;
  readonly nowMs: number;
}

/** Resolves when the receiver answered 2xx; rejects with a line that says what went wrong. */
export async function sendNotification(due: DueNotification, context: NotificationContext): Promise<void> {
  const { receiver, instances } = due;
  if ('webhook' in receiver) return post(receiver.webhook, webhookBody(instances, context));
  return post(`${receiver.alertmanager.replace(/\/+$/, '')}/api/v2/alerts`, alertmanagerBody(instances, context));
}

export function webhookBody(instances: readonly AlertInstance[], context: NotificationContext): object {
  return {
    version: '4',
    groupKey: `{}:{alertname=${JSON.stringify(context.rule)}}`,
    truncatedAlerts: 0,
    status: instances.some((one) => one.state === 'firing') ? 'firing' : 'resolved',
    receiver: 'starling',
    groupLabels: { alertname: context.rule },
    commonLabels: commonEntries(instances.map((one) => one.labels)),
    commonAnnotations: commonEntries(instances.map((one) => one.annotations)),
    externalURL: context.externalUrl,
    alerts: instances.map((one) => ({
      status: one.state,
      labels: one.labels,
      annotations: { ...one.annotations, value: String(one.value) },
      startsAt: new Date(one.startsAtMs!).toISOString(),
      endsAt: one.endsAtMs === null ? NEVER : new Date(one.endsAtMs).toISOString(),
      generatorURL: generatorUrl(context),
      fingerprint: fingerprintOf(one.labels),
    })),
  };
}

export function alertmanagerBody(instances: readonly AlertInstance[], context: NotificationContext): object {
  return instances.map((one) => ({
    labels: one.labels,
    annotations: { ...one.annotations, value: String(one.value) },
    startsAt: new Date(one.startsAtMs!).toISOString(),
    endsAt: new Date(one.endsAtMs ?? context.nowMs + ENDS_AHEAD_MS).toISOString(),
    generatorURL: generatorUrl(context),
  }));
}

function generatorUrl(context: NotificationContext): string {
  return `${context.externalUrl}/api/rules/${encodeURIComponent(context.rule)}`;
}

function commonEntries(maps: readonly Readonly<Record<string, string>>[]): Record<string, string> {
  const [first, ...rest] = maps;
  return Object.fromEntries(
    Object.entries(first ?? {}).filter(([key, value]) => rest.every((map) => map[key] === value)),
  );
}

async function post(url: string, body: object): Promise<void> {
  const response = await request(url, {
    method: 'POST',
    dispatcher: agent,
    headers: { 'content-type': 'application/json', 'user-agent': 'starling' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(SEND_TIMEOUT_MS),
  });
  const text = await response.body.text();
  if (response.statusCode < 200 || response.statusCode > 299) {
    throw new Error(`${url} answered ${response.statusCode}: ${text.slice(0, 200)}`);
  }
}
