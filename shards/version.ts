/**
 * Versions order every write of a cluster.
 *
 * A stamp is hybrid logical time: 48 bits of milliseconds since 1970 and a 16-bit counter, written as 16 lower-case
 * hexadecimal digits. A version is a stamp followed by the 64-bit number of the node that minted it: 32 digits.
 * Because the digits have fixed width, string order *is* version order, a version is its own Map key, and no BigInt
 * is needed. On disk and on the wire a version is its 16 bytes, big-endian.
 *
 * Source: Kulkarni et al., "Logical Physical Clocks" (2014).
 */
export type Stamp = string;
export type NodeNumber = string;
export type Version = string;

export const STAMP_ZERO: Stamp = '0'.repeat(16);
export const VERSION_BYTES = 16;
/** Ledger epochs are this long, in milliseconds of hybrid time (design 7). */
export const EPOCH_MS = 10_000;

export function makeStamp(ms: number, counter: number): Stamp {
  return ms.toString(16).padStart(12, '0') + counter.toString(16).padStart(4, '0');
}

export function makeVersion(stamp: Stamp, node: NodeNumber): Version {
  return stamp + node;
}

export function stampOf(version: Version): Stamp {
  return version.slice(0, 16);
}

export function nodeOf(version: Version): NodeNumber {
  return version.slice(16);
}

/** Milliseconds since 1970 of a stamp or a version. */
export function stampMs(stamp: Stamp | Version): number {
  return Number.parseInt(stamp.slice(0, 12), 16);
}

export function stampCounter(stamp: Stamp | Version): number {
  return Number.parseInt(stamp.slice(12, 16), 16);
}

/** The ledger epoch that a version belongs to. */
export function epochOf(version: Stamp | Version): number {
  return Math.floor(stampMs(version) / EPOCH_MS);
}

/** True when a version's stamp is at or below `through`. */
export function isThrough(version: Version, through: Stamp): boolean {
  return version.slice(0, 16) <= through;
}

export function writeVersion(version: Version, into: Buffer, offset: number): void {
  into.write(version, offset, VERSION_BYTES, 'hex');
}

export function readVersion(from: Buffer, offset: number): Version {
  return from.toString('hex', offset, offset + VERSION_BYTES);
}

export function earlierOf(a: Stamp, b: Stamp): Stamp {
  return a < b ? a : b;
}

/** The greatest stamp below `stamp`, which must not be zero. */
export function stampBefore(stamp: Stamp): Stamp {
  return (BigInt(`0x${stamp}`) - 1n).toString(16).padStart(16, '0');
}
