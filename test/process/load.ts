/**
 * A load whose every row can be accounted for afterwards.
 *
 * Body b holds `rowsPerBody` rows in its own 100 ms of time, row i with the field `seq = b * rowsPerBody + i`. So one
 * query `GROUP BY time(100ms)` says for each body how many of its rows are there and what they add up to. A body that
 * was acknowledged must be whole; one that was refused or cut off may be there in part or not at all.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Agent, request } from 'undici';

export const BODY_SPAN_MS = 100;
const WRITE_TIMEOUT_MS = 15_000;

export interface LoadOptions {
  readonly database: string;
  readonly rowsPerBody: number;
  readonly series: number;
  /** Length of a text field beside the numbers, for rows that fill memory sooner; none by default. */
  readonly noteBytes?: number;
  /** Milliseconds since 1970 of the first row; a whole multiple of `BODY_SPAN_MS`. */
  readonly startMs: number;
  readonly random: () => number;
  /** Nodes that may be written to at the moment. */
  targets(): readonly string[];
}

export class Load {
  readonly acknowledged = new Set<number>();
  readonly unknown = new Set<number>();
  /** When the last body was acknowledged. */
  lastAcknowledgedMs = 0;
  #options: LoadOptions;
  #next = 0;
  #agent = new Agent({ connections: 8, pipelining: 1 });

  constructor(options: LoadOptions) {
    if (options.startMs % BODY_SPAN_MS !== 0)
      throw new Error(`startMs ${options.startMs}: no multiple of ${BODY_SPAN_MS}`);
    this.#options = options;
  }

  get bodies(): number {
    return this.#next;
  }

  /** Sends a body every `BODY_SPAN_MS` to a random target until `until` resolves; bodies may overlap. */
  async run(until: Promise<unknown>): Promise<void> {
    let over = false;
    void until.then(() => {
      over = true;
    });
    const sending: Promise<void>[] = [];
    let due = Date.now();
    while (!over) {
      sending.push(this.#send(this.#next++));
      due += BODY_SPAN_MS;
      await wait(Math.max(0, due - Date.now()));
    }
    await Promise.all(sending);
  }

  /** Keeps `senders` bodies under way, each followed by the next at once, until `until` resolves. */
  async flood(until: Promise<unknown>, senders: number): Promise<void> {
    let over = false;
    void until.then(() => {
      over = true;
    });
    const send = async () => {
      while (!over) await this.#send(this.#next++);
    };
    await Promise.all(Array.from({ length: senders }, send));
  }

  /** One body, now; true when it was acknowledged. */
  async once(): Promise<boolean> {
    const body = this.#next++;
    await this.#send(body);
    return this.acknowledged.has(body);
  }

  async #send(body: number): Promise<void> {
    const targets = this.#options.targets();
    const url = targets[Math.floor(this.#options.random() * targets.length)];
    this.unknown.add(body);
    if (url === undefined) return;
    try {
      const response = await request(`${url}/write?db=${this.#options.database}&precision=u`, {
        method: 'POST',
        body: this.#lines(body),
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(WRITE_TIMEOUT_MS),
      });
      await response.body.text();
      if (response.statusCode !== 204) return;
      this.unknown.delete(body);
      this.acknowledged.add(body);
      this.lastAcknowledgedMs = Date.now();
    } catch {
      // The node died under it: unknown.
    }
  }

  #lines(body: number): string {
    const { rowsPerBody, series, startMs, noteBytes = 0 } = this.#options;
    const lines: string[] = [];
    for (let row = 0; row < rowsPerBody; row++) {
      const seq = body * rowsPerBody + row;
      const atMicros = (startMs + body * BODY_SPAN_MS) * 1000 + row;
      const note = noteBytes > 0 ? `,note="${`${seq} `.repeat(noteBytes).slice(0, noteBytes)}"` : '';
      lines.push(
        `load,host=h${seq % series},zone=z${seq % 7} seq=${seq}i,level=${(seq % 1000) / 10}${note} ${atMicros}`,
      );
    }
    return `${lines.join('\n')}\n`;
  }

  /** What is wrong with the rows that this node has, body by body; empty when nothing is. */
  async check(url: string): Promise<string[]> {
    const { database, rowsPerBody, startMs, noteBytes = 0 } = this.#options;
    const from = startMs;
    const to = startMs + this.#next * BODY_SPAN_MS;
    const found = new Map<number, { count: number; sum: number }>();
    const counted = noteBytes > 0 ? 'note' : 'seq';
    const query = `SELECT count(${counted}), sum(seq) FROM load WHERE time >= ${from}ms AND time < ${to}ms GROUP BY time(${BODY_SPAN_MS}ms) fill(none)`;
    const parameters = new URLSearchParams({ db: database, epoch: 'ms', q: query, completeness: '1' });
    const response = await request(`${url}/query?${parameters}`);
    const answer = (await response.body.json()) as {
      results: {
        error?: string;
        series?: { values: [number, number, number][] }[];
        completeness?: { complete: boolean };
      }[];
    };
    const [result] = answer.results;
    if (result?.error !== undefined) return [`${url}: ${result.error}`];
    if (result?.completeness?.complete !== true) return [`${url}: the answer is not complete`];
    for (const [time, count, sum] of result.series?.[0]?.values ?? [])
      found.set((time - startMs) / BODY_SPAN_MS, { count, sum });
    const problems: string[] = [];
    for (let body = 0; body < this.#next; body++) {
      const { count, sum } = found.get(body) ?? { count: 0, sum: 0 };
      const whole = rowsPerBody * body * rowsPerBody + (rowsPerBody * (rowsPerBody - 1)) / 2;
      if (this.acknowledged.has(body) && (count !== rowsPerBody || sum !== whole)) {
        problems.push(
          `${url}: body ${body} was acknowledged, but has ${count} of ${rowsPerBody} rows, sum ${sum} instead of ${whole}`,
        );
      } else if (count > rowsPerBody) {
        problems.push(`${url}: body ${body} has ${count} rows, more than the ${rowsPerBody} that were sent`);
      }
    }
    return problems;
  }

  async close(): Promise<void> {
    await this.#agent.close();
  }
}
