/**
 * A consistent copy of a shard, read page by page while the shard goes on.
 *
 * What changes (ledger and other tables of the companion, fields, deletes, runs) is copied into memory when the
 * snapshot is taken; series and blocks are only named then, and read when their page is asked for: chunks are never
 * changed, and compaction waits until the snapshot is closed. So page n stays the same. When mending replaces blocks the
 * snapshot is gone.
 * Pages of series and blocks have names, which a later copy of the same source gives to the same series, and to blocks of
 * the same windows: so a copy that broke off need not ask again for a page that has stayed as it is (fill-target.ts).
 * A block that fails its CRC makes its page throw `damaged-block`: damage is not copied.
 */
import type { Database } from 'better-sqlite3';
import { checkBody, decodeBlockHead } from './block.ts';
import type { BlockEntry } from './block-directory.ts';
import { BlockError } from './block-error.ts';
import type { BlockStore } from './block-store.ts';
import { StorageError } from './errors.ts';
import { type Cell, encodePage, type PageContent, type RowsPage } from './fill-page.ts';
import { OWN_TABLES, type ShardFile } from './shard-file.ts';
import { type ShardKey, type ShardKeyJson, shardKeyToJson } from './shard-key.ts';
import type { FillSource } from './storage.ts';

/** A copy of format 1 had no `dropped`. */
export const FILL_FORMAT = 2;
/** Bytes of a cell or row besides its content, for estimates. */
const CELL_BYTES = 9;
const BLOCK_COLUMNS = [
  'run',
  'window',
  'measurement',
  'first_series',
  'last_series',
  'min_time',
  'max_time',
  'min_version',
  'max_version',
  'rows',
  'head',
  'body',
];
const LIST_TABLES = `SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC, name`;
const LIST_CHUNKS = 'SELECT first, length(bytes) AS bytes FROM series_chunks ORDER BY first';
const READ_CHUNK = 'SELECT first, count, bytes FROM series_chunks WHERE first = ?';
/** Tables that are copied whole when the snapshot is taken, besides the companion's. */
const COPIED_TABLES = ['runs', 'fields', 'tombstones', 'dropped'];

export interface FillManifest {
  readonly format: number;
  readonly key: ShardKeyJson;
  readonly bytesTotal: number;
  /** Statements that make the companion's tables and indexes. */
  readonly companionSql: readonly string[];
  /** Of the pages from 1 on that can be kept. A copy that cannot be resumed has none. */
  readonly names?: readonly string[];
}

/** Pages of blocks begin anew at each group of so many windows, so that what comes into a window changes pages of its group only. */
const WINDOWS_PER_GROUP = 7;

/** What a page holds, decided when the snapshot is taken. */
type PagePlan =
  | { readonly kind: 'rows'; readonly rows: RowsPage }
  | { readonly kind: 'chunks'; readonly name: string; readonly firsts: readonly number[] }
  | { readonly kind: 'blocks'; readonly name: string; readonly entries: readonly BlockEntry[] };

export function openFillSource(
  key: ShardKey,
  file: ShardFile,
  store: BlockStore,
  pageBytes: number,
  shard: { isGone: () => boolean; closed: () => void },
): FillSource {
  const plans: PagePlan[] = [];
  let bytesTotal = 0;
  const plan = (next: PagePlan, bytes: number): void => {
    plans.push(next);
    bytesTotal += bytes;
  };
  const companionSql: string[] = [];
  file.transaction((database) => {
    planChunks(database, pageBytes, plan);
    for (const [group, blocks] of groupsOf(store.directory.all())) {
      let part = 0;
      for (const [entries, bytes] of cut(blocks, pageBytes, (entry) => entry.bytes))
        plan({ kind: 'blocks', name: `b${group}.${part++}`, entries }, bytes);
    }
    const own = new Set<string>(OWN_TABLES);
    const tables: string[] = [];
    for (const { name, sql } of database.prepare(LIST_TABLES).all() as { name: string; sql: string }[]) {
      if (COPIED_TABLES.includes(name)) tables.push(name);
      if (own.has(name)) continue;
      companionSql.push(sql);
      if (/^CREATE TABLE/i.test(sql)) tables.push(name);
    }
    for (const table of tables) planTable(database, table, pageBytes, plan);
  });
  const names = plans.flatMap((each) => (each.kind === 'rows' ? [] : [each.name]));
  const manifest: FillManifest = { format: FILL_FORMAT, key: shardKeyToJson(key), bytesTotal, companionSql, names };
  let closed = false;
  return {
    bytesTotal,
    page(index) {
      if (closed || shard.isGone())
        throw new StorageError('snapshot-gone', 'the shard was replaced while it was copied');
      if (index > plans.length + 1) return null;
      return encodePage(index, contentOf(index, manifest, plans, file, store));
    },
    close() {
      if (!closed) shard.closed();
      closed = true;
    },
  };
}

