/**
 * The form of what another member asks to read of the shards here (query-rpc.ts): for partial requests what the types in
 * shards/query/partial.ts say. Texts and lists in them are as long as a statement makes them; a request's bytes are
 * bounded.
 */
import { type Check, flag, isObject, objectOf, oneOf, orAbsent, orNull, size, text } from '../repair/message-checks.ts';
import { BOOLEAN } from '../shards/column.ts';
import { STATE_FUNCTIONS } from '../shards/query/partial.ts';
import type { Windows } from '../shards/query/windows.ts';
import { SERIES_HASH_BYTES } from '../shards/series-key.ts';

const anyText: Check = (value) => typeof value === 'string';
const bigint: Check = (value) => typeof value === 'bigint';
const count: Check = (value) => typeof value === 'number' && value >= 0;
const scalar: Check = (value) => value === null || ['number', 'bigint', 'string', 'boolean'].includes(typeof value);
const manyOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
/** The field `field` says which form it is. */
const kindsBy =
  (field: string, kinds: Readonly<Record<string, Check>>): Check =>
  (value) => {
    if (!isObject(value)) return false;
    const kind = value[field];
    return typeof kind === 'string' && Object.hasOwn(kinds, kind) && kinds[kind]!(value);
  };

export const shardAsked = objectOf({ id: text, number: size });
export const shardsAsked = manyOf(shardAsked);
export const shardsWithFields = manyOf(objectOf({ id: text, number: size, known: size, series: orAbsent(size) }));
const hashes: Check = (value) => value instanceof Uint8Array && value.byteLength % SERIES_HASH_BYTES === 0;
export const shardsWithHashes = manyOf(objectOf({ id: text, number: size, hashes, isListed: flag }));

const fieldType: Check = (value) => size(value) && (value as number) <= BOOLEAN;
const pick: Check = orNull(
  (value) => isObject(value) && ('regex' in value ? anyText(value.regex) : manyOf(anyText)(value.names)),
);
const limits = objectOf({
  msMax: count,
  rowsScannedMax: count,
  rowsMax: count,
  seriesMax: count,
  cellsMax: count,
  bytesMax: orAbsent(count),
});

const equal = objectOf({ key: anyText, value: anyText });
const matching = objectOf({ key: anyText, regex: anyText });
const terms: Check = (value) => isObject(value) && manyOf(condition)(value.terms);
const always: Check = () => true;
const condition = kindsBy('op', {
  and: terms,
  or: terms,
  '=': equal,
  '!=': equal,
  '=~': matching,
  '!~': matching,
  true: always,
  false: always,
});

const named = objectOf({ name: anyText });
const operand: Check = kindsBy('kind', {
  field: named,
  tag: named,
  literal: objectOf({ value: scalar }),
  arithmetic: (value) =>
    objectOf({ op: oneOf('+', '-', '*', '/', '%', '&', '|', '^'), left: operand, right: operand })(value),
});
const filters: Check = (value) =>
  isObject(value) && manyOf(filter)(value.terms) && (value.terms as unknown[]).length > 0;
const filter = kindsBy('kind', {
  and: filters,
  or: filters,
  constant: objectOf({ value: flag }),
  compare: objectOf({ op: oneOf('=', '!=', '<', '<=', '>', '>=', '=~', '!~'), left: operand, right: operand }),
  truth: objectOf({ operand }),
});

const windows: Check = (value) => {
  const isForm = objectOf({
    startNs: bigint,
    intervalNs: bigint,
    count: size,
    boundaries: orNull((each) => each instanceof BigInt64Array),
  });
  if (!isForm(value)) return false;
  const { intervalNs, count, boundaries } = value as Windows;
  return boundaries === null ? intervalNs > 0n : boundaries.length === count + 1;
};
const column = kindsBy('kind', { field: objectOf({ name: anyText, type: fieldType }), tag: named });
const fingerprints: Check = (value) => isObject(value) && Object.values(value).every(anyText);

export const partialRequest = kindsBy('kind', {
  schema: objectOf({ measurements: pick }),
  catalog: objectOf({
    what: oneOf('measurements', 'series', 'tag-keys', 'tag-values'),
    measurements: pick,
    condition: orNull(condition),
    filter: orNull(filter),
    tagKeys: orNull(condition),
    limits,
  }),
  cardinality: objectOf({ measurements: pick, condition: orNull(condition), filter: orNull(filter), limits }),
  select: objectOf({
    planned: orNull(objectOf({ measurements: pick, fingerprints })),
    measurements: manyOf(anyText),
    minNs: bigint,
    maxNs: bigint,
    condition: orNull(condition),
    filter: orNull(filter),
    dimensions: manyOf(anyText),
    windows: orNull(windows),
    states: manyOf(objectOf({ fn: oneOf(...STATE_FUNCTIONS), field: anyText, type: fieldType })),
    aux: manyOf(column),
    rows: orNull(objectOf({ columns: manyOf(column), perGroup: orNull(count) })),
    descending: flag,
    limits,
  }),
});
