/**
 * Identity lists as bytes: on disk (one blob per epoch) and in `identities` answers.
 *
 * Layout: u8 format (1) · varint nodes · nodes x 8 bytes · varint entries · per entry, ascending by version:
 * varint ms since the entry before · varint counter · varint index of the node · varint rows · 16 bytes content sum.
 * The first entry's ms counts from 1970. 22 to 24 bytes an entry, 16 of them the content sum, which does not compress.
 */
import type { Sum128 } from '../shards/checksum.ts';
import { makeStamp, VERSION_BYTES, type Version } from '../shards/version.ts';

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
const NODE_BYTES = 8;

/** Tens of thousands in the last step of a flush: versions become bytes all at once. */
export function encodeIdentities(identities: readonly Identity[]): Uint8Array {
  const versions = Buffer.from(identities.map(({ version }) => version).join(''), 'hex');
  const words = new DataView(versions.buffer, versions.byteOffset, versions.byteLength);
  const { nodes, nodeOf } = nodesOf(versions, words);
  const out = Buffer.allocUnsafe(1 + 5 + nodes.length * NODE_BYTES + 5 + identities.length * 40);
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  let at = 0;
  out[at++] = FORMAT;
  at = writeVarint(out, at, nodes.length);
  for (const node of nodes) at += versions.copy(out, at, node, node + NODE_BYTES);
  at = writeVarint(out, at, identities.length);
  let last = 0;
  for (let i = 0; i < identities.length; i++) {
    const { rows, content } = identities[i]!;
    const stamp = i * VERSION_BYTES;
    const ms = words.getUint32(stamp) * 0x1_0000 + words.getUint16(stamp + 4);
    at = writeVarint(out, at, ms - last);
    last = ms;
    at = writeVarint(out, at, words.getUint16(stamp + 6));
    at = writeVarint(out, at, nodeOf[i]!);
    at = writeVarint(out, at, rows);
    view.setBigUint64(at, content >> 64n);
    view.setBigUint64(at + 8, content); // its low 64 bits
    at += 16;
  }
  return out.subarray(0, at);
}

/** Where each node stands first, in that order, and for each version which of them it names. */
function nodesOf(versions: Buffer, words: DataView): { nodes: number[]; nodeOf: Uint32Array } {
  const nodes: number[] = [];
  const nodeOf = new Uint32Array(versions.length / VERSION_BYTES);
  const known = new Map<string, number>();
  let [high, low, last] = [0, 0, -1];
  for (let i = 0; i < nodeOf.length; i++) {
    const at = i * VERSION_BYTES + NODE_BYTES;
    if (last < 0 || words.getUint32(at) !== high || words.getUint32(at + 4) !== low) {
      [high, low] = [words.getUint32(at), words.getUint32(at + 4)];
      const name = versions.toString('latin1', at, at + NODE_BYTES);
      last = known.get(name) ?? nodes.push(at) - 1;
      known.set(name, last);
    }
    nodeOf[i] = last;
  }
  return { nodes, nodeOf };
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
