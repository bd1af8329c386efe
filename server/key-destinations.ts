/** Members as bits, for what a series notes of whom its key was sent to (shards/kernel/ingest-stage.ts). */
import { DESTINATIONS_MAX } from '../shards/kernel/ingest-stage.ts';
import type { NodeNumber } from '../shards/version.ts';

export interface Destinations {
  readonly bits: number;
  /** Some have no bit: they are always sent all keys. */
  readonly others: boolean;
}

export class KeyDestinations {
  readonly #slots = new Map<NodeNumber, number>();

  has(member: NodeNumber): boolean {
    return this.#slots.has(member);
  }

  of(members: readonly NodeNumber[]): Destinations {
    let bits = 0;
    let others = false;
    for (const member of members) {
      const slot = this.#slotOf(member);
      if (slot < DESTINATIONS_MAX) bits |= 1 << slot;
      else others = true;
    }
    return { bits, others };
  }

  #slotOf(member: NodeNumber): number {
    let slot = this.#slots.get(member);
    if (slot === undefined) {
      slot = this.#slots.size;
      this.#slots.set(member, slot);
    }
    return slot;
  }
}
