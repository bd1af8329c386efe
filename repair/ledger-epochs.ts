/**
 * The epochs of a ledger above its floor, in order, with the sums over all of them: while a member is away there are tens of
 * thousands. So a root is told from the newest end, which the cutoff is near, and a save looks only at lists in memory.
 *
 * The sums of all are saved with the ledger's state, and held against the lists at a start (ledger.ts, `load`).
 */
import { addSums, type Sum128, subtractSums, sumToHex } from '../shards/checksum.ts';
import { epochOf, type Stamp, stampOf } from '../shards/version.ts';
import type { EpochSum, Root } from './ledger.ts';
import type { Epoch } from './ledger-epoch.ts';

/** Count, identity sum and content sum in hexadecimal, rows. */
export type TotalJson = readonly [number, string, string, number];

interface Sums extends Root {
  readonly rows: number;
}

const NOTHING: Sums = { count: 0, identity: 0n, content: 0n, rows: 0 };

export class LedgerEpochs {
  /** Epochs whose lists are in memory. */
  readonly inMemory = new Set<number>();
  private readonly epochs = new Map<number, Epoch>();
  /** Ascending. */
  private order: number[] = [];
  private sums: Sums = NOTHING;

  get map(): ReadonlyMap<number, Epoch> {
    return this.epochs;
  }

  /** Ascending. */
  get numbers(): readonly number[] {
    return this.order;
  }

  get total(): Root {
    return this.sums;
  }

  get(number: number): Epoch | undefined {
    return this.epochs.get(number);
  }

  clear(): void {
    this.epochs.clear();
    this.inMemory.clear();
    this.order = [];
    this.sums = NOTHING;
  }

  put(epoch: Epoch): void {
    const { number } = epoch;
    if (this.epochs.get(number) === epoch) return;
    this.epochs.set(number, epoch);
    this.order.splice(this.indexOf(number), 0, number);
    this.count(epoch);
  }

  /** Makes a change of an epoch that is among them, and counts it. */
  change(epoch: Epoch, change: () => void): void {
    this.discount(epoch);
    change();
    this.count(epoch);
    this.inMemory.add(epoch.number);
  }

  /** Those up to `last` go. */
  removeThrough(last: number): number[] {
    const removed = this.order.splice(0, this.indexOf(last + 1));
    for (const number of removed) {
      this.discount(this.epochs.get(number)!);
      this.epochs.delete(number);
      this.inMemory.delete(number);
    }
    return removed;
  }

  /** Everything at or below `through`, on top of `base`. */
  rootThrough(through: Stamp, base: Root): Root {
    const last = epochOf(through);
    let [count, identity, content] = [
      base.count + this.sums.count,
      addSums(base.identity, this.sums.identity),
      addSums(base.content, this.sums.content),
    ];
    for (let i = this.order.length - 1; i >= 0 && this.order[i]! >= last; i--) {
      const epoch = this.epochs.get(this.order[i]!)!;
      const above = epoch.number === last ? sumWhere(epoch, (stamp) => stamp > through) : epoch;
      count -= above.count;
      identity = subtractSums(identity, above.identity);
      content = subtractSums(content, above.content);
    }
    return { count, identity, content };
  }

  /** Sums of epochs with identities in (after, through], ascending, from epoch `from` on, at most `max`. */
  sumsOf(after: Stamp, through: Stamp, from: number, max: number): { sums: EpochSum[]; next: number | null } {
    const [first, last] = [epochOf(after), epochOf(through)];
    const sums: EpochSum[] = [];
    for (let i = this.indexOf(Math.max(from, first)); i < this.order.length && this.order[i]! <= last; i++) {
      const epoch = this.epochs.get(this.order[i]!)!;
      if (sums.length === max) return { sums, next: epoch.number };
      const isWhole = epoch.number > first && epoch.number < last;
      const { count, identity, content } = isWhole
        ? epoch
        : sumWhere(epoch, (stamp) => stamp > after && stamp <= through);
      if (count > 0) sums.push({ epoch: epoch.number, count, identity, content });
    }
    return { sums, next: null };
  }

  totalToJson(): TotalJson {
    const { count, identity, content, rows } = this.sums;
    return [count, sumToHex(identity), sumToHex(content), rows];
  }

  /** Of the first that is not below `number`. */
  private indexOf(number: number): number {
    let [low, high] = [0, this.order.length];
    if (high === 0 || number > this.order[high - 1]!) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.order[middle]! < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private count(epoch: Epoch): void {
    const { count, identity, content, rows } = this.sums;
    this.sums = {
      count: count + epoch.count,
      identity: addSums(identity, epoch.identity),
      content: addSums(content, epoch.content),
      rows: rows + epoch.rows,
    };
  }

  private discount(epoch: Epoch): void {
    const { count, identity, content, rows } = this.sums;
    this.sums = {
      count: count - epoch.count,
      identity: subtractSums(identity, epoch.identity),
      content: subtractSums(content, epoch.content),
      rows: rows - epoch.rows,
    };
  }
}

function sumWhere(epoch: Epoch, counts: (stamp: Stamp) => boolean): Root {
  let [count, identity, content]: [number, Sum128, Sum128] = [0, 0n, 0n];
  for (const [version, batch] of epoch.batches) {
    if (!counts(stampOf(version))) continue;
    count++;
    identity = addSums(identity, batch.identity);
    content = addSums(content, batch.content);
  }
  return { count, identity, content };
}
