/**
 * The published bound of convergence: protocol rule 30's arithmetic. All spans in milliseconds.
 *
 *   bound = L + max(P, D) + D + delta + (k - 1) x stagger, and another max(P, D) + D when the predecessor dies too
 *   D = hops x h + f x tau,  hops = 2 (k - 1),  L = W + H + delta, and the time that a death takes to be seen if f > 0
 *
 * A member whose disk hangs during the pass takes what a dead one does (ring-fitness.ts): it is one of the f.
 *
 * It counts from the later of acceptance and the return of the last owner, for live owners that reach each other, within
 * drift, not paused, with room on disk.
 *
 * W, the longest time that a batch holds cutoffs back (rule 9): until a full owner has it synced, whether it is mail or in an
 * outbox. What was sent in vain just before the last owner came back is sent again after a whole time-out of mail, or after
 * the longest one that a silent peer is given (outbox-sender.ts); the one does not add to the other. Then it is offered,
 * asked for, sent and answered, and what an outbox holds takes its time to be sent:
 *
 *   W = max(mail time-out, longest backoff) + 4 delta + sync + bytes ahead of the last such batch / rate of the outbox
 *
 * A replica that lies below the floor of another cannot be brought level by a pass: it takes part in no proof until it
 * has been replaced by a copy. The bound then counts from the end of the last copy, which comes within `fencedMs + copyMs`:
 *
 *   fenced = L + (k - 1) x (max(P, D) + D) + (k - 1) x stagger
 *   copy   = (pages of all copies / copies at once + pages of the largest) x page + rounds x retry
 *
 * A pass that meets such a replica fences it, or ends because the one that is pulled from has been fenced; so each pass
 * finds one at least, and one of the k has the floor. Sources give few copies at once, and no place stays empty while
 * somebody waits for longer than until it asks again: then what runs when the last copy begins has taken its share of
 * all the pages, and the last one takes at most the pages of the largest.
 */
import type { ClusterSnapshot } from './cluster.ts';
import type { MembershipLimits } from './membership-limits.ts';
import type { OutboxStatus } from './records.ts';
import type { ReplicaLimits } from './replica-limits.ts';

export interface BoundParameters {
  /** P: interval between passes. */
  readonly passIntervalMs: number;
  /** k: members of the ring: owners, and others that still hold the shard (rule 12). */
  readonly replicas: number;
  /** h: one hop with its queue, requests, comparison, missing bytes and sync; measured, or assumed before the first pass. */
  readonly hopMs: number;
  /** H */
  readonly heartbeatMs: number;
  /** delta: delay of a message, the sender's tick included. */
  readonly messageDelayMs: number;
  /** W: longest time that a batch holds cutoffs back. */
  readonly openMsMax: number;
  /** tau: how long a silent receiver of a token is waited for. */
  readonly hopTimeoutMs: number;
  /** f: deaths during the pass, or disks that hang, that the bound allows for. */
  readonly deaths: number;
  /** How long a death takes to be seen: until then the cutoff stays at the dead member's last word. */
  readonly detectionMs: number;
  readonly staggerMs: number;
  /** Members that would start first may be dead. */
  readonly startersMayBeDead: boolean;
  /** The one who would take a dead receiver's token on may die too: one more pass. */
  readonly predecessorMayDie: boolean;
  readonly copies: CopyParameters;
}

/** What has to be copied at worst: everything that one member holds, when its disk is lost. */
export interface CopyParameters {
  readonly shards: number;
  readonly bytes: number;
  readonly largestBytes: number;
  readonly pageBytes: number;
  /** Copies that a source gives at the same time. */
  readonly atOnce: number;
  /** One page asked for, read, sent and stored; measured, or assumed before the first copy. */
  readonly pageMs: number;
  /** How long a refused target waits before it asks again. */
  readonly retryMs: number;
}

/** The cluster as it stands, as far as the bound depends on it. */
export interface BoundView {
  /** k */
  readonly replicas: number;
  /** f: deaths that are allowed for. */
  readonly deaths: number;
  /** Of all databases: whoever acknowledges before the sync is asked for the sync later. */
  readonly durabilities: Iterable<ClusterSnapshot['databases'][number]['durability']>;
  /** What waits in the outboxes that are known. */
  readonly outboxes: Iterable<Pick<OutboxStatus, 'holdingBytes'>>;
}

/** What this network and these disks take: measured, or assumed. */
export interface BoundTimes extends Pick<BoundParameters, 'hopMs' | 'messageDelayMs'> {
  /** What a node may move in a second, all outboxes together; null: no limit besides the outbox's own. */
  readonly bytesPerSecond: number | null;
  readonly copies: Pick<CopyParameters, 'shards' | 'bytes' | 'largestBytes' | 'pageMs'>;
}

