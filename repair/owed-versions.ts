/**
 * Which batches a replica owes that is to be filled (rule 31): all that lie above its floor, by its identity lists. A copy takes its place, so
 * what no list names would go with it, though it may be nowhere else. Where the replica was found damaged, or its lists are not those that were saved
 * (ledger.ts), it owes what is stored as well: it is read from its file, some of it at a time, and what cannot be read is left out.
 */
import type { Reading } from '../shards/care.ts';
import { isDamage, StorageError } from '../shards/errors.ts';
import { VERSION_BYTES, type Version } from '../shards/version.ts';
import { READ_BYTES_MAX } from './replica-reading.ts';
import type { Replica } from './replica-table.ts';

/** At once where nothing has to be read for it. */
export function owedOf(replica: Replica): Set<Version> | OwedVersions {
  const owed = new OwedVersions();
  const listed = replica.ledger.damage === null ? owed.read(replica) : null;
  return listed instanceof Set ? listed : owed;
}

export class OwedVersions {
  private reading: Reading | null = null;

  /** At or below all of them, before they are known; undefined: there are none. */
  least(replica: Replica | null): Version | undefined {
    const ledger = replica?.ledger;
    const stamp = ledger?.damage === null ? ledger.oldestStamp : ledger?.floor;
    return stamp === null || stamp === undefined ? undefined : stamp.padEnd(2 * VERSION_BYTES, '0');
  }

  /** To be called until it gives them, ascending. `refused`: they cannot be read now. */
  read(replica: Replica): Set<Version> | 'more' | 'refused' {
    const { ledger } = replica;
    try {
      const stored = ledger.damage === null ? [] : this.storedOf(replica);
      if (stored === 'more') return 'more';
      const owed = new Set([...stored, ...ledger.versions()].sort());
      this.close();
      return owed;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.close();
      return 'refused';
    }
  }

  close(): void {
    this.reading?.close();
    this.reading = null;
  }

  private storedOf({ stored }: Replica): Iterable<Version> | 'more' {
    try {
      this.reading ??= stored.care.read(() => {});
      return this.reading.step(READ_BYTES_MAX) ? 'more' : this.reading.above.keys();
    } catch (error) {
      if (!(error instanceof StorageError && isDamage(error))) throw error;
      // The file as such: of what lies in it the lists are all that is known.
      return [];
    }
  }
}
