/** What the main thread runs: from the bytes of request bodies to frames. */
export { alloc, free, realloc } from './memory';
