/**
 * Answers to plain requests as text, byte for byte as node:http would send them behind handleWrite and handleQuery, but
 * for their ids and dates.
 */
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { type ErrorForm, errorAnswer } from './influx-answer.ts';
import { influxVersion } from './influx-ping.ts';

/** Ends of ids: three hexadecimal digits. */
const ID_ENDS = Array.from({ length: 4096 }, (_, i) => i.toString(16).padStart(3, '0'));

/**
 * Ids in the form of UUIDs, each once: the first 24 characters are those of a random one, the other digits count. Random ones
 * for all would cost as much as the rest of an answer.
 */
class RequestIds {
  #begin = '';
  #blocks = 0;
  #next = ID_ENDS.length;

  take(): string {
    if (this.#next === ID_ENDS.length) {
      this.#next = 0;
      this.#begin = randomUUID().slice(0, 24) + (this.#blocks++).toString(16).padStart(9, '0');
    }
    return this.#begin + ID_ENDS[this.#next++]!;
  }
}

export class PlainAnswers {
  readonly #common: string;
  readonly #keepAlive: string;
  readonly #ids = new RequestIds();
  readonly #noContent: string;
  #second = 0;
  #date = '';
  /** What follows the ids of an answer without content, for the present second. */
  #noContentEnd = '';

  constructor(packageVersion: string, keepAliveMs: number) {
    this.#common = `X-Influxdb-Version: ${influxVersion(packageVersion)}\r\nX-Influxdb-Build: OSS\r\nRequest-Id: `;
    this.#noContent = `HTTP/1.1 204 No Content\r\n${this.#common}`;
    this.#keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n`;
  }

  /** All of it is ASCII. */
  noContent(isLast: boolean): string {
    const id = this.#ids.take();
    const end = this.#end(isLast);
    const rest = isLast ? `\r\nContent-Type: application/json\r\n${end}\r\n` : this.#noContentEnd;
    return `${this.#noContent}${id}\r\nX-Request-Id: ${id}${rest}`;
  }

  /** ASCII. `bytes`: the length of the body; null: it comes in chunks. */
  head(isLast: boolean, type: string, bytes: number | null): string {
    const begin = `${this.#begin(200)}Content-Type: ${type}\r\n`;
    if (bytes === null) return `${begin}${this.#end(isLast)}Transfer-Encoding: chunked\r\n\r\n`;
    return `${begin}Content-Length: ${bytes}\r\n${this.#end(isLast)}\r\n`;
  }

  error(isLast: boolean, status: number, message: string, form: ErrorForm): Buffer {
    const { headers, body } = errorAnswer(status, message, form);
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const bytes = Buffer.from(body);
    const head = `${this.#begin(status)}${lines}${this.#end(isLast)}Content-Length: ${bytes.length}\r\n\r\n`;
    return Buffer.concat([Buffer.from(head, 'latin1'), bytes]);
  }

  #begin(status: number): string {
    const id = this.#ids.take();
    return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n${this.#common}${id}\r\nX-Request-Id: ${id}\r\n`;
  }

  #end(isLast: boolean): string {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = `Date: ${new Date(now).toUTCString()}\r\n`;
      this.#noContentEnd = `\r\nContent-Type: application/json\r\n${this.#date}${this.#keepAlive}\r\n`;
    }
    return this.#date + (isLast ? 'Connection: close\r\n' : this.#keepAlive);
  }
}
