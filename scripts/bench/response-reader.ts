/**
 * The part of HTTP/1.1 that a benchmark's client needs: responses one after the other on a connection, with
 * Content-Length or chunked, cut anywhere. It costs a scan of the head and nothing else, so that what is measured is the
 * server.
 */
const LF = 10;
const HEAD_BYTES_MAX = 64 * 1024;

type State = 'head' | 'body' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer';

export interface Response {
  readonly status: number;
  readonly head: string;
  readonly body: Buffer;
}

export class ResponseReader {
  readonly #onResponse: (response: Response) => void;
  #state: State = 'head';
  #head = '';
  #line = '';
  #status = 0;
  /** Bytes of the body or chunk that are still to come. */
  #rest = 0;
  #parts: Buffer[] = [];

  constructor(onResponse: (response: Response) => void) {
    this.#onResponse = onResponse;
  }

  /** Nothing of a response has been read: the connection may close here. */
  get atStart(): boolean {
    return this.#state === 'head' && this.#head === '';
  }

  /** The bytes may be overwritten afterwards. Throws when they are not HTTP. */
  feed(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      switch (this.#state) {
        case 'head':
          at = this.#readHead(bytes, at);
          break;
        case 'body':
        case 'chunk':
          at = this.#readBytes(bytes, at);
          break;
        default:
          at = this.#readLine(bytes, at);
      }
    }
  }

  #readHead(bytes: Buffer, from: number): number {
    // The end may have been cut in two, so the text before it belongs to the search.
    const known = this.#head.length;
    this.#head += bytes.toString('latin1', from, bytes.length);
    const end = this.#head.indexOf('\r\n\r\n', Math.max(0, known - 3));
    if (end < 0) {
      if (this.#head.length > HEAD_BYTES_MAX) throw new Error('the head of a response does not end');
      return bytes.length;
    }
    const used = end + 4 - known;
    this.#head = this.#head.slice(0, end);
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(this.#head);
    if (status === null) throw new Error(`not a response: ${this.#head.slice(0, 80)}`);
    this.#status = Number(status[1]);
    const length = /\r\ncontent-length:[ \t]*(\d+)/i.exec(this.#head);
    if (this.#status < 200) {
      this.#head = ''; // 100 Continue: the response itself follows
    } else if (this.#status === 204 || this.#status === 304) this.#finish();
    else if (/\r\ntransfer-encoding:[ \t]*chunked/i.test(this.#head)) this.#state = 'chunk-size';
    else if (length === null) throw new Error('a response with neither Content-Length nor chunks');
    else {
      this.#rest = Number(length[1]);
      this.#state = 'body';
      if (this.#rest === 0) this.#finish();
    }
    return from + used;
  }

  #readBytes(bytes: Buffer, from: number): number {
    const to = Math.min(bytes.length, from + this.#rest);
    this.#parts.push(Buffer.from(bytes.subarray(from, to)));
    this.#rest -= to - from;
    if (this.#rest === 0) {
      if (this.#state === 'body') this.#finish();
      else this.#state = 'chunk-end';
    }
    return to;
  }

  #readLine(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(LF, from);
    const to = end < 0 ? bytes.length : end;
    this.#line += bytes.toString('latin1', from, to);
    if (end < 0) return bytes.length;
    const line = this.#line.replace('\r', '');
    this.#line = '';
    if (this.#state === 'chunk-end') this.#state = 'chunk-size';
    else if (this.#state === 'trailer') {
      if (line === '') this.#finish();
    } else {
      if (!/^[0-9a-f]+/i.test(line)) throw new Error(`not the size of a chunk: ${line.slice(0, 40)}`);
      this.#rest = Number.parseInt(line, 16);
      this.#state = this.#rest === 0 ? 'trailer' : 'chunk';
    }
    return end + 1;
  }

  #finish(): void {
    const response = { status: this.#status, head: this.#head, body: Buffer.concat(this.#parts) };
    this.#state = 'head';
    this.#head = '';
    this.#parts = [];
    this.#onResponse(response);
  }
}
