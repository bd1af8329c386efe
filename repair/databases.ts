/**
 * Databases and retention policies as registers (protocol rule 24), with InfluxDB 1.8's rules and error texts.
 *
 *   dropped/<database>               rank = number of drops of that name, as many as generations are dead
 *   dropped/<database>/<policy>      the same for a retention policy of that database's name
 *   database/<database>/<generation>                          {default, durability, conflict, created}
 *   policy/<database>/<generation>/<policy>/<generation>      {durationNs, shardDurationNs, earlierShards, replication, created}
 *   deletes/<database>/<generation>/<policy>/<generation>     true, written before the first delete for all its shards
 *
 * The generation of a new database is the number of drops of its name seen: CREATE on both sides of a partition gives
 * the same registers, whose policies add up when the sides meet. DROP raises the rank of `dropped/...`, which only grows,
 * so it kills everything of that generation, whatever the versions. Registers of dead generations stay; nothing reads them.
 * Names hold no `/` (InfluxDB forbids it), so keys need no escapes.
 */
import { z } from 'zod';
import type { ConflictRule } from '../shards/row-settle.ts';
import { type EarlierShards, relaidFrom } from '../shards/shard-key.ts';
import type { DatabaseDefinition, RetentionPolicyDefinition } from './cluster.ts';
import { MembershipError } from './membership-error.ts';
import { jsonOf, type Metadata, type Register } from './metadata.ts';

export interface RetentionPolicyOptions {
  readonly durationNs?: bigint;
  readonly replication?: number;
  /** 0n or left out: chosen from the duration. */
  readonly shardDurationNs?: bigint;
  readonly isDefault?: boolean;
}

/** Of the retention policy that a database is made with. */
export type FirstPolicyOptions = RetentionPolicyOptions & { readonly name?: string };

/** A register to be written; the caller draws the version. */
export interface Change {
  readonly key: string;
  readonly rank: number;
  readonly value: unknown;
}

export const DEFAULT_RETENTION_POLICY = 'autogen';
export const DEFAULT_REPLICATION = 3;
const REPLICATION_MAX = 64;
const NAME_BYTES_MAX = 1_024;
const HOUR_NS = 3_600_000_000_000n;
const DAY_NS = 24n * HOUR_NS;

/** `created`: hybrid stamp, for the order of listings. */
const databaseValueSchema = z.object({
  default: z.string(),
  durability: z.enum(['fsync', 'interval', 'none']),
  conflict: z.enum(['last-write-wins', 'first-write-wins']).default('last-write-wins'),
  created: z.string(),
});
type DatabaseValue = z.infer<typeof databaseValueSchema>;

const nanoseconds = z.string().regex(/^\d{1,19}$/);
const timestamp = z.string().regex(/^-?\d{1,19}$/);
const shardDurationNs = nanoseconds.refine((text) => BigInt(text) >= HOUR_NS);
const policyValueSchema = z.object({
  durationNs: nanoseconds,
  shardDurationNs,
  replication: z.number().int().min(1).max(REPLICATION_MAX),
  created: z.string(),
  earlierShards: z.array(z.object({ untilNs: timestamp, shardDurationNs })).optional(),
});
type PolicyValue = z.infer<typeof policyValueSchema>;

/** What lives: databases by name, their policies in order of creation, equal on all nodes with equal registers. */
export function databasesOf(metadata: Metadata): DatabaseDefinition[] {
  const policies = new Map<string, (RetentionPolicyDefinition & { created: string })[]>();
  for (const register of metadata.withPrefix('policy/')) {
    const [, database, generation, name, policyGeneration] = register.key.split('/') as [
      string,
      string,
      string,
      string,
      string,
    ];
    const value = parsed(register, policyValueSchema);
    if (value === null || Number(policyGeneration) !== dropsOf(metadata, `${database}/${name}`)) continue;
    const list = policies.get(`${database}/${generation}`) ?? [];
    policies.set(`${database}/${generation}`, list);
    list.push({
      name,
      generation: Number(policyGeneration),
      durationNs: BigInt(value.durationNs),
      shardDurationNs: BigInt(value.shardDurationNs),
      ...(value.earlierShards !== undefined && { earlierShards: value.earlierShards.map(earlierFromJson) }),
      replication: value.replication,
      hasDeletes: metadata.get(`deletes/${register.key.slice('policy/'.length)}`) !== null,
      created: value.created,
    });
  }
  const databases: DatabaseDefinition[] = [];
  for (const register of metadata.withPrefix('database/')) {
    const [, name, generation] = register.key.split('/') as [string, string, string];
    const value = parsed(register, databaseValueSchema);
    if (value === null || Number(generation) !== dropsOf(metadata, name)) continue;
    const list = policies.get(`${name}/${generation}`) ?? [];
    list.sort((a, b) => compare(a.created, b.created) || compare(a.name, b.name));
    databases.push({
      name,
      generation: Number(generation),
      durability: value.durability,
      conflict: value.conflict,
      defaultRetentionPolicy: value.default,
      retentionPolicies: list.map(({ created: _, ...policy }) => policy),
    });
  }
  return databases.sort((a, b) => compare(a.name, b.name));
}

