/**
 * What the calling thread holds, by kind, for metrics and for whoever looks for growth: figures of one thread add up to
 * those of the process, which the operating system's figure (resident memory) alone does not explain.
 */
import { getHeapStatistics } from 'node:v8';
import { kernelBytes } from '../shards/kernel/load.ts';

/** Bytes. */
export interface ThreadMemory {
  /** Of the garbage collector, free room included. */
  readonly heap: number;
  /** Of array buffers. */
  readonly buffers: number;
  /** What kernels have grown to: memtables, cached blocks, series and working memory. They never shrink. */
  readonly kernels: number;
}

export function threadMemory(): ThreadMemory {
  return {
    heap: getHeapStatistics().total_physical_size,
    buffers: process.memoryUsage().arrayBuffers,
    kernels: kernelBytes(),
  };
}
