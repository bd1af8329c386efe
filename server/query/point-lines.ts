/**
 * Rows of a SELECT as points in line protocol, in batches of bounded size: what INTO writes.
 *
 * Groups by tag give tags; every other column gives a field of the type that the statement gives it, but for the tags of top()
 * and bottom(), which stay tags. A row without any value is no point.
 */
import { UNSIGNED } from '../../shards/column.ts';
import type { Scalar } from '../../shards/query/arithmetic.ts';
import { escapeTag, formatSeriesKey, type Tag } from '../../shards/series-key.ts';
import type { Steps } from '../../shards/steps.ts';
import { booleanText, floatText, stringText } from '../line-protocol-text.ts';
import { typeOf } from './calls.ts';
import { type OutputTable, outputValue } from './output.ts';
import type { SelectPlan } from './plan.ts';
import { QueryError } from './query-error.ts';

/** As many as InfluxDB writes at once. */
const BATCH_POINTS = 10_000;
const BATCH_CHARACTERS = 4 * 1024 * 1024;
/** Rows in one step. */
const STEP_ROWS = 512;

/**
 * Names that line protocol cannot say: aliases and targets may be anything. A backslash escapes what follows it, and nothing
 * escapes a backslash, so none can be last, nor be before what its place has escapes of, unless that is escaped itself:
 * `\\,` is a backslash and a comma in a series key, but ends a field. White space that opens a line or its fields is passed
 * over, and a hash sign opens a comment.
 */
const UNWRITABLE = {
  measurement: /\n|\\$|\\[="]|^[#\t\0]/,
  tag: /\n|\\$/,
  field: /\n|\\$|\\[,= "]|^[\t\0]/,
};

export interface PointBatch {
  readonly lines: string;
  readonly points: number;
}

interface FieldColumn {
  readonly place: number;
  /** With the equals sign. */
  readonly start: string;
  /** What follows an integer. */
  readonly suffix: 'i' | 'u';
}

export class PointLines {
  readonly #table: OutputTable;
  readonly #name: string;
  readonly #fields: readonly FieldColumn[];
  readonly #tags: readonly { readonly place: number; readonly key: string }[];
  #group = 0;
  #row = 0;

  /** `name`: of the measurement that is written; '' stands for the one that was read. */
  constructor(plan: SelectPlan, table: OutputTable, name: string) {
    this.#table = table;
    this.#name = name;
    const ofExtremes = tagsOfExtremes(plan);
    // Of two columns with one name the last one counts, as in InfluxDB.
    const fields = new Map<string, FieldColumn>();
    plan.columns.forEach((column, place) => {
      if (ofExtremes.has(place)) return;
      const suffix = typeOf(plan.fields[place]!.expression, plan.schema) === UNSIGNED ? 'u' : 'i';
      fields.set(column, { place, start: `${escapeTag(written(column, 'field'))}=`, suffix });
    });
    this.#fields = [...fields.values()];
    this.#tags = [...ofExtremes].map((place) => ({ place, key: plan.columns[place]! }));
  }

  /** null: there are no more. In short steps. */
  *next(): Steps<PointBatch | null> {
    const { groups, starts } = this.#table;
    let lines = '';
    let points = 0;
    let key = '';
    for (; this.#group < groups.length; this.#group++) {
      if (this.#tags.length === 0) key = this.#keyOf(this.#group, 0);
      for (this.#row = Math.max(this.#row, starts[this.#group]!); this.#row < starts[this.#group + 1]!; this.#row++) {
        if (points >= BATCH_POINTS || lines.length >= BATCH_CHARACTERS) return { lines, points };
        const fields = this.#fieldsOf(this.#row);
        if (fields !== '') {
          if (this.#tags.length > 0) key = this.#keyOf(this.#group, this.#row);
          lines += `${key} ${fields} ${this.#table.times[this.#row]!}\n`;
          points++;
        }
        if (this.#row % STEP_ROWS === STEP_ROWS - 1) yield;
      }
    }
    return points === 0 ? null : { lines, points };
  }

  #keyOf(g: number, row: number): string {
    const { groups, columns } = this.#table;
    const { name, tags } = groups[g]!;
    const all = new Map(Object.entries(tags));
    for (const { place, key } of this.#tags) all.set(key, String(outputValue(columns[place]!, row) ?? ''));
    const list: Tag[] = [...all].map(([key, value]) => ({ key: written(key, 'tag'), value: written(value, 'tag') }));
    const measurement = this.#name === '' ? name : this.#name;
    return formatSeriesKey(written(measurement, 'measurement'), list);
  }

  #fieldsOf(row: number): string {
    let text = '';
    for (const { place, start, suffix } of this.#fields) {
      const value = outputValue(this.#table.columns[place]!, row);
      if (value === null) continue;
      text += `${text === '' ? '' : ','}${start}${valueText(value, suffix)}`;
    }
    return text;
  }
}

/** Places of the columns that follow top() and bottom() for their tags (select-shape.ts). */
function tagsOfExtremes({ fields, calls }: SelectPlan): Set<number> {
  const places = new Set<number>();
  fields.forEach(({ expression }, place) => {
    const call = calls.find((each) => each.expression === expression);
    call?.tags.forEach((_, i) => {
      places.add(place + 1 + i);
    });
  });
  return places;
}

function valueText(value: NonNullable<Scalar>, suffix: string): string {
  switch (typeof value) {
    case 'bigint':
      return `${value}${suffix}`;
    case 'string':
      return stringText(value);
    case 'boolean':
      return booleanText(value);
    default:
      return floatText(value);
  }
}

function written(name: string, place: keyof typeof UNWRITABLE): string {
  if (UNWRITABLE[place].test(name))
    throw new QueryError(`unable to write points: invalid name ${JSON.stringify(name)}`);
  return name;
}
