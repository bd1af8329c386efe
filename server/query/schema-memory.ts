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

/** Pairs of shard and pick: some kilobytes each at most, mostly below one. */
const REMEMBERED_MAX = 10_000;

export class SchemaMemory {
  /** By pick, then by shard. */
  readonly #picks = new Map<string, Map<ShardId, ShardSchema>>();
  #size = 0;

  get(target: ShardTarget, pick: string): ShardSchema | undefined {
    return this.#picks.get(pick)?.get(target.id);
  }

  set(schema: ShardSchema, pick: string): void {
    if (this.#size >= REMEMBERED_MAX) this.#forgetOne();
    let schemas = this.#picks.get(pick);
    if (schemas === undefined) {
      schemas = new Map();
      this.#picks.set(pick, schemas);
    }
    // What is set again goes to the end.
    this.#size -= schemas.delete(schema.shard) ? 1 : 0;
    schemas.set(schema.shard, schema);
    this.#size++;
  }

  /** The oldest of the pick that is the oldest. */
  #forgetOne(): void {
    const [pick, schemas] = this.#picks.entries().next().value!;
    this.#size -= schemas.delete(schemas.keys().next().value!) ? 1 : 0;
    if (schemas.size === 0) this.#picks.delete(pick);
  }
}

/** Schemas of one go at a statement, and which of them nobody has confirmed yet. */
export class Planning {
  readonly #memory: SchemaMemory;
  readonly #asks: boolean;
  readonly #open = new Set<PlannedSchemas>();

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

  confirm(planned: PlannedSchemas): void {
    this.#open.delete(planned);
  }

  async schemas(
    context: StatementContext,
    targets: readonly ShardTarget[],
    measurements: MeasurementPick,
  ): Promise<{ schemas: readonly MeasurementSchema[]; planned: PlannedSchemas | null }> {
    const pick = JSON.stringify(measurements);
    const known = this.#asks ? [] : targets.map((target) => this.#memory.get(target, pick));
    if (targets.length > 0 && known.length > 0 && known.every((schema) => schema !== undefined)) {
      const fingerprints: Record<string, string> = {};
      // Equal fingerprints, equal schemas: shards of one database mostly have one between them.
      const different = new Map<string, readonly MeasurementSchema[]>();
      for (const { shard, fingerprint, schemas } of known) {
        fingerprints[shard] = fingerprint;
        different.set(fingerprint, schemas);
      }
      const planned = { measurements, fingerprints };
      this.#open.add(planned);
      return { schemas: [...different.values()].flat(), planned };
    }
    const asked: ShardSchema[] = [];
    for (const result of await runOn(context, targets, { kind: 'schema', measurements }))
      if (result.kind === 'schema') asked.push(...result.shards);
    for (const schema of asked) this.#memory.set(schema, pick);
    return { schemas: asked.flatMap(({ schemas }) => schemas), planned: null };
  }
}
