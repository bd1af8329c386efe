/**
 * The queries of the devops set over workload A, in InfluxQL and in the PromQL that asks VictoriaMetrics for the same
 * numbers.
 *
 * Each call draws hosts, fields and ranges anew and no text is sent twice, so no answer can come from a cache of
 * answers. The data spans two hours and starts at a full hour. Windows of a minute begin at full minutes; windows of an
 * hour begin where the range begins, at a multiple of ten seconds, so that both languages can name the same windows.
 * InfluxQL's window [T, T + w) holds the samples of PromQL's (T - 1 s, T + w - 1 s], all being at full seconds.
 */
import { type Answer, type AnswerShape, answerIn, influxPath, instantPath, rangePath } from './asking.ts';
import { FIELDS } from './cpu-rows.ts';
import type { SystemName } from './programs.ts';

export interface CpuData {
  readonly hosts: number;
  readonly startSeconds: number;
  readonly endSeconds: number;
  readonly intervalSeconds: number;
}

export interface Question {
  readonly path: string;
  /** In both languages: a question is new only when it is new in both, so that all systems get the same ones. */
  readonly texts: readonly [string, string];
  answer(body: Buffer): Answer;
}

export interface BenchQuery {
  readonly name: string;
  readonly what: string;
  /** The 50th percentile to reach, milliseconds. */
  readonly goalMs: number;
  draw(system: SystemName, data: CpuData, random: () => number): Question;
}

const HOUR = 3600;
const MINUTE = 60;
/** Ranges over everything begin at most so late: 8 % of the data. */
const LATEST_START_SECONDS = 600;
const PLAIN: AnswerShape = { isByHost: false, timeless: false, column: null, windowSeconds: 0, columns: null };

function below(bound: number, random: () => number): number {
  return Math.floor(random() * Math.max(1, bound));
}

function drawHosts(data: CpuData, count: number, random: () => number): string[] {
  const hosts = new Set<string>();
  while (hosts.size < Math.min(count, data.hosts)) hosts.add(`host_${below(data.hosts, random)}`);
  return [...hosts];
}

function drawField(random: () => number): string {
  return FIELDS[below(FIELDS.length, random)]!;
}

function question(system: SystemName, influxql: string, promPath: string, shape: Partial<AnswerShape>): Question {
  const path = system === 'victoria-metrics' ? promPath : influxPath(influxql);
  return { path, texts: [influxql, promPath], answer: (body) => answerIn(system, body, { ...PLAIN, ...shape }) };
}

function during(from: number, to: number): string {
  return `time >= ${from}s AND time < ${to}s`;
}

/** Windows from `from` on: named by their last second for PromQL. */
function windowsPath(query: string, from: number, to: number, step: number): string {
  return rangePath(query, from + step - 1, to - 1, step);
}

/** Windows of an hour that begin at `from`. */
function byHour(from: number): string {
  return `GROUP BY time(1h, ${from % HOUR}s)`;
}

function metric(fields: readonly string[], more = ''): string {
  if (fields.length === 1) return `cpu_${fields[0]}${more === '' ? '' : `{${more}}`}`;
  return `{__name__=~"cpu_(${fields.join('|')})"${more === '' ? '' : `,${more}`}}`;
}

function selected(call: string, fields: readonly string[]): string {
  return fields.map((field) => `${call}(${field}) AS ${field}`).join(', ');
}

function maxByMinute(name: string, fieldCount: number, hostCount: number, goalMs: number, what: string): BenchQuery {
  return {
    name,
    what,
    goalMs,
    draw(system, data, random) {
      const fields = FIELDS.slice(0, fieldCount);
      const hosts = drawHosts(data, hostCount, random);
      const room = Math.floor((data.endSeconds - data.startSeconds - HOUR) / MINUTE);
      const from = data.startSeconds + below(room + 1, random) * MINUTE;
      const where = hosts.map((host) => `hostname = '${host}'`).join(' OR ');
      return question(
        system,
        `SELECT ${selected('max', fields)} FROM cpu WHERE (${where}) AND ${during(from, from + HOUR)} GROUP BY time(1m)`,
        windowsPath(
          `max(max_over_time(${metric(fields, `hostname=~"${hosts.join('|')}"`)}[1m])) by (__name__)`,
          from,
          from + HOUR,
          MINUTE,
        ),
        { windowSeconds: MINUTE },
      );
    },
  };
}

function drawStart(data: CpuData, random: () => number): number {
  return data.startSeconds + below(LATEST_START_SECONDS / data.intervalSeconds, random) * data.intervalSeconds;
}

