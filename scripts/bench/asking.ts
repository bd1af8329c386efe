/** Asking a system: paths for InfluxQL and PromQL, and answers as numbers by name, comparable between systems. */
import type { Connection } from './connection.ts';
import type { SystemName } from './programs.ts';
import { DATABASE } from './requests.ts';

/** Tag values, field and time (seconds) of each number of an answer. */
export type Answer = ReadonlyMap<string, number>;

interface InfluxJson {
  readonly results: readonly {
    readonly error?: string;
    readonly series?: readonly {
      readonly name?: string;
      readonly tags?: Readonly<Record<string, string>>;
      readonly columns: readonly string[];
      readonly values: readonly (readonly (string | number | boolean | null)[])[];
    }[];
  }[];
}

interface PrometheusJson {
  readonly status: string;
  readonly data: {
    readonly result: readonly {
      readonly metric: Readonly<Record<string, string>>;
      readonly value?: readonly [number, string];
      readonly values?: readonly (readonly [number, string])[];
    }[];
  };
}

export function influxPath(query: string): string {
  return `/query?db=${DATABASE}&epoch=s&q=${encodeURIComponent(query)}`;
}

/** `nocache`: VictoriaMetrics then also leaves start and end as they are. */
export function rangePath(query: string, from: number, to: number, step: number): string {
  return `/api/v1/query_range?query=${encodeURIComponent(query)}&start=${from}&end=${to}&step=${step}s&nocache=1`;
}

export function instantPath(query: string, time: number): string {
  return `/api/v1/query?query=${encodeURIComponent(query)}&time=${time}&nocache=1`;
}

export async function ask(connection: Connection, path: string): Promise<{ ms: number; body: Buffer }> {
  const at = performance.now();
  const { status, body } = await connection.get(path);
  const ms = performance.now() - at;
  if (status !== 200)
    throw new Error(`${decodeURIComponent(path)} answered ${status}: ${body.toString('utf8', 0, 300)}`);
  return { ms, body };
}

export async function command(connection: Connection, statement: string): Promise<void> {
  const { status, body } = await connection.post(`/query?q=${encodeURIComponent(statement)}`);
  const text = body.toString('utf8', 0, 300);
  if (status !== 200 || text.includes('"error"')) throw new Error(`${statement}: ${status} ${text}`);
}

/** A single number for each column. */
export const TOTALS: AnswerShape = {
  isByHost: false,
  timeless: true,
  column: null,
  windowSeconds: 0,
  columns: null,
};

export interface AnswerShape {
  /** By the tag `hostname`; else that tag says nothing that the question did not say. */
  readonly isByHost: boolean;
  /** The answer has one number for each group, and its time does not matter or is not given by all. */
  readonly timeless: boolean;
  /** A name for the numbers, where the systems name them differently. */
  readonly column: string | null;
  /** VictoriaMetrics labels a window by its last second, InfluxQL by its first: so many seconds lie between. */
  readonly windowSeconds: number;
  /** Only these columns of InfluxQL's answer; null for all. */
  readonly columns: readonly string[] | null;
}

export function answerIn(system: SystemName, body: Buffer, shape: AnswerShape): Answer {
  const text = body.toString('utf8');
  return system === 'victoria-metrics'
    ? prometheusAnswer(JSON.parse(text) as PrometheusJson, shape)
    : influxAnswer(JSON.parse(text) as InfluxJson, shape);
}

function keyOf(tag: string | undefined, column: string, seconds: number, shape: AnswerShape): string {
  const { isByHost, timeless, column: name } = shape;
  return `${isByHost ? (tag ?? '') : ''} ${name ?? column}${timeless ? '' : ` ${seconds}`}`;
}

function influxAnswer({ results }: InfluxJson, shape: AnswerShape): Answer {
  const answer = new Map<string, number>();
  for (const { error, series } of results) {
    if (error !== undefined) throw new Error(error);
    for (const { tags, columns, values } of series ?? []) {
      const tag = tags?.hostname;
      for (const row of values) {
        for (let index = 1; index < columns.length; index++) {
          const value = row[index];
          const column = columns[index]!;
          if (typeof value !== 'number' || (shape.columns !== null && !shape.columns.includes(column))) continue;
          answer.set(keyOf(tag, column, row[0] as number, shape), value);
        }
      }
    }
  }
  return answer;
}

function prometheusAnswer({ status, data }: PrometheusJson, shape: AnswerShape): Answer {
  if (status !== 'success') throw new Error(`the answer's status is ${status}`);
  const answer = new Map<string, number>();
  for (const { metric, value, values } of data.result) {
    const name = (metric.__name__ ?? '').replace(/^cpu_/, '');
    for (const [seconds, number] of values ?? (value === undefined ? [] : [value])) {
      const start = shape.windowSeconds === 0 ? seconds : seconds - shape.windowSeconds + 1;
      answer.set(keyOf(metric.hostname, name, start, shape), Number(number));
    }
  }
  return answer;
}
