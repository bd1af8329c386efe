/**
 * What the names in a statement stand for, over all its sources: fields with types, tags, columns of subqueries.
 */
import { FIELD_TYPE_NAMES, type FieldType } from '../../shards/column.ts';
import type { MeasurementSchema } from '../../shards/query/partial.ts';
import type { CastType } from '../influxql/ast.ts';

export type FieldTypeName = (typeof FIELD_TYPE_NAMES)[number];

export class SourceSchema {
  /** Strongest type of each field. */
  readonly fields = new Map<string, FieldType>();
  readonly tags = new Set<string>();
  /** Columns of subqueries that have nothing, and no type: wildcards list them. */
  readonly untyped = new Set<string>();
  /** Of the fields those that are columns of tags in a subquery. */
  readonly tagColumns = new Set<string>();
  /** Of the fields those that wildcards leave out: columns of a subquery that nobody has listed. */
  readonly unlisted = new Set<string>();
  /** Of the tags those that a subquery groups by, which functions see like columns. */
  readonly dimensions = new Set<string>();

  addField(name: string, type: FieldType): void {
    const held = this.fields.get(name);
    if (held === undefined || type < held) this.fields.set(name, type);
  }

  addMeasurement(schema: MeasurementSchema): void {
    for (const field of schema.fields) for (const type of field.types) this.addField(field.name, type);
    for (const key of schema.tagKeys) this.tags.add(key);
  }

  addAll(other: SourceSchema): void {
    for (const [name, type] of other.fields) this.addField(name, type);
    for (const key of other.tags) this.tags.add(key);
    for (const name of other.untyped) this.untyped.add(name);
    for (const name of other.tagColumns) this.tagColumns.add(name);
    for (const name of other.unlisted) this.unlisted.add(name);
    for (const name of other.dimensions) this.dimensions.add(name);
  }

  /** A function can be of it. */
  isColumn(name: string, cast: CastType | undefined): boolean {
    if (this.dimensions.has(name)) return true;
    if (cast === 'tag') return this.tagColumns.has(name);
    return this.fields.has(name) && !(cast === 'field' && this.tagColumns.has(name));
  }

  kindOf(name: string): 'field' | 'tag' | null {
    return this.fields.has(name) ? 'field' : this.tags.has(name) ? 'tag' : null;
  }
}

/** What one source of a statement reads: measurements of shards. Shared by statements: not to be changed. */
export interface MeasuredSource {
  readonly schema: SourceSchema;
  /** Names, sorted. */
  readonly measurements: readonly string[];
}

export function measuredSource(schemas: readonly MeasurementSchema[]): MeasuredSource {
  const schema = new SourceSchema();
  const measurements = new Set<string>();
  for (const measured of schemas) {
    schema.addMeasurement(measured);
    measurements.add(measured.measurement);
  }
  return { schema, measurements: [...measurements].sort() };
}

export function typeName(type: FieldType): FieldTypeName {
  return FIELD_TYPE_NAMES[type];
}

export function typeByName(name: string): FieldType | null {
  const index = (FIELD_TYPE_NAMES as readonly string[]).indexOf(name);
  return index < 0 ? null : (index as FieldType);
}
