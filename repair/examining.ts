/** Batches that repair has brought, held against what was here: which values won and why (shards/contests.ts). */
import { StorageError } from '../shards/errors.ts';
import type { Version } from '../shards/version.ts';
import { type Explanation, SAMPLES_MAX } from './explanation.ts';
import type { Replica } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

export interface BatchThatCame {
  readonly version: Version;
  readonly rows: number;
}

/** Damage that is only met here must not keep what has come from counting: mending finds it as well. */
export function examine(
  found: Explanation,
  replica: Replica,
  came: readonly BatchThatCame[],
  { budget, limits }: Surroundings,
): void {
  if (came.length === 0) return;
  const versions = new Set(came.map(({ version }) => version));
  const question = { versions, rowsMax: limits.contestRowsMax, samplesMax: SAMPLES_MAX };
  try {
    budget.metered(() => found.add(replica.stored.care.contests(question)));
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    found.unexamined(rowsOf(came));
  }
}

export function rowsOf(came: readonly BatchThatCame[]): number {
  return came.reduce((sum, { rows }) => sum + rows, 0);
}
