/** Some groups of a SELECT as a condition on tags, so that shards read their series alone. */
import type { TagCondition } from '../../shards/tag-condition.ts';
import type { Group } from './groups.ts';

/** Values of one tag are looked up together; of several tags each group is a search of its own. */
export const GROUPS_MAX = 1000;
const GROUPS_OF_TAGS_MAX = 50;

/** Those that a condition can be made of. */
export function groupsMax(dimensions: readonly string[], measurements: readonly string[]): number {
  return dimensions.length === 1 && measurements.length === 1 ? GROUPS_MAX : GROUPS_OF_TAGS_MAX;
}

/** null: there is none, or finding so many groups would take longer than reading all. */
export function groupCondition(
  groups: readonly Group[],
  dimensions: readonly string[],
  measurements: readonly string[],
): TagCondition | null {
  const tellsMeasurement = measurements.length > 1;
  // In conditions that is the measurement, whatever tags there are.
  const isNamed = dimensions.includes('_name');
  if (groups.length > groupsMax(dimensions, measurements) || isNamed) return null;
  if (groups.length === 0) return { op: 'false' };
  const terms = groups.map(({ name, tags }): TagCondition => {
    const own = dimensions.map((key): TagCondition => ({ op: '=', key, value: tags[key]! }));
    if (tellsMeasurement) own.push({ op: '=', key: '_name', value: name });
    return own.length === 1 ? own[0]! : { op: 'and', terms: own };
  });
  return terms.length === 1 ? terms[0]! : { op: 'or', terms };
}

export function both(a: TagCondition | null, b: TagCondition | null): TagCondition | null {
  if (a === null || b === null) return a ?? b;
  return { op: 'and', terms: [a, b] };
}
