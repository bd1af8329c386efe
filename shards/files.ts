/**
 * The files that logs are made of, as an interface: `server/node-files.ts` is the disk, and tests put in its place a
 * disk in memory that loses or tears unsynced bytes, fills up, or fails to read.
 *
 * Failures are thrown (or handed to the callback) as StorageError `disk-full` or `disk-failed`.
 * A name is durable only after `syncDirectory` of its directory; bytes are durable only after `sync` of their file.
 */
export interface Files {
  /** Opens for appending and reading; creates an empty file when there is none. */
  open(path: string): AppendFile;
  /** The whole file, in `room` when it has that much; throws when there is none. */
  read(path: string, room?: Uint8Array): Uint8Array;
  exists(path: string): boolean;
  size(path: string): number;
  /** Names (not paths) in a directory, sorted; empty when there is no such directory. */
  list(directory: string): string[];
  /** Creates the directory and those above it. */
  makeDirectory(directory: string): void;
  /** No error when there is no such file. */
  remove(path: string): void;
  /** Replaces an existing `to` atomically. */
  rename(from: string, to: string): void;
  syncDirectory(directory: string): void;
}

export interface AppendFile {
  readonly path: string;
  /** Bytes in the file. */
  readonly size: number;
  /** One vectored write at the end. When it throws, any part of the bytes may be in the file: see `truncate`. */
  append(chunks: readonly Uint8Array[]): void;
  /** Cuts the file at `size`. */
  truncate(size: number): void;
  /** fdatasync: `done` runs later, never inside this call, when every byte appended before it is durable (or an error). */
  sync(done: (error: Error | null) => void): void;
  /** The same, waiting for it. */
  syncNow(): void;
  /** `length` bytes at `offset`; fewer at the end of the file. */
  read(offset: number, length: number): Uint8Array;
  close(): void;
}

export function joinPath(directory: string, name: string): string {
  return directory.endsWith('/') ? directory + name : `${directory}/${name}`;
}

/** Makes durable what is in a file that is not open here. Throws StorageError. */
export function syncFile(files: Files, path: string): void {
  const file = files.open(path);
  try {
    file.syncNow();
  } finally {
    file.close();
  }
}
