/** What a worker thread runs: frames, memtable, blocks, checksums, aggregates. */
export { alloc, free, realloc } from './memory';
