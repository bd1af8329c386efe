/**
 * Conditions on tags, compiled once and asked of many series.
 *
 * A tag that a series does not have is the empty string; the key `_name` is the measurement.
 */
import { compileGoRegex } from './go-regex.ts';
import type { Tag } from './series-key.ts';
import type { TagCondition } from './tag-condition.ts';

export type TagMatcher = (measurement: string, tags: readonly Tag[]) => boolean;

/** Throws RegexError. */
export function compileTagCondition(condition: TagCondition): TagMatcher {
  switch (condition.op) {
    case 'true':
      return () => true;
    case 'false':
      return () => false;
    case 'and': {
      const terms = condition.terms.map(compileTagCondition);
      return (measurement, tags) => terms.every((term) => term(measurement, tags));
    }
    case 'or': {
      const terms = condition.terms.map(compileTagCondition);
      return (measurement, tags) => terms.some((term) => term(measurement, tags));
    }
    case '=':
    case '!=': {
      const { key, value } = condition;
      const wanted = condition.op === '=';
      return (measurement, tags) => (tagValue(key, measurement, tags) === value) === wanted;
    }
    case '=~':
    case '!~': {
      const { key } = condition;
      const wanted = condition.op === '=~';
      const regex = compileGoRegex(condition.regex);
      return (measurement, tags) => regex.test(tagValue(key, measurement, tags)) === wanted;
    }
  }
}

/** For a single question; compile when there are many. Throws RegexError. */
export function matchTags(condition: TagCondition, measurement: string, tags: readonly Tag[]): boolean {
  return compileTagCondition(condition)(measurement, tags);
}

function tagValue(key: string, measurement: string, tags: readonly Tag[]): string {
  if (key === '_name') return measurement;
  for (const tag of tags) if (tag.key === key) return tag.value;
  return '';
}
