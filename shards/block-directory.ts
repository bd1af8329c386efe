/**
 * Which blocks a shard has, in memory: by time window and measurement. The blocks themselves stay in the file.
 */
import type { Version } from './version.ts';

export interface BlockEntry {
  readonly id: number;
  readonly run: number;
  readonly window: number;
  readonly measurement: string;
  /** Ids of the first and last series in order of hash. */
  readonly first: number;
  readonly last: number;
  readonly minTime: number;
  readonly maxTime: number;
  readonly minVersion: Version;
  readonly maxVersion: Version;
  readonly rows: number;
  /** Head and body. */
  readonly bytes: number;
}

export class BlockDirectory {
  readonly #windows = new Map<number, Map<string, BlockEntry[]>>();
  #blocks = 0;
  #rows = 0;
  #changes = 0;

  get blocks(): number {
    return this.#blocks;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Another number whenever the blocks are others. */
  get changes(): number {
    return this.#changes;
  }

  add(entry: BlockEntry): void {
    let measurements = this.#windows.get(entry.window);
    if (measurements === undefined) {
      measurements = new Map();
      this.#windows.set(entry.window, measurements);
    }
    const entries = measurements.get(entry.measurement);
    if (entries === undefined) measurements.set(entry.measurement, [entry]);
    else entries.push(entry);
    this.#blocks++;
    this.#changes++;
    this.#rows += entry.rows;
  }

  remove(entry: BlockEntry): void {
    const measurements = this.#windows.get(entry.window);
    const entries = measurements?.get(entry.measurement) ?? [];
    const at = entries.indexOf(entry);
    if (at < 0) throw new Error(`block ${entry.id} of window ${entry.window} is not in the directory`);
    entries.splice(at, 1);
    if (entries.length === 0) measurements!.delete(entry.measurement);
    if (measurements!.size === 0) this.#windows.delete(entry.window);
    this.#blocks--;
    this.#changes++;
    this.#rows -= entry.rows;
  }

  /** Ascending. */
  windows(): number[] {
    return [...this.#windows.keys()].sort((a, b) => a - b);
  }

  /** Sorted. */
  measurementsOf(window: number): string[] {
    return [...(this.#windows.get(window)?.keys() ?? [])].sort();
  }

  of(window: number, measurement: string): readonly BlockEntry[] {
    return this.#windows.get(window)?.get(measurement) ?? [];
  }

  /** Windows in time order, measurements by name, blocks by id. */
  *all(): Generator<BlockEntry> {
    for (const window of this.windows()) {
      for (const measurement of this.measurementsOf(window)) yield* this.of(window, measurement);
    }
  }

  /** Blocks of a window by run. */
  runsOf(window: number): Map<number, BlockEntry[]> {
    const runs = new Map<number, BlockEntry[]>();
    for (const measurement of this.measurementsOf(window)) {
      for (const entry of this.of(window, measurement)) {
        const entries = runs.get(entry.run);
        if (entries === undefined) runs.set(entry.run, [entry]);
        else entries.push(entry);
      }
    }
    return runs;
  }
}
