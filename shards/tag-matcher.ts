/** Conditions on tags, compiled once and asked of many series. */
import type { Tag } from './series-key.ts';
import type { TagCondition } from './tag-condition.ts';

export type TagMatcher = (measurement: string, tags: readonly Tag[]) => boolean;

/** Throws RegexError. */
export function compileTagCondition(_condition: TagCondition): TagMatcher {
  throw new Error('in construction');
}

export function matchTags(condition: TagCondition, measurement: string, tags: readonly Tag[]): boolean {
  return compileTagCondition(condition)(measurement, tags);
}
