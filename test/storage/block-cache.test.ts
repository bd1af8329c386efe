import { expect, it } from 'vitest';
import { decodeBlockHead, encodeBlock } from '../../shards/block.ts';
import { BlockCache } from '../../shards/block-cache.ts';
import type { BlockEntry } from '../../shards/block-directory.ts';
import { storageKernel } from '../../shards/kernel/storage-kernel.ts';
import { randomFrom, randomRows, rowSetOf } from '../blocks/rows.ts';

const UNUSED_MS = 1000;

function blockOf(seed: number) {
  const shape = { series: 8, rowsMax: 150, versions: 40, fields: 8 };
  const rows = rowSetOf(randomRows(randomFrom(seed), shape), (series) => series);
  const { head, body } = encodeBlock(rows);
  // The cache looks at nothing of it: it is a key.
  return { entry: { id: seed } as BlockEntry, head, body };
}

function put(cache: BlockCache, { entry, head, body }: ReturnType<typeof blockOf>): void {
  cache.putHead(entry, decodeBlockHead(head), head.byteLength);
  cache.putBody(entry, body);
}

it('lets go of what nobody has asked for, however much room there is', () => {
  const cache = new BlockCache(1 << 30, UNUSED_MS);
  const [old, used, held] = [blockOf(1), blockOf(2), blockOf(3)];
  cache.tick(5000);
  for (const block of [old, used, held]) put(cache, block);
  cache.hold(new Set([held.entry]));
  cache.tick(5000 + UNUSED_MS - 1);
  expect(cache.get(used.entry)).not.toBe(null);
  const bytes = cache.bytes;
  cache.tick(5000 + UNUSED_MS);
  expect([old, used, held].map(({ entry }) => cache.get(entry) !== null)).toEqual([false, true, true]);
  expect(cache.bytes).toBeLessThan(bytes);
  cache.hold(new Set());
  cache.tick(5000 + 3 * UNUSED_MS);
  expect(cache.bytes).toBe(0);
});

it('of blocks that were put before time began to go on, none is dropped for its age at once', () => {
  const cache = new BlockCache(1 << 30, UNUSED_MS);
  const block = blockOf(1);
  put(cache, block);
  cache.tick(1e9);
  expect(cache.get(block.entry)).not.toBe(null);
});

it('lets go of what was not asked for for longest when room is short, and not of what is held', () => {
  const blocks = Array.from({ length: 8 }, (_, seed) => blockOf(seed));
  const sizes = blocks.map((block) => {
    const alone = new BlockCache(1 << 30, UNUSED_MS);
    alone.putHead(block.entry, decodeBlockHead(block.head), block.head.byteLength);
    const head = alone.bytes;
    alone.putBody(block.entry, block.body);
    return { head, whole: alone.bytes };
  });
  const bytesMax = sizes.reduce((sum, { whole }) => sum + whole, 0) / 2;
  for (let seed = 0; seed < 30; seed++) {
    const random = randomFrom(seed);
    const any = (): number => Math.floor(random() * blocks.length);
    const cache = new BlockCache(bytesMax, UNUSED_MS);
    const held = new Set(seed % 2 === 0 ? [] : [any(), any()]);
    cache.hold(new Set([...held].map((at) => blocks[at]!.entry)));
    /** In the order of use: bytes by block. */
    const model = new Map<number, number>();
    const use = (at: number, bytes: number): void => {
      model.delete(at);
      model.set(at, bytes);
      let sum = [...model.values()].reduce((all, one) => all + one, 0);
      for (const [other, size] of [...model]) {
        if (sum <= bytesMax) break;
        if (other === at || held.has(other)) continue;
        model.delete(other);
        sum -= size;
      }
    };
    for (let step = 0; step < 60; step++) {
      const at = any();
      if (random() < 0.5) {
        put(cache, blocks[at]!);
        use(at, sizes[at]!.head);
        use(at, sizes[at]!.whole);
      } else {
        const isThere = cache.get(blocks[at]!.entry) !== null;
        expect(isThere).toBe(model.has(at));
        if (isThere) use(at, model.get(at)!);
      }
    }
    expect(cache.bytes).toBe([...model.values()].reduce((all, one) => all + one, 0));
  }
});

it('takes no more of the kernel than what it holds at once, whatever came through it', () => {
  const cache = new BlockCache(256 << 10, UNUSED_MS);
  const blocks = Array.from({ length: 50 }, (_, seed) => blockOf(seed));
  const passAll = (rounds: number): void => {
    for (let round = 0; round < rounds; round++) for (const block of blocks) put(cache, block);
  };
  passAll(2);
  const before = storageKernel().memory.buffer.byteLength;
  passAll(100);
  expect(cache.bytes).toBeLessThanOrEqual(256 << 10);
  expect(storageKernel().memory.buffer.byteLength).toBe(before);
});

it('counts the versions of a head, which are read only when somebody asks for them', () => {
  const cache = new BlockCache(1 << 30, UNUSED_MS);
  const block = blockOf(1);
  const head = decodeBlockHead(block.head);
  cache.putHead(block.entry, head, block.head.byteLength);
  // A text of 32 characters and its place in a list.
  expect(head.versionTable.length).toBeGreaterThan(10);
  expect(cache.bytes).toBeGreaterThan(block.head.byteLength + head.versionTable.length * (32 + 8));
});
