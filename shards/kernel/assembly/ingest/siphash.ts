/**
 * SipHash-2-4 with 128 bits (Aumasson and Bernstein 2012; the reference code's `outlen` 16): the hash of a series key.
 * Keyed with the cluster's seed, so that collisions cannot be made from outside. shards/siphash.ts is the slow version.
 *
 * Keys that follow each other mostly begin alike, and the hash takes 8 bytes at a time: the first words of a key are kept
 * with the state before each of them, and the next key goes on behind those that it shares.
 */
import { commonLength } from './bytes';

const KEPT_BYTES: usize = 256;
/** The first words of the key before, and what comparing reads behind them. */
const kept: usize = memory.data(256 + 16, 16);
let keptBytes: usize = 0;
/** v0 to v3 before each of those words, and behind the last one. */
const states: usize = memory.data(33 * 32, 16);

export function keySipHash(low: u64, high: u64): void {
  keptBytes = 0;
  store<u64>(states, low ^ 0x736f6d6570736575);
  store<u64>(states, high ^ 0x646f72616e646f6d ^ 0xee, 8);
  store<u64>(states, low ^ 0x6c7967656e657261, 16);
  store<u64>(states, high ^ 0x7465646279746573, 24);
}

/** Writes the 16 bytes of the hash to `into`. Reads up to 15 bytes behind the end, and drops them. */
export function sipHash(at: usize, length: usize, into: usize): void {
  const whole = length & ~7;
  let done = commonLength(kept, at, min(keptBytes, whole)) & ~7;
  keptBytes = min(whole, KEPT_BYTES);
  const state = states + (done << 2);
  let v0 = load<u64>(state);
  let v1 = load<u64>(state, 8);
  let v2 = load<u64>(state, 16);
  let v3 = load<u64>(state, 24);
  // The words of the message, then the last one with the length, then the two ends; each is mixed in the same way.
  for (let stage: u32 = 0; stage < 4; ) {
    let word: u64 = 0;
    let rounds: u32 = 2;
    if (stage == 0) {
      if (done < whole) {
        word = load<u64>(at + done);
        if (done < KEPT_BYTES) store<u64>(kept + done, word);
        done += 8;
      } else {
        const left = <u64>(length & 7);
        word = (left == 0 ? 0 : load<u64>(at + whole) & (((<u64>1) << (left * 8)) - 1)) | ((<u64>length) << 56);
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
    if (stage == 0) {
      if (done > KEPT_BYTES) continue;
      const behind = states + (done << 2);
      store<u64>(behind, v0);
      store<u64>(behind, v1, 8);
      store<u64>(behind, v2, 16);
      store<u64>(behind, v3, 24);
    }
    if (stage == 2) store<u64>(into, v0 ^ v1 ^ v2 ^ v3);
    if (stage == 3) {
      store<u64>(into, v0 ^ v1 ^ v2 ^ v3, 8);
      return;
    }
  }
}
