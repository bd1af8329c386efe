/**
 * What deletes leave of the series of a stretch, as far as that is told without their rows: all of a series, where no
 * delete covers it or all are older than its sources; nothing, where a newer one covers all times of the sources; else its
 * rows have to be asked.
 */
import type { ScanRequest } from './queryable.ts';
import { firstAtRank, type ScanSources, type Stretch } from './shard-scan.ts';
import type { Tombstone } from './tombstone.ts';
import type { Version } from './version.ts';

export interface Piece {
  readonly stretch: Stretch;
  /** Rows have to be held against deletes. */
  readonly isMixed: boolean;
}

export interface Pieces {
  /** Which places of the request are wanted from pieces that are not mixed; null: all. */
  readonly left: Uint8Array | null;
  /** In the order of the series. */
  readonly pieces: readonly Piece[];
}

const NOTHING = 0;
const ALL = 1;
const MIXED = 2;

/** Series of a piece, on average at least: with less it is faster to look at the rows of all. */
const PIECE_SERIES_MIN = 32;

/** `left`: the places that are wanted, null: all. */
export function underDeletes(
  { table }: ScanSources,
  request: ScanRequest,
  stretch: Stretch,
  left: Uint8Array | null,
): Pieces {
  const plain = { left, pieces: [{ stretch, isMixed: false }] };
  const span = spanOf(stretch);
  if (stretch.deletes?.isOver(span.minTime, span.maxTime, span.oldest) !== true) return plain;
  const { first, end } = stretch;
  const verdicts = new Uint8Array(end - first);
  for (let i = 0; i < verdicts.length; i++)
    verdicts[i] = verdictOf(stretch.deletes.of(request.series[first + i]!), span);
  let kept = left;
  if (verdicts.includes(NOTHING)) {
    kept = left?.slice() ?? new Uint8Array(request.series.length).fill(1);
    for (let i = 0; i < verdicts.length; i++) if (verdicts[i] === NOTHING) kept[first + i] = 0;
  }
  if (!verdicts.includes(MIXED)) return { ...plain, left: kept };
  const cuts = [0];
  for (let i = 1; i < verdicts.length; i++) if ((verdicts[i] === MIXED) !== (verdicts[i - 1] === MIXED)) cuts.push(i);
  if (cuts.length > 1 && cuts.length * PIECE_SERIES_MIN > verdicts.length) cuts.splice(1);
  const pieces = cuts.map((from, n) => {
    const part = partOf(stretch, request, first + from, first + (cuts[n + 1] ?? verdicts.length), table.rankOf);
    return { stretch: part, isMixed: cuts.length === 1 || verdicts[from] === MIXED };
  });
  return { left: kept, pieces };
}

/** What the rows of a stretch have at most. */
interface Span {
  readonly minTime: number;
  readonly maxTime: number;
  readonly oldest: Version;
  readonly newest: Version;
}

function spanOf({ blocks, memory, minTime, maxTime }: Stretch): Span {
  let [least, greatest] = [maxTime, minTime];
  let oldest: Version | null = null;
  let newest: Version = '';
  for (const { entry } of blocks) {
    least = Math.min(least, entry.minTime);
    greatest = Math.max(greatest, entry.maxTime);
    if (oldest === null || entry.minVersion < oldest) oldest = entry.minVersion;
    if (entry.maxVersion > newest) newest = entry.maxVersion;
  }
  if (memory === null)
    return { minTime: Math.max(minTime, least), maxTime: Math.min(maxTime, greatest), oldest: oldest ?? '', newest };
  // Some of its rows may be of other windows.
  const [first, last] = [memory.versionTable[0]!, memory.versionTable.at(-1)!];
  return {
    minTime,
    maxTime,
    oldest: oldest === null || first < oldest ? first : oldest,
    newest: last > newest ? last : newest,
  };
}

function verdictOf(deletes: readonly Tombstone[], { minTime, maxTime, oldest, newest }: Span): number {
  let verdict = ALL;
  for (const { version, predicate } of deletes) {
    if (version <= oldest || predicate.minTime > maxTime || predicate.maxTime < minTime) continue;
    if (version > newest && predicate.minTime <= minTime && predicate.maxTime >= maxTime) return NOTHING;
    verdict = MIXED;
  }
  return verdict;
}

function partOf(
  stretch: Stretch,
  { series }: ScanRequest,
  first: number,
  end: number,
  rankOf: (id: number) => number,
): Stretch {
  const { memory } = stretch;
  const firstRank = rankOf(series[first]!);
  const lastRank = end === stretch.end ? stretch.lastRank : rankOf(series[end]!) - 1;
  const memoryCursor = memory === null ? 0 : firstAtRank(memory.series, stretch.memoryCursor, firstRank, rankOf);
  return { ...stretch, first, end, firstRank, lastRank, memoryCursor };
}
