/**
 * Which series of a measurement match a condition on tags, without looking at their keys.
 *
 * The tags of a measurement's series stand in columns of numbered values (kernel/assembly/series/columns.ts). A
 * comparison is decided once per distinct value (an equality by one look-up), the column is searched for the codes, and
 * the sets of series that come of it are combined as bits. What a pattern says of the values is remembered, and can be
 * found out beforehand in steps (tag-verdicts.ts).
 */
import { compileGoRegex, type GoRegex, testBounded } from './go-regex.ts';
import { TAG_KEYS } from './kernel/series-kernel.ts';
import { type StorageKernel, storageBytes, storageKernel } from './kernel/storage-kernel.ts';
import type { SeriesIds } from './series-ids.ts';
import type { Steps } from './steps.ts';
import type { TagCondition } from './tag-condition.ts';
import { judgeValues, MATCHES, verdictsOf } from './tag-verdicts.ts';

/** Series of a measurement at most. */
const MEMBERS_LOOKED_AT = 1 << 16;

/** Ids that match, in the order of hash. Throws RegexError. */
export function matchSeries(ids: SeriesIds, number: number, name: string, condition: TagCondition): Uint32Array {
  const kernel = storageKernel();
  const matching = new Matching(kernel, ids, number, name);
  try {
    const set = matching.evaluate(condition);
    const count = kernel.setCount(set, matching.bytes);
    const out = matching.take(count * 4);
    kernel.setIds(ids.address, number, set, out);
    return new Uint32Array(storageBytes().buffer, out, count).slice();
  } finally {
    matching.free();
  }
}

/** What `matchSeries` has to ask of patterns, a short while at a time. Throws RegexError. */
export function* judgeSteps(ids: SeriesIds, number: number, condition: TagCondition): Steps {
  switch (condition.op) {
    case 'and':
    case 'or':
      for (const term of condition.terms) yield* judgeSteps(ids, number, term);
      return;
    case '=~':
    case '!~': {
      const key = condition.key === '_name' ? -1 : ids.codeOf(TAG_KEYS, condition.key);
      const regex = compileGoRegex(condition.regex);
      if (key < 0 || regex.literals !== null) return;
      const verdicts = verdictsOf(ids, key, condition.regex);
      const used = codesToAsk(ids, number, key);
      let code = 0;
      while (code < ids.textCount(key)) {
        code = judgeValues(ids, key, regex, verdicts, used, code);
        if (code < ids.textCount(key)) yield;
      }
    }
  }
}

class Matching {
  readonly bytes: number;
  readonly #kernel: StorageKernel;
  readonly #ids: SeriesIds;
  readonly #number: number;
  readonly #name: string;
  readonly #taken: number[] = [];

  constructor(kernel: StorageKernel, ids: SeriesIds, number: number, name: string) {
    this.#kernel = kernel;
    this.#ids = ids;
    this.#number = number;
    this.#name = name;
    this.bytes = kernel.setBytes(ids.address, number);
  }

  take(bytes: number): number {
    const at = this.#kernel.alloc(bytes);
    this.#taken.push(at);
    return at;
  }

  free(): void {
    for (const at of this.#taken) this.#kernel.free(at);
  }

  /** A set of the measurement's members. */
  evaluate(condition: TagCondition): number {
    switch (condition.op) {
      case 'true':
      case 'false':
        return this.#all(condition.op === 'true');
      case 'and':
        return this.#combine('and', condition.terms);
      case 'or':
        return this.#anyOf(condition.terms) ?? this.#combine('or', condition.terms);
      case '=':
        return this.#equal(condition.key, condition.value);
      case '!=':
        return this.#not(this.#equal(condition.key, condition.value));
      case '=~':
        return this.#regex(condition.key, condition.regex);
      case '!~':
        return this.#not(this.#regex(condition.key, condition.regex));
    }
  }

  #all(all: boolean): number {
    const set = this.take(this.bytes);
    this.#kernel.setFill(this.#ids.address, this.#number, all ? 1 : 0, set);
    return set;
  }

