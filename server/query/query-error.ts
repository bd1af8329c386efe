/** A statement that cannot be answered: its message becomes the statement's `error`, other statements go on. */
export class QueryError extends Error {
  readonly code = 'query-error';
  readonly status = 200;
  readonly retry = false;
}

/** The shards of one node have more rows for a request than they may hand over at once. */
export class TooManyRows extends QueryError {}
