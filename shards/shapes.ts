/**
 * Shapes of frames: measurement, fields and types of a group, kept once for all frames that have the same (the kernel's
 * side is kernel/assembly/memtable/shape.ts).
 *
 * Agents send the same fields again and again, so almost no frame's names are looked at as text. The table is bounded:
 * when it is full it is emptied, and what is still in use is met again.
 */
import { COLUMN_KEY_BYTES, columnKey } from './checksum.ts';
import type { FieldType } from './column.ts';
import { COLUMN, GROUP } from './kernel/memtable-kernel.ts';
import { storageBytes, storageKernel, storageWords } from './kernel/storage-kernel.ts';

/** All shapes together: thousands of fields in hundreds of variants. */
const SHAPE_BYTES_MAX = 16 << 20;
/** What a shape costs besides its bytes in the kernel. */
const SHAPE_OVERHEAD_BYTES = 400;

export interface Shape {
  readonly measurement: string;
  /** In the order of the group's columns. */
  readonly columns: readonly { readonly field: string; readonly type: FieldType }[];
}

interface KeptShape extends Shape {
  /** In the kernel's memory; gone once the table has been emptied. */
  readonly address: number;
  readonly keys: number;
}

const shapes = new Map<number, KeptShape[]>();
let bytes = 0;

/** The shape of the group at `group` of the index of a frame at `frame`; `keys`: valid until the next call. */
export function shapeOf(frame: number, group: number): KeptShape {
  const kernel = storageKernel();
  const words = storageWords();
  const at = (group >>> 2) + GROUP.shape;
  const hash = words[at]! + (words[at + 1]! & 0x1f_ffff) * 2 ** 32;
  const known = shapes.get(hash);
  if (known !== undefined) {
    for (const shape of known) if (kernel.sameShape(shape.address, shape.address, frame, group) !== 0) return shape;
  }
  const made = makeShape(frame, group);
  const alike = shapes.get(hash);
  if (alike === undefined) shapes.set(hash, [made]);
  else alike.push(made);
  return made;
}

function makeShape(frame: number, group: number): KeptShape {
  const kernel = storageKernel();
  const words = storageWords();
  const buffer = kernelBuffer();
  const text = (at: number): string => {
    const start = frame + words[at + COLUMN.nameAt]!;
    return buffer.toString('utf8', start, start + words[at + COLUMN.nameBytes]!);
  };
  const first = group >>> 2;
  const measurement = text(first);
  const count = words[first + GROUP.columns]!;
  let used = SHAPE_OVERHEAD_BYTES + words[first + COLUMN.nameBytes]! + count * (COLUMN.words * 4 + COLUMN_KEY_BYTES);
  const columns: Shape['columns'][number][] = [];
  for (let i = 0; i < count; i++) {
    const at = first + GROUP.words + i * COLUMN.words;
    columns.push({ field: text(at), type: (words[at + COLUMN.kind]! & 0xff) as FieldType });
    used += SHAPE_OVERHEAD_BYTES + words[at + COLUMN.nameBytes]!;
  }
  if (bytes + used > SHAPE_BYTES_MAX) forgetShapes();
  bytes += used;
  const address = kernel.shapeMake(frame, group);
  const keys = kernel.shapeKeys(address);
  const memory = storageBytes();
  columns.forEach(({ field, type }, i) => {
    memory.set(columnKey(field, type), keys + i * COLUMN_KEY_BYTES);
  });
  return { address, keys, measurement, columns };
}

function forgetShapes(): void {
  const kernel = storageKernel();
  for (const alike of shapes.values()) for (const { address } of alike) kernel.free(address);
  shapes.clear();
  bytes = 0;
}

function kernelBuffer(): Buffer {
  const all = storageBytes();
  return Buffer.from(all.buffer, 0, all.byteLength);
}
