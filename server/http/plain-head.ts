/**
 * Heads of plain requests: the writes that agents send thousands of times a second and the queries of dashboards, read
 * without a general HTTP parser.
 *
 * A head is plain when nothing in it can change what node:http would make of the request: POST /write?... or
 * /api/v2/write?..., GET or POST /query?..., HTTP/1.1, lines that end in CRLF, printable ASCII, each header at most once and one of `PLAIN_HEADERS`, a
 * host, a length of the body in digits alone within the limit, for a write parameters that are right. Whatever is not is
 * for node:http: two readers that differ about where a request ends would be a hole (request smuggling), so this one
 * never guesses.
 */
import { WRITE_V1, type WriteApi, type WriteLimits, type WriteParameters } from './influx-write.ts';
import { wantsCsv } from './query-answer.ts';
import { fieldsOfQuery } from './query-parameters.ts';
import { WRITE_V2 } from './v2-write.ts';

/** Longer heads are not plain; node:http takes up to 16 KiB. */
export const HEAD_BYTES_MAX = 4096;

export interface WriteHead {
  readonly kind: 'write';
  readonly api: WriteApi;
  readonly parameters: WriteParameters;
  readonly bodyBytesMax: number;
  /** The body is gzip. */
  readonly isPacked: boolean;
}

export interface QueryHead {
  readonly kind: 'query';
  readonly method: string;
  /** Of the URL. */
  readonly fields: Map<string, string>;
  /** Of its form. */
  readonly bodyBytesMax: number;
  readonly contentType: string;
  readonly csv: boolean;
}

export type PlainHead = WriteHead | QueryHead;

/** A head apart from the length that it says. */
export interface ReadHead {
  readonly head: PlainHead;
  /** Of the body as it is sent. */
  readonly bodyBytes: number;
}

export interface HeadLimits {
  readonly write: WriteLimits;
  readonly queryBodyBytesMax: number;
}

/** Clients repeat their heads, but for lengths and queries: what was read before is found by its text without them. */
const KEPT_MAX = 2048;
const KEPT_BYTES_MAX = 1024;

const REQUEST_LINE = /^(POST|GET) (\/(?:write|query|api\/v2\/write)\?[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*) HTTP\/1\.1$/;
const HEADER_LINE = /^([A-Za-z-]+): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)$/;
const LENGTH = /^\d{1,15}$/;
const LENGTH_LINE = /(\r\nContent-Length: )(\d{1,15})(?=\r\n|$)/i;
const PACKED: ReadonlySet<string> = new Set(['gzip', 'x-gzip']);
const QUERY_PATH = '/query?';
const WRITE_V1_PATH = '/write?';

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

type Headers = ReadonlyMap<string, string>;

export class PlainHeads {
  readonly #limits: HeadLimits;
  readonly #writes = new Kept<WriteHead>();
  /** By the text of all header lines; null: not plain. */
  readonly #headers = new Kept<Headers | null>();

  constructor(limits: HeadLimits) {
    this.#limits = limits;
  }

  /** `text`: the head without the line ends at its end. null: not plain. */
  read(text: string): ReadHead | null {
    const line = LENGTH_LINE.exec(text);
    if (line === null) return this.#readWith(text, 0);
    const before = text.slice(0, line.index + line[1]!.length);
    const behind = text.slice(line.index + line[0].length);
    return this.#readWith(`${before}0${behind}`, Number(line[2]));
  }

  /** `text`: as if the body were empty, so that bodies of any length have the same. */
  #readWith(text: string, bodyBytes: number): ReadHead | null {
    const head = this.#writes.get(text) ?? this.#look(text);
    return head === null || bodyBytes > head.bodyBytesMax ? null : { head, bodyBytes };
  }

  #look(text: string): PlainHead | null {
    const lineEnd = text.indexOf('\r\n');
    const [, method, target] = REQUEST_LINE.exec(lineEnd < 0 ? text : text.slice(0, lineEnd)) ?? [];
    if (method === undefined || target === undefined || lineEnd < 0) return null;
    const headers = this.#headersOf(text.slice(lineEnd + 2));
    if (headers === null) return null;
    if (target.startsWith(QUERY_PATH)) return queryHead(method, target, headers, this.#limits.queryBodyBytesMax);
    const head = method === 'POST' ? writeHead(target, headers, this.#limits.write) : null;
    if (head !== null) this.#writes.set(text, head);
    return head;
  }

  #headersOf(lines: string): Headers | null {
    let headers = this.#headers.get(lines);
    if (headers === undefined) {
      headers = headersIn(lines);
      this.#headers.set(lines, headers);
    }
    return headers;
  }
}

class Kept<T> {
  readonly #byText = new Map<string, T>();

  get(text: string): T | undefined {
    return this.#byText.get(text);
  }

  set(text: string, value: T): void {
    if (text.length > KEPT_BYTES_MAX) return;
    if (this.#byText.size >= KEPT_MAX) this.#byText.clear();
    this.#byText.set(text, value);
  }
}

function headersIn(lines: string): Headers | null {
  const headers = new Map<string, string>();
  for (const line of lines.split('\r\n')) {
    const [, name, value] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) return null;
    const key = name.toLowerCase();
    if (headers.has(key) || PLAIN_HEADERS.get(key)?.(value) !== true) return null;
    headers.set(key, value);
  }
  return headers.has('host') ? headers : null;
}

function writeHead(target: string, headers: Headers, limits: WriteLimits): WriteHead | null {
  if (!headers.has('content-length') || !URL.canParse(target, 'http://node')) return null;
  const api = target.startsWith(WRITE_V1_PATH) ? WRITE_V1 : WRITE_V2;
  const parameters = api.parametersOf(new URL(target, 'http://node'), limits);
  // A receipt is an answer of another form.
  if (typeof parameters === 'string' || parameters.receipt) return null;
  const { bodyBytesMax } = limits;
  return { kind: 'write', api, parameters, bodyBytesMax, isPacked: isPacked(headers) };
}

function isPacked(headers: Headers): boolean {
  return PACKED.has(headers.get('content-encoding') ?? '');
}

/** The characters of a plain target are those that no URL parser changes, so its query is read as it is. */
function queryHead(method: string, target: string, headers: Headers, formBytesMax: number): QueryHead {
  return {
    kind: 'query',
    method,
    fields: fieldsOfQuery(target.slice(QUERY_PATH.length)),
    // Only a form that comes with a POST is looked at, and node:http unpacks it.
    bodyBytesMax: method === 'POST' && !isPacked(headers) ? formBytesMax : 0,
    contentType: headers.get('content-type') ?? '',
    csv: wantsCsv(headers.get('accept') ?? ''),
  };
}
