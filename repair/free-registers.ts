/** Registers of the cluster's metadata for everybody's use (alert rules and their states): all but the protocol's own. */
import type { Version } from '../shards/version.ts';
import { checkFreeKey } from './cluster-state.ts';
import type { Change } from './databases.ts';
import { jsonOf, type Metadata, valuesOf } from './metadata.ts';

export class FreeRegisters {
  readonly #metadata: Metadata;
  readonly #write: (changes: readonly Change[], nowMs: number) => void;

  constructor(metadata: Metadata, write: (changes: readonly Change[], nowMs: number) => void) {
    this.#metadata = metadata;
    this.#write = write;
  }

  /** `value`: JSON-able. Durable when it returns. */
  put(key: string, value: unknown, nowMs: number): void {
    checkFreeKey(key);
    this.#write([{ key, rank: 0, value }], nowMs);
  }

  remove(key: string, nowMs: number): void {
    checkFreeKey(key);
    const register = this.#metadata.get(key);
    if (register !== null && register.value !== null) this.#write([{ key, rank: 0, value: undefined }], nowMs);
  }

  get(key: string): unknown | undefined {
    const register = this.#metadata.get(key);
    return register === null ? undefined : jsonOf(register);
  }

  withPrefix(prefix: string): { key: string; value: unknown; version: Version }[] {
    return valuesOf(this.#metadata.withPrefix(prefix));
  }
}
