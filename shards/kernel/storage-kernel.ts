/**
 * The workers' kernel: one instance per thread, made at first use, shared by everything that the thread stores.
 *
 * Each area describes its own exports; this is only where they meet.
 */
import type { CodecExports } from '../codec/kernel-codec.ts';
import { type KernelMemory, loadKernel } from './load.ts';
import type { SeriesKernel } from './series-kernel.ts';

export type StorageKernel = KernelMemory & SeriesKernel & CodecExports;

let instance: StorageKernel | null = null;
let view = new Uint8Array(0);

export function storageKernel(): StorageKernel {
  instance ??= loadKernel<StorageKernel>('storage');
  return instance;
}

/** All of its memory. Not to be kept across a call into the kernel: the memory may grow, which detaches the view. */
export function storageBytes(): Uint8Array {
  if (view.length === 0) view = new Uint8Array(storageKernel().memory.buffer);
  return view;
}
