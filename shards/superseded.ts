/**
 * Deletes that a later one covers: each row that the older one hides is hidden by the later one as well, and each that
 * comes with a version between the two. So nobody misses the older one, as soon as the later one is wherever it is: when
 * both are at or below the floor (protocol rule 25).
 *
 * Covers: it is of a greater version; its times reach as far on both sides; its measurement and its condition are the
 * same, or it has none.
 */
import type { DeletePredicate } from './batch.ts';
import type { KeptTombstone } from './shard-tombstones.ts';
import { isThrough, type Stamp } from './version.ts';

/** Later deletes that are held against all others in one go; the rest the next time. */
const LATER_MAX = 100;

export interface Superseded {
  readonly deletes: readonly KeptTombstone[];
  /** Later ones that have been held against all others: at or below. */
  readonly lookedThrough: Stamp;
}

/** `lookedThrough`: as it was told the last time. */
export function supersededDeletes(all: Iterable<KeptTombstone>, through: Stamp, lookedThrough: Stamp): Superseded {
  const settled = [...all].filter(({ version }) => isThrough(version, through));
  settled.sort((a, b) => (a.version < b.version ? -1 : 1));
  const from = settled.findIndex(({ version }) => !isThrough(version, lookedThrough));
  if (from < 0) return { deletes: [], lookedThrough: through };
  const to = Math.min(settled.length, from + LATER_MAX);
  const gone = new Set<KeptTombstone>();
  for (let later = to - 1; later >= from; later--) {
    if (gone.has(settled[later]!)) continue;
    for (let older = 0; older < later; older++)
      if (covers(settled[later]!.predicate, settled[older]!.predicate)) gone.add(settled[older]!);
  }
  const last = settled[to - 1]!.version.slice(0, 16);
  return { deletes: [...gone], lookedThrough: to === settled.length ? through : last };
}

/** Whatever the older predicate matches. */
function covers(later: DeletePredicate, older: DeletePredicate): boolean {
  if (later.minTime > older.minTime || later.maxTime < older.maxTime) return false;
  if ((later.times === undefined) !== (older.times === undefined)) return false;
  if (later.times !== undefined && older.times !== undefined) {
    if (later.times.minNs > older.times.minNs || later.times.maxNs < older.times.maxNs) return false;
  }
  return isSameOrAll(later.measurement, older.measurement) && isSameOrAll(later.condition, older.condition);
}

function isSameOrAll(later: object | null, older: object | null): boolean {
  return later === null || (older !== null && JSON.stringify(later) === JSON.stringify(older));
}
