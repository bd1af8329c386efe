import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Outbox } from '../../repair/outbox.ts';
import { nodeFiles } from '../../server/node-files.ts';
import type { NodeFile } from '../../server/node-identity.ts';
import { changeWorkerCount } from '../../server/worker-count.ts';
import { StorageError } from '../../shards/errors.ts';
import type { Files } from '../../shards/files.ts';
import { makeStamp } from '../../shards/version.ts';
import { KEY } from '../ring/trio.ts';

const SELF = '00000000000000a1';
const NODE: NodeFile = { number: SELF, name: 'n1', clusterId: null, seed: null, workers: 1 };
const ENTRIES = 8;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'starling-workers-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const outboxOf = (worker: number) => {
  const path = join(directory, `worker-${worker}`, 'outbox');
  return existsSync(path) ? new Outbox(nodeFiles(), path, 1 << 20, 1 << 20) : null;
};

async function fill(): Promise<void> {
  const files = nodeFiles();
  const outbox = new Outbox(files, join(directory, 'worker-0', 'outbox'), 1 << 20, 1 << 20);
  const puts = Array.from({ length: ENTRIES }, (_, n) => {
    const key = { ...KEY, number: n % 4 };
    const version = makeStamp(1_000 + n, 0) + SELF;
    return new Promise<void>((done) =>
      outbox.put(key, version, new Uint8Array(100).fill(n), new Uint8Array(2), [], () => [], done),
    );
  });
  await Promise.all(puts);
  outbox.close();
}

/** The first sync fails, as of a disk that was away for a moment. */
function failingOnce(files: Files): Files {
  let failed = false;
  return {
    ...files,
    open(path) {
      const file = files.open(path);
      const sync: typeof file.sync = (done) => {
        if (failed) file.sync(done);
        else setImmediate(() => done(new StorageError('disk-failed', `sync ${path}`)));
        failed = true;
      };
      return Object.assign(Object.create(file) as typeof file, { sync });
    },
  };
}

test('a disk that never syncs ends the start, and the next one finds all', async () => {
  await fill();
  const files = nodeFiles();
  const stuck: Files = {
    ...files,
    open(path) {
      const file = files.open(path);
      const sync: typeof file.sync = (done) => void setImmediate(() => done(new StorageError('disk-failed', path)));
      return Object.assign(Object.create(file) as typeof file, { sync });
    },
  };
  await expect(changeWorkerCount(directory, NODE, 2, stuck, 1)).rejects.toThrow('the disk does not sync what worker 0');
  await changeWorkerCount(directory, NODE, 2);
  expect([0, 1].map((worker) => outboxOf(worker)?.entries.size)).toEqual([ENTRIES / 2, ENTRIES / 2]);
});

test.each(['as it should', 'and fails to sync once'])(
  'former outboxes go to their new workers, the disk works %s',
  async (how) => {
    await fill();
    const files = how === 'as it should' ? nodeFiles() : failingOnce(nodeFiles());
    expect(await changeWorkerCount(directory, NODE, 2, files)).toEqual({ ...NODE, workers: 2 });
    const numbers = [0, 1].map((worker) => [...outboxOf(worker)!.entries.values()].map(({ key }) => key.number % 2));
    expect(numbers).toEqual([
      [0, 0, 0, 0],
      [1, 1, 1, 1],
    ]);
  },
);
