/**
 * The published bound of convergence: protocol rule 30's arithmetic. All spans in milliseconds.
 *
 *   bound = L + max(P, D) + D + delta + (k - 1) x stagger, and another max(P, D) + D when the predecessor dies too
 *   D = hops x h + f x tau,  hops = 2 (k - 1),  L = W + H + delta
 *
 * It counts from the later of acceptance and the return of the last owner, for live owners that reach each other, within
 * drift, not paused, with room on disk.
 */
export interface BoundParameters {
  /** P: interval between passes. */
  readonly passIntervalMs: number;
  /** k: replicas of the shard. */
  readonly replicas: number;
  /** h: one hop with its queue, requests, comparison, missing bytes and sync; measured, or assumed before the first pass. */
  readonly hopMs: number;
  /** H */
  readonly heartbeatMs: number;
  /** delta: delay of a message, the sender's tick included. */
  readonly messageDelayMs: number;
  /** W: longest time a batch is open. */
  readonly openMsMax: number;
  /** tau: how long a silent receiver of a token is waited for. */
  readonly hopTimeoutMs: number;
  /** f: deaths during the pass that the bound allows for. */
  readonly deaths: number;
  readonly staggerMs: number;
  /** Members that would start first may be dead. */
  readonly startersMayBeDead: boolean;
  /** The one who would take a dead receiver's token on may die too: one more pass. */
  readonly predecessorMayDie: boolean;
}

export interface ConvergenceBound {
  readonly boundMs: number;
  readonly parts: {
    readonly hops: number;
    readonly lagMs: number;
    readonly passMs: number;
    readonly waitMs: number;
    readonly announcementMs: number;
    readonly starterMs: number;
    readonly extraPassMs: number;
  };
}

export function convergenceBound(p: BoundParameters): ConvergenceBound {
  const hops = p.replicas <= 1 ? 0 : 2 * (p.replicas - 1);
  const passMs = hops * p.hopMs + p.deaths * p.hopTimeoutMs;
  const lagMs = p.openMsMax + p.heartbeatMs + p.messageDelayMs;
  const waitMs = Math.max(p.passIntervalMs, passMs);
  const announcementMs = p.messageDelayMs;
  const starterMs = p.startersMayBeDead ? Math.max(0, p.replicas - 1) * p.staggerMs : 0;
  const extraPassMs = p.predecessorMayDie ? waitMs + passMs : 0;
  const boundMs = lagMs + waitMs + passMs + announcementMs + starterMs + extraPassMs;
  return { boundMs, parts: { hops, lagMs, passMs, waitMs, announcementMs, starterMs, extraPassMs } };
}
