/** Connections to shard files: what they are set to when they are read, and when they are written to. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, expect, test } from 'vitest';
import { ConnectionPool, ShardFile, shardFileImage } from '../../shards/shard-file.ts';
import { KEY } from './helpers.ts';

const directory = mkdtempSync(join(tmpdir(), 'starling-files-'));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('settings are made where a connection is written to, and with each one anew', () => {
  const open = (path: string) => new Database(path);
  const path = join(directory, 'shard.sqlite');
  writeFileSync(
    path,
    shardFileImage(open, KEY, () => {}),
  );
  const pool = new ConnectionPool(open, 4);
  const file = new ShardFile(path, pool, () => {});
  const journal = () => file.database.pragma('journal_mode', { simple: true });
  for (let connection = 0; connection < 2; connection++) {
    expect(file.statement('SELECT count(*) FROM blocks').pluck().get()).toBe(0);
    expect(journal()).toBe('delete');
    file.transaction((database) => {
      expect(database.pragma('journal_mode', { simple: true })).toBe('truncate');
      expect(database.pragma('synchronous', { simple: true })).toBe(2);
      database.prepare('INSERT INTO runs VALUES (?)').run(connection);
    });
    file.disconnect();
  }
  expect(journal()).toBe('delete');
  file.shrinkStep();
  expect(journal()).toBe('truncate');
  file.close();
});
