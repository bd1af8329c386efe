/** `serve --readmit`: whose disk is set aside, and what a crash in the middle leaves. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadNodeFile, openNodeDirectory, saveNodeFile } from '../../server/node-identity.ts';
import { finishReadmission, quarantined, quarantinePath, readmit } from '../../server/readmission.ts';

const log = pino({ level: 'silent' });
const OLD = { number: '00000000000000aa', name: 'n1', clusterId: 'c1', seed: 's', workers: 2 };

describe('readmission', () => {
  let root: string;
  let server: Server;
  let address: string;
  let said: unknown;

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'starling-readmit-'));
    server = createServer((_request, response) => response.end(JSON.stringify(said)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    said = { clusterId: 'c1', members: [{ number: OLD.number, name: 'n1', state: 'removed' }] };
  });
  afterEach(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(root, { recursive: true, force: true });
  });

  function fill(): void {
    saveNodeFile(root, OLD);
    for (const name of ['shards', 'worker-0', 'worker-1']) mkdirSync(join(root, name), { recursive: true });
    for (const name of ['clock', 'meta.sqlite', 'shards/x.sqlite', 'worker-1/log'])
      writeFileSync(join(root, name), name);
  }
  const MOVED = ['clock', 'meta.sqlite', 'node.json', 'shards', 'worker-0', 'worker-1'];
  const aside = () => quarantinePath(root, OLD.number);

  function checkMoved(): void {
    expect(quarantined(root)).toEqual([OLD.number]);
    expect(readdirSync(aside()).sort()).toEqual(MOVED);
    expect(readFileSync(join(aside(), 'shards/x.sqlite'), 'utf8')).toBe('shards/x.sqlite');
    expect(
      readdirSync(root)
        .filter((name) => !name.startsWith('lock'))
        .sort(),
    ).toEqual(['quarantine', 'shards']);
    expect(readdirSync(join(root, 'shards'))).toEqual([]);
    expect(readdirSync(join(root, 'quarantine'))).toEqual([OLD.number]);
    expect(loadNodeFile(root, 'n1', 2).number).not.toBe(OLD.number);
  }

  test('everything of the old member is set aside, and a new number drawn', async () => {
    fill();
    const held = openNodeDirectory(root);
    await readmit(root, ['http://127.0.0.1:1', address], log);
    finishReadmission(root);
    checkMoved();
    held.release();
    // Fresh now: nothing more to set aside.
    await readmit(root, [], log);
    expect(quarantined(root)).toEqual([OLD.number]);
  });

  test('a crash after any of its steps: the next start goes on, with the flag or without, and asks nobody', async () => {
    for (const withFlag of [true, false])
      for (let moved = 0; moved <= MOVED.length; moved++) {
        rmSync(root, { recursive: true, force: true });
        mkdirSync(root);
        fill();
        await readmit(root, [address], log);
        // As far as `finishReadmission` had got, in any order of names.
        mkdirSync(aside());
        for (const name of MOVED.slice(0, moved)) renameSync(join(root, name), join(aside(), name));
        const held = openNodeDirectory(root);
        if (withFlag) await readmit(root, [], log);
        else finishReadmission(root);
        checkMoved();
        held.release();
      }
  });

  test('a member that was not removed, or of which nobody says so, keeps its disk where it is', async () => {
    fill();
    const refused = async (members: string[], pattern: RegExp) => {
      await expect(readmit(root, members, log)).rejects.toThrow(pattern);
      finishReadmission(root);
      expect(existsSync(join(root, 'quarantine'))).toBe(false);
      expect(loadNodeFile(root, 'n1', 2)).toEqual(OLD);
    };
    await refused([], /name members with --join/);
    for (const state of ['up', 'leaving', 'joining']) {
      said = { clusterId: 'c1', members: [{ number: OLD.number, name: 'n1', state }] };
      await refused([address], new RegExp(`says that it is ${state}`));
    }
    said = { clusterId: 'c1', members: [] };
    await refused([address], /no member that it knows/);
    said = { clusterId: 'c2', members: [{ number: OLD.number, name: 'n1', state: 'removed' }] };
    await refused([address], /belongs to another cluster/);
    said = { error: 'x' };
    await refused([address], /answered 200/);
    await refused(['http://127.0.0.1:1'], /ECONNREFUSED/);
  });
});
