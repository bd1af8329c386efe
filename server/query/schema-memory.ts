/**
 * Schemas of shards that earlier statements met, so that planning a SELECT needs no round trip.
 *
 * What is remembered may be old; it is never believed. The request that the plan makes carries the fingerprints of the
 * schemas it rests on, and a shard that has another one by now answers `stale` instead (shards/query/shard-schema.ts): an
 * answer is always given by the schema that the shard has while it reads. A statement of which not every remembered
 * schema was confirmed that way (a shard is stale or missing, planning failed, nothing was left to ask) is planned again
 * from schemas that are asked for.
 */
import type { MeasurementPick, MeasurementSchema, PlannedSchemas, ShardSchema } from '../../shards/query/partial.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import type { ShardTarget } from './backend.ts';
import { runOn, type StatementContext } from './scatter.ts';
import { type MeasuredSource, measuredSource } from './schema.ts';

/** Pairs of shard and pick: some kilobytes each at most, mostly below one. */
const REMEMBERED_MAX = 10_000;

/** What is remembered of all shards of a statement. */
interface Remembered {
  readonly shards: readonly ShardId[];
  readonly fingerprints: Readonly<Record<ShardId, string>>;
  readonly source: MeasuredSource;
}

/** Of one pick. */
interface Picked {
  readonly schemas: Map<ShardId, ShardSchema>;
  /** Of the last statement: the next one mostly reads the same shards. null: something is new. */
  last: Remembered | null;
}

export class SchemaMemory {
  readonly #picks = new Map<string, Picked>();
  #size = 0;

  /** null: a shard's schema is not remembered. */
  recall(targets: readonly ShardTarget[], pick: string): Remembered | null {
    const picked = this.#picks.get(pick);
    if (picked === undefined) return null;
    if (picked.last === null || !isOf(picked.last, targets)) picked.last = rememberedOf(picked.schemas, targets);
    return picked.last;
  }

  set(schema: ShardSchema, pick: string): void {
    if (this.#size >= REMEMBERED_MAX) this.#forgetOne();
    let picked = this.#picks.get(pick);
    if (picked === undefined) {
      picked = { schemas: new Map(), last: null };
      this.#picks.set(pick, picked);
    }
    const { schemas } = picked;
    picked.last = null;
    // What is set again goes to the end.
    this.#size -= schemas.delete(schema.shard) ? 1 : 0;
    schemas.set(schema.shard, schema);
    this.#size++;
  }

  forget(shards: readonly ShardId[], pick: string): void {
    const picked = this.#picks.get(pick);
    if (picked === undefined) return;
    picked.last = null;
    for (const shard of shards) if (picked.schemas.delete(shard)) this.#size--;
    if (picked.schemas.size === 0) this.#picks.delete(pick);
  }

  /** The oldest of the pick that is the oldest. */
  #forgetOne(): void {
    const [pick, picked] = this.#picks.entries().next().value!;
    const { schemas } = picked;
    picked.last = null;
    this.#size -= schemas.delete(schemas.keys().next().value!) ? 1 : 0;
    if (schemas.size === 0) this.#picks.delete(pick);
  }
}

function isOf({ shards }: Remembered, targets: readonly ShardTarget[]): boolean {
  if (shards.length !== targets.length) return false;
  for (let i = 0; i < shards.length; i++) if (shards[i] !== targets[i]!.id) return false;
  return true;
}

function rememberedOf(schemas: ReadonlyMap<ShardId, ShardSchema>, targets: readonly ShardTarget[]): Remembered | null {
  const fingerprints: Record<ShardId, string> = {};
  // Equal fingerprints, equal schemas: shards of one database mostly have one between them.
  const different = new Map<string, readonly MeasurementSchema[]>();
  for (const { id } of targets) {
    const known = schemas.get(id);
    if (known === undefined) return null;
    fingerprints[id] = known.fingerprint;
    different.set(known.fingerprint, known.schemas);
  }
  const source = measuredSource([...different.values()].flat());
  return { shards: targets.map(({ id }) => id), fingerprints, source };
}

/** `planned`: what has to be confirmed; null: nothing. */
export interface SourceSchemas {
  readonly source: MeasuredSource;
  readonly planned: PlannedSchemas | null;
}

/** Schemas of one go at a statement, and which of them nobody has confirmed yet. */
export class Planning {
  readonly #memory: SchemaMemory;
  readonly #asks: boolean;
  /** With the number of shards that have not confirmed them. */
  readonly #open = new Map<PlannedSchemas, number>();
  /** By pick and shards: what was asked for. */
  readonly #asked = new Map<string, SourceSchemas>();

  /** `asks`: nothing is taken from memory. */
  constructor(memory: SchemaMemory, asks: boolean) {
    this.#memory = memory;
    this.#asks = asks;
  }

  get isConfirmed(): boolean {
    return this.#open.size === 0;
  }

  /** The next go, which takes nothing from memory. */
  again(): Planning {
    return new Planning(this.#memory, true);
  }

  /** By so many shards that had not done so. */
  confirm(planned: PlannedSchemas, shards: number): void {
    const left = (this.#open.get(planned) ?? 0) - shards;
    if (left > 0) this.#open.set(planned, left);
    else this.#open.delete(planned);
  }

  /** From memory, or as they were asked for; null: they have to be. */
  recall(targets: readonly ShardTarget[], measurements: MeasurementPick): SourceSchemas | null {
    const pick = JSON.stringify(measurements);
    if (this.#asked.size > 0) {
      const asked = this.#asked.get(placeOf(targets, pick));
      if (asked !== undefined) return asked;
    }
    if (this.#asks || targets.length === 0) return null;
    const known = this.#memory.recall(targets, pick);
    if (known === null) return null;
    const { source, fingerprints } = known;
    const planned = { measurements, fingerprints };
    this.#open.set(planned, targets.length);
    return { source, planned };
  }

  /** A shard has another schema than this: no statement is planned with it any more. */
  distrust({ measurements, fingerprints }: PlannedSchemas): void {
    this.#memory.forget(Object.keys(fingerprints), JSON.stringify(measurements));
  }

  /** For a plan that is made anew afterwards. */
  async ask(context: StatementContext, targets: readonly ShardTarget[], measurements: MeasurementPick): Promise<void> {
    this.#open.clear();
    const pick = JSON.stringify(measurements);
    const asked: ShardSchema[] = [];
    for (const result of await runOn(context, targets, { kind: 'schema', measurements }))
      if (result.kind === 'schema') asked.push(...result.shards);
    for (const schema of asked) this.#memory.set(schema, pick);
    const source = measuredSource(asked.flatMap(({ schemas }) => schemas));
    this.#asked.set(placeOf(targets, pick), { source, planned: null });
  }
}

function placeOf(targets: readonly ShardTarget[], pick: string): string {
  return `${pick}\n${targets.map(({ id }) => id).join('\n')}`;
}
