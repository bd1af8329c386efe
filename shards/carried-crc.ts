/**
 * The CRC-32 of bytes that carry their own, from that one: what is framed once more need not be read once more.
 *
 * A CRC is linear. That of a before b is that of a, moved by the length of b (multiplied by x to the power of its bits, modulo
 * the polynomial), plus that of b; so one part follows from the other two, without its bytes.
 */
import { crc32 } from 'node:zlib';

const POLYNOMIAL = 0xedb88320 | 0;
const ONE = 0x8000_0000 | 0;
/** Of any bytes with their CRC behind them, little endian. */
const CLOSED = 0x2144_df1c;
const CRC_BYTES = 4;

/** x to the power of 8, 16, 32, ..: what moves a CRC by 1, 2, 4, .. bytes. */
const moves: number[] = [];
for (let bit = 0, power = 0x0080_0000; bit < 32; bit++, power = product(power, power)) moves.push(power);

/** Modulo the polynomial; bits stand as in a CRC, so the highest one is x to the power of 0. */
function product(a: number, b: number): number {
  let sum = 0;
  for (let bit = ONE, shifted = b; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) sum ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ POLYNOMIAL;
  }
  return sum;
}

function moved(crc: number, bytes: number): number {
  let power = ONE;
  for (let bit = 0, left = bytes; left !== 0; bit++, left >>>= 1) {
    if ((left & 1) !== 0) power = product(moves[bit]!, power);
  }
  return product(power, crc);
}

/**
 * Of what `head` is the CRC of, followed by `bytes`, at `offset` of which stands the CRC of all their others, little endian.
 * What is behind it is not read, and nothing at all when it stands at the end. A microsecond.
 */
export function crcWithCarried(head: number, bytes: Uint8Array, offset: number): number {
  const behind = offset + CRC_BYTES;
  if (behind === bytes.length) return (moved(head, bytes.length) ^ CLOSED) >>> 0;
  const before = crc32(bytes.subarray(0, offset));
  const through = crc32(bytes.subarray(0, behind), head);
  const carried = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUInt32LE(offset);
  return (moved(before ^ through, bytes.length - behind) ^ carried) >>> 0;
}
