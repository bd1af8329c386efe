/** The convergence bound that this node publishes: the rule's arithmetic with this cluster's settings and measurements. */
import { convergenceBound } from '../repair/bound.ts';
import { type RepairRates, UNLIMITED } from '../repair/budget.ts';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { DEFAULT_REPLICATION } from '../repair/databases.ts';
import { DEFAULT_MEMBERSHIP_LIMITS } from '../repair/membership-limits.ts';
import type { ShardDescription } from '../repair/records.ts';
import { DEFAULT_REPLICA_LIMITS } from '../repair/replica-limits.ts';
import type { Config } from './config.ts';
import type { ConvergenceBound } from './http/admin.ts';

/** One hop before any pass was measured: a few round trips, a comparison and a sync, on a slow disk. */
const HOP_MS_ASSUMED = 100;
/** Ticks on both sides and the loopback or a local network between them. */
const MESSAGE_DELAY_MS = 100;
/** A page of a copy before any copy was measured: some 5 MiB a second, on a slow disk or a slow link. */
const PAGE_MS_ASSUMED = 200;

export function measuredBound(
  config: Config,
  snapshot: ClusterSnapshot,
  shards: readonly ShardDescription[],
  rates: RepairRates = UNLIMITED,
): ConvergenceBound {
  const members = snapshot.members.filter((member) => member.state === 'up').length;
  const wanted = snapshot.databases.flatMap((database) => database.retentionPolicies.map((each) => each.replication));
  const owners = Math.max(1, Math.min(members, wanted.length === 0 ? DEFAULT_REPLICATION : Math.max(...wanted)));
  // Whoever still holds a shard is in its ring, owner or not.
  const replicas = Math.max(owners, ...shards.map((shard) => shard.replicas.length));
  const measured = shards.map((shard) => (shard.passMs ?? 0) / Math.max(1, 2 * (shard.replicas.length - 1)));
  const sizes = shards.map((shard) => shard.fileBytes + shard.memtableBytes);
  const { fillPageBytes: pageBytes, snapshotsMax: atOnce } = DEFAULT_REPLICA_LIMITS;
  // A limit is for all copies that run at once.
  const limitedMs = rates.bytesPerSecond === null ? 0 : (1000 * pageBytes * atOnce) / rates.bytesPerSecond;
  const bound = convergenceBound({
    passIntervalMs: config.passIntervalMs,
    replicas,
    hopMs: Math.max(HOP_MS_ASSUMED, ...measured),
    heartbeatMs: config.heartbeatIntervalMs,
    messageDelayMs: MESSAGE_DELAY_MS,
    // After it an unacknowledged batch is in the outbox, and no longer open.
    openMsMax: config.mailTimeoutMs,
    hopTimeoutMs: DEFAULT_REPLICA_LIMITS.hopTimeoutMs,
    deaths: members > 1 ? 1 : 0,
    // A node that was held up itself takes longer: then it is not one of those that go on.
    detectionMs: DEFAULT_MEMBERSHIP_LIMITS.liveIntervals * config.heartbeatIntervalMs,
    staggerMs: Math.min(DEFAULT_REPLICA_LIMITS.staggerMs, Math.ceil(config.passIntervalMs / 4)),
    startersMayBeDead: true,
    predecessorMayDie: false,
    copies: {
      shards: shards.length,
      bytes: sizes.reduce((sum, bytes) => sum + bytes, 0),
      largestBytes: Math.max(0, ...sizes),
      pageBytes,
      atOnce,
      pageMs: Math.max(PAGE_MS_ASSUMED, limitedMs, ...shards.map((shard) => shard.fillPageMs ?? 0)),
      retryMs: DEFAULT_REPLICA_LIMITS.requestTimeoutMs,
    },
  });
  return { ...bound, warnings: boundWarnings(config, bound, rates, null) };
}

/**
 * Why the bound is larger than it need be, or does not hold: one line each, for a person. `writeBytesPerSecond`: bodies of
 * writes that this node takes, lately; null before it is known.
 */
export function boundWarnings(
  config: Pick<Config, 'passIntervalMs' | 'outboxBytesMax'>,
  { boundMs, parts }: Pick<ConvergenceBound, 'boundMs' | 'parts'>,
  rates: RepairRates,
  writeBytesPerSecond: number | null,
): string[] {
  const warnings: string[] = [];
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  const rate = (bytes: number) => `${Math.round(bytes / 1024)} KiB/s`;
  if (rates.paused) warnings.push('repair is paused on this node: the bound does not hold until it is resumed');
  if (parts.passMs! > config.passIntervalMs) {
    const span = `a pass may take ${seconds(parts.passMs!)}, longer than the interval of ${seconds(config.passIntervalMs)}`;
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
