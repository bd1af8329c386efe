/** The file of what may be lost with members (repair/losses-file.ts) on a disk that refuses. */
import { expect, test } from 'vitest';
import { LossesFile } from '../../repair/losses-file.ts';
import { makeStamp } from '../../shards/version.ts';
import { MemoryFiles } from '../support/memory-files.ts';

const LOSS = { member: '3'.repeat(16), name: 'n3', after: makeStamp(1_000, 0) };

class CountedFiles extends MemoryFiles {
  opened: string[] = [];
  constructor() {
    super('/memory', null as never);
  }
  override makeDirectory(): void {}
  override open(path: string) {
    this.opened.push(path);
    return super.open(path);
  }
}

test('it is tried once a second, and has nothing of shards without notes', () => {
  const files = new CountedFiles();
  const file = new LossesFile(files, '/memory');
  files.room = 0;
  file.replace(
    new Map([
      ['a', [LOSS]],
      ['b', []],
    ]),
  );
  files.opened = [];
  for (let ms = 0; ms < 10_000; ms += 50) file.tick(1_700_000_000_000 + ms);
  expect(files.opened).toHaveLength(10);
  files.room = 1e6;
  file.tick(1_700_000_010_000);
  const kept = new LossesFile(files, '/memory');
  expect(kept.get('a', LOSS.member)).toEqual(LOSS);
  expect(Buffer.from(files.read('/memory/losses.json')).toString()).not.toContain('"b"');
  files.opened = [];
  file.tick(1_700_000_020_000);
  expect(files.opened).toEqual([]);
});