/** Name, or `database\0policy` -> highest generation dropped. */
export function droppedThroughOf(metadata: Metadata): Record<string, number> {
  const dropped: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const register of metadata.withPrefix('dropped/')) {
    if (register.rank > 0) dropped[register.key.slice('dropped/'.length).replace('/', '\0')] = register.rank - 1;
  }
  return dropped;
}

/** Nothing to change when the database exists and fits; `created`: a stamp. */
export function createDatabaseChanges(
  metadata: Metadata,
  name: string,
  policy: FirstPolicyOptions | null,
  created: string,
  conflict?: ConflictRule,
): Change[] {
  checkName(name);
  const policyName = policy?.name ?? DEFAULT_RETENTION_POLICY;
  if (policy !== null) checkName(policyName);
  const wanted = policyValue(policy ?? {}, created);
  const existing = findDatabase(metadata, name);
  if (existing !== null) {
    // Fixed when the database is made: what replicas have dropped already cannot be chosen anew.
    if (conflict !== undefined && conflict !== existing.conflict)
      throw new MembershipError('conflict-rule-fixed', `database ${name} exists with CONFLICT ${existing.conflict}`);
    if (policy === null) return [];
    const same = existing.retentionPolicies.find((each) => each.name === policyName);
    if (same === undefined || !fits(policy, same) || existing.defaultRetentionPolicy !== policyName)
      throw policyConflict();
    return [];
  }
  const generation = dropsOf(metadata, name);
  const value: DatabaseValue = {
    default: policyName,
    durability: 'fsync',
    conflict: conflict ?? 'last-write-wins',
    created,
  };
  return [
    { key: `database/${name}/${generation}`, rank: 0, value },
    { key: policyKey(metadata, name, generation, policyName), rank: 0, value: wanted },
  ];
}

/** Dropping what is not there succeeds, as in InfluxDB. */
export function dropDatabaseChanges(metadata: Metadata, name: string): Change[] {
  if (findDatabase(metadata, name) === null) return [];
  return [{ key: `dropped/${name}`, rank: dropsOf(metadata, name) + 1, value: true }];
}

export function createPolicyChanges(
  metadata: Metadata,
  database: string,
  name: string,
  options: RetentionPolicyOptions,
  created: string,
): Change[] {
  if (name === '') throw new MembershipError('invalid-name', 'retention policy name required');
  checkName(name);
  const value = policyValue(options, created);
  const found = mustFind(metadata, database);
  const same = found.retentionPolicies.find((each) => each.name === name);
  if (same !== undefined) {
    const equal =
      same.replication === value.replication &&
      same.durationNs === BigInt(value.durationNs) &&
      same.shardDurationNs === BigInt(value.shardDurationNs);
    if (!equal) throw new MembershipError('retention-policy-exists', 'retention policy already exists');
    if (options.isDefault === true && found.defaultRetentionPolicy !== name) throw policyConflict();
    return [];
  }
  const changes: Change[] = [{ key: policyKey(metadata, database, found.generation, name), rank: 0, value }];
  if (options.isDefault === true) changes.push(...defaultChange(metadata, found, name));
  return changes;
}

export function alterPolicyChanges(
  metadata: Metadata,
  database: string,
  name: string,
  options: RetentionPolicyOptions,
  nowMs: number,
): Change[] {
  const found = mustFind(metadata, database);
  const policy = found.retentionPolicies.find((each) => each.name === name);
  if (policy === undefined)
    throw new MembershipError('retention-policy-not-found', `retention policy not found: ${name}`);
  const key = policyKey(metadata, database, found.generation, name);
  const before = parsed(metadata.get(key)!, policyValueSchema)!;
  const durationNs = options.durationNs ?? policy.durationNs;
  const value = policyValue(
    {
      durationNs,
      // An untouched shard duration stays as it is, even where the new duration would choose another one.
      shardDurationNs: options.shardDurationNs ?? policy.shardDurationNs,
      replication: options.replication ?? policy.replication,
    },
    before.created,
  );
  const { earlierShards = [] } =
    value.shardDurationNs === before.shardDurationNs
      ? policy
      : relaidFrom(soonNs(nowMs), policy, BigInt(value.shardDurationNs));
  if (earlierShards.length > 0) value.earlierShards = earlierShards.map(earlierToJson);
  const changes: Change[] = [];
  if (JSON.stringify(value) !== JSON.stringify(before)) changes.push({ key, rank: 0, value });
  if (options.isDefault === true) changes.push(...defaultChange(metadata, found, name));
  return changes;
}

/** No point that was written, or is on its way from a member that has not heard of a change, is expected after this. */
function soonNs(nowMs: number): bigint {
  return BigInt(Math.round(nowMs)) * 1_000_000n + DAY_NS;
}

function earlierFromJson(each: { untilNs: string; shardDurationNs: string }): EarlierShards {
  return { untilNs: BigInt(each.untilNs), shardDurationNs: BigInt(each.shardDurationNs) };
}