function meanByHostAndHour(name: string, fieldCount: number, goalMs: number, what: string): BenchQuery {
  return {
    name,
    what,
    goalMs,
    draw(system, data, random) {
      const fields = fieldCount === 1 ? [drawField(random)] : FIELDS;
      const from = drawStart(data, random);
      return question(
        system,
        `SELECT ${selected('mean', fields)} FROM cpu WHERE ${during(from, from + 2 * HOUR)} ${byHour(from)}, hostname`,
        windowsPath(`avg(avg_over_time(${metric(fields)}[1h])) by (__name__, hostname)`, from, from + 2 * HOUR, HOUR),
        { windowSeconds: HOUR, isByHost: true },
      );
    },
  };
}

export const QUERIES: readonly BenchQuery[] = [
  maxByMinute('single-groupby-1-1-1', 1, 1, 0.45, 'max of 1 field, 1 host, 1 h by minute'),
  maxByMinute('single-groupby-5-8-1', 5, 8, 0.8, '5 fields, 8 hosts, 1 h by minute'),
  {
    name: 'cpu-max-all-8',
    what: '10 fields, 8 hosts, ~2 h by hour',
    goalMs: 0.9,
    draw(system, data, random) {
      const hosts = drawHosts(data, 8, random);
      const from = drawStart(data, random);
      const where = hosts.map((host) => `hostname = '${host}'`).join(' OR ');
      return question(
        system,
        `SELECT ${selected('max', FIELDS)} FROM cpu WHERE (${where}) AND ${during(from, from + 2 * HOUR)} ${byHour(from)}`,
        windowsPath(
          `max(max_over_time(${metric(FIELDS, `hostname=~"${hosts.join('|')}"`)}[1h])) by (__name__)`,
          from,
          from + 2 * HOUR,
          HOUR,
        ),
        { windowSeconds: HOUR },
      );
    },
  },
  meanByHostAndHour('double-groupby-1', 1, 4, 'mean of 1 field by host and hour'),
  meanByHostAndHour('double-groupby-all', FIELDS.length, 12, 'mean of 10 fields by host and hour'),
  {
    name: 'high-cpu-1',
    what: 'all rows of a host with usage_user > 90',
    goalMs: 0.5,
    draw(system, data, random) {
      const [host] = drawHosts(data, 1, random);
      const from = drawStart(data, random);
      const of = `hostname="${host}"`;
      // The whole row, as InfluxQL's answer has it: every field at the instants at which this one is high.
      const rows = `${metric(FIELDS, of)} and on (hostname) (cpu_usage_user{${of}} > 90)`;
      return question(
        system,
        `SELECT * FROM cpu WHERE hostname = '${host}' AND usage_user > 90 AND ${during(from, data.endSeconds)}`,
        rangePath(rows, from, data.endSeconds - data.intervalSeconds, data.intervalSeconds),
        { columns: FIELDS },
      );
    },
  },
  {
    name: 'lastpoint',
    what: 'newest value of each host',
    goalMs: 2,
    draw(system, data, random) {
      const field = drawField(random);
      const from = data.startSeconds - below(HOUR, random);
      return question(
        system,
        `SELECT last(${field}) FROM cpu WHERE time >= ${from}s GROUP BY hostname`,
        instantPath(`last_over_time(cpu_${field}[${data.endSeconds - from}s])`, data.endSeconds),
        { isByHost: true, timeless: true, column: 'last' },
      );
    },
  },
  {
    name: 'groupby-orderby-limit',
    what: 'max by minute, newest 5 of a ~1.9 h range',
    goalMs: 2,
    draw(system, data, random) {
      const field = drawField(random);
      const to = data.endSeconds - below(10, random) * MINUTE;
      const from = data.startSeconds + below(MINUTE, random);
      return question(
        system,
        `SELECT max(${field}) FROM cpu WHERE ${during(from, to)} GROUP BY time(1m) ORDER BY time DESC LIMIT 5`,
        windowsPath(`max(max_over_time(cpu_${field}[1m]))`, to - 5 * MINUTE, to, MINUTE),
        { windowSeconds: MINUTE, column: 'max' },
      );
    },
  },
  {
    name: 'count-all',
    what: 'count of a field over everything',
    goalMs: 0.7,
    draw(system, data, random) {
      const field = drawField(random);
      const from = data.startSeconds - below(HOUR, random) - 1;
      return question(
        system,
        `SELECT count(${field}) FROM cpu WHERE time > ${from}s`,
        instantPath(`sum(count_over_time(cpu_${field}[${data.endSeconds - from}s]))`, data.endSeconds),
        { timeless: true, column: 'count' },
      );
    },
  },
];
