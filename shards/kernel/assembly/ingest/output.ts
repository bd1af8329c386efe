/**
 * The output: bytes that grow behind one another, read by the host between two calls. Everything is little-endian.
 * `need` may move the block: addresses into it hold until the next call of it.
 */
const ROOM_INITIAL: usize = 1 << 16;

let block: usize = 0;
let room: usize = 0;
export let written: usize = 0;

export function outputBlock(): usize {
  return block;
}

export function outputRoom(): usize {
  return room;
}

export function clearOutput(): void {
  written = 0;
}

/** Makes room for so many bytes and returns where they go; `advance` says how many it has been. */
export function need(bytes: usize): usize {
  if (written + bytes > room) {
    room = max(ROOM_INITIAL, max(room * 2, written + bytes));
    block = block == 0 ? heap.alloc(room) : heap.realloc(block, room);
  }
  return block + written;
}

@inline
export function advance(bytes: usize): void {
  written += bytes;
}

export function putByte(value: u32): void {
  store<u8>(need(1), <u8>value);
  written += 1;
}

export function putU32(value: u32): void {
  store<u32>(need(4), value);
  written += 4;
}

export function putF64(value: f64): void {
  store<f64>(need(8), value);
  written += 8;
}

export function putI64(value: i64): void {
  store<i64>(need(8), value);
  written += 8;
}

export function putBytes(at: usize, length: usize): void {
  memory.copy(need(length), at, length);
  written += length;
}

/** The narrowest width of 0, 1, 2, 4 bytes that holds 0 to `most`; 8 when none does. */
export function widthFor(most: u64): u32 {
  if (most == 0) return 0;
  if (most < 256) return 1;
  if (most < 65536) return 2;
  return most <= 0xffffffff ? 4 : 8;
}

/** `count` words from `at`, less `least`, in that width. */
export function putOffsets64(at: usize, count: u32, least: i64, width: u32): void {
  const bytes = <usize>count * <usize>width;
  let to = need(bytes);
  let from = at;
  const end = at + (<usize>count << 3);
  if (width == 1) {
    for (; from < end; from += 8) store<u8>(to++, <u8>(load<i64>(from) - least));
  } else if (width == 2) {
    for (; from < end; from += 8) {
      store<u16>(to, <u16>(load<i64>(from) - least));
      to += 2;
    }
  } else if (width == 4) {
    for (; from < end; from += 8) {
      store<u32>(to, <u32>(load<i64>(from) - least));
      to += 4;
    }
  } else if (width == 8) {
    for (; from < end; from += 8) {
      store<i64>(to, load<i64>(from) - least);
      to += 8;
    }
  }
  written += bytes;
}

/** `count` unsigned 32-bit words from `at` in that width. */
export function putOffsets32(at: usize, count: u32, width: u32): void {
  const bytes = <usize>count * <usize>width;
  let to = need(bytes);
  let from = at;
  const end = at + (<usize>count << 2);
  if (width == 1) {
    for (; from < end; from += 4) store<u8>(to++, load<u8>(from));
  } else if (width == 2) {
    for (; from < end; from += 4) {
      store<u16>(to, load<u16>(from));
      to += 2;
    }
  } else if (width == 4) {
    memory.copy(to, at, bytes);
  }
  written += bytes;
}
