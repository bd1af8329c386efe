/**
 * Request bodies: read whole, bounded, and unpacked.
 */
import type { IncomingMessage } from 'node:http';
import { gunzip } from 'node:zlib';
import { FreedLater } from '../freed-buffers.ts';

/** A body that cannot be used; `status` and message are InfluxDB's. */
export class BodyError extends Error {
  readonly code: 'body-too-large' | 'body-damaged' | 'body-cut-off';
  readonly status: number;
  readonly retry = false;
  constructor(code: BodyError['code'], status: number, message: string) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Of a too large body this many times the limit is read over, so that the client gets to read the answer. */
const DISCARD_FACTOR = 8;
/** Pieces in which zlib hands back: the default of 16 kB costs a turn of the event loop each. */
const UNPACK_CHUNK_BYTES = 256 * 1024;

/**
 * The whole body; with `Content-Encoding: gzip` unpacked. The limit holds before and after unpacking.
 * `nothing`: what an empty body is under that header. It is damaged for a write; clients that pack their writes send the
 * header with queries as well, which have no body.
 */
export async function readBody(
  request: IncomingMessage,
  bytesMax: number,
  nothing: 'damaged' | 'empty' = 'damaged',
): Promise<Buffer> {
  const raw = joined(await readRaw(request, bytesMax));
  if (raw.length === 0 && nothing === 'empty') return raw;
  return isPacked(request) ? unpack(raw, bytesMax) : raw;
}

/** As `readBody`, in pieces as they came: who copies them anyway need not have them joined. */
export async function readPieces(request: IncomingMessage, bytesMax: number): Promise<readonly Uint8Array[]> {
  const pieces = await readRaw(request, bytesMax);
  return isPacked(request) ? [await unpackBody(pieces, bytesMax)] : pieces;
}

/** A gzip body that was read whole. Rejects with a BodyError. */
export function unpackBody(pieces: readonly Buffer[], bytesMax: number): Promise<Buffer> {
  return unpack(joined(pieces), bytesMax);
}

const freed = new FreedLater();

/** Frees the memory of pieces that nobody will read again: the garbage collector took as much time with it as parsing took. */
export function freePieces(pieces: readonly Uint8Array[]): void {
  freed.add(pieces);
}

function isPacked(request: IncomingMessage): boolean {
  const encoding = request.headers['content-encoding'];
  if (encoding === undefined) return false;
  const name = encoding.trim().toLowerCase();
  return name === 'gzip' || name === 'x-gzip';
}

function joined(pieces: readonly Buffer[]): Buffer {
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}

function tooLarge(): BodyError {
  return new BodyError('body-too-large', 413, 'Request Entity Too Large');
}

function readRaw(request: IncomingMessage, bytesMax: number): Promise<readonly Buffer[]> {
  return new Promise((resolve, reject) => {
    const announced = Number(request.headers['content-length'] ?? 0);
    if (announced > bytesMax * DISCARD_FACTOR) {
      reject(tooLarge());
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    const cutOff = (): void => reject(new BodyError('body-cut-off', 400, 'unexpected EOF'));
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= bytesMax) chunks.push(chunk);
      else {
        chunks.length = 0;
        if (bytes > bytesMax * DISCARD_FACTOR) {
          request.pause();
          reject(tooLarge());
        }
      }
    });
    request.on('end', () => {
      if (bytes > bytesMax) reject(tooLarge());
      else resolve(chunks);
    });
    request.on('error', cutOff);
    request.on('close', () => {
      if (!request.complete) cutOff();
    });
  });
}

function unpack(packed: Buffer, bytesMax: number): Promise<Buffer> {
  if (packed.length === 0) return Promise.reject(new BodyError('body-damaged', 400, 'EOF'));
  return new Promise((resolve, reject) => {
    gunzip(packed, { maxOutputLength: bytesMax, chunkSize: UNPACK_CHUNK_BYTES }, (error, body) => {
      if (error === null) resolve(body);
      else reject(unpackError(error, packed.length));
    });
  });
}

/** Magic, method, flags, time and system: the shortest thing that can be told from noise. */
const GZIP_HEADER_BYTES = 10;

function unpackError(error: NodeJS.ErrnoException, packedBytes: number): BodyError {
  if (error.code === 'ERR_BUFFER_TOO_LARGE') return tooLarge();
  if (error.code === 'Z_BUF_ERROR' || packedBytes < GZIP_HEADER_BYTES) {
    return new BodyError('body-damaged', 400, 'unexpected EOF');
  }
  const header = error.message === 'incorrect header check' || error.message === 'unknown compression method';
  return new BodyError('body-damaged', 400, header ? 'gzip: invalid header' : 'gzip: invalid checksum');
}
