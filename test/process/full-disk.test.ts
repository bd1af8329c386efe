/**
 * A disk that is full: a node on a small file system of its own refuses writes, stays, and goes on when there is room.
 *
 * Needs the right to mount; without it the test is skipped with a message.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, TestNode } from './harness.ts';
import { Load } from './load.ts';

const DISK = '96m';
const WEEK_MS = 7 * 86_400_000;
const FULL_TIMEOUT_MS = 60_000;

function mount(directory: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'tmpfs', directory], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const directory = await mkdtemp(join(tmpdir(), 'starling-full-'));
const mounted = mount(directory);
if (!mounted) console.info('full disk: skipped, no right to mount a file system here');

describe.skipIf(!mounted)('a node on a full disk', () => {
  const ballast = join(directory, 'ballast');
  /** What a refused write has left: room enough for the file of a new shard. */
  const rest = join(directory, 'rest');
  let node: TestNode;
  let load: Load;

  beforeAll(async () => {
    const options = { workers: '2', 'memtable-bytes-max': '8MiB', 'log-bytes-max': '32MiB', 'log-level': 'info' };
    node = new TestNode('n1', join(directory, 'n1'), options);
    await (await node.start()).ready();
    await node.query('CREATE DATABASE t');
    load = new Load({
      database: 't',
      rowsPerBody: 1_000,
      noteBytes: 120,
      series: 500,
      startMs: 0,
      random: Math.random,
      targets: () => [node.url],
    });
  });
  afterAll(async () => {
    await load?.close();
    await node?.kill();
    execFileSync('umount', [directory]);
    await rm(directory, { recursive: true, force: true });
  });

  /** Leaves so many bytes. */
  function fill(left: number, path = ballast): void {
    const { bavail, bsize } = statfsSync(directory);
    writeFileSync(path, Buffer.alloc(Math.max(0, bavail * bsize - left)));
  }

  async function writeUntilRefused(): Promise<void> {
    await eventually('the disk is full', FULL_TIMEOUT_MS, async () => !(await load.once()));
  }

  test('answers 503 with Retry-After, stays alive, loses nothing, and goes on when there is room', async () => {
    expect(await load.once()).toBe(true);
    const pid = node.pid;
    let week = 10;
    for (const left of [256 * 1024, 2_000_000, 0]) {
      fill(left);
      await writeUntilRefused();
      const refused = await eventually('a write is refused', 10_000, async () => {
        const answer = await node.write('t', `refused note="${'x'.repeat(60_000)}" 1`);
        return answer.status === 204 ? null : answer;
      });
      expect(refused.status, refused.text).toBe(503);
      expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(refused.text).toMatch(/disk/);
      expect(refused.text).not.toMatch(
        /partial write|hinted handoff|unable to parse|database not found|retention policy not found|beyond retention/,
      );
      expect((await node.get('/health')).status).toBe(200);
      // A shard that could not even be made is no gap in later answers.
      fill(0, rest);
      expect((await node.write('t', `other note="x" ${week++ * WEEK_MS}000000`)).status).toBe(503);
      expect(await node.value('SELECT count(note) FROM other', 't')).toBeNull();
      expect(await load.check(node.url)).toEqual([]);
      rmSync(ballast);
      rmSync(rest);
      await eventually('writes are taken again', 20_000, () => load.once());
      expect(await load.check(node.url)).toEqual([]);
      expect([node.running, node.pid], node.stderr.slice(-2_000)).toEqual([true, pid]);
    }
  });

  test('killed and started again while the disk is full, it has every acknowledged row and heals with room', async () => {
    fill(0);
    await writeUntilRefused();
    await node.kill();
    // It may serve or say in one line that there is no room; it must not lose anything.
    const started = await node.start().then(
      () => true,
      () => false,
    );
    if (started) await node.kill();
    else expect(node.stderr).toMatch(/starling: .*(disk|ENOSPC|no room|no space)/i);
    rmSync(ballast);
    await (await node.start()).ready();
    expect(await load.check(node.url)).toEqual([]);
    expect(await load.once()).toBe(true);
    expect(await load.check(node.url)).toEqual([]);
  });
});
