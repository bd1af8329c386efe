/**
 * Collects this thread's young garbage at once, which V8 otherwise does when new memory is asked for: in the middle of the first
 * writes after a warm-up, which left the young generation nearly full. The old generation is left alone: what V8 has compiled
 * for objects that are gone would be thrown away with them.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** A few milliseconds. */
export function collectYoungGarbage(): void {
  // V8 looks at the flag when a context is made. It is the process's: taken back, it would be gone for a thread that is about to make one.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('globalThis.gc') as ((of: { type: 'minor' }) => void) | undefined;
  collect?.({ type: 'minor' });
}
