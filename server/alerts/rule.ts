/**
 * Alert rules: what people write (YAML file or `PUT /api/rules/:name`), checked and made ready for evaluation.
 *
 * A rule asks an InfluxQL query and compares the newest value of each resulting series with a threshold; each series is
 * one alert instance. The rule as written is what is stored and shown; `compileRule` turns it into numbers.
 */
import { z } from 'zod';
import { parseDurationMs } from '../duration.ts';
import { ParseError, parseQuery } from '../influxql/parser.ts';

const duration = z
  .string()
  .refine((text) => parseDurationMs(text) !== null, { error: 'expected a duration such as 30s, 1m or 1h30m' });
const labelName = z.string().regex(/^[a-zA-Z_][a-zA-Z0-9_]*$/, 'a label name is letters, digits and underscores');
const labels = z.record(labelName, z.string());
const notifier = z.union([
  z.strictObject({ webhook: z.url({ protocol: /^https?$/ }) }),
  z.strictObject({ alertmanager: z.url({ protocol: /^https?$/ }) }),
]);

const CONDITION = /^\s*(>=|<=|==|!=|>|<|=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$/;

export const ruleSchema = z.strictObject({
  database: z.string().min(1).describe('Database that the query reads'),
  query: z.string().min(1).describe('InfluxQL SELECT over a range; the newest value of each series is judged'),
  condition: z
    .string()
    .regex(CONDITION, 'a comparison with a number, such as "> 90"')
    .describe('Comparison with a number, such as "> 90"'),
  for: duration.default('0').describe('How long the condition must hold before the alert fires'),
  interval: duration.default('10s').describe('How often the rule is evaluated'),
  labels: labels.default({}),
  annotations: labels.default({}),
  notify: z.array(notifier).max(16).default([]),
  on_incomplete: z
    .enum(['fire', 'hold', 'annotate'])
    .default('annotate')
    .describe(
      'When no owner of a needed shard is up: judge what is there (fire), keep the state (hold), or judge and say so (annotate)',
    ),
});

export type Rule = z.infer<typeof ruleSchema>;
export type Notifier = Rule['notify'][number];

export const RULE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;
const INTERVAL_MIN_MS = 1000;

export interface CompiledRule {
  readonly name: string;
  readonly rule: Rule;
  readonly forMs: number;
  readonly intervalMs: number;
  readonly judge: (value: number) => boolean;
}

export class RuleError extends Error {
  readonly code = 'invalid-rule';
  readonly status = 400;
}

/** @throws RuleError naming each thing that is wrong. */
export function parseRule(name: string, input: unknown): Rule {
  if (!RULE_NAME.test(name))
    throw new RuleError(`rule name ${JSON.stringify(name)}: letters, digits, '_', '-' and '.', at most 128`);
  const result = ruleSchema.safeParse(input);
  if (!result.success) {
    const what = result.error.issues.map((issue) => `${issue.path.join('.') || 'rule'}: ${issue.message}`).join('; ');
    throw new RuleError(`rule ${name}: ${what}`);
  }
  const rule = result.data;
  if (parseDurationMs(rule.interval)! < INTERVAL_MIN_MS) throw new RuleError(`rule ${name}: interval: at least 1s`);
  const problem = queryProblem(rule.query);
  if (problem !== null) throw new RuleError(`rule ${name}: query: ${problem}`);
  return rule;
}

/** A mistake in the query is told to who writes the rule, not to who waits for the alert. */
function queryProblem(text: string): string | null {
  try {
    const [statement, ...more] = parseQuery(text);
    return statement?.kind === 'select' && more.length === 0 ? null : 'expected one SELECT statement';
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return error.message;
  }
}

export function compileRule(name: string, rule: Rule): CompiledRule {
  const [, operator, threshold] = CONDITION.exec(rule.condition)!;
  return {
    name,
    rule,
    forMs: parseDurationMs(rule.for)!,
    intervalMs: parseDurationMs(rule.interval)!,
    judge: comparison(operator!, Number(threshold)),
  };
}

function comparison(operator: string, threshold: number): (value: number) => boolean {
  switch (operator) {
    case '>':
      return (value) => value > threshold;
    case '>=':
      return (value) => value >= threshold;
    case '<':
      return (value) => value < threshold;
    case '<=':
      return (value) => value <= threshold;
    case '!=':
      return (value) => value !== threshold;
    default:
      return (value) => value === threshold;
  }
}
