/**
 * What a pattern says of each value of a tag: found out once, since dashboards ask the same patterns again and again and the
 * values of a tag only become more.
 *
 * A regular expression is the one comparison that costs by the value, up to a millisecond for each: so verdicts are found
 * a short while at a time, and kept for the patterns that were asked last. They go with their series table.
 */
import { type GoRegex, testBounded } from './go-regex.ts';
import type { SeriesIds } from './series-ids.ts';

/** By code. */
export interface TagVerdicts {
  bytes: Uint8Array;
}

/** Else nothing is known of the value yet. */
const DIFFERS = 1;
export const MATCHES = 2;

/** Patterns of one series table. */
const PATTERNS_MAX = 16;
/** Instructions times characters asked of in a step: 3 ms in the worst case. By count, so that steps are the same in each run. */
const WORK_AT_ONCE = 1 << 15;

const remembered = new WeakMap<SeriesIds, Map<string, TagVerdicts>>();

/** `key`: the number of the tag key. */
export function verdictsOf(ids: SeriesIds, key: number, pattern: string): TagVerdicts {
  let patterns = remembered.get(ids);
  if (patterns === undefined) {
    patterns = new Map();
    remembered.set(ids, patterns);
  }
  const name = `${key}/${pattern}`;
  const known = patterns.get(name);
  if (known !== undefined) {
    // Behind the others: the one that was not asked for longest goes first.
    patterns.delete(name);
    patterns.set(name, known);
    return known;
  }
  if (patterns.size >= PATTERNS_MAX) patterns.delete(patterns.keys().next().value!);
  const verdicts: TagVerdicts = { bytes: new Uint8Array(ids.textCount(key)) };
  patterns.set(name, verdicts);
  return verdicts;
}

/**
 * Asks of the values from this code on that are used (by code plus one; null: all) and of which nothing is known, for a
 * short while. Returns the code to go on from. Throws RegexError.
 */
export function judgeValues(
  ids: SeriesIds,
  key: number,
  regex: GoRegex,
  verdicts: TagVerdicts,
  used: Uint8Array | null,
  from: number,
): number {
  const count = ids.textCount(key);
  if (verdicts.bytes.length < count) {
    const more = new Uint8Array(count + (count >> 3));
    more.set(verdicts.bytes);
    verdicts.bytes = more;
  }
  const { bytes } = verdicts;
  let work = 0;
  let code = from;
  for (; code < count && work < WORK_AT_ONCE; code++) {
    if (bytes[code] !== 0 || (used !== null && used[code + 1] !== 1)) continue;
    const text = ids.text(key, code);
    bytes[code] = testBounded(regex, text) ? MATCHES : DIFFERS;
    work += regex.size * (text.length + 1);
  }
  return code;
}
