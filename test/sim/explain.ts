/** What the nodes of a simulated cluster say of their replicas, for a failure. */
import { stampMs, type Version } from '../../shards/version.ts';
import type { SimNode } from './sim-node.ts';

export function explainReplicas(nodes: readonly SimNode[], newest: Version, startMs: number): string {
  const lines = nodes.flatMap(({ name, process }) =>
    process!.host.describeShards().map((d) => {
      const why = `${d.state} through ${d.converged?.through ?? 'nothing'} held back by ${d.heldBackBy}`;
      const last = `${d.lastPass?.kind} ${d.lastPass?.outcome} ${d.lastPass?.reason}`;
      return `${name} ${d.database}/${d.number} ${why}, last pass ${last}, outbox ${d.outboxEntries}`;
    }),
  );
  return [`newest ${newest} (${stampMs(newest) - startMs} ms)`, ...lines].join('\n');
}
