/**
 * Heads of plain writes: the ones that agents send thousands of times a second, read without a general HTTP parser.
 *
 * A head is plain when nothing in it can change what node:http would make of the request: POST /write?... HTTP/1.1, lines
 * that end in CRLF, printable ASCII, each header at most once and one of `PLAIN_HEADERS`, a host, a length of the body in
 * digits alone within the limit, parameters that are right. Whatever is not is for node:http: two readers that differ
 * about where a request ends would be a hole (request smuggling), so this one never guesses.
 */
import { parametersOf, type WriteLimits, type WriteParameters } from './influx-write.ts';

/** Longer heads are not plain; node:http takes up to 16 KiB. */
export const HEAD_BYTES_MAX = 4096;

export interface WriteHead {
  readonly parameters: WriteParameters;
  /** Of the body as it is sent. */
  readonly bodyBytes: number;
  /** The body is gzip. */
  readonly isPacked: boolean;
}

/** Agents repeat their heads but for the length, and one that was read before is found by its text. */
const HEADS_KEPT_MAX = 2048;
const HEAD_KEPT_BYTES_MAX = 1024;

const REQUEST_LINE = /^POST (\/write\?[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*) HTTP\/1\.1$/;
const HEADER_LINE = /^([A-Za-z-]+): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)$/;
const LENGTH = /^\d{1,15}$/;
const PACKED: ReadonlySet<string> = new Set(['gzip', 'x-gzip']);

/** Those that nobody looks at, and of the others the values that are understood here. */
const PLAIN_HEADERS: ReadonlyMap<string, (value: string) => boolean> = new Map<string, (value: string) => boolean>([
  ['host', () => true],
  ['user-agent', () => true],
  ['accept', () => true],
  ['accept-encoding', () => true],
  ['accept-language', () => true],
  ['authorization', () => true],
  ['content-type', () => true],
  ['content-length', (value) => LENGTH.test(value)],
  ['content-encoding', (value) => value === 'identity' || PACKED.has(value)],
  ['connection', (value) => value.toLowerCase() === 'keep-alive'],
]);

export class WriteHeads {
  readonly #limits: WriteLimits;
  readonly #kept = new Map<string, WriteHead>();

  constructor(limits: WriteLimits) {
    this.#limits = limits;
  }

  /** `text`: the head without the line ends at its end. null: not plain. */
  read(text: string): WriteHead | null {
    const known = this.#kept.get(text);
    if (known !== undefined) return known;
    const head = parse(text, this.#limits);
    if (head !== null && text.length <= HEAD_KEPT_BYTES_MAX) {
      if (this.#kept.size >= HEADS_KEPT_MAX) this.#kept.clear();
      this.#kept.set(text, head);
    }
    return head;
  }
}

function parse(text: string, limits: WriteLimits): WriteHead | null {
  const [requestLine, ...lines] = text.split('\r\n');
  const target = REQUEST_LINE.exec(requestLine!)?.[1];
  if (target === undefined || !URL.canParse(target, 'http://node')) return null;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) return null;
    const key = name.toLowerCase();
    if (headers.has(key) || PLAIN_HEADERS.get(key)?.(value) !== true) return null;
    headers.set(key, value);
  }
  const length = headers.get('content-length');
  if (length === undefined || !headers.has('host')) return null;
  const bodyBytes = Number(length);
  const parameters = parametersOf(new URL(target, 'http://node'), limits);
  // A receipt is an answer of another form.
  if (bodyBytes > limits.bodyBytesMax || typeof parameters === 'string' || parameters.receipt) return null;
  return { parameters, bodyBytes, isPacked: PACKED.has(headers.get('content-encoding') ?? '') };
}
