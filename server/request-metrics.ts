/** What is counted with each request of a client: nothing is rendered, summed or looked up by a label here. */
import { Counter, type Registry } from 'prom-client';
import { type ObservedSeconds, SecondsHistogram } from './seconds-histogram.ts';

type Route = 'write' | 'query';

/** Requests of one kind since the start. */
export interface RequestTotals {
  readonly requests: number;
  readonly seconds: number;
  /** By the status of their answers: 400 to 499, and from 500 on. */
  readonly clientErrors: number;
  readonly serverErrors: number;
}

/** Bounds of histograms. */
export const SECONDS_FAST = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export interface WriteEvent {
  readonly rows: number;
  readonly failedRows: number;
  readonly bytes: number;
  readonly ms: number;
}

export class RequestMetrics {
  #requests: SecondsHistogram;
  /** By status. */
  readonly #requestsOf: ReadonlyMap<Route, Map<number, ObservedSeconds>> = new Map([
    ['write', new Map()],
    ['query', new Map()],
  ]);
  #ingestion: ObservedSeconds;
  /** Since somebody asked last. */
  #fresh = { rows: 0, failedRows: 0, bytes: 0 };
  #rows: Counter;
  #failedRows: Counter;
  #bodyBytes: Counter;
  /** Bytes of bodies that were taken in, and rows, since the start. */
  writtenBytes = 0;
  writtenRows = 0;
  refusedRows = 0;

  constructor(registry: Registry) {
    const registers = [registry];
    const counter = (name: string, help: string) => new Counter({ name, help, registers });
    const frequent = (name: string, help: string) => new SecondsHistogram(name, help, SECONDS_FAST, registry);
    this.#requests = frequent('starling_http_request_seconds', 'time to answer write and query requests');
    const ingestion = frequent('starling_ingestion_seconds', 'from the body of a write to its acknowledgement');
    this.#ingestion = ingestion.series({});
    this.#rows = counter('starling_ingested_rows_total', 'rows acknowledged to clients of this node');
    this.#failedRows = counter(
      'starling_refused_rows_total',
      'lines that could not be parsed and rows that were dropped',
    );
    this.#bodyBytes = counter('starling_ingested_bytes_total', 'bytes of line protocol taken in');
  }

  observeRequest(route: Route, seconds: number, status: number): void {
    const byStatus = this.#requestsOf.get(route)!;
    let observed = byStatus.get(status);
    if (observed === undefined) {
      observed = this.#requests.series({ route, status: String(status) });
      byStatus.set(status, observed);
    }
    observed.observe(seconds);
  }

  observeWrite({ rows, failedRows, bytes, ms }: WriteEvent): void {
    this.#ingestion.observe(ms / 1000);
    const fresh = this.#fresh;
    fresh.rows += rows;
    fresh.failedRows += failedRows;
    fresh.bytes += bytes;
    this.writtenBytes += bytes;
    this.writtenRows += rows;
    this.refusedRows += failedRows;
  }

  totals(route: Route): RequestTotals {
    const total = { requests: 0, seconds: 0, clientErrors: 0, serverErrors: 0 };
    for (const [status, observed] of this.#requestsOf.get(route)!) {
      total.requests += observed.count;
      total.seconds += observed.sum;
      if (status >= 500) total.serverErrors += observed.count;
      else if (status >= 400) total.clientErrors += observed.count;
    }
    return total;
  }

  /** To be called before the registry is read. */
  collect(): void {
    const { rows, failedRows, bytes } = this.#fresh;
    this.#fresh = { rows: 0, failedRows: 0, bytes: 0 };
    this.#rows.inc(rows);
    this.#failedRows.inc(failedRows);
    this.#bodyBytes.inc(bytes);
  }
}