/** Those of the published bound, and of the one that the simulation holds clusters against. */
export function boundParameters(
  limits: ReplicaLimits,
  membership: MembershipLimits,
  view: BoundView,
  times: BoundTimes,
): BoundParameters {
  const { heartbeatIntervalMs: heartbeatMs, liveIntervals } = membership;
  const { messageDelayMs, hopMs } = times;
  const syncMs = [...view.durabilities].some((each) => each !== 'fsync') ? limits.syncIntervalMs : 0;
  const silentMs = Math.max(limits.mailTimeoutMs, limits.backoffMsMax);
  return {
    passIntervalMs: limits.passIntervalMs,
    replicas: view.replicas,
    hopMs,
    heartbeatMs,
    messageDelayMs,
    openMsMax: silentMs + 4 * messageDelayMs + syncMs + drainMs(limits, view, times),
    hopTimeoutMs: limits.hopTimeoutMs,
    deaths: view.deaths,
    // A node that was held up itself takes longer: then it is not one of those that go on.
    detectionMs: liveIntervals * heartbeatMs,
    staggerMs: limits.staggerMs,
    startersMayBeDead: true,
    // A pass that a second death ends is one more fault than the bound allows for.
    predecessorMayDie: false,
    copies: {
      ...times.copies,
      pageBytes: limits.fillPageBytes,
      atOnce: limits.snapshotsMax,
      retryMs: limits.requestTimeoutMs,
    },
  };
}

function drainMs(limits: ReplicaLimits, { outboxes }: BoundView, times: BoundTimes): number {
  const holding = [...outboxes].map(({ holdingBytes }) => holdingBytes);
  const windowed = (1000 * limits.outboxWindowBytes) / (2 * times.messageDelayMs);
  const ofOneMs = (1000 * Math.max(0, ...holding)) / Math.min(limits.outboxBytesPerSecond, windowed);
  const { bytesPerSecond } = times;
  if (bytesPerSecond === null) return ofOneMs;
  return Math.max(ofOneMs, (1000 * holding.reduce((sum, bytes) => sum + bytes, 0)) / bytesPerSecond);
}

export interface ConvergenceBound {
  readonly boundMs: number;
  /** The same where replicas have to be replaced by copies first. */
  readonly withCopiesMs: number;
  readonly parts: {
    readonly hops: number;
    readonly lagMs: number;
    readonly passMs: number;
    readonly waitMs: number;
    readonly announcementMs: number;
    readonly starterMs: number;
    readonly extraPassMs: number;
    readonly fencedMs: number;
    readonly copyMs: number;
  };
}

/** Of one copy, besides what its bytes fill: manifest, end, and a last page that is not full for each table and group of windows. */
const PAGES_BESIDES = 25;

export function convergenceBound(p: BoundParameters): ConvergenceBound {
  const hops = p.replicas <= 1 ? 0 : 2 * (p.replicas - 1);
  const passMs = hops * p.hopMs + p.deaths * p.hopTimeoutMs;
  const lagMs = p.openMsMax + p.heartbeatMs + p.messageDelayMs + (p.deaths > 0 ? p.detectionMs : 0);
  const waitMs = Math.max(p.passIntervalMs, passMs);
  const announcementMs = p.messageDelayMs;
  const starterMs = p.startersMayBeDead ? Math.max(0, p.replicas - 1) * p.staggerMs : 0;
  const extraPassMs = p.predecessorMayDie ? waitMs + passMs : 0;
  const boundMs = lagMs + waitMs + passMs + announcementMs + starterMs + extraPassMs;
  const fencedMs = lagMs + Math.max(0, p.replicas - 1) * (waitMs + passMs) + starterMs;
  const copyMs = p.replicas <= 1 ? 0 : copiesMs(p.copies);
  const withCopiesMs = fencedMs + copyMs + boundMs;
  const parts = { hops, lagMs, passMs, waitMs, announcementMs, starterMs, extraPassMs, fencedMs, copyMs };
  return { boundMs, withCopiesMs, parts };
}

function copiesMs(c: CopyParameters): number {
  if (c.shards === 0) return 0;
  // What does not fit into a page begins the next one: two neighbours together hold more than one page's bytes.
  const pages = (bytes: number, copies: number) => 2 * Math.ceil(bytes / c.pageBytes) + copies * PAGES_BESIDES;
  const rounds = Math.ceil(c.shards / c.atOnce);
  const queued = pages(c.bytes, c.shards) / c.atOnce + pages(c.largestBytes, 1);
  return queued * c.pageMs + rounds * c.retryMs;
}
