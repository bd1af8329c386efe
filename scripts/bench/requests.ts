/**
 * Write requests, whole (head and body) and ready to be sent, in a few large buffers.
 *
 * The load generator shares the machine's cores with the server that it measures, so nothing is made while the clock
 * runs: sending a request is handing a view of such a buffer to a socket. Every line ends in a time stamp of 19 digits,
 * whose place is remembered: `advance` moves all of them, so that a long load needs only a short stretch of data.
 */
const SLAB_BYTES = 64 * 1024 * 1024;
/** Room in front of a body, in which its head is written once the body's length is known. */
const HEAD_BYTES_MAX = 160;
const SECONDS_DIGITS = 10;
const ZERO = 48;
const NINE_ZEROS_AND_END = Buffer.from('000000000\n');

export const DATABASE = 'bench';

interface Slab {
  readonly bytes: Buffer;
  /** Offsets of the seconds of each line's time stamp. */
  stamps: Uint32Array;
  stampCount: number;
}

/** Lines are written at `at` into `bytes`, one after the other, each closed by `endLine`. */
export class RequestWriter {
  bytes: Buffer;
  at: number;
  readonly #rowsPerBody: number;
  readonly #bodyBytesMax: number;
  readonly #slabs: Slab[] = [];
  readonly #requests: Buffer[] = [];
  readonly #bodies: { slab: number; start: number; end: number }[] = [];
  #slab!: Slab;
  #bodyStart = 0;
  #rowsInBody = 0;

  constructor(rowsPerBody: number, lineBytesMax: number) {
    this.#rowsPerBody = rowsPerBody;
    this.#bodyBytesMax = rowsPerBody * lineBytesMax + HEAD_BYTES_MAX;
    this.bytes = Buffer.alloc(0);
    this.at = 0;
    this.#openBody();
  }

  text(text: string): void {
    this.at += this.bytes.write(text, this.at, 'latin1');
  }

  copy(source: Uint8Array): void {
    this.bytes.set(source, this.at);
    this.at += source.length;
  }

  byte(code: number): void {
    this.bytes[this.at++] = code;
  }

  /** A whole number below 2^53, in decimal. */
  integer(value: number): void {
    if (value < 0) {
      this.byte(45);
      value = -value;
    }
    let digits = 1;
    for (let bound = 10; value >= bound; bound *= 10) digits++;
    let rest = value;
    for (let place = this.at + digits - 1; place >= this.at; place--) {
      const next = Math.floor(rest / 10);
      this.bytes[place] = ZERO + (rest - next * 10);
      rest = next;
    }
    this.at += digits;
  }

  /** `1234` as `12.34`. */
  hundredths(value: number): void {
    const whole = Math.floor(value / 100);
    const rest = value - whole * 100;
    this.integer(whole);
    this.bytes[this.at] = 46;
    this.bytes[this.at + 1] = ZERO + Math.floor(rest / 10);
    this.bytes[this.at + 2] = ZERO + (rest % 10);
    this.at += 3;
  }

  /** The time stamp and the end of the line. Seconds since 1970, of ten digits (2001 to 2286). */
  endLine(seconds: number): void {
    this.byte(32);
    const slab = this.#slab;
    if (slab.stampCount === slab.stamps.length) {
      const larger = new Uint32Array(slab.stamps.length * 2);
      larger.set(slab.stamps);
      slab.stamps = larger;
    }
    slab.stamps[slab.stampCount++] = this.at;
    this.integer(seconds);
    this.copy(NINE_ZEROS_AND_END);
    if (++this.#rowsInBody === this.#rowsPerBody) {
      this.#closeBody();
      this.#openBody();
    }
  }

  finish(): Requests {
    if (this.#rowsInBody > 0) this.#closeBody();
    for (const { slab, start, end } of this.#bodies) this.#requests.push(this.#slabs[slab]!.bytes.subarray(start, end));
    return new Requests(this.#requests, this.#slabs);
  }

  #openBody(): void {
    if (this.bytes.length - this.at < this.#bodyBytesMax) {
      const bytes = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, this.#bodyBytesMax));
      this.#slab = { bytes, stamps: new Uint32Array(4096), stampCount: 0 };
      this.#slabs.push(this.#slab);
      this.bytes = bytes;
      this.at = 0;
    }
    this.#bodyStart = this.at + HEAD_BYTES_MAX;
    this.at = this.#bodyStart;
    this.#rowsInBody = 0;
  }

  /** The same head for every system: what differs between them is the port alone. */
  #closeBody(): void {
    const length = this.at - this.#bodyStart;
    const head = `POST /write?db=${DATABASE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${length}\r\n\r\n`;
    const start = this.#bodyStart - head.length;
    this.bytes.write(head, start, 'latin1');
    this.#bodies.push({ slab: this.#slabs.length - 1, start, end: this.at });
  }
}

export class Requests {
  readonly all: readonly Buffer[];
  readonly #slabs: readonly Slab[];

  constructor(all: readonly Buffer[], slabs: readonly Slab[]) {
    this.all = all;
    this.#slabs = slabs;
  }

  get bytes(): number {
    return this.all.reduce((sum, request) => sum + request.length, 0);
  }

  /** Moves every time stamp by so many seconds. */
  advance(seconds: number): void {
    for (const { bytes, stamps, stampCount } of this.#slabs) {
      for (let index = 0; index < stampCount; index++) {
        const at = stamps[index]!;
        let value = 0;
        for (let digit = 0; digit < SECONDS_DIGITS; digit++) value = value * 10 + bytes[at + digit]! - ZERO;
        value += seconds;
        for (let digit = SECONDS_DIGITS - 1; digit >= 0; digit--) {
          bytes[at + digit] = ZERO + (value % 10);
          value = Math.floor(value / 10);
        }
      }
    }
  }
}
