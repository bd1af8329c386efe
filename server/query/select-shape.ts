/**
 * What a SELECT computes: the part of its plan that neither its condition nor its range changes.
 *
 * It is remembered by the list of fields, which all statements of a form have in common (influxql/statement-forms.ts),
 * for the schema that it was made with; they are never changed.
 */
import type { Expression, SelectField, SelectStatement } from '../influxql/ast.ts';
import { foldedFields } from '../influxql/constants.ts';
import { validateSelect } from '../influxql/validate.ts';
import { type Call, callsOf, checkArithmetic, checkCallTypes, referencesOf } from './calls.ts';
import { SELECTORS } from './functions.ts';
import { columnNames } from './names.ts';
import { QueryError } from './query-error.ts';
import { dimensionNames, expandFields } from './rewrite.ts';
import type { SourceSchema } from './schema.ts';
import { isTime } from './time-range.ts';

export interface ShapeField extends SelectField {
  /** A tag of top() or bottom(). */
  readonly isImplied?: true;
}

export interface SelectShape {
  /** Without time; top() and bottom() are followed by their tags. */
  readonly fields: readonly ShapeField[];
  /** Column names, parallel to fields. */
  readonly columns: readonly string[];
  readonly timeName: string;
  readonly calls: readonly Call[];
  readonly references: readonly Extract<Expression, { kind: 'reference' }>[];
  /** One selector alone: its row gives time and further columns. */
  readonly selector: boolean;
  readonly dimensions: readonly string[];
}

const valid = new WeakSet<SelectStatement['fields']>();
const shapes = new WeakMap<SelectStatement['fields'], { readonly schema: SourceSchema; readonly shape: SelectShape }>();

/** Throws QueryError with InfluxDB's text for what it refuses to compile. */
export function requireValid(statement: SelectStatement): void {
  if (valid.has(statement.fields)) return;
  const invalid = validateSelect(statement);
  if (invalid !== null) throw new QueryError(invalid);
  valid.add(statement.fields);
}

export function hasCalls({ fields }: SelectStatement): boolean {
  return fields.some((field) => callsOf(field.expression).length > 0);
}

/** Throws QueryError. */
export function shapeOf(statement: SelectStatement, schema: SourceSchema): SelectShape {
  const known = shapes.get(statement.fields);
  if (known?.schema === schema) return known.shape;
  const shape = makeShape(statement, schema);
  shapes.set(statement.fields, { schema, shape });
  return shape;
}

function makeShape({ fields, sources, dimensions }: SelectStatement, schema: SourceSchema): SelectShape {
  const folded = foldedFields(fields);
  const written = folded.filter((field) => !isTime(field.expression));
  const timeField = folded.find((field) => isTime(field.expression));
  const expanded = withTagsOfExtremes(expandFields(written, schema, dimensions));
  for (const field of expanded) checkArithmetic(field.expression, schema);
  const calls = uniqueBy(
    expanded.flatMap((field) => callsOf(field.expression)),
    (call) => call.key,
  );
  for (const call of calls) checkCallTypes(call, schema);
  const references = uniqueBy(
    expanded.flatMap((field) => referencesOf(field.expression)),
    (reference) => `${reference.name}\0${reference.cast ?? ''}`,
  );
  if (
    calls.length === 0 &&
    references.length > 0 &&
    sources.every((source) => source.kind === 'measurement') &&
    references.every((reference) => reference.cast === 'tag' || schema.kindOf(reference.name) === 'tag')
  )
    throw new QueryError('statement must have at least one field in select clause');
  return {
    fields: expanded,
    columns: columnNames(expanded),
    timeName: timeField?.alias ?? 'time',
    calls,
    references,
    selector: calls.length === 1 && SELECTORS.has(calls[0]!.name),
    dimensions: dimensionNames(dimensions, schema),
  };
}

/** top(field, tag, ..., n) also answers the tags, as columns after it. */
function withTagsOfExtremes(fields: readonly SelectField[]): ShapeField[] {
  return fields.flatMap((field) => {
    const { expression } = field;
    if (expression.kind !== 'call' || (expression.name !== 'top' && expression.name !== 'bottom')) return [field];
    return [field, ...expression.args.slice(1, -1).map((tag) => ({ expression: tag, isImplied: true as const }))];
  });
}

function uniqueBy<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}
