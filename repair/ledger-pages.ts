/**
 * Identity lists that are in the shard's file only: read back one by one, when somebody asks for what is in one.
 *
 * A list is left to the file once a flush that has written it is known to be durable (`Ledger.saved`), and from then on its
 * row is not written until the list is in memory again (ledger-epoch.ts). So the row is what was written, or damaged: its
 * CRC stays in memory and says which. A list that cannot be read is never taken for an empty one: reading throws
 * StorageError, and whoever asks has changed nothing then. `disk-failed`: the node takes part in no pass of the shard while it
 * lasts, and is named (ring-fitness.ts). A damaged row is made anew from what is stored of its batches, and written again, if the
 * bytes come to be those that were written. If not (blocks are damaged too, or of a batch no row of its own is left) it is `damaged-file`: the file is set aside with the next step of the engine, as one whose
 * ledger is damaged when it is opened, and the shard disowns what it had acknowledged (disowning.ts).
 */
import { crc32 } from 'node:zlib';
import type { ReadBatches, ReadFile } from '../shards/companion.ts';
import { isDamage, StorageError } from '../shards/errors.ts';
import { EPOCH_MS, makeStamp, stampBefore } from '../shards/version.ts';
import { decodeIdentities, encodeIdentities, type Identity, LedgerError } from './ledger-codec.ts';
import type { Epoch } from './ledger-epoch.ts';
import { readEpoch, writeEpoch } from './ledger-rows.ts';

export class LedgerPages {
  /** Epochs whose lists could not be read when they were asked for last. */
  private readonly failed = new Set<number>();
  private readonly readFile: ReadFile;
  private readonly readBatches: ReadBatches;

  constructor(readFile: ReadFile, readBatches: ReadBatches) {
    this.readFile = readFile;
    this.readBatches = readBatches;
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
      if (bytes !== undefined && crc32(bytes) === crc) return decodeIdentities(bytes);
      const made = this.#madeAnew(epoch);
      if (made !== null && crc32(made) === crc) {
        writeEpoch(database, epoch, made);
        return decodeIdentities(made);
      }
      throw new LedgerError(`the identity list of epoch ${epoch} is not ${bytes ? 'what was written' : 'there'}`);
    });
    this.failed.delete(epoch);
    return list;
  }

  /** From what is stored: null when that cannot be read either. */
  #madeAnew(epoch: number): Uint8Array | null {
    const [after, end] = [epoch, epoch + 1].map((number) => stampBefore(makeStamp(number * EPOCH_MS, 0)));
    try {
      return encodeIdentities(this.readBatches(after!, end!));
    } catch (error) {
      if (error instanceof StorageError && isDamage(error)) return null;
      throw error;
    }
  }
}
