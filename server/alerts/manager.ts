/**
 * Evaluates the rules of which this node is the evaluator, and keeps their state where every node has it.
 *
 * Rules are registers `rule/<name>`, states are registers `alert/<name>` of the cluster's metadata. The evaluator of a
 * rule is the first live member by rendezvous hashing; when it dies, the next one finds the state and goes on. On two
 * sides of a partition both evaluate and both notify: two alerts with one fingerprint are better than none.
 * The register is written when an instance changes its state or a receiver took a notification, and otherwise at most
 * every `STATE_SAVE_MS`, so that a quiet rule costs nothing.
 */
import { type ClusterRegisters, memberFor } from '../cluster-registers.ts';
import type { QueryService, StatementResult } from '../query/result.ts';
import { dueNotifications, evaluate, failed, NEW_STATE, notified, type RuleState, samplesOf } from './evaluation.ts';
import { sendNotification } from './notifier.ts';
import { type CompiledRule, compileRule, parseRule, type Rule, RuleError } from './rule.ts';

const RULE_PREFIX = 'rule/';
const STATE_PREFIX = 'alert/';
const STATE_SAVE_MS = 30_000;
const RULES_MAX = 10_000;
/** Rules whose queries run at the same time on this node. */
const EVALUATIONS_MAX = 8;

/** What alerts need of the cluster; the node's core provides it, bound to the clock. */
export interface AlertCluster extends ClusterRegisters {
  readonly externalUrl: string;
}

export interface AlertLog {
  warn(details: object, message: string): void;
}

export interface RuleStatus {
  readonly name: string;
  readonly rule: Rule;
  /** Live member that evaluates it now. */
  readonly evaluator: string;
  readonly state: RuleState;
}

interface StoredRule {
  readonly rule: Rule;
  /** Hash of the file that it came from; null when it came through the API. */
  readonly fileHash: string | null;
}

export class AlertManager {
  readonly #cluster: AlertCluster;
  readonly #query: QueryService;
  readonly #log: AlertLog;
  readonly #compiled = new Map<string, { rule: Rule; compiled: CompiledRule }>();
  /** State of the rules evaluated here; for the others the register counts. */
  readonly #local = new Map<string, { state: RuleState; savedAtMs: number }>();
  readonly #running = new Set<string>();

  constructor(cluster: AlertCluster, query: QueryService, log: AlertLog) {
    this.#cluster = cluster;
    this.#query = query;
    this.#log = log;
  }

  /** @throws RuleError */
  putRule(name: string, input: unknown, fileHash: string | null = null): Rule {
    const rule = parseRule(name, input);
    const exists = this.#cluster.register(RULE_PREFIX + name) !== undefined;
    if (!exists && this.#cluster.registers(RULE_PREFIX).length >= RULES_MAX)
      throw new RuleError(`more than ${RULES_MAX} rules`);
    this.#cluster.putRegister(RULE_PREFIX + name, { rule, fileHash } satisfies StoredRule);
    return rule;
  }

  /** Hash of the file behind a rule, so that an unchanged file does not undo a later change through the API. */
  fileHashOf(name: string): string | null {
    return (this.#cluster.register(RULE_PREFIX + name) as StoredRule | undefined)?.fileHash ?? null;
  }

  /** False when there is no such rule. Receivers of its firing alerts are told once that these are resolved. */
  deleteRule(name: string, nowMs: number): boolean {
    const stored = this.#cluster.register(RULE_PREFIX + name) as StoredRule | undefined;
    if (stored === undefined) return false;
    const compiled = compileRule(name, stored.rule);
    const last = evaluate(compiled, this.#stateOf(name), [], false, nowMs, this.#cluster.selfName);
    void this.#notify(compiled, last, nowMs);
    this.#cluster.deleteRegister(RULE_PREFIX + name);
    this.#cluster.deleteRegister(STATE_PREFIX + name);
    this.#local.delete(name);
    return true;
  }

  rules(): RuleStatus[] {
    return this.#rules().map(({ name, rule }) => ({
      name,
      rule,
      evaluator: this.#evaluatorOf(name),
      state: this.#stateOf(name),
    }));
  }

  rule(name: string): RuleStatus | null {
    return this.rules().find((one) => one.name === name) ?? null;
  }

