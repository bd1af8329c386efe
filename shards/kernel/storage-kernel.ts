/**
 * The workers' kernel: one instance per thread, made at first use, shared by everything that the thread stores.
 *
 * Each area describes its own exports; this is only where they meet.
 */
import type { AggregateExports } from '../codec/kernel-aggregate.ts';
import type { CodecExports } from '../codec/kernel-codec.ts';
import { type KernelMemory, loadKernel } from './load.ts';
import type { MemtableKernel } from './memtable-kernel.ts';
import type { SeriesKernel } from './series-kernel.ts';

export type StorageKernel = KernelMemory & SeriesKernel & CodecExports & AggregateExports & MemtableKernel;

let instance: StorageKernel | null = null;
let view = new Uint8Array(0);
let words = new Uint32Array(0);
let numbers = new Float64Array(0);

export function storageKernel(): StorageKernel {
  instance ??= loadKernel<StorageKernel>('storage');
  return instance;
}

/** All of its memory. Not to be kept across a call into the kernel: the memory may grow, which detaches the view. */
export function storageBytes(): Uint8Array {
  if (view.length === 0) view = new Uint8Array(storageKernel().memory.buffer);
  return view;
}

/** The same as words of 4 bytes: word n is at address 4 * n. */
export function storageWords(): Uint32Array {
  if (words.length === 0) words = new Uint32Array(storageKernel().memory.buffer);
  return words;
}

/** The same as doubles: number n is at address 8 * n. */
export function storageNumbers(): Float64Array {
  if (numbers.length === 0) numbers = new Float64Array(storageKernel().memory.buffer);
  return numbers;
}
