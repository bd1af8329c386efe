/**
 * Which of the batches on a removed member's disk the cluster never had: every member is asked, and each has to answer, since
 * a batch that one does not tell of would be taken for lost and written anew, over what came later.
 */
import type { FoundWrite } from '../repair/found-writes.ts';
import { shardKeyToJson } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { Leftover } from './leftovers.ts';
import { callNode } from './query-rpc.ts';

/** `over`: dropped or expired. `unsure`: those who could tell hold copies that were made since. */
export type Verdict = 'known' | 'lost' | 'unsure' | 'over';

export interface AskedMember {
  readonly name: string;
  readonly address: string;
}

const BATCHES_PER_CALL = 1000;
const CALL_MS_MAX = 30_000;

/** In the order of the batches. Rejects with NodeCallError when a member does not answer. */
export async function judgeLeftovers(
  members: readonly AskedMember[],
  clusterId: string,
  foundWith: NodeNumber,
  batches: readonly Leftover[],
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (let at = 0; at < batches.length; at += BATCHES_PER_CALL) {
    const sought = batches
      .slice(at, at + BATCHES_PER_CALL)
      .map(({ shard, version }) => ({ shard: shardKeyToJson(shard), version, foundWith }));
    const answers = await Promise.all(
      members.map(({ address }) =>
        callNode({ address, clusterId, from: 'quarantine', timeoutMs: CALL_MS_MAX }, 'findWrites', sought),
      ),
    );
    for (const i of sought.keys()) verdicts.push(verdictOf(answers.map((found) => found[i]!)));
  }
  return verdicts;
}

/** Whoever was in the proof that passed it is right about all; who has not got so far speaks for itself only. */
export function verdictOf(found: readonly Pick<FoundWrite, 'isInOutbox' | 'isOver' | 'knowledge'>[]): Verdict {
  if (found.some(({ isOver }) => isOver)) return 'over';
  if (found.some(({ isInOutbox, knowledge }) => isInOutbox || knowledge === 'known')) return 'known';
  if (found.some(({ knowledge }) => knowledge === 'never')) return 'lost';
  return found.some(({ knowledge }) => knowledge === 'unsure') ? 'unsure' : 'lost';
}
