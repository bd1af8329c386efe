/** The workers' kernel as its host sees it: memory that is taken, filled, grown and given back. */
import { expect, test } from 'vitest';
import { storageKernel } from '../../shards/kernel/storage-kernel.ts';

test('blocks keep their bytes while others come and go and the memory grows', () => {
  const kernel = storageKernel();
  const kept = kernel.alloc(1000);
  new Uint8Array(kernel.memory.buffer, kept, 1000).fill(7);
  const before = kernel.memory.buffer.byteLength;
  const large = kernel.alloc(before + (1 << 20));
  expect(kernel.memory.buffer.byteLength).toBeGreaterThan(before);
  const moved = kernel.realloc(kept, 100_000);
  expect([...new Uint8Array(kernel.memory.buffer, moved, 1000)].every((byte) => byte === 7)).toBe(true);
  kernel.free(large);
  kernel.free(moved);
  const grown = kernel.memory.buffer.byteLength;
  for (let i = 0; i < 100; i++) kernel.free(kernel.alloc(1 << 20));
  expect(kernel.memory.buffer.byteLength).toBe(grown);
});
