/**
 * Records of the outbox's segment files.
 *
 * Layout: u32 length of the payload · u32 CRC-32 of the payload, both big-endian · payload. Payload: u8 kind · u32 length
 * of header · header (JSON) · rest. Kinds: 1 entry (header: shard key, version, length of the frame, `r` when
 * acknowledgements before it count no longer; rest: frame, all keys), 2 acknowledgement (shard, version, members), 3 done
 * (shard, version), 4 debt (shard and its key `k`, version, destinations, and `n`, the number of batches, when it stands
 * for all debts of the shard before it), 5 debt ended (shard, version). A record that does not read as written is passed over.
 */
import { crc32 } from 'node:zlib';

export const ENTRY = 1;
export const ACKS = 2;
export const DONE = 3;
export const DEBT = 4;
export const DEBT_END = 5;
export const RECORD_HEAD = 8;

/** Visits every whole record; `end`: behind the last one. `damaged`: how often something else lay in between or behind. */
export function readRecords(
  view: Buffer,
  visit: (offset: number, payload: Buffer) => void,
): { end: number; damaged: number } {
  let end = 0;
  let damaged = 0;
  while (end < view.length) {
    const start = nextRecord(view, end);
    if (start !== end) damaged++;
    if (start < 0) break;
    const payload = view.subarray(start + RECORD_HEAD, start + RECORD_HEAD + view.readUInt32BE(start));
    visit(start + RECORD_HEAD, payload);
    end = start + RECORD_HEAD + payload.length;
  }
  return { end, damaged };
}

/** Start of the first whole record at or behind `from`; -1 when there is none. */
function nextRecord(view: Buffer, from: number): number {
  for (let at = from; at + RECORD_HEAD + 5 <= view.length; at++) {
    const length = view.readUInt32BE(at);
    const end = at + RECORD_HEAD + length;
    const kind = view[at + RECORD_HEAD]!;
    if (length < 5 || end > view.length || kind < ENTRY || kind > DEBT_END) continue;
    if (view.readUInt32BE(at + RECORD_HEAD + 1) > length - 5) continue;
    if (crc32(view.subarray(at + RECORD_HEAD, end)) === view.readUInt32BE(at + 4)) return at;
  }
  return -1;
}

export function formRecord(kind: number, header: object, rest: readonly Uint8Array[]): Uint8Array[] {
  const text = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(RECORD_HEAD + 5);
  head[RECORD_HEAD] = kind;
  head.writeUInt32BE(text.length, RECORD_HEAD + 1);
  let length = 5 + text.length;
  let crc = crc32(text, crc32(head.subarray(RECORD_HEAD)));
  for (const part of rest) {
    length += part.byteLength;
    crc = crc32(part, crc);
  }
  head.writeUInt32BE(length, 0);
  head.writeUInt32BE(crc, 4);
  return [head, text, ...rest];
}

/** Of a whole record; null when it does not read as written. */
export function payloadOf(record: Uint8Array): Uint8Array | null {
  const view = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  const payload = record.subarray(RECORD_HEAD);
  if (view.length < RECORD_HEAD || view.readUInt32BE(0) !== payload.byteLength) return null;
  return crc32(payload) === view.readUInt32BE(4) ? payload : null;
}

export function parseRecord(bytes: Uint8Array): { kind: number; header: unknown; rest: Uint8Array } | null {
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (payload.length < 5) return null;
  const end = 5 + payload.readUInt32BE(1);
  if (end > payload.length) return null;
  try {
    return { kind: payload[0]!, header: JSON.parse(payload.toString('utf8', 5, end)), rest: payload.subarray(end) };
  } catch {
    return null;
  }
}
