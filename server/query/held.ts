/**
 * What a statement holds of rows and their values at one place: each worker keeps to the limits by itself, and those that gather
 * its answers do for all of them together.
 */
import { tooManyBytes } from '../../shards/query/held-bytes.ts';
import type { PartialLimits, PartialResult, Refused } from '../../shards/query/partial.ts';
import { TooManyRows } from './query-error.ts';
import type { SubqueryRows } from './row-table.ts';

/** An answer of a shard, as it travels or not. */
interface Holding {
  readonly rows: { readonly times: { readonly length: number } } | null;
  readonly bytes?: number;
}

export class Held {
  readonly #limits: Pick<PartialLimits, 'rowsMax' | 'bytesMax'>;
  rows = 0;
  bytes = 0;

  constructor(limits: Pick<PartialLimits, 'rowsMax' | 'bytesMax'>) {
    this.#limits = limits;
  }

  /** How many rows came with them. */
  add(shards: readonly Holding[]): number {
    const before = this.rows;
    for (const { rows, bytes } of shards) {
      this.rows += rows?.times.length ?? 0;
      this.bytes += bytes ?? 0;
    }
    return this.rows - before;
  }

  addSubqueries(parts: readonly SubqueryRows[]): void {
    for (const { times, bytes } of parts) {
      this.rows += times.length;
      this.bytes += bytes;
    }
  }

  addResults(results: readonly PartialResult[]): void {
    for (const result of results) if (result.kind === 'select') this.add(result.shards);
  }

  /** What is said when it is more than it may be. */
  get refusal(): Refused | null {
    const { rowsMax, bytesMax = Number.POSITIVE_INFINITY } = this.#limits;
    if (this.rows <= rowsMax && this.bytes <= bytesMax) return null;
    const message =
      this.rows > rowsMax
        ? `query holds more than ${rowsMax} rows; narrow the time range or use LIMIT`
        : tooManyBytes(bytesMax);
    return { kind: 'refused', message, isTooManyRows: true };
  }

  /** Throws TooManyRows. */
  require(): void {
    const refusal = this.refusal;
    if (refusal !== null) throw new TooManyRows(refusal.message);
  }
}
