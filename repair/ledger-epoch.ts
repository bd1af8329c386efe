/**
 * The batches of one epoch of a ledger: their sums, and the list of their identities.
 *
 * A list is open while batches come: an entry of a map for each, some 240 bytes. Once others follow it is sealed: the
 * bytes that its file has as well, 24 a batch (ledger-codec.ts). Above the floor lists pile up for as long as a member is
 * away, so what a batch takes there decides for how long that can be. What is asked of a sealed list is decoded again;
 * the lists that were asked for last stay decoded.
 */
import { hash } from 'node:crypto';
import { addSums, type Sum128, subtractSums } from '../shards/checksum.ts';
import type { Version } from '../shards/version.ts';
import { decodeIdentities, encodeIdentities, type Identity } from './ledger-codec.ts';

export class Batch {
  readonly version: Version;
  readonly rows: number;
  readonly content: Sum128;
  #identity: Sum128 | null = null;

  constructor({ version, rows, content }: Identity) {
    this.version = version;
    this.rows = rows;
    this.content = content;
  }

  /** The hash of its version, kept: each root within its epoch adds it again. */
  get identity(): Sum128 {
    this.#identity ??= identityHash(this.version);
    return this.#identity;
  }
}

type Batches = ReadonlyMap<Version, Batch>;

/** Sealed lists that stay decoded, of all ledgers of a thread: a pass or an outbox goes from one epoch to the next. */
const DECODED_MAX = 8;
/** The one that was asked for longest ago comes first. */
const decoded = new Map<Epoch, Batches>();

export class Epoch {
  /** Of all its batches; `identity`: the sum of their identity hashes. */
  count = 0;
  identity: Sum128 = 0n;
  content: Sum128 = 0n;
  /** null: it is sealed. */
  #open: Map<Version, Batch> | null = new Map();
  #sealed: Uint8Array | null = null;

  get isSealed(): boolean {
    return this.#sealed !== null;
  }

  get batches(): Batches {
    if (this.#open !== null) return this.#open;
    const known = decoded.get(this) ?? decode(this.#sealed!);
    decoded.delete(this);
    decoded.set(this, known);
    if (decoded.size > DECODED_MAX) decoded.delete(decoded.keys().next().value!);
    return known;
  }

  /** It is not there yet. */
  add(identity: Identity): void {
    const batch = new Batch(identity);
    this.#unseal().set(batch.version, batch);
    this.count++;
    this.identity = addSums(this.identity, batch.identity);
    this.content = addSums(this.content, batch.content);
  }

  /** It is there. In a list of its own: one that was frozen before still holds what was true then. */
  restate(version: Version, content: Sum128): void {
    const batches = new Map(this.#unseal());
    this.#open = batches;
    const batch = batches.get(version)!;
    batches.set(version, new Batch({ version, rows: batch.rows, content }));
    this.content = addSums(subtractSums(this.content, batch.content), content);
  }

  /** Ascending: for whoever goes through many epochs, whose lists need not stay. */
  list(): Identity[] {
    return this.#sealed === null ? listOf(this.#open!, this.#open!.size) : decodeIdentities(this.#sealed);
  }

  /**
   * The encoded list of this moment, to be called at any time. An open list only ever gains batches at its end until it
   * is sealed, and is then left as it is: this moment's list is as many of them as there are now.
   */
  freeze(): () => Uint8Array {
    const [open, sealed] = [this.#open, this.#sealed];
    const size = open?.size ?? 0;
    return () => sealed ?? encodeIdentities(listOf(open!, size));
  }

  seal(): void {
    if (this.#open === null) return;
    // A copy: what was encoded lies in a larger buffer.
    this.#sealed = Uint8Array.from(encodeIdentities(listOf(this.#open, this.#open.size)));
    this.#open = null;
  }

  #unseal(): Map<Version, Batch> {
    this.#open ??= new Map(this.batches);
    this.#sealed = null;
    decoded.delete(this);
    return this.#open;
  }
}

function decode(sealed: Uint8Array): Batches {
  return new Map(decodeIdentities(sealed).map((identity) => [identity.version, new Batch(identity)]));
}

function identityHash(version: Version): Sum128 {
  return BigInt(`0x${hash('sha256', Buffer.from(version, 'hex'), 'hex').slice(0, 32)}`);
}

function listOf(batches: Batches, size: number): Identity[] {
  const list: Identity[] = [];
  let ascends = true;
  let before = '';
  for (const batch of batches.values()) {
    if (list.length === size) break;
    ascends &&= before < batch.version;
    before = batch.version;
    list.push(batch);
  }
  return ascends ? list : list.sort((a, b) => (a.version < b.version ? -1 : 1));
}
