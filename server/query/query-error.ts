/** A statement that cannot be answered: its message becomes the statement's `error`, other statements go on. */
export class QueryError extends Error {
  readonly code = 'query-error';
  readonly status = 200;
  readonly retry = false;
}

/** More rows, bytes of them or windows than the shards of one node may hand over at once, or than a statement may hold. */
export class TooManyRows extends QueryError {}
