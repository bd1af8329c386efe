/**
 * Collects this thread's garbage at once, which V8 otherwise does when new memory is asked for: at best in the middle of the first
 * writes after a warm-up, for which it left a young generation that is nearly full and kernels that have grown.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Some ten milliseconds. */
export function collectGarbage(): void {
  // V8 looks at the flag when a context is made.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  setFlagsFromString('--no-expose-gc');
  collect();
}
