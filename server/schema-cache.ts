/**
 * The types of fields that this coordinator knows, per shard group; the type rule is checked against it before a version
 * is drawn, and never on receipt (protocol rule 6).
 *
 * A group is loaded from the owners of its shards before its first write, learns from every batch accepted here, and is
 * refreshed for what other coordinators accepted. Two coordinators may still accept a field with two types at the same
 * moment; both then settle on the stronger type, which is also the one that queries use. A delete of a whole measurement
 * ends with the types of its fields: groups of its policy are loaded anew. A group that could not be
 * loaded from anybody starts empty: availability goes before the type rule.
 *
 * How many series a group has is learnt in the same way, and by the same questions (series-count.ts).
 */
import type { GroupSchema, RoutingPolicy } from '../shards/batch-builder.ts';
import type { FieldType } from '../shards/column.ts';
import type { ShardId, ShardKey, ShardLayout } from '../shards/shard-key.ts';
import { SHARDS_PER_GROUP, shardId, shardRange } from '../shards/shard-key.ts';
import { SeriesCount } from './series-count.ts';
import type { KnownShard } from './shard-places.ts';
import { isUnderOtherDeletes, type SchemaAnswer } from './shard-questions.ts';

const GROUPS_MAX = 4_096;
const ACTIVE_MS = 60_000;

export interface PolicyName {
  readonly database: string;
  readonly databaseGeneration: number;
  readonly retentionPolicy: string;
  readonly retentionPolicyGeneration: number;
}

export interface GroupName extends ShardLayout, PolicyName {
  readonly startNs: bigint;
}

export interface SchemaShard extends KnownShard {
  /** The mark of what is known of its fields. */
  readonly known: number;
  /** How many series it had when it was asked last. */
  readonly series: number;
}

export interface SchemaSource {
  /** Asks the owners; leaves out shards that nobody can answer for, or of which all is known. */
  ask(shards: readonly SchemaShard[]): Promise<readonly SchemaAnswer[]>;
  /** There is nobody to be asked: as far as is known here none of them exists. */
  isNew(shards: readonly KnownShard[]): boolean;
}

/** A shard group as far as it is known here. */
export interface KnownGroup extends GroupSchema {
  readonly series: SeriesCount;
  /** By number. */
  readonly shards: readonly KnownShard[];
}

export function groupNameOf(routing: RoutingPolicy, startNs: bigint): GroupName {
  return { ...routing, startNs };
}

interface Group {
  readonly schema: Types;
  readonly shards: Map<ShardId, { key: ShardKey; known: number }>;
  usedMs: number;
}

export class SchemaCache {
  #source: SchemaSource;
  #groups = new Map<string, Group>();
  #loading = new Map<string, Promise<void>>();

  constructor(source: SchemaSource) {
    this.#source = source;
  }

  /** null: to be loaded first. */
  get(name: GroupName, nowMs: number): KnownGroup | null {
    const group = this.#groups.get(textOf(name));
    if (group === undefined) return null;
    group.usedMs = nowMs;
    return group.schema;
  }

