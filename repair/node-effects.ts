/** What a NodeCore asks of its surroundings, who it is, and what it counts. */
import type { NodeNumber } from '../shards/version.ts';

export interface NodeIdentity {
  readonly number: NodeNumber;
  readonly name: string;
  readonly clusterId: string | null;
  /** For the hashes of series; the cluster's. */
  readonly seed: string | null;
}

export interface NodeCounters {
  badMessages: number;
  skewedPackets: number;
  /** Of members that were removed. */
  removedPackets: number;
  heartbeatsReceived: number;
  registersMerged: number;
  /** Registers told to others as news, and how many of them those had known. */
  rumoursPushed: number;
  rumoursKnown: number;
}

export function newCounters(): NodeCounters {
  const received = { badMessages: 0, skewedPackets: 0, removedPackets: 0, heartbeatsReceived: 0 };
  return { ...received, registersMerged: 0, rumoursPushed: 0, rumoursKnown: 0 };
}

export type NodeEffect =
  | { readonly kind: 'send'; readonly to: NodeNumber; readonly message: Uint8Array }
  /** To a node whose number is unknown; its answer comes back through `receive` with the same address. */
  | { readonly kind: 'call'; readonly address: string; readonly message: Uint8Array }
  /** Joined or founded, or fresh under another number (then `refused` follows): make it durable before going on. */
  | { readonly kind: 'identity'; readonly identity: NodeIdentity }
  /** `snapshot()` is another one now. */
  | { readonly kind: 'cluster-changed' }
  /** This node has handed everything over: it takes and answers nothing any more, and says why. */
  | { readonly kind: 'left'; readonly reason: string }
  /** Another process with this node's number runs, which has to stop: for people. */
  | { readonly kind: 'twin'; readonly reason: string }
  /** This process must stop and say so. */
  | { readonly kind: 'refused'; readonly reason: string };
