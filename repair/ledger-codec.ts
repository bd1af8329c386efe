/**
 * Identity lists as bytes: on disk (one blob per epoch) and in `identities` answers.
 *
 * Layout: u8 format (1) · varint nodes · nodes x 8 bytes · varint entries · per entry, ascending by version:
 * varint ms since the entry before · varint counter · varint index of the node · varint rows · 16 bytes content sum.
 * The first entry's ms counts from 1970. 22 to 24 bytes an entry, 16 of them the content sum, which does not compress.
 */
import type { Sum128 } from '../shards/checksum.ts';
import { makeStamp, stampCounter, stampMs, type Version } from '../shards/version.ts';

export interface Identity {
  readonly version: Version;
  readonly rows: number;
  readonly content: Sum128;
}

export class LedgerError extends Error {
  readonly code = 'damaged-ledger';
  constructor(message: string) {
    super(message);
    this.name = 'LedgerError';
  }
}

const FORMAT = 1;

export function encodeIdentities(identities: readonly Identity[]): Uint8Array {
  const nodes = new Map<string, number>();
  for (const { version } of identities) {
    const node = version.slice(16);
    if (!nodes.has(node)) nodes.set(node, nodes.size);
  }
  const out = Buffer.allocUnsafe(1 + 5 + nodes.size * 8 + 5 + identities.length * 40);
  let at = 0;
  out[at++] = FORMAT;
  at = writeVarint(out, at, nodes.size);
  for (const node of nodes.keys()) at += out.write(node, at, 8, 'hex');
  at = writeVarint(out, at, identities.length);
  let last = 0;
  for (const { version, rows, content } of identities) {
    const ms = stampMs(version);
    at = writeVarint(out, at, ms - last);
    last = ms;
    at = writeVarint(out, at, stampCounter(version));
    at = writeVarint(out, at, nodes.get(version.slice(16))!);
    at = writeVarint(out, at, rows);
    out.writeBigUInt64BE(content >> 64n, at);
    out.writeBigUInt64BE(content & 0xffff_ffff_ffff_ffffn, at + 8);
    at += 16;
  }
  return out.subarray(0, at);
}

/** Throws LedgerError on bytes that are not a whole, ascending list. */
export function decodeIdentities(bytes: Uint8Array): Identity[] {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cursor = { at: 1 };
  if (input.length < 3 || input[0] !== FORMAT)
    throw new LedgerError(`identity list of format ${input[0]}, not ${FORMAT}`);
  const nodeCount = readVarint(input, cursor);
  if (nodeCount * 8 > input.length)
    throw new LedgerError(`identity list with ${nodeCount} nodes in ${input.length} bytes`);
  const nodes: string[] = [];
  for (let i = 0; i < nodeCount; i++, cursor.at += 8) nodes.push(input.toString('hex', cursor.at, cursor.at + 8));
  const count = readVarint(input, cursor);
  const identities: Identity[] = [];
  let ms = 0;
  let before = '';
  for (let i = 0; i < count; i++) {
    ms += readVarint(input, cursor);
    const counter = readVarint(input, cursor);
    const node = nodes[readVarint(input, cursor)];
    const rows = readVarint(input, cursor);
    if (node === undefined || counter > 0xffff || cursor.at + 16 > input.length) {
      throw new LedgerError(`identity list damaged at entry ${i} of ${count}, byte ${cursor.at}`);
    }
    const content = (input.readBigUInt64BE(cursor.at) << 64n) | input.readBigUInt64BE(cursor.at + 8);
    cursor.at += 16;
    const version = makeStamp(ms, counter) + node;
    if (version <= before)
      throw new LedgerError(`identity list not ascending at entry ${i}: ${version} after ${before}`);
    before = version;
    identities.push({ version, rows, content });
  }
  if (cursor.at !== input.length)
    throw new LedgerError(`identity list with ${input.length - cursor.at} bytes too many`);
  return identities;
}

function writeVarint(out: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    out[at++] = (rest % 0x80) + 0x80;
    rest = Math.floor(rest / 0x80);
  }
  out[at++] = rest;
  return at;
}

function readVarint(input: Buffer, cursor: { at: number }): number {
  let value = 0;
  let scale = 1;
  for (let i = 0; i < 8; i++) {
    const byte = input[cursor.at++];
    if (byte === undefined) throw new LedgerError(`identity list ends inside a number at byte ${cursor.at}`);
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 0x80;
  }
  throw new LedgerError(`identity list has a number of more than 8 bytes at ${cursor.at}`);
}
