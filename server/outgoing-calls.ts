/** Calls of the NodeCore to addresses: whether somebody answered or nobody did, it is told. */
import type { NodeCore } from '../repair/node-core.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { Peers } from './peers.ts';

export interface OutgoingCallsPorts {
  readonly core: NodeCore;
  readonly peers: Peers;
  readonly address: string;
  readonly number: () => NodeNumber;
  readonly isStopping: () => boolean;
  /** Runs work whose expected failures must not end the process. */
  readonly guard: (work: () => void) => void;
}

export class OutgoingCalls {
  readonly #o: OutgoingCallsPorts;
  readonly #pending = new Set<Promise<void>>();

  constructor(ports: OutgoingCallsPorts) {
    this.#o = ports;
  }

  call(address: string, message: Uint8Array): void {
    const pending = this.#call(address, message).finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }

  /** Until the core knows whether this member runs elsewhere as well: a node says that it listens when it can serve. */
  async untilChecked(): Promise<void> {
    while (this.#o.core.isCheckingTwins && this.#pending.size > 0) await Promise.race(this.#pending);
  }

  async #call(address: string, message: Uint8Array): Promise<void> {
    const { core, peers, number, isStopping, guard } = this.#o;
    const answer = await peers.call(address, { number: number(), address: this.#o.address }, message);
    if (isStopping()) return;
    guard(() => {
      if (answer !== null) core.receive({ number: null, address }, answer, Date.now());
      // Whoever takes a call without an answer to it has been reached, and is asked no further.
      core.unanswered(address, Date.now());
    });
  }
}
