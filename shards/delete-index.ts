/**
 * Which series of a measurement its deletes cover, told for many of both without holding each against each.
 *
 * Nearly all deletes of which there are many ask for a value of a tag. They stand by tag and value, and series find
 * theirs by the numbered values of their tags (tag-index.ts): that costs deletes plus series. Those that ask for more than that are
 * held against the series that are left, and the others (regular expressions, several values) each against all.
 */
import type { SeriesTable } from './series-table.ts';
import type { TagCondition } from './tag-condition.ts';
import type { TagMatcher } from './tag-matcher.ts';

export interface ConditionOfDelete {
  readonly condition: TagCondition | null;
  /** null: all of a measurement. */
  readonly matches: TagMatcher | null;
}

type Equality = Extract<TagCondition, { op: '=' | '!=' }>;
type Found<Delete> = (found: Delete, ids: Uint32Array) => void;

/** So few series, or so small a part of all, are held one by one against a delete; for more of them columns are searched. */
const ONE_BY_ONE_MAX = 64;
const ONE_BY_ONE_PART = 1 / 256;
/** For so few values a search each for all series is faster than a look at each series. */
const SEARCHED_MAX = 16;

export class DeleteIndex<Delete extends ConditionOfDelete> {
  readonly #measurement: string;
  readonly #table: SeriesTable;
  readonly #byTag = new Map<string, Map<string, Delete[]>>();
  readonly #others: Delete[] = [];

  constructor(measurement: string, table: SeriesTable) {
    this.#measurement = measurement;
    this.#table = table;
  }

  add(added: Delete): void {
    const tag = this.#tagOf(added.condition);
    if (tag === null) {
      this.#others.push(added);
      return;
    }
    let values = this.#byTag.get(tag.key);
    if (values === undefined) {
      values = new Map();
      this.#byTag.set(tag.key, values);
    }
    const same = values.get(tag.value);
    if (same === undefined) values.set(tag.value, [added]);
    else same.push(added);
  }

  /** A value without which the condition does not match: of the tag that tells series apart best. */
  #tagOf(condition: TagCondition | null): Equality | null {
    if (condition?.op === '=') return condition.value === '' || condition.key === '_name' ? null : condition;
    if (condition?.op !== 'and') return null;
    let [best, values]: [Equality | null, number] = [null, -1];
    for (const term of condition.terms) {
      const tag = this.#tagOf(term);
      const count = tag === null ? -1 : this.#table.tagValueCount(tag.key);
      if (count > values) [best, values] = [tag, count];
    }
    return best;
  }

  /** Each delete that covers any of the measurement's series from `from` on, and those: each pair once. */
  match(from: number, found: Found<Delete>): void {
    const ids = this.#table.membersFrom(this.#measurement, from);
    if (ids.length === 0) return;
    for (const [key, values] of this.#byTag) this.#matchTag(key, values, ids, from, found);
    for (const other of this.#others) found(other, this.#matching(other, ids, from));
  }

  #matchTag(
    key: string,
    values: ReadonlyMap<string, Delete[]>,
    ids: Uint32Array,
    from: number,
    found: Found<Delete>,
  ): void {
    if (from === 0 && values.size <= SEARCHED_MAX) {
      for (const deletes of values.values())
        for (const each of deletes) found(each, this.#table.match(this.#measurement, each.condition));
      return;
    }
    const column = this.#table.tagColumn(this.#measurement, key, ids);
    const { codes } = column;
    const wanted = new Map<number, readonly Delete[]>();
    if (values.size < ids.length) {
      for (const [value, deletes] of values) wanted.set(this.#table.tagCode(key, value), deletes);
    } else {
      for (const code of new Set(codes)) wanted.set(code, values.get(column.valueOf(code)) ?? []);
    }
    const covered = new Map<number, number[]>();
    for (let i = 0; i < ids.length; i++) {
      const code = codes[i]!;
      if (!wanted.has(code)) continue;
      const others = covered.get(code);
      if (others === undefined) covered.set(code, [ids[i]!]);
      else others.push(ids[i]!);
    }
    for (const [code, list] of covered) {
      const those = Uint32Array.from(list);
      for (const each of wanted.get(code)!)
        found(each, each.condition?.op === '=' ? those : this.#matching(each, those, from));
    }
  }

  /** Of `ids`, among which are all from `from` on that the delete covers. */
  #matching({ condition, matches }: Delete, ids: Uint32Array, from: number): Uint32Array {
    if (matches === null) return ids;
    const few = Math.max(ONE_BY_ONE_MAX, this.#table.memberCount(this.#measurement) * ONE_BY_ONE_PART);
    if (ids.length <= few) return ids.filter((id) => matches(this.#measurement, this.#table.tagsOf(id)));
    const all = this.#table.match(this.#measurement, condition);
    return from === 0 ? all : all.filter((id) => id >= from);
  }
}
