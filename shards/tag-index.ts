/**
 * Which series of a measurement match a condition on tags, without looking at every series.
 *
 * Per tag key the values are numbered, each series has the number of its value, and the series of each value stand
 * together (postings). A comparison is decided once per distinct value; an equality then touches only its postings.
 * Built from the keys when a condition is first asked for, and again when an eighth of the series are newer than it:
 * those are matched one by one meanwhile.
 */
import type { Tag } from './series-key.ts';
import type { TagCondition } from './tag-condition.ts';
import { compileTagCondition } from './tag-matcher.ts';

interface TagColumn {
  /** Number 0 is the empty string: the series does not have the tag. */
  readonly numbers: ReadonlyMap<string, number>;
  /** Per member: number of its value. */
  readonly codes: Uint32Array;
  /** Members with value c: postings[starts[c]] .. postings[starts[c + 1] - 1], ascending. */
  readonly starts: Uint32Array;
  readonly postings: Uint32Array;
}

type MemberTest = (member: number) => boolean;

export class TagIndex {
  readonly #measurement: string;
  readonly #columns: ReadonlyMap<string, TagColumn>;
  /** So many members (in order of arrival) are indexed. */
  readonly count: number;

  constructor(measurement: string, members: Uint32Array, tagsOf: (id: number) => readonly Tag[]) {
    this.#measurement = measurement;
    this.count = members.length;
    this.#columns = buildColumns(members, tagsOf);
  }

  /** Members (places in the order of arrival) that match. Throws RegexError. */
  match(condition: TagCondition): number[] {
    const test = this.#compile(condition);
    const found: number[] = [];
    const candidates = this.#candidates(condition);
    if (candidates === null) {
      for (let member = 0; member < this.count; member++) if (test(member)) found.push(member);
    } else {
      for (let i = 0; i < candidates.length; i++) if (test(candidates[i]!)) found.push(candidates[i]!);
    }
    return found;
  }

  /** A superset of what matches, or null: all. */
  #candidates(condition: TagCondition): Uint32Array | null {
    if (condition.op === '=' && condition.key !== '_name' && condition.value !== '') {
      const column = this.#columns.get(condition.key);
      const code = column?.numbers.get(condition.value);
      return column === undefined || code === undefined
        ? new Uint32Array(0)
        : column.postings.subarray(column.starts[code], column.starts[code + 1]);
    }
    if (condition.op !== 'and') return null;
    let least: Uint32Array | null = null;
    for (const term of condition.terms) {
      const some = this.#candidates(term);
      if (some !== null && (least === null || some.length < least.length)) least = some;
    }
    return least;
  }

  #compile(condition: TagCondition): MemberTest {
    if (condition.op === 'and') {
      const terms = condition.terms.map((term) => this.#compile(term));
      return (member) => terms.every((term) => term(member));
    }
    if (condition.op === 'or') {
      const terms = condition.terms.map((term) => this.#compile(term));
      return (member) => terms.some((term) => term(member));
    }
    const matches = compileTagCondition(condition);
    const column = 'key' in condition && condition.key !== '_name' ? this.#columns.get(condition.key) : undefined;
    if (column === undefined || !('key' in condition)) {
      const same = matches(this.#measurement, []);
      return () => same;
    }
    const codes = column.codes;
    if (condition.op === '=' || condition.op === '!=') {
      const code = column.numbers.get(condition.value);
      const equal = condition.op === '=';
      return (member) => (codes[member] === code) === equal;
    }
    const verdicts = new Uint8Array(column.numbers.size);
    for (const [value, code] of column.numbers) {
      const tags = value === '' ? [] : [{ key: condition.key, value }];
      verdicts[code] = matches(this.#measurement, tags) ? 1 : 0;
    }
    return (member) => verdicts[codes[member]!] === 1;
  }
}

function buildColumns(members: Uint32Array, tagsOf: (id: number) => readonly Tag[]): Map<string, TagColumn> {
  const building = new Map<string, { numbers: Map<string, number>; codes: Uint32Array }>();
  for (let member = 0; member < members.length; member++) {
    for (const { key, value } of tagsOf(members[member]!)) {
      let column = building.get(key);
      if (column === undefined) {
        column = { numbers: new Map([['', 0]]), codes: new Uint32Array(members.length) };
        building.set(key, column);
      }
      let code = column.numbers.get(value);
      if (code === undefined) {
        code = column.numbers.size;
        column.numbers.set(value, code);
      }
      column.codes[member] = code;
    }
  }
  const columns = new Map<string, TagColumn>();
  for (const [key, { numbers, codes }] of building) columns.set(key, withPostings(numbers, codes));
  return columns;
}

function withPostings(numbers: ReadonlyMap<string, number>, codes: Uint32Array): TagColumn {
  const starts = new Uint32Array(numbers.size + 1);
  for (let i = 0; i < codes.length; i++) starts[codes[i]! + 1]!++;
  for (let code = 0; code < numbers.size; code++) starts[code + 1]! += starts[code]!;
  const next = starts.slice();
  const postings = new Uint32Array(codes.length);
  for (let i = 0; i < codes.length; i++) postings[next[codes[i]!]!++] = i;
  return { numbers, codes, starts, postings };
}
