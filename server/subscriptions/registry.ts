/**
 * Subscriptions as registers of the cluster's metadata, so that every node has them.
 *
 *   subscription/<database>/<generation>/<policy>/<generation>/<name>   {mode, destinations, createdMs}
 *
 * They belong to generations of their database and retention policy and go with them. A name may hold any character, so it is encoded.
 */
import { z } from 'zod';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import type { ClusterRegisters } from '../cluster-registers.ts';
import { QueryError } from '../query/query-error.ts';
import { decodedName, encodedName } from '../register-names.ts';
import { parseDestination, withoutPassword } from './destination-url.ts';

const PREFIX = 'subscription/';
const SUBSCRIPTIONS_MAX = 1_000;
const DESTINATIONS_MAX = 64;
/** Of what names a subscription: its database, its policy and itself, encoded. */
const KEY_LENGTH_MAX = 1_000;

const stored = z.object({
  mode: z.enum(['ALL', 'ANY']),
  destinations: z.array(z.string()).max(DESTINATIONS_MAX),
  createdMs: z.number(),
});

export interface Subscription extends Readonly<z.infer<typeof stored>> {
  readonly database: string;
  readonly policy: string;
  readonly name: string;
  /** Names it in the cluster. */
  readonly key: string;
}

type Registers = Pick<ClusterRegisters, 'register' | 'registers' | 'putRegister' | 'deleteRegister'>;

export class Subscriptions {
  readonly #registers: Registers;
  readonly #snapshot: () => Pick<ClusterSnapshot, 'databases'>;
  readonly #nowMs: () => number;

  constructor(
    registers: Registers,
    snapshot: () => Pick<ClusterSnapshot, 'databases'>,
    nowMs: () => number = Date.now,
  ) {
    this.#registers = registers;
    this.#snapshot = snapshot;
    this.#nowMs = nowMs;
  }

  /** By database and policy, then as they were made. */
  all(): Subscription[] {
    const policies = new Map<string, { readonly place: number; readonly database: string; readonly policy: string }>();
    for (const { name: database, generation, retentionPolicies } of this.#snapshot().databases)
      for (const policy of retentionPolicies) {
        const prefix = prefixOf(database, generation, policy.name, policy.generation);
        policies.set(prefix, { place: policies.size, database, policy: policy.name });
      }
    const found: (Subscription & { place: number })[] = [];
    for (const { key, value } of this.#registers.registers(PREFIX)) {
      const end = key.lastIndexOf('/') + 1;
      const of = policies.get(key.slice(0, end));
      const read = stored.safeParse(value);
      if (of !== undefined && read.success) found.push({ ...read.data, ...of, name: decodedName(key.slice(end)), key });
    }
    found.sort((a, b) => a.place - b.place || a.createdMs - b.createdMs || (a.key < b.key ? -1 : 1));
    return found.map(({ place: _, ...subscription }) => subscription);
  }

  /** Throws QueryError with InfluxDB's text. */
  create(database: string, policy: string, name: string, mode: 'ALL' | 'ANY', destinations: readonly string[]): void {
    for (const url of destinations)
      if (parseDestination(url) === null) throw new QueryError(`invalid subscription URL: ${withoutPassword(url)}`);
    const key = this.#keyOf(database, policy, name);
    if (key.length > KEY_LENGTH_MAX) throw new QueryError('invalid name');
    if (this.#registers.register(key) !== undefined) throw new QueryError('subscription already exists');
    if (destinations.length > DESTINATIONS_MAX) throw new QueryError(`more than ${DESTINATIONS_MAX} destinations`);
    if (this.all().length >= SUBSCRIPTIONS_MAX) throw new QueryError(`more than ${SUBSCRIPTIONS_MAX} subscriptions`);
    this.#registers.putRegister(key, { mode, destinations, createdMs: this.#nowMs() });
  }

  /** Throws QueryError with InfluxDB's text. */
  drop(database: string, policy: string, name: string): void {
    const key = this.#keyOf(database, policy, name);
    if (this.#registers.register(key) === undefined) throw new QueryError('subscription not found');
    this.#registers.deleteRegister(key);
  }

  #keyOf(database: string, policy: string, name: string): string {
    const found = this.#snapshot().databases.find((each) => each.name === database);
    if (found === undefined) throw new QueryError(`database not found: ${database}`);
    const of = found.retentionPolicies.find((each) => each.name === policy);
    if (of === undefined) throw new QueryError(`retention policy not found: ${policy}`);
    return prefixOf(database, found.generation, policy, of.generation) + encodedName(name);
  }
}

function prefixOf(database: string, generation: number, policy: string, policyGeneration: number): string {
  return `${PREFIX}${database}/${generation}/${policy}/${policyGeneration}/`;
}