  #not(set: number): number {
    this.#kernel.setNot(this.#ids.address, this.#number, set);
    return set;
  }

  #combine(op: 'and' | 'or', terms: readonly TagCondition[]): number {
    const set = this.#all(op === 'and');
    for (const term of terms) {
      const other = this.evaluate(term);
      if (op === 'and') this.#kernel.setAnd(set, other, this.bytes);
      else this.#kernel.setOr(set, other, this.bytes);
      // Sets are given back as the stack that they are.
      this.#kernel.free(this.#taken.pop()!);
    }
    return set;
  }

  /**
   * Several values of one tag are one look at each of its codes instead of a search for each value; null: they are no
   * such terms, or the column is so long that searches, which pass over most of it, are faster.
   */
  #anyOf(terms: readonly TagCondition[]): number | null {
    const [first] = terms;
    if (first?.op !== '=' || first.key === '_name' || terms.length < 2) return null;
    const { key } = first;
    if (!terms.every((term) => term.op === '=' && term.key === key)) return null;
    const number = this.#ids.codeOf(TAG_KEYS, key);
    if (number < 0 || this.#kernel.measurementMembers(this.#ids.address, this.#number) > MEMBERS_LOOKED_AT) return null;
    const verdicts = new Uint8Array(this.#ids.textCount(number) + 1);
    for (const { value } of terms as readonly Extract<TagCondition, { op: '=' | '!=' }>[])
      verdicts[value === '' ? 0 : this.#ids.codeOf(number, value) + 1] = 1;
    // That of a value which no series has is at the place of the empty one.
    if (!terms.some((term) => term.op === '=' && term.value === '')) verdicts[0] = 0;
    return this.#judged(number, verdicts);
  }

  #judged(key: number, verdicts: Uint8Array): number {
    const set = this.take(this.bytes);
    const at = this.#kernel.alloc(verdicts.length);
    storageBytes().set(verdicts, at);
    this.#kernel.setVerdict(this.#ids.address, this.#number, key, at, verdicts.length, set);
    this.#kernel.free(at);
    return set;
  }

  #equal(key: string, value: string): number {
    if (key === '_name') return this.#all(this.#name === value);
    const number = this.#ids.codeOf(TAG_KEYS, key);
    if (number < 0) return this.#all(value === '');
    const code = value === '' ? 0 : this.#ids.codeOf(number, value) + 1;
    if (code === 0 && value !== '') return this.#all(false);
    const set = this.take(this.bytes);
    this.#kernel.setEqual(this.#ids.address, this.#number, number, code, set);
    return set;
  }

  #regex(key: string, pattern: string): number {
    const regex = compileGoRegex(pattern);
    if (key === '_name') return this.#all(testBounded(regex, this.#name));
    const number = this.#ids.codeOf(TAG_KEYS, key);
    if (number < 0) return this.#all(regex.test(''));
    return this.#judged(number, this.#verdicts(number, regex, pattern));
  }

  /** By code plus one: whether the value matches; at 0 whether the empty string, that of a series without the tag, does. */
  #verdicts(key: number, regex: GoRegex, pattern: string): Uint8Array {
    const count = this.#ids.textCount(key);
    const matches = new Uint8Array(count + 1);
    matches[0] = regex.test('') ? 1 : 0;
    if (regex.literals !== null) {
      for (const literal of regex.literals) {
        if (literal === '') continue;
        const code = this.#ids.codeOf(key, literal);
        if (code >= 0) matches[code + 1] = 1;
      }
      return matches;
    }
    const verdicts = verdictsOf(this.#ids, key, pattern);
    const used = codesToAsk(this.#ids, this.#number, key);
    for (let code = 0; code < count; ) code = judgeValues(this.#ids, key, regex, verdicts, used, code);
    const { bytes } = verdicts;
    for (let code = 0; code < count; code++) {
      if (bytes[code] === MATCHES && (used === null || used[code + 1] === 1)) matches[code + 1] = 1;
    }
    return matches;
  }
}

/** The codes plus one that the measurement has; null: most of them, or not worth the search. */
function codesToAsk(ids: SeriesIds, measurement: number, key: number): Uint8Array | null {
  if (ids.textCount(key) <= storageKernel().measurementMembers(ids.address, measurement)) return null;
  return usedCodes(ids, measurement, key);
}

/** By code plus one of a tag key's values: 1 when a series of the measurement has it. */
export function usedCodes(ids: SeriesIds, measurement: number, key: number): Uint8Array {
  const kernel = storageKernel();
  const count = ids.textCount(key) + 1;
  const at = kernel.alloc(count);
  storageBytes().fill(0, at, at + count);
  kernel.markCodes(ids.address, measurement, key, at);
  const used = storageBytes().slice(at, at + count);
  kernel.free(at);
  return used;
}
