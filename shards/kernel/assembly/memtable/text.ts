/** Text in frames: whether it is UTF-8, and hashes of names. */

export function hashBytes(from: usize, length: u32, seed: u64): u64 {
  let hash = seed ^ <u64>length;
  let i: u32 = 0;
  for (; i + 8 <= length; i += 8) hash = rotl((hash ^ load<u64>(from + i)) * 0xff51afd7ed558ccd, 29);
  let tail: u64 = 0;
  for (let shift: u64 = 0; i < length; i++, shift += 8) tail |= <u64>load<u8>(from + i) << shift;
  hash = (hash ^ tail) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 31);
}

export function isAscii(from: usize, length: u32): bool {
  let i: u32 = 0;
  let any = i64x2.splat(0);
  for (; i + 16 <= length; i += 16) any = v128.or(any, v128.load(from + i));
  if (i8x16.bitmask(any) !== 0) return false;
  for (; i < length; i++) if (load<u8>(from + i) > 127) return false;
  return true;
}

/** By the table of well-formed byte sequences (Unicode 15, table 3-7). */
export function isUtf8(from: usize, length: u32): bool {
  if (isAscii(from, length)) return true;
  const stop = from + length;
  while (from < stop) {
    const lead = <u32>load<u8>(from);
    if (lead < 0x80) {
      from += 1;
      continue;
    }
    const more: u32 = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || from + more >= stop) return false;
    const second = <u32>load<u8>(from, 1);
    const low: u32 = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high: u32 = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (second < low || second > high) return false;
    for (let k: u32 = 2; k <= more; k++) if ((load<u8>(from + k) & 0xc0) !== 0x80) return false;
    from += more + 1;
  }
  return true;
}
