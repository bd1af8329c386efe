/** Counts the series of shards that match, without naming them: a number for each shard, and a sketch of all (sketch.ts). */
import type { QueryableShard } from '../queryable.ts';
import type { Steps } from '../steps.ts';
import type { RegexCache } from './filter.ts';
import { matchingSeries } from './matching-series.ts';
import type { CardinalityRequest, PartialResult, ShardCardinality } from './partial.ts';
import { pickMeasurements } from './shard-schema.ts';
import { addToSketch, SKETCH_BYTES } from './sketch.ts';

/** Series in one step. */
const COUNTED_AT_ONCE = 4096;

export class SeriesCount {
  readonly #request: CardinalityRequest;
  readonly #regexes: RegexCache = new Map();
  readonly #sketch = new Uint8Array(SKETCH_BYTES);
  readonly #shards: ShardCardinality[] = [];
  #steps: Steps<ShardCardinality> | null = null;

  constructor(request: CardinalityRequest) {
    this.#request = request;
  }

  /** True: more is left of the shard. */
  step(shard: QueryableShard): boolean {
    this.#steps ??= this.#count(shard);
    const step = this.#steps.next();
    if (step.done !== true) return true;
    this.#shards.push(step.value);
    this.#steps = null;
    return false;
  }

  close(): void {
    this.#steps = null;
  }

  result(): PartialResult {
    return { kind: 'cardinality', shards: this.#shards, sketch: this.#sketch };
  }

  *#count(shard: QueryableShard): Steps<ShardCardinality> {
    let measurements = 0;
    let count = 0;
    for (const measurement of pickMeasurements(shard, this.#request.measurements)) {
      const series = matchingSeries(shard, measurement, this.#request, this.#regexes);
      if (series.length > 0) measurements++;
      count += series.length;
      for (let from = 0; from < series.length; from += COUNTED_AT_ONCE) {
        // What is added of a shard that goes before its end is added once more where it is read next, which changes nothing.
        for (const id of series.subarray(from, from + COUNTED_AT_ONCE)) addToSketch(this.#sketch, shard.hashOf(id));
        yield;
      }
    }
    const { startNs, number } = shard.key;
    return { startNs, number, measurements, series: count };
  }
}
