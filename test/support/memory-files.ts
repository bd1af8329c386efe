/**
 * A disk in memory for logs: bytes that were not synced are lost or torn in a crash, and it can be full or fail.
 *
 * Paths outside of `root` go to the real disk (SQLite needs it). Directory entries are durable at once.
 */
import { StorageError } from '../../shards/errors.ts';
import type { AppendFile, Files } from '../../shards/files.ts';

interface Stored {
  bytes: Buffer;
  /** Length that survives every crash. */
  synced: number;
  /** What was cut off and is not durably so: it may come back. */
  cutOff: Buffer;
  /** Changed since a sync last ran, which makes durable what is so, also one that fails: then nothing is. */
  isDirty: boolean;
}

const NOTHING = Buffer.alloc(0);

export class MemoryFiles implements Files {
  readonly #root: string;
  readonly #real: Files;
  readonly #files = new Map<string, Stored>();
  /** Callbacks of syncs that have not run yet. */
  readonly #syncs: (() => void)[] = [];
  /** Bytes that still fit. */
  room = Number.POSITIVE_INFINITY;
  failNextSync = false;
  failTruncate = false;
  /** So many bytes that were cut off and not synced since are there again after a crash. */
  comesBack = 0;
  unreadable: string | null = null;
  /** Told of every sync that was asked for; who is told lets it happen with `runSyncs`. */
  onSync: (() => void) | null = null;

  constructor(root: string, real: Files) {
    this.#root = root;
    this.#real = real;
  }

  #isReal(path: string): boolean {
    return !path.startsWith(this.#root);
  }

