/** What a worker says of a shard's replicas and watermarks, for people: plain data (records.ts). */
import { attempt } from '../shards/errors.ts';
import { type NodeNumber, type Stamp, stampMs } from '../shards/version.ts';
import { heldIn } from './held-shards.ts';
import { type Ledger, rootFromJson, type Watermark } from './ledger.ts';
import { describeLosses } from './losses.ts';
import type { Outbox } from './outbox.ts';
import type {
  FillDescription,
  LedgerSummary,
  ReplicaDescription,
  ShardDescription,
  WatermarkDescription,
} from './records.ts';
import { isYoung, type Replica } from './replica-table.ts';
import { summaryOf } from './ring-token.ts';
import { memberOf, nameOf, type Surroundings } from './surroundings.ts';

export function describeReplica(
  replica: Replica,
  { around, outbox, fill }: { around: Surroundings; outbox: Outbox; fill: FillDescription | null },
): ShardDescription {
  const { id, key, ledger, notes, stored } = replica;
  const tally = outbox.tallies.get(id);
  const { converged, liveConverged } = ledger;
  const through =
    ledger.newest === null || ledger.newest.slice(0, 16) < ledger.floor ? ledger.floor : ledger.newest.slice(0, 16);
  const atWatermark = converged !== null && converged.through >= ledger.floor;
  return {
    id,
    database: key.database,
    databaseGeneration: key.databaseGeneration,
    retentionPolicy: key.retentionPolicy,
    retentionPolicyGeneration: key.retentionPolicyGeneration,
    startNs: key.startNs.toString(),
    endNs: key.endNs.toString(),
    number: key.number,
    replicas: describeReplicas(replica, around),
    state: ledger.replica,
    floor: ledger.floor,
    ledger: summaryAt(ledger, through),
    ledgerAtWatermark: atWatermark ? summaryAt(ledger, converged.through) : null,
    converged: describeWatermark(converged),
    liveConverged: describeWatermark(liveConverged),
    losses: describeLosses(ledger),
    heldBackBy: around.budget.rates.paused ? 'repair is paused on this node' : notes.heldBackBy,
    newestVersion: ledger.newest,
    ...stored.sizes(),
    outboxEntries: tally?.entries ?? 0,
    outboxBytes: tally?.bytes ?? 0,
    debts: outbox.debts.get(id)?.batches ?? 0,
    fill,
    damage: notes.damage ?? (ledger.damage === null ? null : { reason: ledger.damage, sinceMs: 0, comparedWith: null }),
    lastPass: notes.lastPass,
    passMs: notes.passMs,
    fillPageMs: notes.fillPageMs,
  };
}

/** null: it cannot be read now. */
export function summaryAt(ledger: Ledger, through: Stamp): LedgerSummary | null {
  return attempt(
    () => summaryOf(through, ledger.root(through)),
    () => null,
  );
}

/** Owners in the order of the ring, then other holders. */
function describeReplicas(replica: Replica, around: Surroundings): ReplicaDescription[] {
  const { self, snapshot } = around;
  const owners = around.owners(replica.key);
  const heldBy = snapshot?.heldBy ?? {};
  const stateOf = (member: NodeNumber) => heldIn(heldBy[member], replica.id)?.state;
  const { converged } = replica.ledger;
  // After a crash a member may have lost the mark of its proof, which does not make the replica another one; a lost file does.
  const wasProvenAt = (member: NodeNumber) =>
    converged?.members.includes(member) === true &&
    (heldIn(heldBy[member], replica.id)?.since ?? '') <= converged.through;
  const isYoungAt = (member: NodeNumber) =>
    member === self
      ? isYoung(replica.ledger)
      : heldIn(heldBy[member], replica.id)?.young === true && !wasProvenAt(member);
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
    young: isYoungAt(member),
  }));
}

function describeWatermark(mark: Watermark | null): WatermarkDescription | null {
  if (mark === null) return null;
  const { through, pass, members, root } = mark;
  return { through, throughMs: stampMs(through), pass, members, root: summaryOf(through, rootFromJson(root)) };
}
