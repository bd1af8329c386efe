/**
 * The batches of one epoch of a ledger: their sums, and the list of their identities. The list is
 *
 *   open    while batches come: an entry of a map for each, some 240 bytes;
 *   sealed  once others follow it: the bytes that the file is to have, 24 a batch (ledger-codec.ts);
 *   paged   once the file is known to have this very list: nothing but the CRC of those bytes (ledger-pages.ts).
 *
 * Sums are there in every state. Above the floor epochs pile up for as long as a member is away, so what one takes decides for
 * how long that can be. Of a list that is not open what is asked is decoded; the lists that were asked for last stay so.
 * A change opens the list, and makes the one in the file an older one: it is paged again when it has been saved again.
 * Whatever has to read a paged list throws StorageError when it cannot be read, and has changed nothing then.
 */
import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { addSums, type Sum128, subtractSums } from '../shards/checksum.ts';
import type { Version } from '../shards/version.ts';
import { decodeIdentities, encodeIdentities, type Identity } from './ledger-codec.ts';
import type { LedgerPages } from './ledger-pages.ts';

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

/** What a save writes of a list. */
export interface FrozenList {
  /** The list of the moment at which it was frozen. To be called at any time. */
  encode(): Uint8Array;
  /** What was encoded is in the file, durably. */
  confirmed(): void;
}

/** About what they take in memory: an entry of an open or decoded list; an epoch besides its list. */
const BATCH_BYTES = 240;
const EPOCH_BYTES = 250;

/** Lists that stay decoded: a pass or an outbox goes from one epoch to the next. */
export class DecodedLists {
  /** The one that was asked for longest ago comes first. */
  private readonly lists = new Map<Epoch, Batches>();
  private readonly max: number;

  constructor(max: number) {
    this.max = max;
  }

  get bytes(): number {
    return [...this.lists.values()].reduce((sum, { size }) => sum + size * BATCH_BYTES, 0);
  }

  of(epoch: Epoch): Batches {
    const list =
      this.lists.get(epoch) ?? new Map(epoch.list().map((identity) => [identity.version, new Batch(identity)]));
    this.lists.delete(epoch);
    this.lists.set(epoch, list);
    if (this.lists.size > this.max) this.lists.delete(this.lists.keys().next().value!);
    return list;
  }

  delete(epoch: Epoch): void {
    this.lists.delete(epoch);
  }
}

export class Epoch {
  readonly number: number;
  /** Of all its batches; `identity`: the sum of their identity hashes. */
  count = 0;
  identity: Sum128 = 0n;
  content: Sum128 = 0n;
  rows = 0;
  /** Both null: it is paged. */
  #open: Map<Version, Batch> | null = new Map();
  #sealed: Uint8Array | null = null;
  /** Of the bytes of this list that the file is known to have; null: it has none, or those of an older one. */
  #savedCrc: number | null = null;
  #changes = 0;
  readonly #decoded: DecodedLists;
  readonly #pages: LedgerPages | null;

  /** `pages` null: it is never paged. */
  constructor(number: number, decoded: DecodedLists, pages: LedgerPages | null) {
    this.number = number;
    this.#decoded = decoded;
    this.#pages = pages;
  }

  /** As its file has it. */
  loaded(bytes: Uint8Array, list: readonly Identity[]): void {
    for (const identity of list) this.#sum(new Batch(identity));
    this.#savedCrc = crc32(bytes);
    this.page();
  }

  get isPaged(): boolean {
    return this.#open === null && this.#sealed === null;
  }

  /** About what it takes in memory. */
  get bytes(): number {
    return EPOCH_BYTES + (this.#open?.size ?? 0) * BATCH_BYTES + (this.#sealed?.byteLength ?? 0);
  }

  get batches(): Batches {
    if (this.#open !== null) return this.#open;
    return this.#decoded.of(this);
  }

  /** So that a change needs nothing to be read. */
  open(): void {
    this.#opened();
  }

  /** It is not there yet. */
  add(identity: Identity): void {
    const open = this.#opened();
    const batch = new Batch(identity);
    this.#change();
    open.set(batch.version, batch);
    this.#sum(batch);
  }

  /** It is there. In a list of its own: one that was frozen before still holds what was true then. */
  restate(version: Version, content: Sum128): void {
    const batches = new Map(this.#opened());
    this.#change();
    this.#open = batches;
    const batch = batches.get(version)!;
    batches.set(version, new Batch({ version, rows: batch.rows, content }));
    this.content = addSums(subtractSums(this.content, batch.content), content);
  }

  /** Ascending: for whoever goes through many epochs, whose lists need not stay. */
  list(): Identity[] {
    if (this.#open !== null) return listOf(this.#open, this.#open.size);
    return this.#sealed === null ? this.#pages!.read(this.number, this.#savedCrc!) : decodeIdentities(this.#sealed);
  }

  /**
   * It must be in memory. An open list only ever gains batches at its end until it is sealed, and is then left as it is:
   * this moment's list is as many of them as there are now.
   */
  freeze(): FrozenList {
    const [open, sealed, changes] = [this.#open, this.#sealed, this.#changes];
    const size = open?.size ?? 0;
    let crc: number | null = null;
    return {
      encode: () => {
        const bytes = sealed ?? encodeIdentities(listOf(open!, size));
        crc = crc32(bytes);
        return bytes;
      },
      confirmed: () => {
        if (crc !== null && this.#changes === changes) this.#savedCrc = crc;
      },
    };
  }

  seal(): void {
    if (this.#open === null) return;
    // A copy: what was encoded lies in a larger buffer.
    this.#sealed = Uint8Array.from(encodeIdentities(listOf(this.#open, this.#open.size)));
    this.#open = null;
  }

  /** Lets the list go when the file has it. */
  page(): void {
    if (this.#pages === null || this.#savedCrc === null) return;
    this.#open = null;
    this.#sealed = null;
  }

  #sum(batch: Batch): void {
    this.count++;
    this.rows += batch.rows;
    this.identity = addSums(this.identity, batch.identity);
    this.content = addSums(this.content, batch.content);
  }

  #change(): void {
    this.#changes++;
    this.#savedCrc = null;
  }

  #opened(): Map<Version, Batch> {
    this.#open ??= new Map(this.batches);
    this.#sealed = null;
    this.#decoded.delete(this);
    return this.#open;
  }
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
