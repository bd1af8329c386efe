/** The convergence bound that this node publishes: the rule's arithmetic with this cluster's settings and measurements. */
import { convergenceBound } from '../repair/bound.ts';
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
): ConvergenceBound {
  const members = snapshot.members.filter((member) => member.state === 'up').length;
  const wanted = snapshot.databases.flatMap((database) => database.retentionPolicies.map((each) => each.replication));
  const owners = Math.max(1, Math.min(members, wanted.length === 0 ? DEFAULT_REPLICATION : Math.max(...wanted)));
  // Whoever still holds a shard is in its ring, owner or not.
  const replicas = Math.max(owners, ...shards.map((shard) => shard.replicas.length));
  const measured = shards.map((shard) => (shard.passMs ?? 0) / Math.max(1, 2 * (shard.replicas.length - 1)));
  const sizes = shards.map((shard) => shard.fileBytes + shard.memtableBytes);
  return convergenceBound({
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
      pageBytes: DEFAULT_REPLICA_LIMITS.fillPageBytes,
      atOnce: DEFAULT_REPLICA_LIMITS.snapshotsMax,
      pageMs: Math.max(PAGE_MS_ASSUMED, ...shards.map((shard) => shard.fillPageMs ?? 0)),
      retryMs: DEFAULT_REPLICA_LIMITS.requestTimeoutMs,
    },
  });
}
