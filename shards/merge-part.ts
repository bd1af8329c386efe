/**
 * What a merge takes next: whole series in order of hash until they have enough rows, or blocks with enough text, or some of the
 * time of one series that has too many alone.
 *
 * Of a series that is too long a run has blocks of that series only, one after the other in time (row-split.ts): it is cut where
 * one of them ends, so that few blocks are read twice.
 */
import type { BlockWant } from './block.ts';
import type { BlockEntry } from './block-directory.ts';

const WHOLE = Number.MAX_SAFE_INTEGER;

/** The last series that is merged, and its time up to which it is. */
export interface MergedThrough {
  readonly series: number;
  readonly time: number;
}

export interface MergePart {
  readonly reads: readonly { readonly entry: BlockEntry; readonly want: BlockWant }[];
  readonly through: MergedThrough;
  /** Of a series that is cut by time. */
  readonly isSlice: boolean;
}

export interface PartQuestion {
  /** Ids of the measurement in order of hash: a view that may be gone after anything else is asked. */
  readonly sorted: () => Uint32Array;
  readonly rankOf: (series: number) => number;
  /** How many rows a part has about, by a block of it. */
  readonly rowsMax: (entry: BlockEntry) => number;
  /** Which share of the texts of a part the block has. */
  readonly textShare: (entry: BlockEntry) => number;
}

/** `entries`: all blocks of the measurement that are merged; null: nothing is left of them behind `after`. */
export function nextPart(
  entries: readonly BlockEntry[],
  question: PartQuestion,
  after: MergedThrough | null,
): MergePart | null {
  const { rankOf } = question;
  if (after !== null && after.time < WHOLE) {
    const slice = nextSlice(entries, question, after.series, after.time + 1);
    if (slice !== null) return slice;
  }
  const from = after === null ? 0 : rankOf(after.series) + 1;
  const open = entries.filter(({ last }) => rankOf(last) >= from).sort((a, b) => rankOf(a.last) - rankOf(b.last));
  if (open.length === 0) return null;
  const rowsMax = question.rowsMax(open[0]!);
  const last = cutAt(open, rowsMax, question).last;
  const to = rankOf(last);
  const own = open.filter((entry) => isOf(entry, last));
  const isTooLong = rowsOf(own) > rowsMax || (own.length > 1 && cutAt(own, rowsMax, question) !== own.at(-1));
  if (!isTooLong) return seriesPart(open, question, from, to);
  // Too long: what is before it comes first.
  const isAhead = from < to && open.some(({ first }) => rankOf(first) < to);
  return isAhead ? seriesPart(open, question, from, to - 1) : nextSlice(open, question, last, 0);
}

function seriesPart(open: readonly BlockEntry[], question: PartQuestion, from: number, to: number): MergePart {
  const { rankOf } = question;
  const series = question.sorted().slice(from, to + 1);
  const wanted = new Set(series);
  const reads = open
    .filter(({ first }) => rankOf(first) <= to)
    .map((entry) => {
      const whole = rankOf(entry.first) >= from && rankOf(entry.last) <= to;
      return { entry, want: { series: whole ? null : wanted, fields: null, minTime: 0, maxTime: WHOLE } };
    });
  return { reads, through: { series: series.at(-1)!, time: WHOLE }, isSlice: false };
}

/** Null: nothing is left of the series from minTime on. */
function nextSlice(
  entries: readonly BlockEntry[],
  question: PartQuestion,
  series: number,
  minTime: number,
): MergePart | null {
  const { rankOf, rowsMax } = question;
  const rank = rankOf(series);
  const open = entries
    .filter((entry) => rankOf(entry.first) <= rank && rankOf(entry.last) >= rank && entry.maxTime >= minTime)
    .sort((a, b) => a.maxTime - b.maxTime);
  if (open.length === 0) return null;
  const own = open.filter((entry) => isOf(entry, series));
  // Slices of about one size: the last one is not what is left over.
  const left = rowsOf(own);
  const cut = own.length === 0 ? undefined : cutAt(own, left / Math.ceil(left / rowsMax(own[0]!)), question);
  const end = cut === own.at(-1) ? WHOLE : cut!.maxTime;
  const wanted = new Set([series]);
  const reads = open
    .filter((entry) => entry.minTime <= end)
    .map((entry) => {
      const only = isOf(entry, series) ? null : wanted;
      return { entry, want: { series: only, fields: null, minTime, maxTime: end } };
    });
  return { reads, through: { series, time: end }, isSlice: true };
}

function isOf({ first, last }: BlockEntry, series: number): boolean {
  return first === series && last === series;
}

function rowsOf(entries: readonly BlockEntry[]): number {
  return entries.reduce((sum, { rows }) => sum + rows, 0);
}

/** The block at which rows or texts are enough for a part. */
function cutAt(entries: readonly BlockEntry[], rowsMax: number, { textShare }: PartQuestion): BlockEntry {
  let rows = 0;
  let text = 0;
  for (const entry of entries) {
    rows += entry.rows;
    text += textShare(entry);
    if (rows >= rowsMax || text >= 1) return entry;
  }
  return entries.at(-1)!;
}