  #stored(path: string): Stored {
    const stored = this.#files.get(path);
    if (stored === undefined) throw new StorageError('disk-failed', `${path}: no such file`);
    return stored;
  }

  /** The process dies: of what was not synced `keep(path, unsynced)` bytes remain, the last of them perhaps spoilt. */
  crash(keep: (unsynced: number) => number, spoil: boolean): void {
    this.#syncs.length = 0;
    for (const stored of this.#files.values()) {
      const back = stored.cutOff.subarray(0, this.comesBack);
      stored.cutOff = NOTHING;
      if (back.length > 0) {
        stored.bytes = Buffer.concat([stored.bytes, back]);
        stored.synced = stored.bytes.length;
        continue;
      }
      const unsynced = stored.bytes.length - stored.synced;
      if (unsynced === 0) continue;
      const kept = Math.min(unsynced, keep(unsynced));
      stored.bytes = Buffer.from(stored.bytes.subarray(0, stored.synced + kept));
      if (spoil && kept > 0) stored.bytes[stored.bytes.length - 1]! ^= 0x55;
      stored.synced = stored.bytes.length;
    }
  }

  /** Lets the syncs that were asked for happen, at most `max` of them. */
  runSyncs(max = Number.POSITIVE_INFINITY): void {
    for (let left = max; left > 0 && this.#syncs.length > 0; left--) this.#syncs.shift()!();
  }

  flipBit(path: string, offset: number, bit = 0): void {
    this.#stored(path).bytes[offset]! ^= 1 << bit;
  }

  syncedBytes(path: string): number {
    return this.#stored(path).synced;
  }

  bytesOf(path: string): Buffer {
    return this.#stored(path).bytes;
  }

  open(path: string): AppendFile {
    if (this.#isReal(path)) return this.#openReal(path);
    if (!this.#files.has(path)) this.#files.set(path, { bytes: NOTHING, synced: 0, cutOff: NOTHING, isDirty: false });
    const stored = this.#stored(path);
    const syncNow = (): void => {
      if (this.failNextSync) {
        this.failNextSync = false;
        throw new StorageError('disk-failed', `${path}: the disk refused`);
      }
      stored.synced = stored.bytes.length;
      stored.cutOff = NOTHING;
    };
    return {
      path,
      get size() {
        return stored.bytes.length;
      },
      append: (chunks) => {
        stored.isDirty = true;
        for (const chunk of chunks) {
          const fits = Math.min(chunk.byteLength, this.room);
          stored.cutOff = stored.cutOff.subarray(fits); // written over
          stored.bytes = Buffer.concat([stored.bytes, chunk.subarray(0, fits)]);
          this.room -= fits;
          if (fits < chunk.byteLength) throw new StorageError('disk-full', `${path}: no room`);
        }
      },
      truncate: (size) => {
        if (this.failTruncate) throw new StorageError('disk-failed', `${path}: the disk refused`);
        this.room += stored.bytes.length - size;
        if (size === stored.bytes.length) return;
        stored.isDirty = true;
        stored.cutOff = Buffer.concat([stored.bytes.subarray(size), stored.cutOff]);
        stored.bytes = stored.bytes.subarray(0, size);
        stored.synced = Math.min(stored.synced, size);
      },
      sync: (done) => {
        const { length } = stored.bytes;
        const { cutOff } = stored;
        const { isDirty } = stored;
        stored.isDirty = false;
        this.#syncs.push(() => {
          if (this.failNextSync) {
            this.failNextSync = false;
            done(new StorageError('disk-failed', `${path}: the disk refused`));
            return;
          }
          if (isDirty && stored.cutOff === cutOff) stored.cutOff = NOTHING;
          stored.synced = Math.max(stored.synced, Math.min(length, stored.bytes.length));
          done(null);
        });
        this.onSync?.();
      },
      syncNow,
      read: (offset, length) => stored.bytes.subarray(offset, offset + length),
      close: () => {},
    };
  }

  /** A file of the real disk, whose syncs take their turn with those of the others. */
  #openReal(path: string): AppendFile {
    const file = this.#real.open(path);
    const sync: AppendFile['sync'] = (done) => {
      this.#syncs.push(() => {
        const fails = this.failNextSync;
        this.failNextSync = false;
        done(fails ? new StorageError('disk-failed', `${path}: the disk refused`) : null);
      });
      this.onSync?.();
    };
    return {
      path,
      get size() {
        return file.size;
      },
      append: (chunks) => file.append(chunks),
      truncate: (size) => file.truncate(size),
      sync,
      syncNow: () => {},
      read: (offset, length) => file.read(offset, length),
      close: () => file.close(),
    };
  }

  read(path: string, room?: Uint8Array): Uint8Array {
    if (this.#isReal(path)) return this.#real.read(path, room);
    if (path === this.unreadable) throw new StorageError('disk-failed', `${path}: cannot be read`);
    const { bytes } = this.#stored(path);
    if (room === undefined || room.byteLength < bytes.length) return Buffer.from(bytes);
    room.set(bytes);
    return room.subarray(0, bytes.length);
  }

  exists(path: string): boolean {
    return this.#isReal(path) ? this.#real.exists(path) : this.#files.has(path);
  }

  size(path: string): number {
    return this.#isReal(path) ? this.#real.size(path) : this.#stored(path).bytes.length;
  }

  list(directory: string): string[] {
    if (this.#isReal(directory)) return this.#real.list(directory);
    const prefix = `${directory}/`;
    return [...this.#files.keys()]
      .filter((path) => path.startsWith(prefix) && !path.slice(prefix.length).includes('/'))
      .map((path) => path.slice(prefix.length))
      .sort();
  }

  makeDirectory(directory: string): void {
    if (this.#isReal(directory)) this.#real.makeDirectory(directory);
  }

  remove(path: string): void {
    if (this.#isReal(path)) this.#real.remove(path);
    else this.#files.delete(path);
  }

  rename(from: string, to: string): void {
    if (this.#isReal(from)) {
      this.#real.rename(from, to);
      return;
    }
    this.#files.set(to, this.#stored(from));
    this.#files.delete(from);
  }

  syncDirectory(directory: string): void {
    if (this.#isReal(directory)) this.#real.syncDirectory(directory);
  }
}
