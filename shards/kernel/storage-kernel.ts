/**
 * The workers' kernel: one instance per thread, made at first use, shared by everything that the thread stores.
 *
 * Each area describes its own exports; this is only where they meet.
 */
import { type KernelMemory, loadKernel } from './load.ts';

export type StorageKernel = KernelMemory;

let instance: StorageKernel | null = null;

export function storageKernel(): StorageKernel {
  instance ??= loadKernel<StorageKernel>('storage');
  return instance;
}
