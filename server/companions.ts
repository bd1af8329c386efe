/** Requests that leave together and may share batches: for one retention policy, with one consistency level. */
import type { WriteConsistency } from './http/influx-write.ts';
import type { NamedPolicies, NamedPolicy } from './named-policies.ts';
import type { Waiting } from './waiting-write.ts';

export interface Companions {
  readonly named: NamedPolicy;
  readonly consistency: WriteConsistency;
  readonly requests: Waiting[];
}

/** Puts requests together; `refuse` answers those whose policy is gone. */
export function companionsOf(
  waiting: readonly Waiting[],
  policies: NamedPolicies,
  refuse: (waiting: Waiting, refusal: { readonly status: number; readonly error: string }) => void,
): Companions[] {
  const byPolicy = new Map<NamedPolicy, Companions[]>();
  let last: Companions | null = null;
  for (const each of waiting) {
    const { database, retentionPolicy, consistency } = each.request;
    const named = policies.find(database, retentionPolicy);
    if ('error' in named) {
      refuse(each, named);
      continue;
    }
    if (last?.named !== named || last.consistency !== consistency) last = companionsIn(byPolicy, named, consistency);
    last.requests.push(each);
  }
  return [...byPolicy.values()].flat();
}

function companionsIn(
  byPolicy: Map<NamedPolicy, Companions[]>,
  named: NamedPolicy,
  consistency: WriteConsistency,
): Companions {
  let ofPolicy = byPolicy.get(named);
  if (ofPolicy === undefined) {
    ofPolicy = [];
    byPolicy.set(named, ofPolicy);
  }
  let companions = ofPolicy.find((each) => each.consistency === consistency);
  if (companions === undefined) {
    companions = { named, consistency, requests: [] };
    ofPolicy.push(companions);
  }
  return companions;
}
