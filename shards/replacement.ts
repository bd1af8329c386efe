/**
 * Replaces damaged groups of one window and measurement by another owner's settled rows, and takes out rows of batches
 * that are about to be put back whole (care.ts).
 *
 * Like a merge it writes a new run that counts with one last transaction, in which the blocks that it replaces go. Blocks
 * without a row that has to go are left alone, and so are rows above the floor. Blocks that cannot be read go when every
 * group that they hold rows of is replaced.
 */
import type { BlockEntry } from './block-directory.ts';
import type { RunWriter } from './block-store.ts';
import { replaceBlocks } from './block-store.ts';
import type { Replacement, ReplacementRequest } from './care.ts';
import { StorageError } from './errors.ts';
import { addSeries, unknownSeries } from './frame-series.ts';
import { holdFrame } from './held-frame.ts';
import { Memtable } from './memtable.ts';
import { mergeRowSets } from './row-merge.ts';
import type { RowSet } from './row-set.ts';
import { settledVersion } from './row-settle.ts';
import { BlockCutter } from './row-split.ts';
import { SeriesKeys } from './series-keys.ts';
import { groupOf, groupsOfBlock, pickRows } from './settled-content.ts';
import type { ShardId } from './shard-key.ts';
import type { ScanSources } from './shard-scan.ts';
import { writeSizes } from './shard-state.ts';
import type { StorageLimits } from './storage-limits.ts';
import { isThrough } from './version.ts';

const EVERYTHING = { series: null, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER } as const;

export interface ReplacementParts {
  /** Flushed so that series which came with the copy are in the file. */
  readonly shard: { readonly id: ShardId; flush(): void };
  readonly sources: ScanSources;
  readonly limits: StorageLimits;
  /** `isReplaced`: the rows have changed. */
  readonly ended: (window: number, isReplaced: boolean) => void;
}

export class GroupReplacement implements Replacement {
  readonly #parts: ReplacementParts;
  readonly #request: ReplacementRequest;
  readonly #groups: ReadonlySet<number>;
  readonly #received: RowSet[] = [];
  #writer: RunWriter | null = null;
  #steps: Generator<void, void> | null = null;
  #ended = false;

  constructor(parts: ReplacementParts, request: ReplacementRequest) {
    this.#parts = parts;
    this.#request = request;
    this.#groups = new Set(request.groups);
  }

  accept(page: Uint8Array, keyBytes: Uint8Array): void {
    const { shard, sources } = this.#parts;
    const { through, measurement } = this.#request;
    const keys = SeriesKeys.read(keyBytes);
    const held = holdFrame(page);
    let memtable: Memtable | null = null;
    try {
      if (held.id !== shard.id || held.kind !== 'write') throw refused(`it is of shard ${held.id}`);
      if (held.version !== settledVersion(through)) throw refused(`its floor is ${held.version}`);
      if (unknownSeries(sources.table, held, [keys]).length > 0) throw refused('keys of series are missing');
      addSeries(sources.table, held, keys);
      memtable = new Memtable(sources.table);
      memtable.apply(held);
      for (const name of memtable.measurements()) if (name !== measurement) throw refused(`it has rows of ${name}`);
      const rows = memtable.sorted(measurement);
      if (rows === null) return;
      this.#check(rows);
      this.#received.push(rows);
    } finally {
      memtable?.release();
      held.release();
    }
  }

  #check({ series, times }: RowSet): void {
    const { sources } = this.#parts;
    const { window } = this.#request;
    for (const id of series) if (!this.#groups.has(groupOf(sources, id))) throw refused('it has rows of another group');
    for (const time of times) {
      if (Math.floor(time / sources.windowNs) !== window) throw refused('it has rows of another window');
    }
  }

  step(): boolean {
    this.#steps ??= this.#replace();
    if (this.#steps.next().done !== true) return true;
    this.#end(true);
    return false;
  }

  abandon(): void {
    if (this.#ended) return;
    this.#writer?.abandon();
    this.#end(false);
  }

  #end(isReplaced: boolean): void {
    if (!this.#ended) this.#parts.ended(this.#request.window, isReplaced);
    this.#ended = true;
  }

  *#replace(): Generator<void, void> {
    const { sources, limits, shard } = this.#parts;
    const { store } = sources;
    const { window, measurement } = this.#request;
    if (sources.table.count > sources.table.persisted) shard.flush();
    const writer = store.begin(sources.windowNs, limits.transactionBytesMax);
    this.#writer = writer;
    const cutter = new BlockCutter(limits);
    const replaced: BlockEntry[] = [];
    const added = { rows: 0, blocks: 0 };
    const write = function* (rows: RowSet): Generator<void, void> {
      if (rows.times.length === 0) return;
      for (const part of cutter.cut(rows)) {
        cutter.learn(part.times.length, writer.add(measurement, part));
        added.rows += part.times.length;
        added.blocks++;
        yield;
      }
    };
    for (const entry of [...store.directory.of(window, measurement)]) {
      const left = this.#leftOf(entry);
      if (left === 'all') continue;
      replaced.push(entry);
      if (left !== 'nothing') yield* write(left);
    }
    yield* write(mergeRowSets(this.#received, sources.table.compare));
    const { table } = sources;
    replaceBlocks(store, writer, replaced, added, (database, sizes) =>
      writeSizes(database, { ...sizes, series: table.persisted }),
    );
    for (const { id } of replaced) store.damaged.delete(id);
  }

  #leftOf(entry: BlockEntry): RowSet | 'all' | 'nothing' {
    const { sources } = this.#parts;
    const { store } = sources;
    const { through, purged, lost } = this.#request;
    const held = groupsOfBlock(sources, entry);
    const isTouched = isThrough(entry.minVersion, through) && held.some((group) => this.#groups.has(group));
    try {
      const isPurged = purged.size > 0 && store.head(entry).versionTable.some((version) => purged.has(version));
      if (!isTouched && !isPurged && !store.damaged.has(entry.id)) return 'all';
      const rows = store.rows(entry, EVERYTHING);
      const { versions, versionTable } = rows;
      const isGone = versionTable.map((version) => (purged.has(version) ? 2 : isThrough(version, through) ? 1 : 0));
      const groups = inGroups(rows, (id) => this.#groups.has(groupOf(sources, id)));
      const left = pickRows(rows, (row) => {
        const gone = isGone[versions[row]!]!;
        return gone === 0 || (gone === 1 && groups[row] === 0);
      });
      if (left === rows) return 'all';
      return left.times.length === 0 ? 'nothing' : left;
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'damaged-block') throw error;
      return lost || held.every((group) => this.#groups.has(group)) ? 'nothing' : 'all';
    }
  }
}

/** Per row: 1 when its series counts. */
function inGroups(rows: RowSet, counts: (series: number) => boolean): Uint8Array {
  const marks = new Uint8Array(rows.times.length);
  rows.series.forEach((id, s) => {
    if (counts(id)) marks.fill(1, rows.seriesStart[s]!, rows.seriesStart[s + 1]!);
  });
  return marks;
}

function refused(reason: string): StorageError {
  return new StorageError('damaged-page', `a copy of settled rows is refused: ${reason}`);
}
