/**
 * Working memory of the memtable's kernels: blocks that grow and are used again by the next call.
 *
 * A block belongs to one purpose (its number); what is in it means nothing once the call that filled it has been
 * answered. A block that grew beyond KEPT_BYTES_MAX for one large call is given back by `scratchTrim`.
 */
const BLOCKS: u32 = 27;
const KEPT_BYTES_MAX: u32 = 4 << 20;

const addresses = memory.data(BLOCKS * 4, 8);
const sizes = memory.data(BLOCKS * 4, 8);

/** At least `bytes` bytes, aligned to 16. The content is what the last use left. */
export function scratch(block: u32, bytes: u32): usize {
  const slot = block << 2;
  if (load<u32>(sizes + slot) >= bytes) return load<u32>(addresses + slot);
  const held = load<u32>(addresses + slot);
  if (held !== 0) heap.free(held);
  const size = max(bytes + (bytes >> 2), 1024);
  const address = heap.alloc(size);
  store<u32>(addresses + slot, <u32>address);
  store<u32>(sizes + slot, size);
  return address;
}

/** The same, but the first `keep` bytes stay. */
export function scratchKeeping(block: u32, bytes: u32, keep: u32): usize {
  const slot = block << 2;
  if (load<u32>(sizes + slot) >= bytes) return load<u32>(addresses + slot);
  const held = load<u32>(addresses + slot);
  const size = max(bytes + (bytes >> 1), 1024);
  const address = heap.alloc(size);
  if (held !== 0) {
    memory.copy(address, held, min(keep, load<u32>(sizes + slot)));
    heap.free(held);
  }
  store<u32>(addresses + slot, <u32>address);
  store<u32>(sizes + slot, size);
  return address;
}

export function scratchAt(block: u32): usize {
  return load<u32>(addresses + (block << 2));
}

/** Gives back what one large call has taken. Addresses given out before are no longer valid. */
export function scratchTrim(): void {
  for (let slot: u32 = 0; slot < BLOCKS * 4; slot += 4) {
    if (load<u32>(sizes + slot) <= KEPT_BYTES_MAX) continue;
    heap.free(load<u32>(addresses + slot));
    store<u32>(addresses + slot, 0);
    store<u32>(sizes + slot, 0);
  }
}

// Purposes. INDEX: a frame's index while it is made. NAMES: hashes of the names of a group. TOTALS, CELLS,
// ROWS, CURSORS: a stretch of rows while it is summed. GROUPS, USERS: of a frame whose series are judged
// (belongs.ts); MISSING: those of them that have no key. The others belong to rows that are picked, arranged and read.
export const INDEX: u32 = 0;
export const NAMES: u32 = 1;
export const TOTALS: u32 = 2;
export const CELLS: u32 = 3;
export const ROWS: u32 = 4;
export const CURSORS: u32 = 5;
export const PICKS: u32 = 6;
export const PICK_PLACES: u32 = 7;
export const PICK_TIMES: u32 = 8;
export const PICK_VERSIONS: u32 = 9;
export const TARGETS: u32 = 10;
export const STARTS: u32 = 11;
export const NEXT: u32 = 12;
export const TIMES: u32 = 13;
export const VERSIONS: u32 = 14;
export const LOCAL: u32 = 15;
export const MARKS: u32 = 16;
export const ORDER: u32 = 17;
export const MERGE: u32 = 18;
export const DICTIONARY: u32 = 19;
export const VALUES: u32 = 20;
export const PRESENT: u32 = 21;
export const TEXT: u32 = 22;
export const RUNS: u32 = 23;
export const GROUPS: u32 = 24;
export const USERS: u32 = 25;
export const MISSING: u32 = 26;
