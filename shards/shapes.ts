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
import { storageBuffer, storageBytes, storageKernel, storageWords } from './kernel/storage-kernel.ts';

/** All shapes together: thousands of fields in hundreds of variants. */
const SHAPE_BYTES_MAX = 16 << 20;
/** What a shape costs besides its bytes in the kernel. */
const SHAPE_OVERHEAD_BYTES = 400;

export interface Shape {
  readonly measurement: string;
  /** In the order of the group's columns. */
  readonly columns: readonly { readonly field: string; readonly type: FieldType }[];
}

/** By the number that the kernel gives them. */
const shapes = new Map<number, Shape>();
let bytes = 0;

/** The shape of the group at `group` of the index of a frame at `frame`, and its number, which no other shape ever has. */
export function shapeOf(frame: number, group: number): { readonly shape: Shape; readonly number: number } {
  const kernel = storageKernel();
  const known = kernel.shapeFind(frame, group);
  if (known !== 0) return { shape: shapes.get(known)!, number: known };
  const shape = makeShape(frame, group);
  const number = kernel.shapeFind(frame, group);
  shapes.set(number, shape);
  return { shape, number };
}

function makeShape(frame: number, group: number): Shape {
  const kernel = storageKernel();
  const words = storageWords();
  const buffer = storageBuffer();
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
  const keys = kernel.shapeKeys(kernel.shapeAdd(frame, group));
  const memory = storageBytes();
  columns.forEach(({ field, type }, i) => {
    memory.set(columnKey(field, type), keys + i * COLUMN_KEY_BYTES);
  });
  return { measurement, columns };
}

function forgetShapes(): void {
  storageKernel().shapesForget();
  shapes.clear();
  bytes = 0;
}