  /** Starts what is due; resolves when all evaluations that it started have ended. */
  async tick(nowMs: number): Promise<void> {
    const due = this.#rules().filter(({ name, rule }) => this.#isDue(name, rule, nowMs));
    for (const name of this.#local.keys())
      if (this.#evaluatorOf(name) !== this.#cluster.selfName) this.#local.delete(name);
    const started: Promise<void>[] = [];
    for (const { name, rule } of due) {
      if (this.#running.size >= EVALUATIONS_MAX) break;
      this.#running.add(name);
      started.push(this.#run(this.#compile(name, rule), nowMs).finally(() => this.#running.delete(name)));
    }
    await Promise.all(started);
  }

  #rules(): { name: string; rule: Rule }[] {
    return this.#cluster
      .registers(RULE_PREFIX)
      .map(({ key, value }) => ({ name: key.slice(RULE_PREFIX.length), rule: (value as StoredRule).rule }));
  }

  #isDue(name: string, rule: Rule, nowMs: number): boolean {
    if (this.#running.has(name) || this.#evaluatorOf(name) !== this.#cluster.selfName) return false;
    const last = this.#stateOf(name).evaluatedAtMs;
    // A last evaluation in the future is another node's clock, or ours stepped back: do not wait for it.
    return last === null || nowMs < last || nowMs - last >= this.#compile(name, rule).intervalMs;
  }

  #evaluatorOf(name: string): string {
    return memberFor(this.#cluster, RULE_PREFIX + name);
  }

  #stateOf(name: string): RuleState {
    return (
      this.#local.get(name)?.state ??
      (this.#cluster.register(STATE_PREFIX + name) as RuleState | undefined) ??
      NEW_STATE
    );
  }

  #compile(name: string, rule: Rule): CompiledRule {
    const known = this.#compiled.get(name);
    if (known?.rule === rule) return known.compiled;
    const compiled = compileRule(name, rule);
    this.#compiled.set(name, { rule, compiled });
    return compiled;
  }

  async #run(compiled: CompiledRule, nowMs: number): Promise<void> {
    const { name } = compiled;
    const before = this.#stateOf(name);
    const after = await this.#evaluate(compiled, before, nowMs);
    if (this.#cluster.register(RULE_PREFIX + name) === undefined) return;
    // Before anybody is told, the state is on disk and on its way to the others.
    const changed = transitions(before) !== transitions(after);
    if (changed) this.#save(name, after, nowMs);
    const told = await this.#notify(compiled, after, nowMs);
    const savedAtMs = this.#local.get(name)?.savedAtMs ?? 0;
    if (told !== after || Math.abs(nowMs - savedAtMs) >= STATE_SAVE_MS) this.#save(name, told, nowMs);
    else this.#local.set(name, { state: told, savedAtMs });
  }

  /** The state with what receivers have taken noted; the same object when there was nothing to send or nobody took it. */
  async #notify({ name, rule }: CompiledRule, state: RuleState, nowMs: number): Promise<RuleState> {
    let told = state;
    for (const due of dueNotifications(rule, state, nowMs)) {
      try {
        await sendNotification(due, { rule: name, externalUrl: this.#cluster.externalUrl, nowMs });
        told = notified(told, due, nowMs);
      } catch (error) {
        this.#log.warn({ rule: name, error: (error as Error).message }, 'a notification was not taken');
      }
    }
    return told;
  }

  #save(name: string, state: RuleState, nowMs: number): void {
    this.#cluster.putRegister(STATE_PREFIX + name, state);
    this.#local.set(name, { state, savedAtMs: nowMs });
  }

  async #evaluate(compiled: CompiledRule, before: RuleState, nowMs: number): Promise<RuleState> {
    const self = this.#cluster.selfName;
    try {
      const result = await this.#ask(compiled.rule, nowMs);
      if (result.error !== undefined) return failed(before, result.error, nowMs, self);
      const incomplete = result.completeness?.complete === false;
      return evaluate(compiled, before, samplesOf(result.series ?? []), incomplete, nowMs, self);
    } catch (error) {
      return failed(before, (error as Error).message, nowMs, self);
    }
  }

  async #ask(rule: Rule, nowMs: number): Promise<StatementResult> {
    const results: StatementResult[] = [];
    const options = {
      database: rule.database,
      nowNs: BigInt(nowMs) * 1_000_000n,
      readOnly: true,
      chunkSize: null,
      completeness: true,
    };
    for await (const result of this.#query.execute(rule.query, options)) results.push(result);
    if (results.length !== 1) throw new RuleError(`the query has ${results.length} statements; one is expected`);
    return results[0]!;
  }
}

/** What must not be lost by a failover: which instances stand where, since when, and whether the rule could be judged. */
function transitions(state: RuleState): string {
  const instances = Object.entries(state.instances).map(([fingerprint, one]) => [
    fingerprint,
    one.state,
    one.activeAtMs,
  ]);
  return JSON.stringify([instances.sort(), state.error, state.incomplete]);
}
