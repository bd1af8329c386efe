/**
 * The HTTP side of alerts: `GET /api/alerts`, `GET /api/rules`, `GET|PUT|DELETE /api/rules/:name`. Rules are taken as
 * JSON or YAML. Errors have the admin API's shape.
 */
import express, { type Express, type Response } from 'express';
import { parse as parseYaml } from 'yaml';
import { fingerprintOf } from './evaluation.ts';
import type { AlertManager, RuleStatus } from './manager.ts';
import { RuleError } from './rule.ts';

const RULE_BYTES_MAX = 256 * 1024;

export function addAlertRoutes(app: Express, manager: AlertManager): void {
  app.get('/api/alerts', (_request, response) => {
    response.json(manager.rules().flatMap(alertsOf));
  });
  app.get('/api/rules', (_request, response) => {
    response.json(manager.rules().map(describe));
  });
  app.get('/api/rules/:name', (request, response) => {
    const rule = manager.rule(request.params.name);
    if (rule === null) return notFound(response, request.params.name);
    response.json(describe(rule));
  });
  app.put('/api/rules/:name', express.text({ type: () => true, limit: RULE_BYTES_MAX }), (request, response) => {
    try {
      const rule = manager.putRule(request.params.name!, parseBody(request.body));
      response.json({ name: request.params.name, rule });
    } catch (error) {
      if (!(error instanceof RuleError)) throw error;
      response.status(error.status).json({ code: error.code, message: error.message });
    }
  });
  app.delete('/api/rules/:name', (request, response) => {
    if (!manager.deleteRule(request.params.name, Date.now())) return notFound(response, request.params.name);
    response.status(204).end();
  });
}

function notFound(response: Response, name: string): void {
  response.status(404).json({ code: 'not-found', message: `no rule named ${name}` });
}

/** YAML contains JSON, so one parser reads both. */
function parseBody(body: unknown): unknown {
  if (typeof body !== 'string' || body.trim() === '')
    throw new RuleError('a rule is expected in the body, as JSON or YAML');
  try {
    return parseYaml(body) as unknown;
  } catch (error) {
    throw new RuleError(`the body is neither JSON nor YAML: ${(error as Error).message.split('\n')[0]}`);
  }
}

function describe({ name, rule, evaluator, state }: RuleStatus): object {
  const instances = Object.values(state.instances);
  const count = (wanted: string) => instances.filter((one) => one.state === wanted).length;
  return {
    name,
    rule,
    evaluator,
    state: count('firing') > 0 ? 'firing' : count('pending') > 0 ? 'pending' : 'inactive',
    evaluatedAt: state.evaluatedAtMs === null ? null : new Date(state.evaluatedAtMs).toISOString(),
    error: state.error,
    incomplete: state.incomplete,
    alerts: alertsOf({ name, rule, evaluator, state }),
  };
}

function alertsOf({ name, evaluator, state }: RuleStatus): object[] {
  const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  return Object.values(state.instances).map((one) => ({
    rule: name,
    fingerprint: fingerprintOf(one.labels),
    state: one.state,
    value: one.value,
    labels: one.labels,
    annotations: one.annotations,
    activeAt: iso(one.activeAtMs),
    startsAt: iso(one.startsAtMs),
    endsAt: iso(one.endsAtMs),
    evaluator,
  }));
}
