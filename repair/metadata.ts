/**
 * Metadata: a map of registers that every node holds whole, and that comes out the same on all of them.
 *
 * A register is (key, rank, version, value); of two registers with one key the one with the greater (rank, version) wins.
 * Rank is 0 for plain last-writer-wins registers. For what may only rise whatever the versions say (states of members,
 * generations dropped: protocol rules 23 and 24) the rank is that number. A deleted register stays as one without a
 * value, so that an older one cannot come back.
 *
 * Registers are compared between nodes by sums of hashes: one for the whole map (in every heartbeat) and one for each of
 * 64 buckets of keys. Sums do not depend on order and are kept up to date by adding and subtracting.
 *
 * This file is the map in memory; metadata-store.ts makes it durable before a change is visible here.
 */
import { createHash } from 'node:crypto';
import { addSums, type Sum128, subtractSums, sumToHex } from '../shards/checksum.ts';
import type { Version } from '../shards/version.ts';

export interface Register {
  readonly key: string;
  readonly rank: number;
  readonly version: Version;
  /** JSON; null when the register was deleted. */
  readonly value: string | null;
}

/** Where registers are kept; `save` is one transaction, durable when it returns. */
export interface RegisterStore {
  load(): Register[];
  save(registers: readonly Register[]): void;
  /** Forgets everything, durably: a node that belongs to no cluster keeps nothing of an earlier attempt. */
  clear(): void;
}

export const METADATA_BUCKETS = 64;

interface Kept {
  readonly register: Register;
  readonly sum: Sum128;
  readonly bucket: number;
}

export class Metadata {
  readonly #store: RegisterStore;
  readonly #kept = new Map<string, Kept>();
  readonly #buckets: Sum128[] = new Array<Sum128>(METADATA_BUCKETS).fill(0n);
  #total: Sum128 = 0n;

  constructor(store: RegisterStore) {
    this.#store = store;
    for (const register of store.load()) this.#keep(register);
  }

  get size(): number {
    return this.#kept.size;
  }

  /** 32 hexadecimal digits over all registers. */
  hash(): string {
    return sumToHex(this.#total);
  }

  bucketHashes(): string[] {
    return this.#buckets.map(sumToHex);
  }

  get(key: string): Register | null {
    return this.#kept.get(key)?.register ?? null;
  }

  /** Sorted by key, so that what is derived from them is the same everywhere. */
  withPrefix(prefix: string): Register[] {
    const found: Register[] = [];
    for (const [key, kept] of this.#kept) if (key.startsWith(prefix)) found.push(kept.register);
    return found.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  }

  inBuckets(buckets: ReadonlySet<number>): Register[] {
    const found: Register[] = [];
    for (const kept of this.#kept.values()) if (buckets.has(kept.bucket)) found.push(kept.register);
    return found;
  }

  all(): Register[] {
    return this.withPrefix('');
  }

  /** Idempotent, in any order. Returns what was new here; durable when it returns. */
  merge(registers: readonly Register[]): Register[] {
    const newest = new Map<string, Register>();
    for (const register of registers) {
      const other = newest.get(register.key) ?? this.#kept.get(register.key)?.register ?? null;
      if (other === null || wins(register, other)) newest.set(register.key, register);
    }
    const changed = [...newest.values()];
    if (changed.length === 0) return [];
    this.#store.save(changed);
    for (const register of changed) this.#keep(register);
    return changed;
  }

  clear(): void {
    this.#store.clear();
    this.#kept.clear();
    this.#buckets.fill(0n);
    this.#total = 0n;
  }

  #keep(register: Register): void {
    const before = this.#kept.get(register.key);
    const bucket = before?.bucket ?? bucketOf(register.key);
    const sum = hashRegister(register);
    const difference = before === undefined ? sum : subtractSums(sum, before.sum);
    this.#buckets[bucket] = addSums(this.#buckets[bucket]!, difference);
    this.#total = addSums(this.#total, difference);
    this.#kept.set(register.key, { register, sum, bucket });
  }
}

/** True when `a` replaces `b` (same key). Equal version with unequal value is damage: the greater text wins everywhere. */
export function wins(a: Register, b: Register): boolean {
  if (a.rank !== b.rank) return a.rank > b.rank;
  if (a.version !== b.version) return a.version > b.version;
  if (a.value === b.value || a.value === null) return false;
  return b.value === null || a.value > b.value;
}

/** The JSON value; undefined when deleted or not JSON. */
export function jsonOf(register: Register): unknown {
  if (register.value === null) return undefined;
  try {
    return JSON.parse(register.value);
  } catch {
    return undefined;
  }
}

/** Those that were not deleted. */
export function valuesOf(registers: readonly Register[]): { key: string; value: unknown; version: Version }[] {
  const present = registers.filter(({ value }) => value !== null);
  return present.map((register) => ({ key: register.key, value: jsonOf(register), version: register.version }));
}

export function bucketOf(key: string): number {
  return createHash('sha256').update(key).digest()[0]! % METADATA_BUCKETS;
}

function hashRegister(register: Register): Sum128 {
  const text = JSON.stringify([register.key, register.rank, register.version, register.value]);
  return BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 32)}`);
}
