/**
 * A replica read from its file again, block by block, and held against its ledger: the work of a scrub, and what a mend
 * begins and ends with.
 */
import type { DamagedPart, Reading } from '../shards/care.ts';
import type { Stamp, Version } from '../shards/version.ts';
import type { Replica } from './replica-table.ts';

/** What one tick reads at most, whatever the rate: some 8 ms. */
export const READ_BYTES_MAX = 256 << 10;

export interface Verdict {
  /** The floor when the reading began. */
  readonly floor: Stamp;
  readonly damaged: readonly DamagedPart[];
  /** Batches above the floor of which nothing is stored, or not what the ledger says. */
  readonly missing: readonly Version[];
  readonly unequal: readonly Version[];
  /** Stored, and in no ledger. */
  readonly unknown: readonly Version[];
  /** What is stored and what was dropped are together what was received at or below the floor. */
  readonly isFloorEqual: boolean;
  /** One line for a person; null when all is as the ledger says. */
  readonly note: string | null;
}

export class ReplicaReading {
  readonly replica: Replica;
  private readonly reading: Reading;
  private floor: Stamp = '';
  private received = 0n;
  private readonly listed = new Map<Version, bigint>();

  constructor(replica: Replica) {
    this.replica = replica;
    this.reading = replica.stored.care.read(() => {
      const { ledger } = replica;
      this.floor = ledger.floor;
      this.received = ledger.floorRoot().content;
      this.listed.clear();
      for (const { version, content } of ledger.list()) this.listed.set(version, content);
    });
  }

  get bytesRead(): number {
    return this.reading.bytesRead;
  }

  get bytesTotal(): number {
    return this.reading.bytesTotal;
  }

  /** Reads about so many bytes. null: more remains. Throws StorageError. */
  step(bytesMax: number): Verdict | null {
    return this.reading.step(bytesMax) ? null : this.judge();
  }

  /** The content above the floor that is really stored. */
  contentOf(version: Version): bigint {
    return this.reading.above.get(version) ?? 0n;
  }

  /** The settled rows have been found equal to another owner's: see Reading.adopt. */
  adopt(): void {
    this.reading.adopt(this.received);
  }

  close(): void {
    this.reading.close();
  }

  private judge(): Verdict {
    const { damaged, above } = this.reading;
    const missing: Version[] = [];
    const unequal: Version[] = [];
    for (const [version, content] of this.listed) {
      const found = above.get(version);
      // A batch without rows of its own left has sum zero either way.
      if ((found ?? 0n) === content) continue;
      (found === undefined ? missing : unequal).push(version);
    }
    // What has come since the reading began is not in its list.
    const unknown = [...above.keys()].filter(
      (version) => !this.listed.has(version) && !this.replica.ledger.has(version),
    );
    const isFloorEqual = this.reading.through === this.received;
    const isGood = damaged.length + missing.length + unequal.length + unknown.length === 0 && isFloorEqual;
    const counts = `${missing.length} batches missing, ${unequal.length} unequal, ${unknown.length} unknown`;
    const blocks = damaged.length === 0 ? '' : `${damaged.length} damaged blocks (${damaged[0]!.message}); `;
    const note = isGood ? null : `${blocks}${counts}; content up to the floor ${isFloorEqual ? 'equal' : 'unequal'}`;
    return { floor: this.floor, damaged, missing, unequal, unknown, isFloorEqual, note };
  }
}
