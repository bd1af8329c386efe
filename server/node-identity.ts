/**
 * Who this node is, kept in its data directory: `node.json`, the clock reservation, and the lock.
 *
 * Layout: `node.json` = {format, number, name, clusterId, seed, workers}; `clock` = the reserved hybrid stamp, 16 digits;
 * `lock` = an SQLite file on which the process that owns the directory holds an exclusive transaction (the operating
 * system frees it when the process ends, however it ends).
 *
 * `node.json` and `clock` are replaced whole: written beside, synced, renamed, directory synced. A crash leaves the old
 * or the new one, and perhaps a `.new` or `.ahead` file, which the next write replaces. The node's number is drawn once, when the
 * directory is made: a node that lost its disk comes back with another number, so no version is ever used twice.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import type { ClockReservation } from '../repair/clock.ts';
import type { NodeNumber } from '../shards/version.ts';
import { STAMP_ZERO } from '../shards/version.ts';
import { WorkerDeathError } from './worker-errors.ts';

/**
 * Of the whole data directory. 1 named series by another hash: its shards cannot be read together with new ones. 2 had
 * other content sums in its ledgers: its replicas would differ from new ones for ever.
 */
const FORMAT = 3;

/** Expected reasons for which a node cannot start: the message is one clear line for the operator. */
export class StartError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export interface NodeFile {
  readonly number: NodeNumber;
  readonly name: string;
  readonly clusterId: string | null;
  readonly seed: string | null;
  /** Worker threads whose logs and outboxes lie in the directory. */
  readonly workers: number;
}

export interface NodeDirectory {
  readonly path: string;
  release(): void;
}

/** Makes the directory and takes its lock; throws StartError. */
export function openNodeDirectory(path: string): NodeDirectory {
  try {
    mkdirSync(join(path, 'shards'), { recursive: true });
  } catch (error) {
    throw new StartError('data-directory', `cannot use the data directory ${path}: ${reasonOf(error)}`);
  }
  let lock: Database.Database | null = null;
  try {
    lock = new Database(join(path, 'lock'), { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    lock?.close();
    const code = (error as { code?: string }).code ?? '';
    if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
      throw new StartError('data-directory-in-use', `another process uses the data directory ${path}`);
    }
    throw new StartError('data-directory', `cannot write to the data directory ${path}: ${reasonOf(error)}`);
  }
  const held = lock;
  return { path, release: () => held.close() };
}

/** The identity in the directory; null: it is fresh. */
export function readNodeFile(directory: string): NodeFile | null {
  let text: string;
  try {
    text = readFileSync(join(directory, 'node.json'), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new StartError('data-directory', `cannot read ${join(directory, 'node.json')}: ${reasonOf(error)}`);
  }
  return parseNodeFile(text, directory);
}

/** The identity in the directory, or a new one (already durable) when it is fresh. */
export function loadNodeFile(directory: string, name: string, workers: number): NodeFile {
  const file = readNodeFile(directory);
  if (file === null) {
    const fresh = { number: randomBytes(8).toString('hex'), name, clusterId: null, seed: null, workers };
    saveNodeFile(directory, fresh);
    return fresh;
  }
  if (file.name !== name) {
    throw new StartError(
      'node-name',
      `the data directory ${directory} belongs to node "${file.name}", not to "${name}": start it with --node ${file.name}, or name another directory`,
    );
  }
  return file;
}

export function saveNodeFile(directory: string, file: NodeFile): void {
  writeDurably(join(directory, 'node.json'), `${JSON.stringify({ format: FORMAT, ...file }, null, 2)}\n`);
}

/** Where the hybrid clock keeps how far it may go (protocol rule 2). */
export function clockReservation(directory: string): Required<ClockReservation> & { close(): void } {
  const path = join(directory, 'clock');
  let saves = 0;
  return {
    load() {
      let text: string;
      try {
        text = readFileSync(path, 'utf8').trim();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return STAMP_ZERO;
        throw new StartError('data-directory', `cannot read ${path}: ${reasonOf(error)}`);
      }
      if (!/^[0-9a-f]{16}$/.test(text)) {
        throw new StartError('data-directory', `${path} is damaged: expected 16 hexadecimal digits`);
      }
      return text;
    },
    save(stamp) {
      saves += 1;
      writeDurably(path, `${stamp}\n`);
    },
    saveBeside(stamp, ended) {
      const before = saves;
      const beside = `${path}.ahead`;
      const run = async (): Promise<boolean> => {
        await syncedBeside(beside, 'w', (file) => file.writeFile(`${stamp}\n`));
        // From here to the name nothing can come between.
        if (saves !== before) return false;
        renameSync(beside, path);
        await syncedBeside(directory, 'r');
        return saves === before;
      };
      run().then(ended, () => ended(false));
    },
    /** What is being saved beside is not given its name any more: another process may be using the directory by then. */
    close() {
      saves += 1;
    },
  };
}

async function syncedBeside(
  path: string,
  flags: 'r' | 'w',
  change?: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const file = await open(path, flags);
  try {
    await change?.(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Replaces the file whole; durable when it returns. */
export function writeDurably(path: string, text: string): void {
  const beside = `${path}.new`;
  const file = openSync(beside, 'w');
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
  syncDirectory(dirname(path));
}

/** It may be gone already; durable when it returns. */
export function removeDurably(path: string): void {
  rmSync(path, { force: true });
  syncDirectory(dirname(path));
}

export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function parseNodeFile(text: string, directory: string): NodeFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  const file = value as (NodeFile & { format?: number }) | null;
  const damaged = (what: string) => new StartError('data-directory', `${join(directory, 'node.json')} ${what}`);
  if (file === null || typeof file !== 'object') throw damaged('is damaged: not JSON');
  if (file.format === 1 || file.format === 2)
    throw damaged(
      `has format ${file.format}, of which no release was made: move the directory away and start with an empty one`,
    );
  if (file.format !== FORMAT) throw damaged(`has format ${file.format}, which this version does not know`);
  if (!/^[0-9a-f]{16}$/.test(file.number) || typeof file.name !== 'string' || !Number.isInteger(file.workers)) {
    throw damaged('is damaged: number, name or workers missing');
  }
  return {
    number: file.number,
    name: file.name,
    clusterId: file.clusterId ?? null,
    seed: file.seed ?? null,
    workers: file.workers,
  };
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC') return 'the disk is full';
  if (code === 'EACCES' || code === 'EPERM' || code === 'SQLITE_CANTOPEN' || code === 'SQLITE_READONLY')
    return 'permission denied';
  if (code === 'ENOTDIR' || code === 'EEXIST') return 'it is not a directory';
  if (code === 'EROFS') return 'the file system is read-only';
  return (error as Error).message;
}

/** Faults of the surroundings become one clear line; everything else stays the error that it is. */
export function startErrorOf(error: unknown): Error {
  const { code, message } = error as { code?: string; message: string };
  if (error instanceof StartError) return error;
  if (error instanceof WorkerDeathError) return new StartError(error.code, error.message);
  if (code === 'ENOSPC' || code === 'SQLITE_FULL' || code === 'disk-full')
    return new StartError('disk-full', `no room on the disk: ${message}`);
  if (code !== undefined && /^(E[A-Z]+|SQLITE_[A-Z_]+|disk-failed|damaged-file|future-format)$/.test(code)) {
    return new StartError(code, message);
  }
  return error as Error;
}
