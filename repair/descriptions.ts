/** What a worker says of a shard's replicas and watermarks, for people. */
import { type NodeNumber, stampMs } from '../shards/version.ts';
import { rootFromJson, type Watermark } from './ledger.ts';
import type { ReplicaDescription, WatermarkDescription } from './records.ts';
import type { Replica } from './replica-table.ts';
import { summaryOf } from './ring-token.ts';
import { memberOf, nameOf, type Surroundings } from './surroundings.ts';

export function describeReplicas(replica: Replica, around: Surroundings): ReplicaDescription[] {
  const { self, snapshot } = around;
  const owners = around.owners(replica.key);
  const heldBy = snapshot?.heldBy ?? {};
  const stateOf = (member: NodeNumber) => heldBy[member]?.find((held) => held.id === replica.id)?.state;
  const holders = Object.keys(heldBy).filter((member) => !owners.includes(member) && stateOf(member) !== undefined);
  if (!owners.includes(self) && !holders.includes(self)) holders.push(self);
  return [...owners, ...holders.filter((member) => memberOf(snapshot, member)?.state !== 'removed')].map((member) => ({
    member,
    name: nameOf(snapshot, member),
    live: around.isLive(member),
    owner: owners.includes(member),
    state:
      member === self
        ? replica.ledger.replica
        : (stateOf(member) ?? (heldBy[member] === undefined ? 'unknown' : 'absent')),
  }));
}

export function describeWatermark(mark: Watermark | null): WatermarkDescription | null {
  if (mark === null) return null;
  const { through, pass, members, root } = mark;
  return { through, throughMs: stampMs(through), pass, members, root: summaryOf(through, rootFromJson(root)) };
}
