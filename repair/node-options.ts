/** What a NodeCore is given. */
import type { HybridClock } from './clock.ts';
import type { MembershipLimits } from './membership-limits.ts';
import type { RegisterStore } from './metadata.ts';
import type { NodeEffect, NodeIdentity } from './node-effects.ts';

export interface NodeCoreOptions {
  readonly identity: NodeIdentity;
  /** http://HOST:PORT that other members use. */
  readonly address: string;
  /** As it was loaded: nothing has been minted or closed yet. */
  readonly clock: HybridClock;
  /** Drawn at each start of a process, 16 hexadecimal digits (twins.ts). */
  readonly processId: string;
  readonly store: RegisterStore;
  readonly random: () => number;
  readonly limits: MembershipLimits;
  readonly emit: (effect: NodeEffect) => void;
}
