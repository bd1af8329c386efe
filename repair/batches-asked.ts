/**
 * Batches that pulls of this worker have asked for and that are not stored yet.
 *
 * Passes of one shard overlap (rule 28), also with reads that level: each finds the same batches missing and has another
 * source for them. Whoever comes first asks; the others ask for what is left over, and wait for the rest. What one has
 * been waiting for longer than a question is repeated after is free again: its source may be gone, and theirs is not.
 * Nothing but traffic rests on it: batches are idempotent.
 */
import type { ShardId } from '../shards/shard-key.ts';
import type { Version } from '../shards/version.ts';
import type { Identity } from './ledger-codec.ts';
import type { Surroundings } from './surroundings.ts';

/** What one question asks for. */
export interface AskedPage {
  readonly id: ShardId;
  readonly identities: readonly Identity[];
  /** From then on others may ask for the same. */
  freeAtMs: number;
}

interface AskedOfShard {
  readonly pages: Map<Version, AskedPage>;
  waiting: (() => void)[];
}

export class BatchesAsked {
  private readonly shards = new Map<ShardId, AskedOfShard>();
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
  }

  /** Whether some of them can be asked for now. */
  areSomeFree(id: ShardId, wanted: readonly Identity[]): boolean {
    return wanted.some(({ version }) => this.isFree(id, version));
  }

  /** The first of them that are free, `max` at most, which are taken from here on until `end`; null: there are none. */
  take(id: ShardId, wanted: readonly Identity[], max: number): AskedPage | null {
    const identities = wanted.filter(({ version }) => this.isFree(id, version)).slice(0, max);
    if (identities.length === 0) return null;
    const page: AskedPage = { id, identities, freeAtMs: this.around.nowMs + this.around.limits.requestTimeoutMs };
    let asked = this.shards.get(id);
    if (asked === undefined) {
      asked = { pages: new Map(), waiting: [] };
      this.shards.set(id, asked);
    }
    for (const { version } of identities) asked.pages.set(version, page);
    return page;
  }

  /** The answer has come and is being stored: asking again would not make that faster. */
  come(page: AskedPage): void {
    page.freeAtMs = Number.POSITIVE_INFINITY;
  }

  /** All of the page that came is stored, or nothing more comes of it. */
  end(page: AskedPage): void {
    const asked = this.shards.get(page.id);
    if (asked === undefined) return;
    for (const { version } of page.identities) if (asked.pages.get(version) === page) asked.pages.delete(version);
    this.wake(page.id, asked);
  }

  /** `then` runs once, when something that was asked for of the shard is stored, failed, or free again. */
  whenNext(id: ShardId, then: () => void): void {
    const asked = this.shards.get(id);
    if (asked === undefined) then();
    else asked.waiting.push(then);
  }

  tick(): void {
    const { nowMs } = this.around;
    for (const [id, asked] of this.shards) {
      if (asked.waiting.length === 0) continue;
      if ([...asked.pages.values()].some(({ freeAtMs }) => freeAtMs <= nowMs)) this.wake(id, asked);
    }
  }

  private isFree(id: ShardId, version: Version): boolean {
    const page = this.shards.get(id)?.pages.get(version);
    return page === undefined || page.freeAtMs <= this.around.nowMs;
  }

  private wake(id: ShardId, asked: AskedOfShard): void {
    if (asked.pages.size === 0) this.shards.delete(id);
    const { waiting } = asked;
    asked.waiting = [];
    for (const then of waiting) then();
  }
}
