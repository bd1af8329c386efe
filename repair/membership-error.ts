/**
 * Expected failures of membership and metadata, from one closed list. The messages about databases and retention
 * policies are InfluxDB's, because clients compare them.
 */
export const MEMBERSHIP_CODES = {
  joining: { status: 503, retry: true },
  skewed: { status: 503, retry: true },
  'stopped-member': { status: 503, retry: false },
  /** This node is handing over its last shard, or has: others take the write. */
  leaving: { status: 503, retry: false },
  'member-not-found': { status: 404, retry: false },
  /** The member's state does not allow what was asked for. */
  'member-state': { status: 409, retry: false },
  /** Metadata or the clock could not be made durable: nothing was changed. */
  'disk-failed': { status: 503, retry: true },
  'bad-message': { status: 400, retry: false },
  'future-message': { status: 400, retry: false },
  'register-too-large': { status: 413, retry: false },
  'too-many-registers': { status: 507, retry: false },
  'invalid-name': { status: 400, retry: false },
  'database-not-found': { status: 404, retry: false },
  'retention-policy-not-found': { status: 404, retry: false },
  'retention-policy-exists': { status: 409, retry: false },
  'retention-policy-conflict': { status: 409, retry: false },
  /** CREATE DATABASE with another CONFLICT than the database was made with. */
  'conflict-rule-fixed': { status: 409, retry: false },
  'retention-policy-duration': { status: 400, retry: false },
  'retention-policy-replication': { status: 400, retry: false },
  'user-not-found': { status: 404, retry: false },
  'user-exists': { status: 409, retry: false },
} as const;
export type MembershipCode = keyof typeof MEMBERSHIP_CODES;

export class MembershipError extends Error {
  readonly code: MembershipCode;
  readonly status: number;
  readonly retry: boolean;
  constructor(code: MembershipCode, message: string) {
    super(message);
    this.code = code;
    this.status = MEMBERSHIP_CODES[code].status;
    this.retry = MEMBERSHIP_CODES[code].retry;
  }
}