function earlierToJson(each: EarlierShards): { untilNs: string; shardDurationNs: string } {
  return { untilNs: each.untilNs.toString(), shardDurationNs: each.shardDurationNs.toString() };
}

/**
 * As in InfluxDB the default policy can be dropped: the name stays the default, so writes that name no policy get
 * `retention policy not found` until another one is made the default or this one is created again.
 */
export function dropPolicyChanges(metadata: Metadata, database: string, name: string): Change[] {
  const found = findDatabase(metadata, database);
  if (found === null || !found.retentionPolicies.some((each) => each.name === name)) return [];
  const path = `${database}/${name}`;
  return [{ key: `dropped/${path}`, rank: dropsOf(metadata, path) + 1, value: true }];
}

/** InfluxDB's choice where none is given; at least an hour where one is. */
export function shardDurationFor(durationNs: bigint, givenNs: bigint | undefined): bigint {
  if (givenNs !== undefined && givenNs > 0n) return givenNs < HOUR_NS ? HOUR_NS : givenNs;
  if (durationNs === 0n || durationNs >= 180n * DAY_NS) return 7n * DAY_NS;
  return durationNs >= 2n * DAY_NS ? DAY_NS : HOUR_NS;
}

/** Nothing to change when it is known already. */
export function noteDeletesChanges(metadata: Metadata, database: string, policy: string): Change[] {
  const found = mustFind(metadata, database);
  const known = found.retentionPolicies.find((each) => each.name === policy);
  if (known === undefined)
    throw new MembershipError('retention-policy-not-found', `retention policy not found: ${policy}`);
  if (known.hasDeletes) return [];
  const key = policyKey(metadata, database, found.generation, policy);
  return [{ key: `deletes/${key.slice('policy/'.length)}`, rank: 0, value: true }];
}

function policyValue(options: RetentionPolicyOptions, created: string): PolicyValue {
  const durationNs = options.durationNs ?? 0n;
  const replication = options.replication ?? DEFAULT_REPLICATION;
  if (durationNs !== 0n && durationNs < HOUR_NS) {
    throw new MembershipError('retention-policy-duration', 'retention policy duration must be at least 1h0m0s');
  }
  if (!(replication >= 1)) {
    throw new MembershipError('retention-policy-replication', 'replication factor must be greater than 0');
  }
  if (replication > REPLICATION_MAX || !Number.isInteger(replication)) {
    throw new MembershipError(
      'retention-policy-replication',
      `replication factor must be a whole number of at most ${REPLICATION_MAX}`,
    );
  }
  const shardDurationNs = shardDurationFor(durationNs, options.shardDurationNs);
  if (durationNs !== 0n && durationNs < shardDurationNs) {
    throw new MembershipError(
      'retention-policy-duration',
      'retention policy duration must be greater than the shard duration',
    );
  }
  return { durationNs: durationNs.toString(), shardDurationNs: shardDurationNs.toString(), replication, created };
}

function fits(options: RetentionPolicyOptions, policy: RetentionPolicyDefinition): boolean {
  return (
    (options.durationNs === undefined || options.durationNs === policy.durationNs) &&
    (options.replication === undefined || options.replication === policy.replication) &&
    shardDurationFor(policy.durationNs, options.shardDurationNs) === policy.shardDurationNs
  );
}

function defaultChange(metadata: Metadata, database: DatabaseDefinition, name: string): Change[] {
  if (database.defaultRetentionPolicy === name) return [];
  const key = `database/${database.name}/${database.generation}`;
  const before = parsed(metadata.get(key)!, databaseValueSchema)!;
  return [{ key, rank: 0, value: { ...before, default: name } }];
}

function findDatabase(metadata: Metadata, name: string): DatabaseDefinition | null {
  return databasesOf(metadata).find((each) => each.name === name) ?? null;
}

export function mustFind(metadata: Metadata, name: string): DatabaseDefinition {
  const found = findDatabase(metadata, name);
  if (found === null) throw new MembershipError('database-not-found', `database not found: ${name}`);
  return found;
}

function policyKey(metadata: Metadata, database: string, generation: number, name: string): string {
  return `policy/${database}/${generation}/${name}/${dropsOf(metadata, `${database}/${name}`)}`;
}

export function dropsOf(metadata: Metadata, path: string): number {
  return metadata.get(`dropped/${path}`)?.rank ?? 0;
}

/** InfluxDB's names: printable, without slashes, not `.` or `..`. */
function checkName(name: string): void {
  const bad = name === '' || name === '.' || name === '..' || /[/\\]|[\p{C}\p{Zl}\p{Zp}]/u.test(name);
  if (bad || Buffer.byteLength(name) > NAME_BYTES_MAX) throw new MembershipError('invalid-name', 'invalid name');
}

function policyConflict(): MembershipError {
  return new MembershipError('retention-policy-conflict', 'retention policy conflicts with an existing policy');
}

/** null for a deleted register, and for one that this version cannot read: a peer's mistake must not end this process. */
export function parsed<T>(register: Register, schema: z.ZodType<T>): T | null {
  if (register.value === null) return null;
  const value = schema.safeParse(jsonOf(register));
  return value.success ? value.data : null;
}

export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
