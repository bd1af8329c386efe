/**
 * Which groups a SELECT has, asked of the shards without reading a row, so that some of them can be read alone: those that
 * SLIMIT leaves, or the next ones of an answer that leaves group after group.
 */
import { mainTurns } from '../turns.ts';
import { limitSeries, rawNeeds, selectRequest } from './data.ts';
import { groupCondition } from './group-condition.ts';
import type { Group } from './groups.ts';
import { mergeGroups } from './merged-groups.ts';
import type { PlannedSource, SelectPlan } from './plan.ts';
import { type StatementContext, selectOn } from './scatter.ts';

type ShardSource = Extract<PlannedSource, { kind: 'shards' }>;

/** A plan whose schemas were confirmed by naming its groups. */
export interface NamedPlan {
  readonly plan: SelectPlan;
  /** Ascending by key; SLIMIT and SOFFSET are done with. */
  readonly groups: readonly Group[];
  readonly source: ShardSource;
  readonly dimensions: readonly string[];
}

/** null: it reads something else than shards of one policy, or has no groups by tag. */
export async function nameGroups(
  plan: SelectPlan,
  dimensions: readonly string[],
  context: StatementContext,
): Promise<NamedPlan | null> {
  const [source] = plan.sources;
  const isPlain = plan.sources.length === 1 && dimensions.length > 0;
  if (!isPlain || source?.kind !== 'shards' || source.measurements.length === 0) return null;
  const nothing = { states: [], aux: [], columns: [], perGroup: null };
  const request = selectRequest(plan, rawNeeds(plan).span, nothing, dimensions, source, context);
  const shards = await selectOn(context, source.targets, request);
  const merging = mergeGroups(shards, dimensions, source.measurements);
  const { groups } = await mainTurns.of(merging, context.ending);
  // What is asked from here on is read by the plan, whatever schemas become.
  const confirmed = { ...source, planned: null };
  const left = limitSeries(
    groups.map((group) => ({ group })),
    plan,
  );
  return {
    plan: { ...plan, sources: [confirmed] },
    groups: left.map(({ group }) => group),
    source: confirmed,
    dimensions,
  };
}

/** For some of the groups alone; null: finding them would take longer than reading all. */
export function planOfGroups({ plan, source, dimensions }: NamedPlan, groups: readonly Group[]): SelectPlan | null {
  const condition = groupCondition(groups, dimensions, source.measurements);
  return condition === null ? null : { ...plan, groups: condition, seriesLimit: 0, seriesOffset: 0 };
}
