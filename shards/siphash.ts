/**
 * SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; the `outlen` 16
 * of its reference code), slow and plain. It says what the hash of a series key is; the kernel computes the same
 * (kernel/assembly/ingest/siphash.ts).
 */
import { createHash } from 'node:crypto';

export const SIPHASH_KEY_BYTES = 16;
const MASK = 0xffff_ffff_ffff_ffffn;

/** `key` has 16 bytes. The result has 16 bytes. */
export function sipHash128(key: Uint8Array, message: Uint8Array): Uint8Array {
  const k0 = wordAt(key, 0);
  const k1 = wordAt(key, 8);
  const v: State = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn ^ 0xeen,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  const whole = message.length - (message.length % 8);
  for (let at = 0; at < whole; at += 8) absorb(v, wordAt(message, at));
  const tail = new Uint8Array(8);
  tail.set(message.subarray(whole));
  tail[7] = message.length & 0xff;
  absorb(v, wordAt(tail, 0));
  const hash = new DataView(new ArrayBuffer(16));
  v[2] ^= 0xeen;
  rounds(v, 4);
  hash.setBigUint64(0, v[0] ^ v[1] ^ v[2] ^ v[3], true);
  v[1] ^= 0xddn;
  rounds(v, 4);
  hash.setBigUint64(8, v[0] ^ v[1] ^ v[2] ^ v[3], true);
  return new Uint8Array(hash.buffer);
}

/** The key that belongs to a cluster's seed. */
export function sipHashKeyOf(seed: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(seed).digest().subarray(0, SIPHASH_KEY_BYTES));
}

type State = [bigint, bigint, bigint, bigint];

function absorb(v: State, word: bigint): void {
  v[3] ^= word;
  rounds(v, 2);
  v[0] ^= word;
}

function rounds(v: State, count: number): void {
  for (let i = 0; i < count; i++) {
    v[0] = (v[0] + v[1]) & MASK;
    v[1] = rotated(v[1], 13n) ^ v[0];
    v[0] = rotated(v[0], 32n);
    v[2] = (v[2] + v[3]) & MASK;
    v[3] = rotated(v[3], 16n) ^ v[2];
    v[0] = (v[0] + v[3]) & MASK;
    v[3] = rotated(v[3], 21n) ^ v[0];
    v[2] = (v[2] + v[1]) & MASK;
    v[1] = rotated(v[1], 17n) ^ v[2];
    v[2] = rotated(v[2], 32n);
  }
}

function rotated(word: bigint, by: bigint): bigint {
  return ((word << by) | (word >> (64n - by))) & MASK;
}

function wordAt(bytes: Uint8Array, at: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(at, true);
}
