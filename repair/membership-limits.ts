/** Every maximum and interval of membership, metadata and the clock, with its unit. */
export interface MembershipLimits {
  readonly heartbeatIntervalMs: number;
  /** A member that was not heard for this many heartbeat intervals is not live. */
  readonly liveIntervals: number;
  /** Further than this from the median of the live members' clocks a clock is skewed (protocol rule 3). */
  readonly clockDriftMaxMs: number;
  /** Hybrid time is reserved this far ahead, so that the clock costs one durable write per this much time. */
  readonly clockReserveMs: number;
  readonly joinBackoffMinMs: number;
  readonly joinBackoffMaxMs: number;
  /** How long a joiner waits for a member of its own name to be given up, before it stops with an error. */
  readonly nameClaimWaitMs: number;
  /** Longest time for which a member that starts at another address waits for answers of whom it asks for a twin. */
  readonly twinWaitMs: number;
  /** Addresses asked while joining, those that others named included. */
  readonly joinAddressesMax: number;
  /** Least time between two comparisons of metadata that this node starts with one peer. */
  readonly metadataSyncIntervalMs: number;
  /** Members that are told of a change by whoever made it, at once. */
  readonly rumourFirstPeers: number;
  /** From then on a rumour goes to so many members each time. */
  readonly rumourPeers: number;
  readonly rumourIntervalMs: number;
  /** Interest is lost after so many pushes that found the receiver informed. */
  readonly rumourKnownMax: number;
  readonly rumourRoundsMax: number;
  /** Registers that are told at a time. */
  readonly rumoursMax: number;
  readonly messageBytesMax: number;
  /** Messages with many registers are cut at about this size. */
  readonly registersMessageBytes: number;
  readonly registerBytesMax: number;
  readonly registersMax: number;
  readonly shardListMax: number;
  readonly openEntriesMax: number;
  readonly membersMax: number;
}

export const DEFAULT_MEMBERSHIP_LIMITS: MembershipLimits = {
  heartbeatIntervalMs: 1_000,
  liveIntervals: 3,
  clockDriftMaxMs: 10_000,
  clockReserveMs: 5_000,
  joinBackoffMinMs: 200,
  joinBackoffMaxMs: 3_000,
  nameClaimWaitMs: 20_000,
  twinWaitMs: 4_000,
  joinAddressesMax: 64,
  metadataSyncIntervalMs: 500,
  rumourFirstPeers: 8,
  rumourPeers: 2,
  rumourIntervalMs: 200,
  rumourKnownMax: 3,
  rumourRoundsMax: 15,
  rumoursMax: 1_000,
  messageBytesMax: 12 * 1024 * 1024,
  registersMessageBytes: 512 * 1024,
  registerBytesMax: 256 * 1024,
  registersMax: 100_000,
  shardListMax: 200_000,
  openEntriesMax: 100_000,
  membersMax: 1_000,
};
