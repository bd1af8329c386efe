/**
 * The workers' kernel: one instance per thread, made at first use, shared by everything that the thread stores.
 *
 * Each area describes its own exports; this is only where they meet.
 */
import type { AggregateExports } from '../codec/kernel-aggregate.ts';
import type { CodecExports } from '../codec/kernel-codec.ts';
import { type KernelMemory, loadKernel, PAGE_BYTES } from './load.ts';
import type { MemtableKernel } from './memtable-kernel.ts';
import type { SeriesKernel } from './series-kernel.ts';

export type StorageKernel = KernelMemory & SeriesKernel & CodecExports & AggregateExports & MemtableKernel;

let instance: StorageKernel | null = null;
/** Views of all of its memory. */
let bytes: Buffer = Buffer.alloc(0);
let view: Uint8Array = new Uint8Array(0);
let words: Uint32Array = new Uint32Array(0);
let numbers: Float64Array = new Float64Array(0);

export function storageKernel(): StorageKernel {
  instance ??= loadKernel<StorageKernel>('storage');
  return instance;
}

/** All of its memory. Not to be kept across a call into the kernel: the memory may grow, and the view would not. */
export function storageBytes(): Uint8Array {
  viewAll();
  return view;
}

/** The same as a Buffer, for texts. */
export function storageBuffer(): Buffer {
  viewAll();
  return bytes;
}

/** The same as words of 4 bytes: word n is at address 4 * n. */
export function storageWords(): Uint32Array {
  viewAll();
  return words;
}

/** The same as doubles: number n is at address 8 * n. */
export function storageNumbers(): Float64Array {
  viewAll();
  return numbers;
}

function viewAll(): void {
  const kernel = storageKernel();
  if (view.length === kernel.pages() * PAGE_BYTES) return;
  const { buffer } = kernel.memory;
  bytes = Buffer.from(buffer);
  view = new Uint8Array(buffer);
  words = new Uint32Array(buffer);
  numbers = new Float64Array(buffer);
}
