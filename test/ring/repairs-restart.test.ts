import { describe, expect, test } from 'vitest';
import { RepairsFile } from '../../repair/repairs-file.ts';
import { StorageError } from '../../shards/errors.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const [FIRST, , THIRD] = NUMBERS as [string, string, string];

/** One owner lacks two batches, and no token gets through. */
function stuck(): { trio: Trio; disk: MemoryDiskOf; release: () => void } {
  const trio = new Trio();
  trio.write(0, 'all');
  let tokens = false;
  trio.onSend = (_, to, message) =>
    (message.t === 'mail' && to === THIRD) || (message.t === 'token' && !tokens) ? 'lost' : null;
  trio.write(0);
  trio.write(0);
  trio.pass(100);
  trio.hear();
  const release = () => {
    tokens = true;
  };
  return { trio, disk: trio.storages[0]!.disk, release };
}
type MemoryDiskOf = Trio['storages'][number]['disk'];

function restart(trio: Trio, disk: MemoryDiskOf): void {
  const files = trio.files[0]!;
  files.crash();
  trio.boot(FIRST, disk, files);
}

describe('repairs that were asked for, after a restart', () => {
  test('one that ran begins anew once the others have been heard, and ends', () => {
    const { trio, disk, release } = stuck();
    const { id, state } = trio.repair(0, 'ring');
    expect(state).toBe('running');
    trio.pass(100);
    restart(trio, disk);
    const now = () => trio.hosts[0]!.repairs().find((each) => each.id === id)!;
    trio.pass(100);
    expect(now()).toMatchObject({ state: 'running', shard: ID });
    release();
    trio.hear();
    trio.pass(1_000);
    expect(now()).toMatchObject({ state: 'done', batchesMoved: 2, percentage: 100 });
    expect(trio.counts()).toEqual([3, 3, 3]);
    trio.pass(1_500);
    restart(trio, disk);
    expect(now()).toMatchObject({ state: 'done', pass: { outcome: 'proven' } });
  });

  test('one that was paused stays paused, and is resumed or cancelled', () => {
    const { trio, disk, release } = stuck();
    const ids = [0, 1].map(() => trio.repair(0, 'ring').id);
    // No tick comes between the word that it is done and the end of the process.
    for (const id of ids) trio.hosts[0]!.controlRepair(id, 'pause');
    restart(trio, disk);
    release();
    trio.hear();
    trio.pass(500);
    const states = () => trio.hosts[0]!.repairs().map(({ state }) => state);
    expect(states()).toEqual(['paused', 'paused']);
    trio.hosts[0]!.controlRepair(ids[0]!, 'cancel');
    trio.hosts[0]!.controlRepair(ids[1]!, 'resume');
    trio.pass(500);
    expect(states()).toEqual(['cancelled', 'done']);
    expect(trio.counts()).toEqual([3, 3, 3]);
  });

  test('one that is begun when the process ends is known afterwards', () => {
    const { trio, disk } = stuck();
    const { id } = trio.repair(0, 'ring');
    trio.hosts[0]!.keepRepairs();
    restart(trio, disk);
    expect(trio.hosts[0]!.repairs().map((each) => each.id)).toEqual([id]);
  });

  test('one whose shard has gone fails and says so', () => {
    const { trio } = stuck();
    trio.repair(0, 'ring');
    trio.pass(100);
    const files = trio.files[0]!;
    trio.boot(FIRST, undefined, files);
    trio.hear();
    trio.pass(100);
    expect(trio.hosts[0]!.repairs()).toMatchObject([
      { state: 'failed', message: expect.stringContaining('no replica') },
    ]);
  });
});

describe('their file', () => {
  test.each([
    '',
    '{',
    '[]',
    'null',
    '{"format":1,"repairs":7}',
    '{"format":1,"repairs":[]}',
    '{"format":2,"repairs":[null,{}]}',
    '{"format":2,"repairs":[null,{}],"orders":[null,{"order":{}}]}',
  ])('%j is as none', (text) => {
    const { files } = new Trio();
    const file = files[0]!.open('scrub/repairs.json');
    file.append([Buffer.from(text)]);
    file.syncNow();
    expect(new RepairsFile(files[0]!, 'scrub').load().repairs).toEqual([]);
  });

  test('a disk that refuses is asked again', () => {
    const { trio } = stuck();
    const files = trio.files[0]!;
    const { rename } = files;
    files.rename = () => {
      throw new StorageError('disk-full', 'full');
    };
    trio.repair(0, 'ring');
    trio.pass(1_500);
    expect(new RepairsFile(files, 'scrub').load().repairs).toEqual([]);
    files.rename = rename;
    trio.pass(1_500);
    expect(new RepairsFile(files, 'scrub').load().repairs).toHaveLength(1);
  });
});
