/** Support: /query and /ping behind a loopback server, with a query service that answers what a test says. */
import { handlePing, setInfluxHeaders } from '../../server/http/influx-ping.ts';
import { handleQuery } from '../../server/http/influx-query.ts';
import type { QueryOptions, QueryService, ResultSeries, StatementResult } from '../../server/query/result.ts';
import { type Answer, type Door, openDoor, type SendOptions } from './door.ts';

export const DATABASES: ResultSeries = {
  name: 'databases',
  columns: ['name'],
  timeColumn: -1,
  values: [['t'], ['<x>']],
};
export const ALL: ResultSeries = {
  name: 'm',
  tags: { h: 'a' },
  columns: ['time', 'b', 'f', 'i', 's'],
  timeColumn: 0,
  values: [
    [-1n, null, 1e21, -9223372036854775808n, null],
    [1n, true, 1, 3n, '<a&b> "q", x\ny'],
  ],
};
export const TIMES: ResultSeries = {
  name: 'm',
  columns: ['time', 'f'],
  timeColumn: 0,
  values: [
    [-9223372036854775806n, 0.000001],
    [-62135596800n, -0],
    [-1500000000n, 1],
    [-1n, 1e21],
    [1n, 1],
    [1500n, 3],
    [1600000000120000000n, 123456789.5],
    [1600000000123456789n, 1e-7],
    [9223372036854775806n, 100000000000000000000],
  ],
};

export const q = (text: string): string => `q=${encodeURIComponent(text)}`;

export class ScriptedQuery {
  /** What was asked since the last reset. */
  readonly asked: { text: string; options: QueryOptions }[] = [];
  execute!: QueryService['execute'];
  rowsMax = 0;
  #door!: Door;

  private constructor() {}

  static async open(): Promise<ScriptedQuery> {
    const scripted = new ScriptedQuery();
    const service: QueryService = {
      execute: (text, options) => {
        scripted.asked.push({ text, options });
        return scripted.execute(text, options);
      },
    };
    scripted.#door = await openDoor((request, response, url) => {
      setInfluxHeaders(request, response, '0.1.0');
      if (url.pathname === '/ping') return handlePing(request, response, url, '0.1.0');
      const { rowsMax } = scripted;
      return handleQuery(request, response, url, service, { bodyBytesMax: 10_000, rowsMax, nowNs: () => 7n });
    });
    scripted.reset();
    return scripted;
  }

  get port(): number {
    return this.#door.port;
  }

  send(method: string, path: string, options?: SendOptions): Promise<Answer> {
    return this.#door.send(method, path, options);
  }

  close(): Promise<void> {
    return this.#door.close();
  }

  /** As it is before each test: two databases are the answer. */
  reset(): void {
    this.asked.length = 0;
    this.rowsMax = 0;
    this.answering({ statementId: 0, series: [DATABASES] });
  }

  answering(...results: StatementResult[]): void {
    this.execute = async function* () {
      yield* results;
    };
  }
}
