/**
 * Files of new shards on their way to the disk.
 *
 * A new file is written under another name, `<id>.sqlite.new`, and gets its own once it is synced, so that a crash never
 * leaves a shard's file that is not whole; the next creation of the shard replaces what is left over. Syncs are what
 * creation costs (5 ms and more each), and one body may bring points of a thousand weeks: so new files are not waited
 * for, but synced beside one another, together with the log, before anything that is in them or in the log behind them
 * is acknowledged (`Engine.sync`). A shard whose file was lost so held nothing that anybody was told of.
 */
import type { AppendFile, Files } from './files.ts';

interface NewFile {
  readonly file: AppendFile;
  readonly image: Buffer;
}

export class NewShardFiles {
  readonly #files: Files;
  readonly #directory: string;
  readonly #waiting = new Map<string, NewFile>();

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  get count(): number {
    return this.#waiting.size;
  }

  /** Throws StorageError when there is no room. */
  write(path: string, image: Buffer): void {
    this.#waiting.set(path, { file: this.#write(path, image), image });
  }

  #write(path: string, image: Buffer): AppendFile {
    const name = `${path}.new`;
    for (const left of [name, `${name}-journal`]) this.#files.remove(left);
    const file = this.#files.open(name);
    try {
      file.append([image]);
      return file;
    } catch (error) {
      file.close();
      this.#files.remove(name);
      throw error;
    }
  }

  /** Makes the file durable now, if it is not. */
  settle(path: string): void {
    const made = this.#waiting.get(path);
    if (made === undefined) return;
    made.file.syncNow();
    this.#name(path, made);
    this.#files.syncDirectory(this.#directory);
  }

  /** One of those that nobody waits for; false when there is none. */
  settleNext(): boolean {
    for (const path of this.#waiting.keys()) {
      this.settle(path);
      return true;
    }
    return false;
  }

  /** The same for all, side by side. `done` runs when each is durable, or with an error when one is not. */
  sync(done: (error: Error | null) => void): void {
    const asked = [...this.#waiting];
    let left = asked.length;
    let failure: Error | null = null;
    const ended = (path: string, made: NewFile, error: Error | null): void => {
      failure = this.#synced(path, made, error) ?? failure;
      left--;
      if (left === 0) done(this.#syncNames() ?? failure);
    };
    for (const [path, made] of asked) made.file.sync((error) => ended(path, made, error));
    if (asked.length === 0) done(null);
  }

  #synced(path: string, made: NewFile, error: Error | null): Error | null {
    // Settled or dropped meanwhile.
    if (this.#waiting.get(path) !== made) return null;
    try {
      if (error === null) this.#name(path, made);
      else {
        // What a failed sync leaves is not trusted: written anew, for the next one.
        made.file.close();
        this.#waiting.delete(path);
        this.write(path, made.image);
      }
      return error;
    } catch (failure) {
      return failure as Error;
    }
  }

  #syncNames(): Error | null {
    try {
      this.#files.syncDirectory(this.#directory);
      return null;
    } catch (error) {
      return error as Error;
    }
  }

  #name(path: string, made: NewFile): void {
    made.file.close();
    this.#files.rename(`${path}.new`, path);
    this.#waiting.delete(path);
  }

  /** Forgets the file of a shard that was dropped. */
  drop(path: string): void {
    const made = this.#waiting.get(path);
    if (made === undefined) return;
    made.file.close();
    this.#waiting.delete(path);
    this.#files.remove(`${path}.new`);
  }

  /** The process ends: files that nobody was told of are left as they are. */
  close(): void {
    for (const { file } of this.#waiting.values()) file.close();
    this.#waiting.clear();
  }
}
