/**
 * Pages of a shard copy as bytes: what one owner sends another one that lost the shard or is new.
 *
 * Page: magic 'SFP1', page number u32 LE, kind u8 (0 manifest, 1 rows, 2 end), three zero bytes, payload length u32 LE,
 * CRC-32 over all of this and the payload u32 LE, payload. The manifest is JSON; `end` repeats the number of pages.
 * Rows: u16 length and name of the table, u16 number of columns, each u16 length and name, then cells row by row, each a
 * tag (0 null, 1 int64, 2 float64, 3 text, 4 blob) and its bytes. So a page says nothing about how a file is laid out,
 * and tables of the companion travel like those of the shard.
 */
import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { StorageError } from './errors.ts';

export type Cell = null | bigint | number | string | Uint8Array;

export interface RowsPage {
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

export type PageContent =
  | { readonly kind: 'manifest'; readonly json: unknown }
  | { readonly kind: 'rows'; readonly rows: RowsPage }
  | { readonly kind: 'end'; readonly pages: number };

const MAGIC = Buffer.from('SFP1', 'latin1');
const HEADER_BYTES = 20;
const KINDS = ['manifest', 'rows', 'end'] as const;

export function encodePage(index: number, content: PageContent): Uint8Array {
  const payload = encodePayload(content);
  const page = Buffer.alloc(HEADER_BYTES + payload.byteLength);
  MAGIC.copy(page);
  page.writeUInt32LE(index, 4);
  page.writeUInt32LE(KINDS.indexOf(content.kind), 8);
  page.writeUInt32LE(payload.byteLength, 12);
  payload.copy(page, HEADER_BYTES);
  page.writeUInt32LE(pageCrc(page), 16);
  return page;
}

function pageCrc(page: Buffer): number {
  return crc32(page.subarray(HEADER_BYTES), crc32(page.subarray(0, 16)));
}

/** By which a page that has been kept is told from what its source would send now: 128 bits of SHA-256 of what it holds. */
export function pageHash(page: Uint8Array): string {
  return hash('sha256', page.subarray(HEADER_BYTES), 'hex').slice(0, 32);
}

/** Throws StorageError `damaged-page`. */
export function decodePage(bytes: Uint8Array): { index: number; content: PageContent } {
  const page = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const whole =
    page.length >= HEADER_BYTES &&
    page.compare(MAGIC, 0, 4, 0, 4) === 0 &&
    page.readUInt32LE(12) === page.length - HEADER_BYTES &&
    page.readUInt32LE(16) === pageCrc(page);
  const kind = whole ? KINDS[page[8]!] : undefined;
  if (kind === undefined) throw new StorageError('damaged-page', `a page of ${page.length} bytes fails its checksum`);
  const payload = page.subarray(HEADER_BYTES);
  const index = page.readUInt32LE(4);
  try {
    if (kind === 'manifest') return { index, content: { kind, json: JSON.parse(payload.toString('utf8')) as unknown } };
    if (kind === 'end') return { index, content: { kind, pages: payload.readUInt32LE(0) } };
    return { index, content: { kind, rows: decodeRows(payload) } };
  } catch (error) {
    throw new StorageError('damaged-page', `page ${index} makes no sense`, { cause: error });
  }
}

function encodePayload(content: PageContent): Buffer {
  if (content.kind === 'manifest') return Buffer.from(JSON.stringify(content.json), 'utf8');
  if (content.kind === 'rows') return encodeRows(content.rows);
  const pages = Buffer.alloc(4);
  pages.writeUInt32LE(content.pages);
  return pages;
}

function encodeRows({ table, columns, rows }: RowsPage): Buffer {
  const parts: Buffer[] = [encodeName(table), u16(columns.length), ...columns.map(encodeName), u32(rows.length)];
  for (const row of rows) for (const cell of row) parts.push(...encodeCell(cell));
  return Buffer.concat(parts);
}

function encodeCell(cell: Cell): Buffer[] {
  if (cell === null) return [Buffer.of(0)];
  if (typeof cell === 'bigint') {
    const bytes = Buffer.alloc(9);
    bytes[0] = 1;
    bytes.writeBigInt64LE(cell, 1);
    return [bytes];
  }
  if (typeof cell === 'number') {
    const bytes = Buffer.alloc(9);
    bytes[0] = 2;
    bytes.writeDoubleLE(cell, 1);
    return [bytes];
  }
  const text = typeof cell === 'string';
  const content = text ? Buffer.from(cell, 'utf8') : Buffer.from(cell.buffer, cell.byteOffset, cell.byteLength);
  return [Buffer.of(text ? 3 : 4), u32(content.length), content];
}

function decodeRows(payload: Buffer): RowsPage {
  const reader = new Reader(payload);
  const table = reader.name();
  const columns = Array.from({ length: reader.u16() }, () => reader.name());
  const rows = Array.from({ length: reader.u32() }, () => columns.map(() => reader.cell()));
  return { table, columns, rows };
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u16(): number {
    this.#at += 2;
    return this.#bytes.readUInt16LE(this.#at - 2);
  }

  u32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32LE(this.#at - 4);
  }

  name(): string {
    return this.#take(this.u16()).toString('utf8');
  }

  cell(): Cell {
    const tag = this.#take(1)[0];
    if (tag === 0) return null;
    if (tag === 1) return this.#take(8).readBigInt64LE(0);
    if (tag === 2) return this.#take(8).readDoubleLE(0);
    const content = this.#take(this.u32());
    if (tag === 3) return content.toString('utf8');
    if (tag === 4) return content;
    throw new RangeError(`cell tag ${tag}`);
  }

  #take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw new RangeError('the page ends early');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

function encodeName(name: string): Buffer {
  const bytes = Buffer.from(name, 'utf8');
  return Buffer.concat([u16(bytes.length), bytes]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
