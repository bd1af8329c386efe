/**
 * Identity lists that a disk does not give for a while. What the simulation itself looks up in a ledger is read all the
 * same: whoever looks does so by `lookUp`.
 */
import type { Ledger } from '../../repair/ledger.ts';
import { StorageError } from '../../shards/errors.ts';

let lookingUp = 0;

export function lookUp<T>(look: () => T): T {
  lookingUp++;
  try {
    return look();
  } finally {
    lookingUp--;
  }
}

/** Of one disk. */
export class UnreadLists {
  /** Set while lists cannot be read. */
  failing = false;
  /** Readings that have failed, and all. */
  failed = 0;
  asked = 0;

  watch(ledger: Ledger): Ledger {
    const attach = ledger.attach.bind(ledger);
    ledger.attach = (readFile, readBatches) =>
      attach((read) => {
        if (lookingUp > 0) return readFile(read);
        this.asked++;
        if (!this.failing) return readFile(read);
        this.failed++;
        throw new StorageError('disk-failed', 'the disk does not give an identity list');
      }, readBatches);
    return ledger;
  }
}
