/**
 * The versions of a block, ascending: milliseconds, counters and nodes as three columns, since consecutive batches
 * come at a steady pace from a few nodes.
 * Layout: varint nodes, 8 bytes each; numbers (one span each): milliseconds, counters, node indexes.
 */
import type { Version } from '../version.ts';
import { makeStamp, makeVersion, nodeOf, stampCounter, stampMs } from '../version.ts';
import { type ByteReader, type ByteWriter, damaged } from './bytes.ts';
import { readNumbers, writeNumbers } from './kernel-codec.ts';

const NODE_BYTES = 8;
const COUNTER_MAX = 0xffff;
const MS_MAX = 2 ** 48 - 1;

export function writeVersionTable(writer: ByteWriter, versions: readonly Version[]): void {
  const nodes = new Map<string, number>();
  const ms = new Float64Array(versions.length);
  const counters = new Float64Array(versions.length);
  const nodeIndexes = new Float64Array(versions.length);
  versions.forEach((version, i) => {
    const node = nodeOf(version);
    let index = nodes.get(node);
    if (index === undefined) {
      index = nodes.size;
      nodes.set(node, index);
    }
    ms[i] = stampMs(version);
    counters[i] = stampCounter(version);
    nodeIndexes[i] = index;
  });
  const span = Uint32Array.of(0, versions.length);
  writer.varint(nodes.size);
  for (const node of nodes.keys()) writer.raw(Buffer.from(node, 'hex'));
  writeNumbers(writer, ms, span);
  writeNumbers(writer, counters, span);
  writeNumbers(writer, nodeIndexes, span);
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
