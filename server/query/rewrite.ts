/**
 * Puts names in the place of wildcards and regular expressions in the select list and in GROUP BY.
 */
import { BOOLEAN, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from '../../shards/column.ts';
import { compileGoRegex } from '../../shards/go-regex.ts';
import type { Dimension, Expression, SelectField } from '../influxql/ast.ts';
import { expressionName } from './names.ts';
import type { SourceSchema } from './schema.ts';

/** Tag keys of GROUP BY, sorted, each once. */
export function dimensionNames(dimensions: readonly Dimension[], schema: SourceSchema): string[] {
  const names = new Set<string>();
  for (const dimension of dimensions) {
    if (dimension.kind === 'tag') names.add(dimension.name);
    else if (dimension.kind === 'wildcard') for (const tag of schema.tags) names.add(tag);
    else if (dimension.kind === 'regex') {
      const regex = compileGoRegex(dimension.pattern);
      for (const tag of schema.tags) if (regex.test(tag)) names.add(tag);
    }
  }
  return [...names].sort();
}

/** A wildcard in the select list leaves out the tags that GROUP BY names, and all when it has a wildcard or an expression. */
export function expandFields(
  fields: readonly SelectField[],
  schema: SourceSchema,
  dimensions: readonly Dimension[],
): SelectField[] {
  const all = dimensions.some(({ kind }) => kind === 'wildcard' || kind === 'regex');
  const grouped = all ? schema.tags : new Set(dimensionNames(dimensions, schema));
  const out: SelectField[] = [];
  for (const field of fields) {
    const { expression } = field;
    if (expression.kind === 'wildcard' || expression.kind === 'regex') {
      for (const name of rawNames(expression, schema, grouped)) out.push({ expression: name });
      continue;
    }
    const inner = expression.kind === 'call' ? innermost(expression) : null;
    const target = inner?.args[0];
    if (expression.kind !== 'call' || inner === null || (target?.kind !== 'wildcard' && target?.kind !== 'regex')) {
      out.push(field);
      continue;
    }
    const supported = supportedTypes(inner.name);
    const regex = target.kind === 'regex' ? compileGoRegex(target.pattern) : null;
    if (target.kind === 'wildcard' && target.of === 'tag') continue;
    for (const name of [...schema.fields.keys()].sort()) {
      if (!supported.includes(schema.fields.get(name)!) || (regex !== null && !regex.test(name))) continue;
      if (schema.tagColumns.has(name) || schema.unlisted.has(name)) continue;
      out.push({
        expression: replaceTarget(expression, { kind: 'reference', name }),
        alias: `${field.alias ?? expressionName(expression)}_${name}`,
      });
    }
  }
  return out;
}

function rawNames(
  expression: Extract<Expression, { kind: 'wildcard' | 'regex' }>,
  schema: SourceSchema,
  grouped: ReadonlySet<string>,
): Expression[] {
  const regex = expression.kind === 'regex' ? compileGoRegex(expression.pattern) : null;
  const of = expression.kind === 'wildcard' ? expression.of : 'all';
  const names: { name: string; cast: 'field' | 'tag' }[] = [];
  for (const name of new Set([...schema.fields.keys(), ...schema.untyped])) {
    const kind = schema.tagColumns.has(name) ? 'tag' : 'field';
    if ((of === 'all' || of === kind) && !schema.unlisted.has(name)) names.push({ name, cast: kind });
  }
  if (of !== 'field') for (const name of schema.tags) if (!grouped.has(name)) names.push({ name, cast: 'tag' });
  return names
    .filter(({ name }) => regex === null || regex.test(name))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.cast < b.cast ? -1 : 1))
    .map(({ name, cast }) => ({ kind: 'reference', name, cast }));
}

type Call = Extract<Expression, { kind: 'call' }>;

function innermost(call: Call): Call {
  let at = call;
  while (at.args[0]?.kind === 'call') at = at.args[0];
  return at;
}

function replaceTarget(call: Call, target: Expression): Call {
  const [first, ...rest] = call.args;
  return { ...call, args: [first?.kind === 'call' ? replaceTarget(first, target) : target, ...rest] };
}

function supportedTypes(fn: string): FieldType[] {
  if (['count', 'first', 'last', 'distinct', 'elapsed', 'mode', 'sample'].includes(fn))
    return [FLOAT, INTEGER, UNSIGNED, STRING, BOOLEAN];
  return fn === 'min' || fn === 'max' ? [FLOAT, INTEGER, UNSIGNED, BOOLEAN] : [FLOAT, INTEGER, UNSIGNED];
}
