/** Texts as addresses and lengths: hash, equality, order. Nothing is read outside of a text. */

const MIX: u64 = 0x9e3779b97f4a7c15;
const SPREAD: u64 = 0xd6e8feb86659fd93;

/** Keyed: `seed` is not known outside, so texts that share a hash cannot be made on purpose. */
export function hashText(text: usize, length: u32, seed: u64): u64 {
  let hash = seed ^ (<u64>length * MIX);
  if (length < 8) return mix(mix(hash ^ few(text, length)));
  // The last eight bytes may overlap those before: cheaper than going on byte by byte.
  const last = length - 8;
  for (let at: u32 = 0; at < last; at += 8) hash = mix(hash ^ load<u64>(text + at));
  return mix(mix(hash ^ load<u64>(text + last)));
}

@inline
function mix(value: u64): u64 {
  const product = value * SPREAD;
  return product ^ (product >> 32);
}

/** Fewer than eight bytes as a number; different texts of one length give different numbers. */
@inline
function few(text: usize, length: u32): u64 {
  if (length >= 4) return (<u64>load<u32>(text)) | ((<u64>load<u32>(text + length - 4)) << 32);
  if (length == 0) return 0;
  return <u64>load<u8>(text) | (<u64>load<u8>(text + (length >> 1)) << 8) | (<u64>load<u8>(text + length - 1) << 16);
}

@inline
export function equalText(a: usize, aLength: u32, b: usize, bLength: u32): bool {
  if (aLength != bLength) return false;
  if (aLength < 8) return few(a, aLength) == few(b, bLength);
  const last = aLength - 8;
  for (let at: u32 = 0; at < last; at += 8) if (load<u64>(a + at) != load<u64>(b + at)) return false;
  return load<u64>(a + last) == load<u64>(b + last);
}

/** In byte order, which for UTF-8 is that of code points. */
export function compareText(a: usize, aLength: u32, b: usize, bLength: u32): i32 {
  const common = min(aLength, bLength);
  for (let at: u32 = 0; at < common; at++) {
    const difference = <i32>load<u8>(a + at) - <i32>load<u8>(b + at);
    if (difference != 0) return difference;
  }
  return <i32>aLength - <i32>bLength;
}

/** The next capacity of an array that has to hold `needed` of something: half again while small, then a quarter. */
@inline
export function grown(capacity: u32, needed: u32): u32 {
  return max(needed, capacity + (capacity < 65_536 ? capacity >> 1 : capacity >> 2));
}
