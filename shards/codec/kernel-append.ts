/**
 * Several sources of the same series (blocks of different runs, rows of the memtable) put one behind the other in the
 * kernel's memory, to be reduced as if they were one: for rows that came in the order of their times.
 */
import type { CachedBlock } from '../block-cache.ts';
import { BOOLEAN, type Column, type FieldType, STRING } from '../column.ts';
import { storageKernel } from '../kernel/storage-kernel.ts';
import type { RowSet } from '../row-set.ts';
import { checkDecoded, KernelBuffer } from './kernel-codec.ts';

/** Series from .. to - 1 of a block or of rows, and where their rows go (kernel/assembly/aggregate/append.ts). */
export interface AppendedSource {
  readonly block: CachedBlock | null;
  readonly rows: RowSet | null;
  readonly from: number;
  readonly to: number;
  readonly segments: Uint32Array;
}

export class KernelAppend {
  readonly #kernel = storageKernel();
  readonly #starts = new KernelBuffer();
  readonly #segments = new KernelBuffer();
  readonly #part = new KernelBuffer();
  readonly #partPresent = new KernelBuffer();
  readonly #values = new KernelBuffer();
  readonly #present = new KernelBuffer();

  /** Address of the first rows of the series. */
  starts(starts: Uint32Array): number {
    return this.#starts.put(this.#kernel, starts);
  }

  /** Times of all sources, from `into` on. Throws BlockError. */
  times(sources: readonly AppendedSource[], into: number): void {
    const kernel = this.#kernel;
    for (const source of sources) {
      const { block, from, to, segments } = source;
      if (block !== null) {
        const { timesOffset, timesLength, series } = block.head;
        const part = this.#part.reserve(kernel, rowsOf(source) * 8);
        const end = timesOffset + timesLength;
        checkDecoded(kernel.decodePatterns(block.body, timesOffset, end, block.starts, series.length, from, to, part));
      } else this.#part.put(kernel, partOf(source, source.rows!.times));
      kernel.copySegments(this.#part.address, into, 8, this.#segments.put(kernel, segments), segments.length / 3);
    }
  }

  /**
   * Values of a field of one type in `rows` rows of all sources; a source may lack it. `valued`: not only which rows have
   * one. Throws BlockError.
   */
  column(
    sources: readonly AppendedSource[],
    field: string,
    type: FieldType,
    rows: number,
    valued: boolean,
  ): { values: number; present: number } {
    const kernel = this.#kernel;
    const bytes = type === BOOLEAN ? 1 : 8;
    const values = this.#values.reserve(kernel, rows * bytes);
    const present = this.#present.reserve(kernel, rows);
    let every = true;
    for (const source of sources) {
      const segments = this.#segments.put(kernel, source.segments);
      const count = source.segments.length / 3;
      const has = source.block !== null ? this.#decode(source, field) : this.#put(source, field, valued);
      if (has === 'none') kernel.fillSegments(0, present, segments, count);
      else {
        if (valued) kernel.copySegments(this.#part.address, values, bytes, segments, count);
        if (has === 'every') kernel.fillSegments(1, present, segments, count);
        else kernel.copySegments(this.#partPresent.address, present, 1, segments, count);
      }
      every &&= has === 'every';
    }
    return { values, present: every ? 0 : present };
  }

  #decode(source: AppendedSource, field: string): 'every' | 'some' | 'none' {
    const kernel = this.#kernel;
    const { head, body, starts } = source.block!;
    const column = head.columns.find((one) => one.field === field);
    if (column === undefined) return 'none';
    const rows = rowsOf(source);
    const [start, end] = [column.offset, column.offset + column.length];
    const part = this.#part.reserve(kernel, rows * 8);
    const flags = this.#partPresent.reserve(kernel, rows);
    const series = head.series.length;
    const { from, to } = source;
    checkDecoded(kernel.decodeColumn(body, start, end, column.type, starts, series, from, to, part, flags));
    return kernel.decodedEveryRow() ? 'every' : 'some';
  }

  #put(source: AppendedSource, field: string, valued: boolean): 'every' | 'some' | 'none' {
    const column: Column | undefined = source.rows!.columns.find((one) => one.field === field);
    if (column === undefined) return 'none';
    if (valued && column.type !== STRING && !Array.isArray(column.values)) {
      this.#part.put(this.#kernel, partOf(source, column.values));
    }
    if (column.present === null) return 'every';
    this.#partPresent.put(this.#kernel, partOf(source, column.present));
    return 'some';
  }

  close(): void {
    for (const buffer of [this.#starts, this.#segments, this.#part, this.#partPresent, this.#values, this.#present])
      buffer.free(this.#kernel);
  }
}

function startsOf({ block, rows }: AppendedSource): Uint32Array {
  return block !== null ? block.head.seriesStart : rows!.seriesStart;
}

function rowsOf(source: AppendedSource): number {
  const starts = startsOf(source);
  return starts[source.to]! - starts[source.from]!;
}

function partOf<T extends { subarray(from: number, to: number): T }>(source: AppendedSource, values: T): T {
  const starts = startsOf(source);
  return values.subarray(starts[source.from]!, starts[source.to]!);
}
