/**
 * Files of new shards on their way to the disk.
 *
 * A new file is written under another name, `<id>.sqlite.new`, and gets its own once it is synced, so that a crash never
 * leaves a shard's file that is not whole; the next creation of the shard replaces what is left over. Syncs are what
 * creation costs (5 ms and more each), and one body may bring points of a thousand weeks: so new files are not waited
 * for, but synced beside one another, together with the log, before anything that is in them or in the log behind them
 * is acknowledged (`Engine.sync`). A shard whose file was lost so held nothing that anybody was told of.
 */
import { StorageError } from './errors.ts';
import type { AppendFile, Files } from './files.ts';

interface NewFile {
  /** null: what was written is not trusted any more, or could not be written again yet. */
  file: AppendFile | null;
  readonly image: Buffer;
}

export class NewShardFiles {
  readonly #files: Files;
  readonly #directory: string;
  readonly #waiting = new Map<string, NewFile>();
  /** Files have got their names, and the directory has not been synced since. */
  #hasNewNames = false;

  constructor(files: Files, directory: string) {
    this.#files = files;
    this.#directory = directory;
  }

  /** What a sync has to wait for. */
  get count(): number {
    return this.#waiting.size + (this.#hasNewNames ? 1 : 0);
  }

  /** Throws StorageError when there is no room. */
  write(path: string, image: Buffer): void {
    this.#waiting.set(path, { file: this.#write(path, image), image });
  }

  #write(path: string, image: Buffer): AppendFile {
    const name = `${path}.new`;
    // Hardly ever there, and to look is much cheaper than to remove nothing.
    for (const left of [name, `${name}-journal`]) if (this.#files.exists(left)) this.#files.remove(left);
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

  /** The file, written again if need be: the shard is there for its users, so it must get a file before they are answered. */
  #written(path: string, made: NewFile): AppendFile {
    made.file ??= this.#write(path, made.image);
    return made.file;
  }

  /** What a failed sync leaves cannot be trusted, also when the next one succeeds. */
  #distrust(made: NewFile): void {
    made.file?.close();
    made.file = null;
  }

  /** Makes the file durable now, if it is not. Throws StorageError; the file is then tried again. */
  settle(path: string): void {
    const made = this.#waiting.get(path);
    if (made === undefined) return;
    try {
      this.#written(path, made).syncNow();
    } catch (error) {
      this.#distrust(made);
      throw error;
    }
    this.#name(path, made);
    this.#syncNames();
  }

  /** One of those that nobody waits for; false when there is none. Throws as `settle`. */
  settleNext(): boolean {
    for (const path of this.#waiting.keys()) {
      this.settle(path);
      return true;
    }
    return false;
  }

  /**
   * The same for all, and beside them what else has to be durable before anybody is told: the log, in which a record without
   * a file behind it counts for nothing at the next start.
   */
  syncBeside(other: (ended: (error: Error | null) => void) => void, done: (error: Error | null) => void): void {
    let failure: Error | null = null;
    let left = 2;
    const ended = (error: Error | null): void => {
      failure ??= error;
      left--;
      if (left === 0) done(failure);
    };
    this.sync(ended);
    other(ended);
  }

  /** The same for all, side by side. `done` runs when each is durable, or with an error when one is not. */
  sync(done: (error: Error | null) => void): void {
    const asked = [...this.#waiting];
    let left = asked.length + 1;
    let failure: Error | null = null;
    const ended = (error: Error | null): void => {
      failure ??= error;
      left--;
      if (left === 0) done(failure ?? this.#attempt(() => this.#syncNames()));
    };
    for (const [path, made] of asked) {
      const error = this.#attempt(() => {
        const file = this.#written(path, made);
        file.sync((failed) => ended(this.#synced(path, made, file, failed)));
      });
      if (error !== null) ended(error);
    }
    ended(null);
  }

  #synced(path: string, made: NewFile, file: AppendFile, error: Error | null): Error | null {
    // Settled or dropped meanwhile.
    if (this.#waiting.get(path) !== made) return null;
    if (made.file !== file) return error ?? new StorageError('disk-failed', `${path} had to be written again`);
    if (error === null) return this.#attempt(() => this.#name(path, made));
    this.#distrust(made);
    return error;
  }

  #attempt(action: () => void): Error | null {
    try {
      action();
      return null;
    } catch (error) {
      if (error instanceof StorageError) return error;
      throw error;
    }
  }

  #syncNames(): void {
    if (!this.#hasNewNames) return;
    this.#files.syncDirectory(this.#directory);
    this.#hasNewNames = false;
  }

  /** Renamed before it is closed: when that fails the file is still there to be tried again. */
  #name(path: string, made: NewFile): void {
    this.#files.rename(`${path}.new`, path);
    this.#hasNewNames = true;
    made.file?.close();
    this.#waiting.delete(path);
  }

  /** Forgets the file of a shard that was dropped. */
  drop(path: string): void {
    const made = this.#waiting.get(path);
    if (made === undefined) return;
    made.file?.close();
    this.#waiting.delete(path);
    this.#files.remove(`${path}.new`);
  }

  /** The process ends: files that nobody was told of are left as they are. */
  close(): void {
    for (const { file } of this.#waiting.values()) file?.close();
    this.#waiting.clear();
  }
}
