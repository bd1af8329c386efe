/**
 * The points of a write that was taken, as subscribers get them: one line each, as it came, with its time in nanoseconds.
 *
 * The body is copied when the write is answered, and read when somebody is to get it: a write costs its copy and no
 * more. Lines that could not be read when they were written are left out here, too.
 */
import { UNIT_NS } from '../../shards/line-protocol.ts';
import { endOfLine, LineSyntaxError, parseLineCarefully, skipBlanks } from '../../shards/line-protocol-careful.ts';
import type { Steps } from '../../shards/steps.ts';
import type { WriteRequest } from '../http/influx-write.ts';

const NEWLINE = 10;
const HASH = 35;
/** Lines that are read in one step. */
const STEP_LINES = 200;

export class ForwardedWrite {
  readonly points: number;
  readonly bytes: number;
  readonly #body: Buffer;
  readonly #unitNs: bigint;
  /** Of points without a time. */
  readonly #timeNs: bigint;
  #lines: Promise<readonly string[]> | null = null;

  constructor({ body, precision, nowNs }: Pick<WriteRequest, 'body' | 'precision' | 'nowNs'>, points: number) {
    this.points = points;
    this.#body = Buffer.concat(body);
    this.bytes = this.#body.length;
    this.#unitNs = UNIT_NS[precision];
    this.#timeNs = nowNs - (nowNs % this.#unitNs);
  }

  /** Read once, however many get them; `inTurns` runs the steps beside other work. */
  lines(inTurns: (steps: Steps<string[]>) => Promise<string[]>): Promise<readonly string[]> {
    this.#lines ??= inTurns(this.#read());
    return this.#lines;
  }

  *#read(): Steps<string[]> {
    const body = this.#body;
    const lines: string[] = [];
    let left = STEP_LINES;
    for (let at = 0; at < body.length; ) {
      let end = endOfLine(body, at);
      const start = skipBlanks(body, at, end);
      at = end + 1;
      if (start >= end || body[start] === HASH) continue;
      if (body[end - 1] === NEWLINE) end--;
      const line = this.#line(start, end);
      if (line !== null) lines.push(line);
      if (--left > 0) continue;
      left = STEP_LINES;
      yield;
    }
    return lines;
  }

  #line(start: number, end: number): string | null {
    try {
      const { timeNs, fieldsEnd } = parseLineCarefully(this.#body, start, end, this.#unitNs);
      return `${this.#body.toString('utf8', start, fieldsEnd)} ${timeNs ?? this.#timeNs}`;
    } catch (error) {
      if (error instanceof LineSyntaxError) return null;
      throw error;
    }
  }
}
