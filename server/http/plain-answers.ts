/**
 * Answers to plain requests as text, byte for byte as node:http would send them behind handleWrite and handleQuery, but
 * for their ids and dates.
 */
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { type ErrorForm, errorAnswer } from './influx-answer.ts';
import { influxVersion } from './influx-ping.ts';

export class PlainAnswers {
  readonly #common: string;
  readonly #keepAlive: string;
  #second = 0;
  #date = '';

  constructor(packageVersion: string, keepAliveMs: number) {
    this.#common = `X-Influxdb-Version: ${influxVersion(packageVersion)}\r\nX-Influxdb-Build: OSS\r\nRequest-Id: `;
    this.#keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveMs / 1000)}\r\n`;
  }

  /** All of it is ASCII. */
  noContent(isLast: boolean): string {
    return `${this.#begin(204)}Content-Type: application/json\r\n${this.#end(isLast)}\r\n`;
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
    const id = randomUUID();
    return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n${this.#common}${id}\r\nX-Request-Id: ${id}\r\n`;
  }

  #end(isLast: boolean): string {
    const now = Date.now();
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = `Date: ${new Date(now).toUTCString()}\r\n`;
    }
    return this.#date + (isLast ? 'Connection: close\r\n' : this.#keepAlive);
  }
}
