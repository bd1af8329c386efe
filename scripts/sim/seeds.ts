/** Many seeds, one at a time in each of several processes. */
import { fork } from 'node:child_process';
import type { SimOptions, SimResult } from '../../test/sim/cluster.ts';

export interface Totals {
  seeds: number;
  acknowledged: number;
  proofs: number;
  filled: number;
  scans: number;
  levelled: number;
  /** Bytes; test/sim/fetch-traffic.ts. */
  fetched: number;
  missing: number;
  /** test/sim/mail-traffic.ts. */
  mailed: number;
  mailedTwice: number;
  /** Copies that were destroyed on purpose, and acknowledged writes of which all were; test/sim/copies.ts. */
  destroyed: number;
  lost: number;
  /** Greatest part of the bound that a shard took. */
  slowest: number;
  readonly failed: { readonly seed: number; readonly result: SimResult }[];
}

const SUMMED = [
  'acknowledged',
  'proofs',
  'filled',
  'scans',
  'levelled',
  'fetched',
  'missing',
  'mailed',
  'mailedTwice',
  'destroyed',
  'lost',
] as const;

const CHILD = new URL('./child.js', import.meta.url);

/** `next` gives seeds until it says null. */
export async function runSeeds(
  options: Omit<SimOptions, 'seed' | 'trace'>,
  processes: number,
  next: () => number | null,
  failed: (seed: number, failure: string) => void,
): Promise<Totals> {
  const totals: Totals = {
    seeds: 0,
    acknowledged: 0,
    proofs: 0,
    filled: 0,
    scans: 0,
    levelled: 0,
    fetched: 0,
    missing: 0,
    mailed: 0,
    mailedTwice: 0,
    destroyed: 0,
    lost: 0,
    slowest: 0,
    failed: [],
  };
  const note = (seed: number, result: SimResult) => {
    totals.seeds++;
    for (const name of SUMMED) totals[name] += result[name];
    totals.slowest = Math.max(totals.slowest, result.convergedMs / Math.max(1, result.boundMs));
    if (result.failure === null) return;
    totals.failed.push({ seed, result });
    failed(seed, result.failure);
  };
  await Promise.all(Array.from({ length: processes }, () => runInChild(options, next, note)));
  totals.failed.sort((a, b) => a.seed - b.seed);
  return totals;
}

function runInChild(
  options: Omit<SimOptions, 'seed' | 'trace'>,
  next: () => number | null,
  note: (seed: number, result: SimResult) => void,
): Promise<void> {
  // Sets go with it.
  const child = fork(CHILD, { serialization: 'advanced' });
  let seed: number | null = null;
  const go = () => {
    seed = next();
    if (seed === null) child.disconnect();
    else child.send({ ...options, seed });
  };
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('message', (result: SimResult) => {
      note(seed!, result);
      go();
    });
    child.on('exit', (code, signal) => {
      if (seed === null) resolve();
      else reject(new Error(`the process of seed ${seed} ended with ${code ?? signal}`));
    });
    go();
  });
}
