/**
 * Finds a smaller run that fails in the same way: an earlier end, without whole kinds of trouble, then without one fault
 * after the other, without writes, with fewer members. Every attempt is a run of its own; their number is bounded.
 */
import type { SimOptions, SimResult } from './cluster.ts';
import { KINDS_OF_TROUBLE, NOTHING_LEFT_OUT, type Reduction } from './reduction.ts';

const ATTEMPTS_MAX = 300;

export interface Shrunk {
  readonly reduction: Reduction;
  readonly failure: string;
  readonly attempts: number;
}

/** A failure without what differs from run to run: times, versions, names. */
export function kindOfFailure(failure: string): string {
  return failure
    .split('\n')[0]!
    .replace(/^at \d+ ms: /, '')
    .replace(/\b[0-9a-f]{16,}(-\w+)*/g, '#')
    .replace(/\bn?\d+\b/g, '#');
}

export function shrink(
  options: SimOptions,
  failed: Pick<SimResult, 'failure' | 'faults' | 'writes' | 'writesMs'>,
  run: (options: SimOptions) => Pick<SimResult, 'failure'>,
  attemptsMax = ATTEMPTS_MAX,
): Shrunk {
  const kind = kindOfFailure(failed.failure!);
  let best: Reduction = options.reduction ?? NOTHING_LEFT_OUT;
  let { failure } = failed;
  let attempts = 0;
  const attempt = (reduction: Reduction): boolean => {
    if (attempts >= attemptsMax) return false;
    attempts++;
    const result = run({ ...options, reduction, trace: undefined });
    if (result.failure === null || kindOfFailure(result.failure) !== kind) return false;
    best = reduction;
    failure = result.failure;
    return true;
  };

  let high = best.untilMs ?? failed.writesMs;
  for (let low = 0; high - low > 100; ) {
    const middle = Math.floor((low + high) / 2);
    if (attempt({ ...best, untilMs: middle })) high = middle;
    else low = middle;
  }
  for (const each of KINDS_OF_TROUBLE) attempt({ ...best, calm: new Set([...best.calm, each]) });
  const shed = (name: 'withoutFaults' | 'withoutWrites', count: number) => {
    for (let size = Math.max(1, count >> 1); size >= 1; size >>= 1) {
      const left = Array.from({ length: count }, (_, n) => n).filter((n) => !best[name].has(n));
      for (let from = 0; from < left.length && attempts < attemptsMax; from += size)
        attempt({ ...best, [name]: new Set([...best[name], ...left.slice(from, from + size)]) });
    }
  };
  shed('withoutFaults', failed.faults);
  shed('withoutWrites', failed.writes);
  attempt({ ...best, nodes: 3 });
  return { reduction: best, failure: failure!, attempts };
}
