/** How a node writes registers that statements define: databases, users. */
import type { Stamp } from '../shards/version.ts';
import type { Change } from './databases.ts';

export interface RegisterWriter {
  /** A stamp below all that this node mints from now on. Throws MembershipError where it may not mint. */
  createdAt(nowMs: number): Stamp;
  /** Durable when it returns. Throws MembershipError. */
  write(changes: readonly Change[], nowMs: number): void;
}
