/**
 * Conditions on tags: the part of a WHERE clause that picks series. Serialisable as JSON, because it travels in queries
 * to other nodes and is stored in delete batches.
 *
 * As in InfluxDB a tag that a series does not have equals the empty string. The keys `_name` (measurement) is matched
 * like a tag. Regular expressions are Go's (RE2), matched in linear time.
 */
export type TagCondition =
  | { readonly op: 'and' | 'or'; readonly terms: readonly TagCondition[] }
  | { readonly op: '=' | '!='; readonly key: string; readonly value: string }
  | { readonly op: '=~' | '!~'; readonly key: string; readonly regex: string }
  | { readonly op: 'true' | 'false' };

/** Whether it compares with a regular expression anywhere: the one comparison that costs by the value. */
export function hasPattern(condition: TagCondition): boolean {
  if ('terms' in condition) return condition.terms.some(hasPattern);
  return 'regex' in condition;
}
