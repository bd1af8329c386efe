/** Memory of kernels is of the shared kind: what that must not be seen by. */
import { expect, test } from 'vitest';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { decodeBlock, decodeBlockHead, encodeBlock } from '../../shards/block.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import { copyInto, copyOf } from '../../shards/kernel/copy.ts';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { kernelBytes } from '../../shards/kernel/load.ts';
import {
  storageBuffer,
  storageBytes,
  storageKernel,
  storageNumbers,
  storageWords,
} from '../../shards/kernel/storage-kernel.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { Memtable } from '../../shards/memtable.ts';
import { mergeInKernel } from '../../shards/row-merge-kernel.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { POLICY, VERSION } from '../ingest/support.ts';
import { versionAt } from './helpers.ts';
import { keysOfBatches, randomBatch, randomOf } from './random-batches.ts';

const SCHEMA = { typeOf: () => 0 as const, learn: () => {}, revision: 0 };
const OPTIONS = { rowsMax: 400, series: 20, measurements: 1, fields: 5 };

/** Whatever arrays there are in a value must not be shared by sending it to another thread. */
function expectOwnMemory(value: unknown): void {
  let arrays = 0;
  const visit = (part: unknown): void => {
    if (ArrayBuffer.isView(part)) {
      arrays++;
      expect(Object.prototype.toString.call(part.buffer)).toBe('[object ArrayBuffer]');
    } else if (typeof part === 'object' && part !== null) Object.values(part).forEach(visit);
  };
  visit(value);
  expect(arrays).toBeGreaterThan(0);
}

test('rows, blocks and series that are read from it lie in memory of their own', () => {
  const table = new SeriesTable();
  const memtable = new Memtable(table);
  const random = randomOf(1);
  for (const { hash, key } of keysOfBatches(OPTIONS)) if (table.find(hash) < 0) table.add(hash, key);
  for (let n = 0; n < 6; n++) {
    const held = holdFrame(encodeBatch(randomBatch(versionAt(n), random, OPTIONS)));
    table.findMany(held.hashes, held.seriesCount, held.ids);
    memtable.apply(held);
  }
  const rows = memtable.sorted('m0')!;
  expectOwnMemory(rows);
  const { head, body } = encodeBlock(rows);
  expectOwnMemory([head, body]);
  const want = { series: null, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER };
  const read = decodeBlock(decodeBlockHead(head), body, want);
  expect(read.columns.map(({ type }) => type).length).toBeGreaterThan(2);
  expectOwnMemory(read);
  table.sorted('m0');
  expectOwnMemory(mergeInKernel([read], table.compare));
  expectOwnMemory(table.match('m0', null));
  expectOwnMemory(table.match('m0', { op: '!=', key: 'none', value: 'x' }));
  memtable.release();
});

test('frames and keys that are sealed in it lie in memory of their own', () => {
  const stage = new IngestStage('seed', 1000, 4, LINE_LIMITS);
  stage.begin(POLICY, 0n);
  stage.add([Buffer.from('m,a=1 v=1 1\nm,a=2 v=2 2')], 'n', 0n, () => SCHEMA);
  for (const target of stage.targets()) expectOwnMemory(stage.seal(target, VERSION, 1, false, true));
});

test('views of all of it are made anew when it has grown', () => {
  const kernel = storageKernel();
  const before = storageBytes().length;
  const block = kernel.alloc(before + (1 << 20));
  const { byteLength } = kernel.memory.buffer;
  expect(byteLength).toBeGreaterThan(before);
  for (const view of [storageNumbers(), storageWords(), storageBuffer(), storageBytes()]) {
    expect(view.byteLength).toBe(byteLength);
  }
  kernel.free(block);
});

test.each([0, 1, 7, 127, 128, 129, 5000])('%i bytes are copied into it and out of it', (length) => {
  const kernel = storageKernel();
  const bytes = Uint8Array.from({ length: length + 3 }, (_, i) => i * 7 + 1).subarray(3);
  const at = kernel.alloc(length + 2);
  storageBytes().fill(0, at, at + length + 2);
  copyInto(storageBytes(), at + 1, bytes);
  expect(storageBytes().slice(at, at + length + 2)).toEqual(Uint8Array.from([0, ...bytes, 0]));
  expect(copyOf(storageBytes().subarray(at + 1, at + 1 + length))).toEqual(Uint8Array.from(bytes));
  kernel.free(at);
});

test('what a stage has outgrown is given back without waiting for the heap to fill', async () => {
  const stage = new IngestStage('seed', 1, 4, LINE_LIMITS);
  stage.begin(POLICY, 0n);
  const line = 'm,a=1 v=1 1\n';
  stage.add([Buffer.from(line), Buffer.alloc(64 << 20, '\n'), Buffer.from(line)], 'n', 0n, () => SCHEMA);
  const before = kernelBytes();
  expect(before).toBeGreaterThan(64 << 20);
  for (;;) {
    // Who has looked at a memory keeps it until the turn is over.
    await new Promise((resolve) => setImmediate(resolve));
    for (let i = 0; i < 10; i++) stage.begin(POLICY, 0n);
    await new Promise((resolve) => setImmediate(resolve));
    if (kernelBytes() < before - (60 << 20)) break;
  }
});
