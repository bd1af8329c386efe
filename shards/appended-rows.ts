/**
 * Aggregates of a stretch of series that has several sources in a window: runs of blocks that were not merged yet, rows
 * of the memtable. Mostly each has later rows of a series than the one before; then they are put one behind the other
 * in the kernel and reduced as one. Where they have not (late points, points written again) the caller has to merge.
 */
import type { CachedBlock } from './block-cache.ts';
import { isReducible, type KernelAggregate } from './codec/kernel-aggregate.ts';
import { type AppendedSource, KernelAppend } from './codec/kernel-append.ts';
import type { AggregateRequest } from './queryable.ts';
import type { RowSet } from './row-set.ts';
import { firstAtRank, memoryOf, type ScanSources, type Stretch } from './shard-scan.ts';

interface Source {
  readonly block: CachedBlock | null;
  readonly rows: RowSet | null;
  readonly series: Uint32Array;
  readonly starts: Uint32Array;
  readonly minTime: number;
}

/** Rows put together at a time: some 25 bytes each in the kernel's memory, which never shrinks. */
const ROWS_MAX = 1 << 16;

/**
 * The first place whose series could not be put one behind the other and was, with all behind it, not reduced; the end
 * of the stretch when all were. `left`: only those places, when it is not null. Throws StorageError `damaged-block`.
 */
export function reduceAppended(
  sources: ScanSources,
  request: AggregateRequest,
  stretch: Stretch,
  left: Uint8Array | null,
  kernel: KernelAggregate,
): number {
  try {
    return reduceSources(sources, request, stretch, left, kernel);
  } finally {
    sources.store.letGo();
  }
}

function reduceSources(
  sources: ScanSources,
  request: AggregateRequest,
  stretch: Stretch,
  left: Uint8Array | null,
  kernel: KernelAggregate,
): number {
  const { calls } = request;
  const found = sourcesOf(sources, stretch);
  const fields = new Map<string, number[]>();
  for (let call = 0; call < calls.length; call++) {
    if (!found.every((source) => isUniform(source, calls[call]!))) return stretch.first;
    const wanted = fields.get(calls[call]!.field);
    if (wanted === undefined) fields.set(calls[call]!.field, [call]);
    else if (calls[wanted[0]!]!.type !== calls[call]!.type) return stretch.first;
    else wanted.push(call);
  }
  const memory = new KernelAppend();
  const cursors = found.map(() => 0);
  // A damaged block is found by whichever is read first; all of them were checked when they were loaded.
  const entry = stretch.blocks[0]?.entry;
  try {
    let place = stretch.first;
    while (place < stretch.end) {
      const piece = append(sources, request, stretch, place, left, found, cursors);
      const reduce = (): boolean => reducePiece(request, stretch, piece, fields, memory, kernel);
      if (!(entry === undefined ? reduce() : sources.store.guard(entry, reduce))) return place;
      place = piece.next;
    }
    return place;
  } finally {
    memory.close();
  }
}

/** False when times do not ascend. Throws BlockError. */
function reducePiece(
  request: AggregateRequest,
  { minTime, maxTime }: Stretch,
  { places, starts, appended }: Piece,
  fields: ReadonlyMap<string, readonly number[]>,
  memory: KernelAppend,
  kernel: KernelAggregate,
): boolean {
  const { calls } = request;
  const count = places.length;
  const rows = starts[count]!;
  if (rows === 0) return true;
  memory.times(appended, kernel.timesRoom(rows));
  const inRuns = kernel.findRunsIn(memory.starts(starts), 0, count, rows, places, count, minTime, maxTime, false);
  if (inRuns < 0) return false;
  request.readRows(inRuns);
  if (inRuns === 0) return true;
  for (const [field, wantedBy] of fields) {
    const valued = wantedBy.some((call) => calls[call]!.fn !== 'count');
    const { type } = calls[wantedBy[0]!]!;
    const { values, present } = memory.column(appended, field, type, rows, valued);
    kernel.reduceValues(type, values, present, wantedBy);
  }
  return true;
}

/** Earliest first. */
function sourcesOf(sources: ScanSources, stretch: Stretch): Source[] {
  const blocks = sources.store.placedTogether(stretch.blocks.map(({ entry }) => entry));
  const found: Source[] = blocks.map((block) => {
    const { series, seriesStart, minTime } = block.head;
    return { block, rows: null, series, starts: seriesStart, minTime };
  });
  const rows = memoryOf(sources, stretch);
  if (rows !== null) {
    const { series, seriesStart, times } = rows;
    let minTime = Number.POSITIVE_INFINITY;
    for (let s = 0; s < series.length; s++) minTime = Math.min(minTime, times[seriesStart[s]!]!);
    found.push({ block: null, rows, series, starts: seriesStart, minTime });
  }
  return found.sort((a, b) => a.minTime - b.minTime);
}

/** The call's field has one type in the source, that of the call, or is not there. */
function isUniform({ block, rows }: Source, call: AggregateRequest['calls'][number]): boolean {
  const columns = (block !== null ? block.head.columns : rows!.columns).filter(({ field }) => field === call.field);
  return columns.length === 0 || (columns.length === 1 && isReducible(call, columns[0]!));
}

interface Piece {
  /** Of the series that some source has, and their first rows. */
  readonly places: Uint32Array;
  readonly starts: Uint32Array;
  readonly appended: readonly AppendedSource[];
  /** The place behind the last one. */
  readonly next: number;
}

/** Where the rows of the series from a place on go, up to about ROWS_MAX. `cursors`: where each source has been read to. */
function append(
  { table }: ScanSources,
  request: AggregateRequest,
  { end }: Stretch,
  first: number,
  left: Uint8Array | null,
  sources: readonly Source[],
  cursors: number[],
): Piece {
  const places: number[] = [];
  const starts: number[] = [0];
  const ranges = sources.map(() => ({ from: -1, to: 0, segments: [] as number[] }));
  let rows = 0;
  let place = first;
  for (; place < end && rows < ROWS_MAX; place++) {
    if (left !== null && left[place] === 0) continue;
    const id = request.series[place]!;
    const before = rows;
    for (let k = 0; k < sources.length; k++) {
      const { series, starts: sourceStarts } = sources[k]!;
      let cursor = cursors[k]!;
      if (series[cursor] !== id) cursor = firstAtRank(series, cursor, table.rankOf(id), table.rankOf);
      cursors[k] = cursor;
      if (series[cursor] !== id) continue;
      const range = ranges[k]!;
      if (range.from < 0) range.from = cursor;
      range.to = cursor + 1;
      const length = sourceStarts[cursor + 1]! - sourceStarts[cursor]!;
      range.segments.push(sourceStarts[cursor]! - sourceStarts[range.from]!, rows, length);
      rows += length;
    }
    if (rows === before) continue;
    places.push(place);
    starts.push(rows);
  }
  const appended = sources.flatMap(({ block, rows: held }, k): AppendedSource[] => {
    const { from, to, segments } = ranges[k]!;
    return from < 0 ? [] : [{ block, rows: held, from, to, segments: Uint32Array.from(segments) }];
  });
  return { places: Uint32Array.from(places), starts: Uint32Array.from(starts), appended, next: place };
}
