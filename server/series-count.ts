/**
 * How many series a shard group has at most, as far as this node knows: what the holders of its shards counted last, and the keys
 * that this node has sealed since, of which they may have had some.
 */
import type { ShardId } from '../shards/shard-key.ts';

export class SeriesCount {
  readonly #byShard = new Map<ShardId, number>();
  #atMost = 0;
  /** Keys in batches, ever, and those of them whose batches are settled: now, and when the holders were asked last. */
  #sealed = 0;
  #settled = 0;
  #settledWhenAsked = 0;
  #whenQuiet: (() => void)[] = [];
  /** New series wait to be looked at (series-limit.ts), all others behind them. */
  isHeld = false;

  get atMost(): number {
    return this.#atMost;
  }

  storedOf(id: ShardId): number {
    return this.#byShard.get(id) ?? 0;
  }

  /** To be taken when the holders are asked: what is settled by now is in their answers. */
  get mark(): number {
    return this.#settled;
  }

  /** Shards that nobody answers for have as many as before. */
  answered(mark: number, counts: Iterable<readonly [ShardId, number]>): void {
    if (mark < this.#settledWhenAsked) return;
    this.#atMost -= mark - this.#settledWhenAsked;
    this.#settledWhenAsked = mark;
    for (const [id, count] of counts) {
      this.#atMost += count - this.storedOf(id);
      this.#byShard.set(id, count);
    }
  }

  sealed(keys: number): void {
    this.#sealed += keys;
    this.#atMost += keys;
  }

  settled(keys: number): void {
    this.#settled += keys;
    if (this.#settled < this.#sealed) return;
    for (const quiet of this.#whenQuiet.splice(0)) quiet();
  }

  /** Until no batch with keys is on its way. */
  quiet(): Promise<void> {
    if (this.#settled === this.#sealed) return Promise.resolve();
    return new Promise((resolve) => this.#whenQuiet.push(resolve));
  }
}
