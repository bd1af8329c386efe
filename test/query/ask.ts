/** Runs InfluxQL against a backend in memory and gives results in the shape of InfluxDB's JSON. */
import type { QueryBackend } from '../../server/query/backend.ts';
import { DEFAULT_QUERY_LIMITS, type QueryLimits } from '../../server/query/limits.ts';
import {
  type QueryOptions,
  QueryParseError,
  type QueryService,
  type ResultSeries,
  type StatementResult,
} from '../../server/query/result.ts';
import { createQueryService } from '../../server/query/service.ts';
import type { MemoryBackend } from './memory-backend.ts';

export interface AskOptions {
  readonly database?: string;
  readonly retentionPolicy?: string;
  readonly nowNs?: bigint;
  readonly epoch?: string;
  readonly limits?: Partial<QueryLimits>;
  readonly completeness?: boolean;
  readonly chunkSize?: number;
  readonly readOnly?: boolean;
}

const UNITS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  n: 1n,
  u: 1000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

export interface JsonResult {
  statement_id: number;
  series?: { name?: string; tags?: Record<string, string>; columns: string[]; values?: unknown[][] }[];
  error?: string;
  [key: string]: unknown;
}

/** One service per backend and limits, as in a node: what it remembers of schemas is put to the test by every query. */
const services = new WeakMap<QueryBackend, Map<string, QueryService>>();

function serviceOf(backend: QueryBackend, limits: Partial<QueryLimits>): QueryService {
  const byLimits = services.get(backend) ?? new Map<string, QueryService>();
  services.set(backend, byLimits);
  const key = JSON.stringify(limits);
  const service = byLimits.get(key) ?? createQueryService(backend, { ...DEFAULT_QUERY_LIMITS, ...limits });
  byLimits.set(key, service);
  return service;
}

export async function ask(memory: MemoryBackend, text: string, options: AskOptions = {}): Promise<JsonResult[]> {
  const service = serviceOf(memory.backend, options.limits ?? {});
  const out: JsonResult[] = [];
  try {
    const asked = {
      ...(options.database === undefined ? {} : { database: options.database }),
      ...(options.retentionPolicy === undefined ? {} : { retentionPolicy: options.retentionPolicy }),
      nowNs: options.nowNs ?? 0n,
      readOnly: options.readOnly ?? false,
      chunkSize: options.chunkSize ?? null,
      completeness: options.completeness ?? false,
    };
    for await (const { statementId, series, ...rest } of answersOf(service, text, asked)) {
      const result: JsonResult = { statement_id: statementId, ...rest };
      if (series !== undefined) result.series = series.map((one) => json(one, options.epoch ?? ''));
      out.push(result);
    }
  } catch (error) {
    if (error instanceof QueryParseError) return [{ statement_id: -1, error: error.message }];
    throw error;
  }
  return out;
}

/** As the doors do: straight if it can be. */
async function* answersOf(service: QueryService, text: string, options: QueryOptions): AsyncGenerator<StatementResult> {
  const straight = await new Promise<StatementResult | null>((resolve) => {
    if (service.straight?.(text, options, resolve) !== true) resolve(null);
  });
  if (straight === null) yield* service.execute(text, options);
  else yield straight;
}

function json(series: ResultSeries, epoch: string): NonNullable<JsonResult['series']>[number] {
  const { timeColumn, values, name, tags, columns } = series;
  const rows = [...values].map((row) =>
    row.map((value, i) => (i === timeColumn ? time(value as bigint, epoch) : value)),
  );
  return {
    ...(name === undefined ? {} : { name }),
    ...(tags === undefined ? {} : { tags: { ...tags } }),
    columns: [...columns],
    ...(rows.length === 0 ? {} : { values: rows }),
  };
}

export function time(ns: bigint, epoch: string): string | number {
  if (epoch !== '') return Number(ns / UNITS[epoch]!);
  const seconds = (ns - (((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n)) / 1_000_000_000n;
  const fraction = (((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n)
    .toString()
    .padStart(9, '0')
    .replace(/0+$/, '');
  const text = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${text}${fraction === '' ? '' : `.${fraction}`}Z`;
}
