/** The body of a plain request, in pieces as they came, and the memory that they lie in. */
import { freePieces } from './body.ts';
import type { Segment, Segments } from './segments.ts';

/** Pieces are joined above this: a body that comes byte by byte must not cost an object for each. */
const PIECES_MAX = 256;

export class PlainBody {
  pieces: Buffer[] = [];
  /** What came from the socket for this request alone. */
  #chunks: Buffer[] = [];
  #segments: Segment[] | null = null;
  readonly #pool: Segments;

  constructor(pool: Segments) {
    this.#pool = pool;
  }

  add(piece: Buffer): void {
    this.pieces.push(piece);
    if (this.pieces.length > PIECES_MAX) this.#join();
  }

  /** The piece lies in a segment, which is the body's from now on. */
  addSegment(piece: Buffer, segment: Segment): void {
    this.#segments ??= [];
    this.#segments.push(segment);
    this.add(piece);
  }

  /** Memory that is freed with the body. */
  own(chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  /** Nobody will read the pieces again. */
  free(): void {
    freePieces(this.#chunks);
    this.#giveSegments();
    this.pieces = [];
    this.#chunks = [];
  }

  #join(): void {
    const whole = Buffer.concat(this.pieces);
    this.free();
    this.pieces = [whole];
    this.#chunks = [whole];
  }

  #giveSegments(): void {
    if (this.#segments === null) return;
    for (const segment of this.#segments) this.#pool.give(segment);
    this.#segments = null;
  }
}
