/**
 * The convergence bounds that this node publishes: the rule's arithmetic with this cluster's settings and measurements.
 *
 * Delete shards have one of their own. All members are in their rings, so in a large cluster it is many times the one of
 * the shards that hold rows. What waits in the outboxes of others is not known here: they publish it.
 */
import { type BoundTimes, type BoundView, boundParameters, convergenceBound } from '../repair/bound.ts';
import { type RepairRates, SHARE_OF_COPIES, UNLIMITED } from '../repair/budget.ts';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { DEFAULT_REPLICATION } from '../repair/databases.ts';
import type { OutboxStatus, ShardDescription } from '../repair/records.ts';
import { limitsWith } from '../repair/replica-limits.ts';
import { isDeleteShard } from '../shards/delete-shard.ts';
import { type Config, membershipLimits } from './config.ts';
import type { BoundOfShards, ConvergenceBound } from './http/admin.ts';

/** One hop before any pass was measured: a few round trips, a comparison and a sync, on a slow disk. */
const HOP_MS_ASSUMED = 100;
/** Ticks on both sides and the loopback or a local network between them. */
const MESSAGE_DELAY_MS = 100;
/** A page of a copy before any copy was measured: some 5 MiB a second, on a slow disk or a slow link. */
const PAGE_MS_ASSUMED = 200;

export interface NodeView {
  readonly snapshot: ClusterSnapshot;
  readonly shards: readonly ShardDescription[];
  readonly outboxes: readonly OutboxStatus[];
}

export function measuredBound(
  config: Config,
  { snapshot, shards, outboxes }: NodeView,
  rates: RepairRates = UNLIMITED,
): ConvergenceBound {
  const members = Math.max(1, snapshot.members.filter((member) => member.state === 'up').length);
  const wanted = snapshot.databases.flatMap((database) => database.retentionPolicies.map((each) => each.replication));
  const owners = Math.min(members, wanted.length === 0 ? DEFAULT_REPLICATION : Math.max(...wanted));
  const durabilities = snapshot.databases.map(({ durability }) => durability);
  const limits = limitsWith(config);
  const sizes = shards.map((shard) => shard.fileBytes + shard.memtableBytes);
  const { bytesPerSecond } = rates;
  // A limit is for all copies that run at once, and for pulls beside them.
  const forCopies = (bytesPerSecond ?? Number.POSITIVE_INFINITY) * SHARE_OF_COPIES;
  const limitedMs = (1000 * limits.fillPageBytes * limits.snapshotsMax) / forCopies;
  const copies = {
    shards: shards.length,
    bytes: sizes.reduce((sum, bytes) => sum + bytes, 0),
    largestBytes: Math.max(0, ...sizes),
    pageMs: Math.max(PAGE_MS_ASSUMED, limitedMs, ...shards.map((shard) => shard.fillPageMs ?? 0)),
  };
  const boundOf = (some: readonly ShardDescription[], ownersOfEach: number) => {
    // Whoever still holds a shard is in its ring, owner or not.
    const replicas = Math.max(ownersOfEach, ...some.map((shard) => shard.replicas.length));
    const measured = some.map((shard) => (shard.passMs ?? 0) / Math.max(1, 2 * (shard.replicas.length - 1)));
    const view: BoundView = { replicas, deaths: members > 1 ? 1 : 0, durabilities, outboxes };
    const hopMs = Math.max(HOP_MS_ASSUMED, ...measured);
    const times: BoundTimes = { hopMs, messageDelayMs: MESSAGE_DELAY_MS, bytesPerSecond, copies };
    return convergenceBound(boundParameters(limits, membershipLimits(config), view, times));
  };
  const bound = boundOf(
    shards.filter((shard) => !holdsDeletes(shard)),
    owners,
  );
  const deletes = boundOf(shards.filter(holdsDeletes), members);
  return { ...bound, deletes, warnings: boundWarnings(config, { ...bound, deletes }, rates, null) };
}

function holdsDeletes({ startNs, endNs }: ShardDescription): boolean {
  return isDeleteShard({ startNs: BigInt(startNs), endNs: BigInt(endNs) });
}

/**
 * Why the bound is larger than it need be, or does not hold: one line each, for a person. `writeBytesPerSecond`: bodies of
 * writes that this node takes, lately; null before it is known.
 */
export function boundWarnings(
  config: Pick<Config, 'passIntervalMs' | 'outboxBytesMax'>,
  {
    boundMs,
    parts,
    deletes,
  }: Pick<ConvergenceBound, 'boundMs' | 'parts'> & { readonly deletes: Pick<BoundOfShards, 'parts'> },
  rates: RepairRates,
  writeBytesPerSecond: number | null,
): string[] {
  const warnings: string[] = [];
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const rate = (bytes: number) => `${Math.round(bytes / 1024)} KiB/s`;
  if (rates.paused) warnings.push('repair is paused on this node: the bound does not hold until it is resumed');
  for (const [whose, { passMs }] of [
    ['a pass', parts],
    ['a pass of deletes for whole policies', deletes.parts],
  ] as const) {
    if (passMs! <= config.passIntervalMs) continue;
    const span = `${whose} may take ${seconds(passMs!)}, longer than the interval of ${seconds(config.passIntervalMs)}`;
    warnings.push(`${span}: it is the passes that rule the bound`);
  }
  if (writeBytesPerSecond === null || writeBytesPerSecond <= 0) return warnings;
  const { bytesPerSecond } = rates;
  if (bytesPerSecond !== null && bytesPerSecond < writeBytesPerSecond) {
    const both = `repair may move ${rate(bytesPerSecond)}, and writes come at ${rate(writeBytesPerSecond)}`;
    warnings.push(`${both}: an owner that was away does not catch up`);
  }
  const outboxMs = (1000 * config.outboxBytesMax) / writeBytesPerSecond;
  if (outboxMs < boundMs) {
    const span = `the outbox is full after ${seconds(outboxMs)} of writes as they come now, before the bound has passed`;
    warnings.push(`${span}: what an absent owner missed becomes debts, which only the ring settles`);
  }
  return warnings;
}
