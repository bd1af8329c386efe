/** Some groups of a SELECT as a condition on tags, so that shards read their series alone. */
import type { TagCondition } from '../../shards/tag-condition.ts';
import type { Group } from './groups.ts';

/** Values of one tag are looked up together; of several tags each group is a search of its own. */
export const GROUPS_MAX = 1000;
const GROUPS_OF_TAGS_MAX = 50;

/** null: there is none, or finding so many groups would take longer than reading all. */
export function groupCondition(
  groups: readonly Group[],
  dimensions: readonly string[],
  measurements: readonly string[],
): TagCondition | null {
  const tellsMeasurement = measurements.length > 1;
  const isOneTag = dimensions.length === 1 && !tellsMeasurement;
  // In conditions that is the measurement, whatever tags there are.
  const isNamed = dimensions.includes('_name');
  if (groups.length > (isOneTag ? GROUPS_MAX : GROUPS_OF_TAGS_MAX) || dimensions.length === 0 || isNamed) return null;
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