function planChunks(database: Database, pageBytes: number, plan: (next: PagePlan, bytes: number) => void): void {
  const chunks = database.prepare(LIST_CHUNKS).all() as { first: number; bytes: number }[];
  for (const [some, bytes] of cut(chunks, pageBytes, (chunk) => chunk.bytes)) {
    plan({ kind: 'chunks', name: `c${some[0]!.first}`, firsts: some.map(({ first }) => first) }, bytes);
  }
}

/** Blocks of neighbouring windows, which come in the order of their windows. */
function groupsOf(entries: Iterable<BlockEntry>): Map<number, BlockEntry[]> {
  const groups = new Map<number, BlockEntry[]>();
  for (const entry of entries) {
    const group = Math.floor(entry.window / WINDOWS_PER_GROUP);
    const blocks = groups.get(group);
    if (blocks === undefined) groups.set(group, [entry]);
    else blocks.push(entry);
  }
  return groups;
}

function planTable(
  database: Database,
  table: string,
  pageBytes: number,
  plan: (next: PagePlan, bytes: number) => void,
): void {
  const read = database
    .prepare(`SELECT * FROM "${table.replaceAll('"', '""')}"`)
    .safeIntegers(true)
    .raw(true);
  const columns = read.columns().map(({ name }) => name);
  for (const [rows, bytes] of cut(read.iterate() as IterableIterator<Cell[]>, pageBytes, rowBytes)) {
    plan({ kind: 'rows', rows: { table, columns, rows } }, bytes);
  }
}

function rowBytes(row: readonly Cell[]): number {
  let bytes = 0;
  for (const cell of row) {
    bytes += CELL_BYTES;
    if (typeof cell === 'string') bytes += cell.length;
    else if (cell instanceof Uint8Array) bytes += cell.byteLength;
  }
  return bytes;
}

/** Items gathered until they are `bytesMax` together; one item may be larger. */
function* cut<T>(items: Iterable<T>, bytesMax: number, sizeOf: (item: T) => number): Generator<[T[], number]> {
  let some: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (some.length > 0 && bytes + size > bytesMax) {
      yield [some, bytes];
      some = [];
      bytes = 0;
    }
    some.push(item);
    bytes += size;
  }
  if (some.length > 0) yield [some, bytes];
}

function contentOf(
  index: number,
  manifest: FillManifest,
  plans: readonly PagePlan[],
  file: ShardFile,
  store: BlockStore,
): PageContent {
  if (index === 0) return { kind: 'manifest', json: manifest };
  const plan = plans[index - 1];
  if (plan === undefined) return { kind: 'end', pages: plans.length + 2 };
  if (plan.kind === 'rows') return { kind: 'rows', rows: plan.rows };
  if (plan.kind === 'blocks') {
    const rows = plan.entries.map((entry) => blockCells(entry, store));
    return { kind: 'rows', rows: { table: 'blocks', columns: BLOCK_COLUMNS, rows } };
  }
  const read = file.statement(READ_CHUNK);
  const rows = plan.firsts.map((first) => read.safeIntegers(true).raw(true).get(first) as Cell[]);
  return { kind: 'rows', rows: { table: 'series_chunks', columns: ['first', 'count', 'bytes'], rows } };
}

function blockCells(entry: BlockEntry, store: BlockStore): Cell[] {
  const { head, body } = store.bytesOf(entry);
  try {
    checkBody(decodeBlockHead(head), body);
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw new StorageError('damaged-block', `block ${entry.id} cannot be copied: ${error.message}`, { cause: error });
  }
  const integers = [entry.run, entry.window, entry.first, entry.last, entry.minTime, entry.maxTime].map(BigInt);
  return [
    integers[0]!,
    integers[1]!,
    entry.measurement,
    integers[2]!,
    integers[3]!,
    integers[4]!,
    integers[5]!,
    Buffer.from(entry.minVersion, 'hex'),
    Buffer.from(entry.maxVersion, 'hex'),
    BigInt(entry.rows),
    head,
    body,
  ];
}
