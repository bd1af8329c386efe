/**
 * Identity lists that are in the shard's file only: read back one by one, when somebody asks for what is in one.
 *
 * A list is left to the file once a flush that has written it is known to be durable (`Ledger.saved`), and from then on its
 * row is not written until the list is in memory again (ledger-epoch.ts). So the row is what was written, or damaged: its
 * CRC stays in memory and says which. A list that cannot be read is never taken for an empty one: reading throws
 * StorageError, and whoever asks has changed nothing then. `disk-failed`: the node takes part in no pass of the shard while it
 * lasts, and is named (ring-fitness.ts). `damaged-file`: the file is set aside with the next step of the engine, as one whose
 * ledger is damaged when it is opened, and the shard disowns what it had acknowledged (disowning.ts).
 */
import { crc32 } from 'node:zlib';
import type { ReadFile } from '../shards/companion.ts';
import { decodeIdentities, type Identity, LedgerError } from './ledger-codec.ts';
import type { Epoch } from './ledger-epoch.ts';
import { readEpoch } from './ledger-rows.ts';

export class LedgerPages {
  /** Epochs whose lists could not be read when they were asked for last. */
  private readonly failed = new Set<number>();
  private readonly readFile: ReadFile;

  constructor(readFile: ReadFile) {
    this.readFile = readFile;
  }

  /** Throws StorageError while one that could not be read still cannot. */
  readAgain(epochs: ReadonlyMap<number, Epoch>): void {
    for (const number of this.failed) {
      const epoch = epochs.get(number);
      if (epoch?.isPaged === true) epoch.list();
      this.failed.delete(number);
    }
  }

  /** Throws StorageError. */
  read(epoch: number, crc: number): Identity[] {
    this.failed.add(epoch);
    const list = this.readFile((database) => {
      const bytes = readEpoch(database, epoch);
      if (bytes === undefined) throw new LedgerError(`the identity list of epoch ${epoch} is not there`);
      if (crc32(bytes) !== crc) throw new LedgerError(`the identity list of epoch ${epoch} is not what was written`);
      return decodeIdentities(bytes);
    });
    this.failed.delete(epoch);
    return list;
  }
}
