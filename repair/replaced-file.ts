/**
 * A small file of JSON that is replaced whole: written beside, synced, and renamed. After a crash it is the one before, or
 * the new one. For what nothing depends on: one that cannot be read is as none.
 */
import { StorageError } from '../shards/errors.ts';
import { type Files, joinPath } from '../shards/files.ts';

/** null: there is none that can be read. */
export function readJson(files: Files, directory: string, name: string): unknown {
  const path = joinPath(directory, name);
  if (!files.exists(path)) return null;
  try {
    return JSON.parse(Buffer.from(files.read(path)).toString()) as unknown;
  } catch (error) {
    if (error instanceof StorageError || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** False when the disk refuses: the one before stays. */
export function replaceJson(files: Files, directory: string, name: string, value: unknown): boolean {
  const path = joinPath(directory, name);
  const beside = `${path}.new`;
  try {
    files.makeDirectory(directory);
    const file = files.open(beside);
    try {
      file.truncate(0);
      file.append([Buffer.from(JSON.stringify(value))]);
      file.syncNow();
    } finally {
      file.close();
    }
    files.rename(beside, path);
    files.syncDirectory(directory);
    return true;
  } catch (error) {
    if (error instanceof StorageError) return false;
    throw error;
  }
}
