/**
 * Memory of a kernel as its host sees it: blocks to put bytes into and to read results from.
 *
 * Addresses are byte offsets into the exported memory. A block stays where it is until it is freed; the memory as a whole
 * may grow at any call into the kernel, and views that the host has made before end where it ended then.
 */

/** What the memory has grown to, in pages of 64 KiB. */
export function pages(): i32 {
  return memory.size();
}

/** At least `bytes` bytes, aligned to 16, not cleared. */
export function alloc(bytes: usize): usize {
  return heap.alloc(bytes);
}

/** Keeps the first bytes of the block, up to the smaller of both sizes. */
export function realloc(address: usize, bytes: usize): usize {
  return heap.realloc(address, bytes);
}

export function free(address: usize): void {
  heap.free(address);
}
