/**
 * Bytes that may be deflated: level 1, and only when that saves at least an eighth.
 * Layout: byte codec (0 plain, 1 raw deflate); varint length; deflated: varint deflated length; bytes.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { type ByteReader, type ByteWriter, damaged } from './bytes.ts';

const PLAIN = 0;
const DEFLATED = 1;
/** Below this no saving is worth the call. */
const DEFLATE_BYTES_MIN = 64;
/** Deflate cannot do better than about 1 : 1032, so a longer claim is a lie and nothing is allocated for it. */
const DEFLATE_RATIO_MAX = 1040;

export function writeDeflated(writer: ByteWriter, bytes: Uint8Array): void {
  if (bytes.length >= DEFLATE_BYTES_MIN) {
    const small = deflateRawSync(bytes, { level: 1 });
    if (small.length < bytes.length - (bytes.length >>> 3)) {
      writer.u8(DEFLATED);
      writer.varint(bytes.length);
      writer.varint(small.length);
      writer.raw(small);
      return;
    }
  }
  writer.u8(PLAIN);
  writer.varint(bytes.length);
  writer.raw(bytes);
}

export function readDeflated(reader: ByteReader): Uint8Array {
  const codec = reader.u8();
  if (codec === PLAIN) return reader.raw(reader.count(reader.left, 'bytes'));
  if (codec !== DEFLATED) throw damaged(`codec ${codec}`);
  const length = reader.varint();
  const small = reader.raw(reader.count(reader.left, 'deflated bytes'));
  if (length > small.length * DEFLATE_RATIO_MAX) throw damaged(`${length} bytes claimed for ${small.length} deflated`);
  let bytes: Uint8Array;
  try {
    bytes = inflateRawSync(small, { maxOutputLength: Math.max(length, 1) });
  } catch (error) {
    throw damaged(`deflated section: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (bytes.length !== length) throw damaged(`${bytes.length} bytes inflated, not ${length}`);
  return bytes;
}
