/** A statement that cannot be answered: its message becomes the statement's `error`, other statements go on. */
export class QueryError extends Error {
  readonly code = 'query-error';
  readonly status = 200;
  readonly retry: boolean = false;
}

/** Of the load, the members that are up or the time that is given: the same statement may succeed later. */
export class PassingError extends QueryError {
  override readonly retry = true;
}

/** More rows, bytes of them or windows than the shards of one node may hand over at once, or than a statement may hold. */
export class TooManyRows extends QueryError {}
