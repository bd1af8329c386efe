/**
 * The bounds of one query statement. Going over one is the statement's error, never the process's end.
 */
export interface QueryLimits {
  /** Wall time of a statement. */
  readonly queryMsMax: number;
  /** Rows read from each shard (before field conditions). */
  readonly rowsScannedMax: number;
  /** Rows that the shards of one worker hand to the coordinator, all that of one node do, and that the coordinator holds for one statement. */
  readonly rowsMax: number;
  /** Matching series of one shard. */
  readonly seriesMax: number;
  /** Windows per series, as InfluxDB's max-select-buckets. */
  readonly bucketsMax: number;
  /** Groups x windows x calls held at once for one statement, in each worker (added up over its shards) and here. */
  readonly cellsMax: number;
  /** Rows that the shards of one node hand over at once for an answer that leaves while it is read, and bytes of them. */
  readonly streamedRowsMax: number;
  readonly streamedBytesMax: number;
  /** What texts and integers of rows, states and lists take (shards/query/held-bytes.ts), likewise. */
  readonly bytesMax: number;
  /** Rows answered per statement, unless they leave while it is read. */
  readonly responseRowsMax: number;
  /** Of the text of a request. */
  readonly charactersMax: number;
  /** Statements in one request. */
  readonly statementsMax: number;
  /** Subqueries inside subqueries. */
  readonly nestingMax: number;
}

export const DEFAULT_QUERY_LIMITS: QueryLimits = {
  queryMsMax: 60_000,
  rowsScannedMax: 200_000_000,
  rowsMax: 5_000_000,
  bytesMax: 256 << 20,
  seriesMax: 2_000_000,
  bucketsMax: 1_000_000,
  cellsMax: 20_000_000,
  streamedRowsMax: 1_000_000,
  streamedBytesMax: 32 << 20,
  responseRowsMax: 5_000_000,
  charactersMax: 1 << 20,
  statementsMax: 1_000,
  nestingMax: 16,
};
