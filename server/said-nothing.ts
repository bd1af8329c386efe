/**
 * Who has no series for a question is not asked it again.
 *
 * A host's series is in one shard of four, and which one its tags do not tell: a question for one host goes to all workers,
 * and most of them say that they have no such series. That stays true, whatever the range and the fields, until a shard gets
 * a new series or another schema. So the worker remembers of which shards it has said so (SaidNothing), and counts in
 * memory that both threads see when that may have changed: before anything that it says afterwards, so before a write
 * is acknowledged or its rows are seen by a query. The main thread remembers the questions (Nothings), and
 * looks at that count before it leaves a worker out.
 */
import type { PartialRequest } from '../shards/query/partial.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { PartialAnswer } from './partial-answer.ts';

/** Shards at most: they are looked at with every message. */
const SHARDS_MAX = 16;
/** Looking at a shard keeps its series in memory: what nobody asks for any more must be let go of. */
const SAID_MS_MAX = 30_000;
/** Characters of one: a condition may name thousands of hosts. */
const QUESTION_MAX = 4_000;
const QUESTIONS_MAX = 10_000;

/** A shard (shards/shard.ts). */
export interface SaidOf {
  readonly schemaStamp: string;
  readonly isResident: boolean;
}

/** The worker's side. */
export class SaidNothing {
  readonly #changes: Int32Array;
  readonly #shards: ReadonlyMap<ShardId, SaidOf>;
  readonly #said = new Map<ShardId, { readonly shard: SaidOf; readonly stamp: string }>();
  #sinceMs = 0;

  /** `changes`: one number in shared memory. */
  constructor(changes: Int32Array, shards: ReadonlyMap<ShardId, SaidOf>) {
    this.#changes = changes;
    this.#shards = shards;
  }

  /** To be called when it is said of these shards. The count as of which it holds; null: it is not to be remembered. */
  say(ids: readonly ShardId[], nowMs: number): number | null {
    if (ids.length > SHARDS_MAX) return null;
    this.check(nowMs);
    if (this.#said.size + ids.length > SHARDS_MAX) this.revoke();
    if (this.#said.size === 0) this.#sinceMs = nowMs;
    for (const id of ids) {
      if (this.#said.has(id)) continue;
      const shard = this.#shards.get(id);
      if (shard === undefined) return null;
      this.#said.set(id, { shard, stamp: shard.schemaStamp });
    }
    return Atomics.load(this.#changes, 0);
  }

  /** To be called before every message to the main thread. */
  check(nowMs: number): void {
    if (this.#said.size === 0) return;
    if (nowMs - this.#sinceMs > SAID_MS_MAX || nowMs < this.#sinceMs) {
      this.revoke();
      return;
    }
    for (const [id, { shard, stamp }] of this.#said) {
      // Of one that has been let go of the stamp would have to be read.
      if (this.#shards.get(id) === shard && shard.isResident && shard.schemaStamp === stamp) continue;
      this.revoke();
      return;
    }
  }

  /** Nothing that was said before holds any more. */
  revoke(): void {
    if (this.#said.size === 0) return;
    this.#said.clear();
    Atomics.add(this.#changes, 0, 1);
  }
}

/** The main thread's side. */
export class Nothings {
  readonly #known = new Map<string, { readonly asOf: number; readonly answer: PartialAnswer }>();

  /** What a worker said to this question, when it would say so again; but what is proven may have grown. */
  recall(question: string, changes: Int32Array): PartialAnswer | null {
    const known = this.#known.get(question);
    return known !== undefined && known.asOf === Atomics.load(changes, 0) ? known.answer : null;
  }

  note(question: string, answer: PartialAnswer): void {
    if (answer.nothingAsOf === null) return;
    if (this.#known.size >= QUESTIONS_MAX) this.#known.clear();
    this.#known.set(question, { asOf: answer.nothingAsOf, answer });
  }
}

/**
 * All that the answer of a worker depends on when there are no series; null: such an answer is not remembered. The schemas
 * are part of it, since a worker that is left out cannot confirm them. `wanted`: of `wantedOf` for that request.
 */
export function questionOf(wanted: string | null, ids: readonly ShardId[], request: PartialRequest): string | null {
  if (wanted === null || request.kind !== 'select' || request.planned === null) return null;
  let text = wanted;
  for (const id of ids) text += `\n${id}${request.planned.fingerprints[id] ?? ''}`;
  return text.length > QUESTION_MAX ? null : text;
}

/** Of a question what it is for all workers; null: there is none that is remembered. */
export function wantedOf(request: PartialRequest): string | null {
  if (request.kind !== 'select' || request.planned === null || request.condition === null) return null;
  let text = JSON.stringify(request.condition);
  for (const measurement of request.measurements) text += `\0${measurement}`;
  return text;
}
