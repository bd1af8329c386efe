/** Clients that write made-up rows to a door in this process: what a node warms up with (warm-up.ts). */
import { connect, type Socket } from 'node:net';
import { SCRATCH_DATABASE } from './scratch-node.ts';

const TAGS = ',region=r1,datacenter=r1a,rack=7,os=linux,arch=x64,team=a,service=4,version=1,environment=test';
const FLOATS = 10;
const STAMP_DIGITS = 13;
const WRITTEN = 'HTTP/1.1 204';
/** Without a statement. */
const QUERY = Buffer.from('GET /query? HTTP/1.1\r\nHost: localhost\r\n\r\n');
const REFUSED = 'HTTP/1.1 400';

/** A request whose time stamps move on with each time that it is sent. */
export class WarmUpRequest {
  readonly #bytes: Buffer;
  readonly #stamps: readonly number[];

  /** `rest`: what follows them as it is. */
  private constructor(lines: readonly string[], rest = '') {
    // Milliseconds, as digits that are replaced.
    const body = lines.map((line) => `${line} ${'0'.repeat(STAMP_DIGITS)}000000\n`);
    const length = body.reduce((sum, line) => sum + line.length, rest.length);
    const head = `POST /write?db=${SCRATCH_DATABASE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n`;
    const stamps: number[] = [];
    let at = head.length;
    for (const line of body) {
      at += line.length;
      stamps.push(at - STAMP_DIGITS - 7);
    }
    this.#bytes = Buffer.from(head + body.join('') + rest, 'latin1');
    this.#stamps = stamps;
  }

  /** What agents send: ten floats of two decimals of each host. */
  static ofHosts(first: number, hosts: number): WarmUpRequest {
    const lines: string[] = [];
    for (let host = first; host < first + hosts; host++) {
      const fields: string[] = [];
      for (let field = 0; field < FLOATS; field++)
        fields.push(`f${field}=${(((host * 101 + field * 1_009) % 10_000) / 100).toFixed(2)}`);
      lines.push(`cpu,hostname=host_${host}${TAGS} ${fields.join()}`);
    }
    return new WarmUpRequest(lines);
  }

  /**
   * What exporters send: one value of each series, many measurements, and now and then another type, a comment, and a point of
   * another shard group.
   */
  static ofMetrics(first: number, series: number): WarmUpRequest {
    const lines: string[] = [];
    for (let i = 0; i < series; i++) {
      const value = i % 50 === 0 ? `${i}i` : ((i * 37) % 10_000) / 8;
      lines.push(`metric_${i % 50},job=node,instance=host_${first},part=p${i} value=${value}`);
    }
    return new WarmUpRequest(lines, `# late\n${lines[0]} 0\n`);
  }

  /** The same bytes each time: nothing is to be sent again before the answer is there. */
  at(ms: number): Buffer {
    const digits = String(ms);
    for (const stamp of this.#stamps) this.#bytes.write(digits, stamp, 'latin1');
    return this.#bytes;
  }
}

/** A connection that is kept. */
export class WarmUpClient {
  readonly #socket: Socket;
  #settle: ((problem: Error | null) => void) | null = null;
  #problem: Error | null = null;
  #expected = WRITTEN;

  constructor(port: number, host: string) {
    this.#socket = connect({ port, host, noDelay: true });
    this.#socket.on('data', (bytes: Buffer) => {
      const text = bytes.toString('latin1');
      this.#end(
        text.startsWith(this.#expected)
          ? null
          : new Error(`a made-up request was answered ${text.split('\r\n', 1)[0]}`),
      );
    });
    this.#socket.on('error', (error) => this.#break(error));
    this.#socket.on('close', () => this.#break(new Error('a made-up write was cut off')));
  }

  /** Resolves when it is written; rejects when it is not. */
  send(request: Buffer): Promise<void> {
    return this.#ask(request, WRITTEN);
  }

  /** Resolves when a query is refused: who reads requests sees both kinds. */
  query(): Promise<void> {
    return this.#ask(QUERY, REFUSED);
  }

  #ask(request: Buffer, expected: string): Promise<void> {
    this.#expected = expected;
    return new Promise((resolve, reject) => {
      this.#settle = (problem) => (problem === null ? resolve() : reject(problem));
      if (this.#problem === null) this.#socket.write(request);
      else this.#end(this.#problem);
    });
  }

  /** Resolves when the connection is closed: the other side ends it as that of any client that leaves. */
  leave(): Promise<void> {
    this.#socket.end();
    return new Promise((resolve) => {
      if (this.#socket.closed) resolve();
      else this.#socket.once('close', resolve);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #break(problem: Error): void {
    this.#problem ??= problem;
    this.#end(problem);
  }

  #end(problem: Error | null): void {
    const settle = this.#settle;
    this.#settle = null;
    settle?.(problem);
  }
}
