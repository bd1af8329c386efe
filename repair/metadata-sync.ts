/**
 * Push-pull of metadata between two nodes whose hashes differ.
 *
 *   digest  A -> B   sums of A's 64 buckets
 *   keys    B -> A   (key, rank, version) of what B has in the buckets that differ
 *   registers A -> B what A has newer, and the keys that A wants; B answers those with `registers`
 *
 * No state but the time of the last digest to each peer, so any message may be lost or repeated: the next heartbeat with
 * another hash starts again. Changes travel as rumours (rumours.ts); this exchange brings what they left behind.
 */
import type { NodeNumber } from '../shards/version.ts';
import type { MembershipLimits } from './membership-limits.ts';
import { bucketOf, type Metadata, type Register } from './metadata.ts';
import type { NodeMessage } from './node-messages.ts';

type Of<K extends NodeMessage['kind']> = Extract<NodeMessage, { kind: K }>;
export type Send = (to: NodeNumber, message: NodeMessage) => void;

export class MetadataSync {
  readonly #metadata: Metadata;
  readonly #limits: MembershipLimits;
  readonly #send: Send;
  readonly #startedMs = new Map<NodeNumber, number>();
  /** Comparisons begun here. */
  started = 0;

  constructor(metadata: Metadata, limits: MembershipLimits, send: Send) {
    this.#metadata = metadata;
    this.#limits = limits;
    this.#send = send;
  }

  /** A peer's heartbeat said what its registers sum up to. */
  hashHeard(from: NodeNumber, hash: string, nowMs: number): void {
    if (hash === this.#metadata.hash()) return;
    const since = nowMs - (this.#startedMs.get(from) ?? Number.NEGATIVE_INFINITY);
    if (since >= 0 && since < this.#limits.metadataSyncIntervalMs) return;
    this.#startedMs.set(from, nowMs);
    this.started += 1;
    this.#send(from, { kind: 'digest', buckets: this.#metadata.bucketHashes() });
  }

  digest(from: NodeNumber, message: Of<'digest'>): void {
    const own = this.#metadata.bucketHashes();
    const differ = new Set(message.buckets.flatMap((sum, bucket) => (sum === own[bucket] ? [] : [bucket])));
    if (differ.size === 0) return;
    const keys = this.#metadata
      .inBuckets(differ)
      .map((register): [string, number, string] => [register.key, register.rank, register.version]);
    this.#send(from, { kind: 'keys', buckets: [...differ], keys });
  }

  keys(from: NodeNumber, message: Of<'keys'>): void {
    const buckets = new Set(message.buckets);
    const theirs = new Map(message.keys.filter(([key]) => buckets.has(bucketOf(key))).map((each) => [each[0], each]));
    const own = this.#metadata.inBuckets(buckets);
    const known = new Map(own.map((register) => [register.key, register]));
    let push = own.filter((register) => {
      const other = theirs.get(register.key);
      return other === undefined || isNewer(register.rank, register.version, other[1], other[2]);
    });
    const want = [...theirs.values()]
      .filter(([key, rank, version]) => {
        const mine = known.get(key);
        return mine === undefined || isNewer(rank, version, mine.rank, mine.version);
      })
      .map(([key]) => key);
    // Equal versions with unequal values are damage: both sides then see the values, and the greater one wins on both.
    if (push.length === 0 && want.length === 0) {
      push = own;
      want.push(...known.keys());
    }
    this.sendRegisters(from, push, want);
  }

  wanted(from: NodeNumber, keys: readonly string[]): void {
    const found = keys.map((key) => this.#metadata.get(key)).filter((register) => register !== null);
    if (found.length > 0) this.sendRegisters(from, found, []);
  }

  sendRegisters(to: NodeNumber, registers: readonly Register[], want: readonly string[]): void {
    const parts = registersInParts(registers, this.#limits);
    if (parts.length === 0 && want.length > 0) parts.push([]);
    parts.forEach((part, index) => {
      this.#send(to, { kind: 'registers', registers: part, want: index === 0 ? [...want] : [] });
    });
  }

  forget(peer: NodeNumber): void {
    this.#startedMs.delete(peer);
  }
}

/** Cut into messages of about `registersMessageBytes`. */
export function registersInParts(
  registers: readonly Register[],
  { registersMessageBytes }: Pick<MembershipLimits, 'registersMessageBytes'>,
): Register[][] {
  const parts: Register[][] = [];
  let bytes = 0;
  for (const register of registers) {
    const size = register.key.length + (register.value?.length ?? 0) + 100;
    if (parts.length === 0 || bytes + size > registersMessageBytes) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)!.push(register);
    bytes += size;
  }
  return parts;
}

function isNewer(rank: number, version: string, thanRank: number, thanVersion: string): boolean {
  return rank !== thanRank ? rank > thanRank : version > thanVersion;
}
