/**
 * The types of the fields in a stage (ingest-stage.ts), held against the schemas of their shard groups.
 *
 * What the bodies of a stage teach is kept with the stage until it is sealed: a body may yet turn out to be one that is not
 * stored, and the types of rows that nobody has must not refuse others.
 */
import type { GroupSchema } from '../batch-builder.ts';
import type { FieldType } from '../column.ts';
import type { IngestKernel } from './ingest-kernel.ts';

interface FieldName {
  readonly measurement: string;
  readonly field: string;
  readonly type: FieldType;
}

/** A field that the schema of a window's shard group does not have. */
interface Lesson {
  readonly name: FieldName;
  readonly schema: GroupSchema;
}

const NO_FIELDS: ReadonlySet<number> = new Set();

export class StageTypes {
  /** By the kernel's number. */
  readonly #fields: FieldName[] = [];
  readonly #agreed = new WeakMap<GroupSchema, { readonly revision: number; readonly fields: Set<number> }>();
  /** By window and field. */
  readonly #lessons = new Map<string, Lesson>();

  /** A stage is begun. */
  begin(): void {
    this.#lessons.clear();
  }

  /** The stage is sealed. */
  teach(): void {
    for (const { name, schema } of this.#lessons.values()) schema.learn(name.measurement, name.field, name.type);
    this.#lessons.clear();
  }

  /**
   * Of the fields that the last body is the first to use: null when all agree, else the windows whose schema has to be loaded
   * first (`schemaOf` gives null for it).
   */
  check(
    kernel: IngestKernel,
    windows: number,
    schemaOf: (window: number) => GroupSchema | null,
  ): 'conflict' | Set<number> | null {
    const count = kernel.freshFieldCount();
    if (count === 0) return null;
    const pairs = new Uint32Array(kernel.memory.buffer, kernel.freshFields(), count * 2);
    let last = -1;
    let agreed: ReadonlySet<number> = NO_FIELDS;
    for (let i = 0; i < pairs.length; i += 2) {
      const [number, window] = [pairs[i]!, pairs[i + 1]!];
      if (window !== last) agreed = this.#agreedWith(schemaOf(window));
      last = window;
      // No cells: where rows were expected and none are, or only lines that were taken back.
      if (!agreed.has(number) && kernel.hasCells(number, window) !== 0)
        return this.#judge(kernel, pairs.slice(), windows, schemaOf);
    }
    return null;
  }

  /** As seldom as there are fields that are not known to agree. */
  #judge(
    kernel: IngestKernel,
    pairs: Uint32Array,
    windows: number,
    schemaOf: (window: number) => GroupSchema | null,
  ): 'conflict' | Set<number> | null {
    const schemas = Array.from({ length: windows }, (_, window) => schemaOf(window));
    const agreed = schemas.map((schema) => this.#agreedWith(schema));
    const unknown = new Set<number>();
    const lessons = new Map<string, Lesson>();
    for (let i = 0; i * 2 < pairs.length; i++) {
      const window = pairs[i * 2 + 1]!;
      const schema = schemas[window] ?? null;
      if (schema === null) {
        if (kernel.hasCells(pairs[i * 2]!, window) !== 0) unknown.add(window);
        continue;
      }
      const number = pairs[i * 2]!;
      if (agreed[window]!.has(number)) continue;
      const name = this.#fieldName(kernel, number);
      const known = schema.typeOf(name.measurement, name.field);
      if (known === name.type) {
        agreed[window]!.add(number);
        continue;
      }
      // Only lines that were taken back may have had it.
      if (kernel.hasCells(number, window) === 0) continue;
      if (known !== null) return 'conflict';
      const cell = `${window} ${name.measurement.length} ${name.measurement}${name.field}`;
      const taught = this.#lessons.get(cell) ?? lessons.get(cell);
      if (taught !== undefined && taught.name.type !== name.type) return 'conflict';
      lessons.set(cell, { name, schema });
    }
    if (unknown.size > 0) return unknown;
    for (const [cell, lesson] of lessons) this.#lessons.set(cell, lesson);
    return null;
  }

  /** By number, the fields that the schema has with the same type: they need not be looked up by name each time. */
  #agreedWith(schema: GroupSchema | null): Set<number> {
    if (schema === null) return new Set();
    const known = this.#agreed.get(schema);
    if (known !== undefined && known.revision === schema.revision) return known.fields;
    const fields = new Set<number>();
    this.#agreed.set(schema, { revision: schema.revision, fields });
    return fields;
  }

  #fieldName(kernel: IngestKernel, number: number): FieldName {
    let name = this.#fields[number];
    if (name === undefined) {
      const { buffer } = kernel.memory;
      const words = new Uint32Array(buffer, kernel.fieldAt(number), 4);
      const measurement = textOf(buffer, new Uint32Array(buffer, words[3]!, 2));
      name = { measurement, field: textOf(buffer, words), type: words[2] as FieldType };
      this.#fields[number] = name;
    }
    return name;
  }
}

/** Of a record that begins with length and address. */
function textOf(buffer: ArrayBufferLike, record: Uint32Array): string {
  return Buffer.from(buffer, record[1]!, record[0]!).toString('utf8');
}
