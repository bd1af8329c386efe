/**
 * SipHash-2-4 with 128 bits (Aumasson and Bernstein 2012; the reference code's `outlen` 16): the hash of a series key.
 * Keyed with the cluster's seed, so that collisions cannot be made from outside. shards/siphash.ts is the slow version.
 */
let k0: u64 = 0;
let k1: u64 = 0;

export function keySipHash(low: u64, high: u64): void {
  k0 = low;
  k1 = high;
}

/** Writes the 16 bytes of the hash to `into`. Reads up to 7 bytes behind the end, and drops them. */
export function sipHash(at: usize, length: usize, into: usize): void {
  let v0 = k0 ^ 0x736f6d6570736575;
  let v1 = k1 ^ 0x646f72616e646f6d ^ 0xee;
  let v2 = k0 ^ 0x6c7967656e657261;
  let v3 = k1 ^ 0x7465646279746573;
  const whole = at + (length & ~7);
  let from = at;
  // The words of the message, then the last one with the length, then the two ends; each is mixed in the same way.
  for (let stage: u32 = 0; stage < 4; ) {
    let word: u64 = 0;
    let rounds: u32 = 2;
    if (stage == 0) {
      if (from < whole) {
        word = load<u64>(from);
        from += 8;
      } else {
        const left = <u64>(length & 7);
        word = (left == 0 ? 0 : load<u64>(from) & (((<u64>1) << (left * 8)) - 1)) | ((<u64>length) << 56);
        stage = 1;
      }
    } else {
      rounds = 4;
      if (stage == 1) v2 ^= 0xee;
      else v1 ^= 0xdd;
      stage++;
    }
    v3 ^= word;
    for (; rounds > 0; rounds--) {
      v0 += v1;
      v1 = rotl<u64>(v1, 13) ^ v0;
      v0 = rotl<u64>(v0, 32);
      v2 += v3;
      v3 = rotl<u64>(v3, 16) ^ v2;
      v0 += v3;
      v3 = rotl<u64>(v3, 21) ^ v0;
      v2 += v1;
      v1 = rotl<u64>(v1, 17) ^ v2;
      v2 = rotl<u64>(v2, 32);
    }
    v0 ^= word;
    if (stage == 2) store<u64>(into, v0 ^ v1 ^ v2 ^ v3);
    if (stage == 3) {
      store<u64>(into, v0 ^ v1 ^ v2 ^ v3, 8);
      return;
    }
  }
}
