/**
 * Which columns of a block the calls of an aggregate want. Blocks are many and mostly alike: where the columns are is looked
 * for once, and then as long as the next block's list of fields is the same.
 */
import type { BlockColumn, BlockHead } from './block-head.ts';
import { isReducible } from './codec/kernel-aggregate.ts';
import type { AggregateCall } from './queryable.ts';

/** A column of a block and the calls (indexes) that want it. */
export interface WantedColumn {
  readonly column: BlockColumn;
  readonly calls: readonly number[];
}

interface Place {
  readonly index: number;
  readonly calls: number[];
}

export class WantedColumns {
  readonly #calls: readonly AggregateCall[];
  #fields: readonly string[] = [];
  /** In blocks with these fields; null: one that is wanted occurs twice. */
  #places: readonly Place[] | null = [];

  constructor(calls: readonly AggregateCall[]) {
    this.#calls = calls;
  }

  /** null when the kernel cannot answer one of the calls. */
  of({ columns, fields }: Pick<BlockHead, 'columns' | 'fields'>): WantedColumn[] | null {
    if (fields !== this.#fields) this.#look(fields);
    if (this.#places === null) return null;
    const wanted: WantedColumn[] = [];
    for (const { index, calls } of this.#places) {
      const column = columns[index]!;
      for (const call of calls) if (!isReducible(this.#calls[call]!, column)) return null;
      wanted.push({ column, calls });
    }
    return wanted;
  }

  #look(fields: readonly string[]): void {
    this.#fields = fields;
    const places = new Map<number, Place>();
    for (let call = 0; call < this.#calls.length; call++) {
      const { field } = this.#calls[call]!;
      const index = fields.indexOf(field);
      if (index < 0) continue;
      // A field of two types: which cells are visible depends on all of them.
      if (fields.includes(field, index + 1)) {
        this.#places = null;
        return;
      }
      const known = places.get(index);
      if (known === undefined) places.set(index, { index, calls: [call] });
      else known.calls.push(call);
    }
    this.#places = [...places.values()];
  }
}
