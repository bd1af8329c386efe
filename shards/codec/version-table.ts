/**
 * The versions of a block, ascending: milliseconds, counters and nodes as three columns, since consecutive batches
 * come at a steady pace from a few nodes.
 * Layout: varint nodes, 8 bytes each; numbers (one span each): milliseconds, counters, node indexes.
 */
import type { Version } from '../version.ts';
import { makeStamp, makeVersion, nodeOf } from '../version.ts';
import { type ByteReader, type ByteWriter, damaged } from './bytes.ts';
import { readNumbers, writeNumbers } from './kernel-codec.ts';

const NODE_BYTES = 8;
const COUNTER_MAX = 0xffff;
const MS_MAX = 2 ** 48 - 1;

export function writeVersionTable(writer: ByteWriter, versions: readonly Version[]): void {
  const count = versions.length;
  const nodes: string[] = [];
  const ms = new Float64Array(count);
  const counters = new Float64Array(count);
  const nodeIndexes = new Float64Array(count);
  let index = -1;
  for (let i = 0; i < count; i++) {
    const version = versions[i]!;
    const node = nodeOf(version);
    // Mostly the one before.
    if (node !== nodes[index]) {
      index = nodes.indexOf(node);
      if (index < 0) index = nodes.push(node) - 1;
    }
    ms[i] = hexDigits(version, 0, 6) * 2 ** 24 + hexDigits(version, 6, 12);
    counters[i] = hexDigits(version, 12, 16);
    nodeIndexes[i] = index;
  }
  const span = Uint32Array.of(0, count);
  writer.varint(nodes.length);
  for (const node of nodes) writer.raw(Buffer.from(node, 'hex'));
  writeNumbers(writer, ms, span);
  writeNumbers(writer, counters, span);
  writeNumbers(writer, nodeIndexes, span);
}

/** At most seven lower-case digits: a sixth of the time of parseInt on a part of the text. */
function hexDigits(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i);
    value = (value << 4) | (code < 58 ? code - 48 : code - 87);
  }
  return value;
}

export function readVersionTable(reader: ByteReader, count: number): Version[] {
  const nodeCount = reader.count(Math.floor(reader.left / NODE_BYTES), 'nodes');
  const nodes: string[] = [];
  for (let i = 0; i < nodeCount; i++) nodes.push(Buffer.from(reader.raw(NODE_BYTES)).toString('hex'));
  const span = Uint32Array.of(0, count);
  const ms = new Float64Array(count);
  const counters = new Float64Array(count);
  const nodeIndexes = new Float64Array(count);
  readNumbers(reader, span, 0, 1, ms);
  readNumbers(reader, span, 0, 1, counters);
  readNumbers(reader, span, 0, 1, nodeIndexes);
  const versions: Version[] = [];
  for (let i = 0; i < count; i++) {
    const node = nodes[nodeIndexes[i]!];
    const valid = ms[i]! >= 0 && ms[i]! <= MS_MAX && counters[i]! >= 0 && counters[i]! <= COUNTER_MAX;
    if (node === undefined || !valid) throw damaged(`version ${i}: ${ms[i]}, ${counters[i]}, node ${nodeIndexes[i]}`);
    versions.push(makeVersion(makeStamp(ms[i]!, counters[i]!), node));
  }
  return versions;
}
