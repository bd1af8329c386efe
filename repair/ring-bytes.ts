/**
 * Forms of numbers in messages of passes (ring-bundle.ts) that are short for what such messages hold: moments near each
 * other, ranges of whole hours, sums. Integers that may be negative are varints in zigzag: 0, -1, 1, -2, ..
 */
import type { ByteReader, ByteWriter } from '../shards/codec/bytes.ts';
import type { Stamp } from '../shards/version.ts';
import type { RootJson } from './ledger.ts';
import { malformed } from './message-checks.ts';

const HOUR_NS = 3_600_000_000_000n;
const HOURS_MAX = 2n ** 40n;
/** A stamp: 12 hex digits of milliseconds, 4 of a counter. */
const MS_DIGITS = 12;
const MS_MAX = 2 ** 48 - 1;
const COUNTER_MAX = 0xffff;

export function writeHex(to: ByteWriter, digits: string): void {
  to.raw(Buffer.from(digits, 'hex'));
}

export function readHex(from: ByteReader, bytes: number): string {
  const raw = from.raw(bytes);
  return Buffer.from(raw.buffer, raw.byteOffset, bytes).toString('hex');
}

export function writeSigned(to: ByteWriter, value: number): void {
  to.varint(value < 0 ? -2 * value - 1 : 2 * value);
}

export function readSigned(from: ByteReader): number {
  const code = from.varint();
  return code % 2 === 0 ? code / 2 : -(code + 1) / 2;
}

/** Milliseconds from another moment, then the counter. */
export function writeStamp(to: ByteWriter, stamp: Stamp, nearMs: number): void {
  writeSigned(to, Number.parseInt(stamp.slice(0, MS_DIGITS), 16) - nearMs);
  to.varint(Number.parseInt(stamp.slice(MS_DIGITS), 16));
}

export function readStamp(from: ByteReader, nearMs: number): Stamp {
  const ms = nearMs + readSigned(from);
  const counter = from.varint();
  if (ms < 0 || ms > MS_MAX || counter > COUNTER_MAX) throw malformed('a stamp out of its range');
  return ms.toString(16).padStart(MS_DIGITS, '0') + counter.toString(16).padStart(4, '0');
}

/** A moment or a span as whole hours, in zigzag and one more; what is none is 0 and the nanoseconds, 8 bytes. */
export function writeNs(to: ByteWriter, ns: bigint): void {
  const hours = ns / HOUR_NS;
  if (hours * HOUR_NS === ns && hours < HOURS_MAX && hours > -HOURS_MAX) {
    const count = Number(hours);
    to.varint(1 + (count < 0 ? -2 * count - 1 : 2 * count));
    return;
  }
  to.varint(0);
  to.i64(ns);
}

export function readNs(from: ByteReader): bigint {
  const code = from.varint();
  if (code === 0) return from.i64();
  const zigzag = code - 1;
  return BigInt(zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2) * HOUR_NS;
}

/** Varint batches · identity sum (16 bytes) · content sum (16). */
export function writeRoot(to: ByteWriter, [batches, identities, content]: RootJson): void {
  to.varint(batches);
  writeHex(to, identities);
  writeHex(to, content);
}

export function readRoot(from: ByteReader): RootJson {
  return [from.varint(), readHex(from, 16), readHex(from, 16)];
}
