/**
 * The disk: the interface of shards/files.ts on node:fs.
 *
 * Writes are synchronous (they go to the page cache, in microseconds); only `sync` waits for the device, on the thread
 * pool, so that what arrives meanwhile is gathered for the next one.
 */
import * as fs from 'node:fs';
import { diskError } from '../shards/errors.ts';
import type { AppendFile, Files } from '../shards/files.ts';

/** Linux takes at most 1024 buffers in one writev (IOV_MAX). */
const WRITEV_BUFFERS_MAX = 1024;

export function nodeFiles(): Files {
  return { open, read, exists: fs.existsSync, size, list, makeDirectory, remove, rename, syncDirectory };
}

function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw diskError(error, what);
  }
}

function read(path: string, room?: Uint8Array): Uint8Array {
  return attempt(`read ${path}`, () => {
    const descriptor = fs.openSync(path, 'r');
    try {
      const { size: length } = fs.fstatSync(descriptor);
      const bytes = room === undefined || room.byteLength < length ? Buffer.allocUnsafeSlow(length) : room;
      return bytes.subarray(0, readAll(descriptor, bytes, length, 0));
    } finally {
      fs.closeSync(descriptor);
    }
  });
}

/** Reads `length` bytes from `position` on; returns how many there were. */
function readAll(descriptor: number, into: Uint8Array, length: number, position: number): number {
  let filled = 0;
  while (filled < length) {
    const count = fs.readSync(descriptor, into, filled, length - filled, position + filled);
    if (count === 0) break;
    filled += count;
  }
  return filled;
}

function size(path: string): number {
  return attempt(`stat ${path}`, () => fs.statSync(path).size);
}

function list(directory: string): string[] {
  return attempt(`list ${directory}`, () => (fs.existsSync(directory) ? fs.readdirSync(directory).sort() : []));
}

function makeDirectory(directory: string): void {
  attempt(`make directory ${directory}`, () => fs.mkdirSync(directory, { recursive: true }));
}

function remove(path: string): void {
  attempt(`remove ${path}`, () => fs.rmSync(path, { force: true }));
}

function rename(from: string, to: string): void {
  attempt(`rename ${from} to ${to}`, () => fs.renameSync(from, to));
}

function syncDirectory(directory: string): void {
  attempt(`sync directory ${directory}`, () => {
    const descriptor = fs.openSync(directory, 'r');
    try {
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
  });
}

function open(path: string): AppendFile {
  const descriptor = attempt(`open ${path}`, () =>
    fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o640),
  );
  let end = attempt(`stat ${path}`, () => fs.fstatSync(descriptor).size);
  let closed = false;
  let syncing = 0;

  let released = false;
  const closeWhenIdle = (): void => {
    if (!closed || syncing > 0 || released) return;
    released = true;
    fs.closeSync(descriptor);
  };

  return {
    path,
    get size() {
      return end;
    },
    append(chunks) {
      attempt(`write ${path}`, () => {
        for (let from = 0; from < chunks.length; from += WRITEV_BUFFERS_MAX) {
          end += writeAll(descriptor, chunks.slice(from, from + WRITEV_BUFFERS_MAX), end);
        }
      });
    },
    truncate(length) {
      attempt(`truncate ${path}`, () => fs.ftruncateSync(descriptor, length));
      end = length;
    },
    sync(done) {
      syncing++;
      fs.fdatasync(descriptor, (error) => {
        syncing--;
        closeWhenIdle();
        done(error === null ? null : diskError(error, `sync ${path}`));
      });
    },
    syncNow() {
      attempt(`sync ${path}`, () => fs.fdatasyncSync(descriptor));
    },
    read(offset, length) {
      return attempt(`read ${path}`, () => {
        const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, end - offset)));
        return bytes.subarray(0, readAll(descriptor, bytes, bytes.length, offset));
      });
    },
    close() {
      if (closed) return;
      closed = true;
      closeWhenIdle();
    },
  };
}

/** writev may write less than it was given (a signal, the last free blocks): the rest is written on. */
function writeAll(descriptor: number, chunks: readonly Uint8Array[], position: number): number {
  let total = 0;
  let rest = chunks.filter((chunk) => chunk.byteLength > 0);
  while (rest.length > 0) {
    let written = fs.writevSync(descriptor, rest, position + total);
    total += written;
    let index = 0;
    while (index < rest.length && written >= rest[index]!.byteLength) written -= rest[index++]!.byteLength;
    rest = rest.slice(index);
    if (written > 0) rest[0] = rest[0]!.subarray(written);
  }
  return total;
}
