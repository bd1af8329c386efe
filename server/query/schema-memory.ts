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
import type { ShardTarget } from './backend.ts';
import { runOn, type StatementContext } from './scatter.ts';

/** Pairs of shard and pick: some kilobytes each at most, mostly below one. */
const REMEMBERED_MAX = 10_000;

export class SchemaMemory {
  readonly #schemas = new Map<string, ShardSchema>();

  get(target: ShardTarget, pick: string): ShardSchema | undefined {
    return this.#schemas.get(`${target.id}${pick}`);
  }

  set(schema: ShardSchema, pick: string): void {
    const key = `${schema.shard}${pick}`;
    this.#schemas.delete(key);
    if (this.#schemas.size >= REMEMBERED_MAX) this.#schemas.delete(this.#schemas.keys().next().value!);
    this.#schemas.set(key, schema);
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
      for (const { shard, fingerprint } of known) fingerprints[shard] = fingerprint;
      const planned = { measurements, fingerprints };
      this.#open.add(planned);
      return { schemas: known.flatMap(({ schemas }) => schemas), planned };
    }
    const asked: ShardSchema[] = [];
    for (const result of await runOn(context, targets, { kind: 'schema', measurements }))
      if (result.kind === 'schema') asked.push(...result.shards);
    for (const schema of asked) this.#memory.set(schema, pick);
    return { schemas: asked.flatMap(({ schemas }) => schemas), planned: null };
  }
}