  /** Like `get`, but a group that is new is known at once, and empty: its first body need not be read again for that. */
  getOrBegin(name: GroupName, nowMs: number): KnownGroup | null {
    const known = this.get(name, nowMs);
    if (known !== null) return known;
    const text = textOf(name);
    const group = newGroup(name, nowMs);
    if (this.#loading.has(text) || !this.#source.isNew(group.schema.shards)) return null;
    this.#keep(text, group);
    return group.schema;
  }

  /** Never rejects for an absent owner. */
  load(name: GroupName, nowMs: number): Promise<void> {
    const text = textOf(name);
    const running = this.#loading.get(text);
    if (running !== undefined) return running;
    const group = newGroup(name, nowMs);
    const loading = this.#fill([group])
      .then(() => {})
      .finally(() => {
        this.#loading.delete(text);
        this.#keep(text, group);
      });
    this.#loading.set(text, loading);
    return loading;
  }

  #keep(text: string, group: Group): void {
    if (this.#groups.size >= GROUPS_MAX) this.#groups.delete(this.#groups.keys().next().value!);
    this.#groups.set(text, group);
  }

  /** A write failed after its types were learnt: what the shards really hold is asked again at the next write. */
  forget(name: GroupName): void {
    this.#groups.delete(textOf(name));
  }

  /** Measurements were deleted: the types of their fields are whatever comes next. */
  forgetPolicy({ database, databaseGeneration, retentionPolicy, retentionPolicyGeneration }: PolicyName): void {
    const start = `${database}\0${databaseGeneration}\0${retentionPolicy}\0${retentionPolicyGeneration}\0`;
    for (const text of this.#groups.keys()) if (text.startsWith(start)) this.#groups.delete(text);
  }

  /** Takes in what other coordinators have written to groups that are in use here, and forgets those in which they deleted measurements. */
  async refresh(nowMs: number): Promise<void> {
    const active = [...this.#groups].filter(([, group]) => nowMs - group.usedMs < ACTIVE_MS);
    if (active.length === 0) return;
    const changed = await this.#fill(active.map(([, group]) => group));
    for (const [text, group] of active)
      if (changed.has(group) && this.#groups.get(text) === group) this.#groups.delete(text);
  }

  /**
   * Asks for the shards of all of them at once: one question for each worker or member that has some. Returns those in which
   * deletes have hidden fields since they were asked last.
   */
  async #fill(groups: readonly Group[]): Promise<ReadonlySet<Group>> {
    const changed = new Set<Group>();
    const groupOf = new Map(groups.flatMap((group) => [...group.shards.keys()].map((id) => [id, group] as const)));
    const asked = groups.flatMap(({ shards, schema }) =>
      [...shards].map(([id, { key, known }]) => ({ id, key, known, series: schema.series.storedOf(id) })),
    );
    const marks = groups.map(({ schema }) => schema.series.mark);
    const counts = new Map<Group, [ShardId, number][]>(groups.map((group) => [group, []]));
    for (const { id, fields, mark, series } of await this.#source.ask(asked)) {
      const group = groupOf.get(id);
      if (group === undefined) continue;
      if (series !== undefined) counts.get(group)!.push([id, series]);
      if (fields === undefined) continue;
      const shard = group.shards.get(id)!;
      // A member of an earlier version gives no mark.
      const now = mark ?? fields.length;
      if (isUnderOtherDeletes(now, shard.known)) changed.add(group);
      shard.known = now;
      for (const { measurement, field, type } of fields) group.schema.learn(measurement, field, type);
    }
    for (const [i, group] of groups.entries()) group.schema.series.answered(marks[i]!, counts.get(group)!);
    return changed;
  }
}

function newGroup(name: GroupName, nowMs: number): Group {
  const { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration } = name;
  const range = shardRange(name.startNs, name);
  const shards: KnownShard[] = [];
  for (let number = 0; number < SHARDS_PER_GROUP; number++) {
    const key = { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration, ...range, number };
    shards.push({ id: shardId(key), key });
  }
  const known = new Map(shards.map(({ id, key }) => [id, { key, known: 0 }]));
  return { schema: new Types(shards), shards: known, usedMs: nowMs };
}

/** Of two types that a field was given, the stronger one counts. */
class Types implements KnownGroup {
  readonly series = new SeriesCount();
  readonly shards: readonly KnownShard[];
  readonly #fields = new Map<string, Map<string, FieldType>>();
  revision = 0;

  constructor(shards: readonly KnownShard[]) {
    this.shards = shards;
  }

  typeOf(measurement: string, field: string): FieldType | null {
    return this.#fields.get(measurement)?.get(field) ?? null;
  }

  learn(measurement: string, field: string, type: FieldType): void {
    let fields = this.#fields.get(measurement);
    if (fields === undefined) {
      fields = new Map();
      this.#fields.set(measurement, fields);
    }
    const before = fields.get(field);
    if (before !== undefined && type >= before) return;
    if (before !== undefined) this.revision++;
    fields.set(field, type);
  }
}

function textOf(name: GroupName): string {
  const { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration, startNs, shardDurationNs } = name;
  const text = `${database}\0${databaseGeneration}\0${retentionPolicy}\0${retentionPolicyGeneration}\0${startNs}\0${shardDurationNs}`;
  if (name.earlierShards === undefined) return text;
  return text + name.earlierShards.map((each) => `\0${each.untilNs}\0${each.shardDurationNs}`).join('');
}
