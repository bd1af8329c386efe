/**
 * The queries of the devops set, in InfluxQL and in the PromQL that asks VictoriaMetrics for the same thing. Each call
 * draws its hosts and its hour anew, so that no answer can be served from a cache of answers.
 */
import { DATABASE } from './load.ts';
import type { SystemName } from './system.ts';
import { FIELDS, type Workload } from './workload.ts';

export interface BenchQuery {
  readonly name: string;
  readonly what: string;
  /** Path with parameters. */
  path(system: SystemName, workload: Workload, random: () => number): string;
}

interface Range {
  readonly from: number;
  readonly to: number;
}

function drawRange(workload: Workload, seconds: number, random: () => number): Range {
  const room = Math.max(0, workload.endSeconds - workload.options.startSeconds - seconds);
  const from = workload.options.startSeconds + Math.floor(random() * room);
  return { from, to: Math.min(workload.endSeconds, from + seconds) };
}

function drawHosts(workload: Workload, count: number, random: () => number): string[] {
  const hosts = new Set<string>();
  while (hosts.size < Math.min(count, workload.options.hosts))
    hosts.add(`host_${Math.floor(random() * workload.options.hosts)}`);
  return [...hosts];
}

function influx(query: string): string {
  return `/query?db=${DATABASE}&epoch=ns&q=${encodeURIComponent(query)}`;
}

function promRange(query: string, { from, to }: Range, step: number): string {
  return `/api/v1/query_range?query=${encodeURIComponent(query)}&start=${from}&end=${to}&step=${step}s&nocache=1`;
}

function promInstant(query: string, time: number): string {
  return `/api/v1/query?query=${encodeURIComponent(query)}&time=${time}&nocache=1`;
}

function during({ from, to }: Range): string {
  return `time >= ${from}s AND time < ${to}s`;
}

/** max by minute (or hour) of some fields for some hosts. */
function maxOfHosts(
  name: string,
  fields: readonly string[],
  hostCount: number,
  seconds: number,
  step: number,
  what: string,
): BenchQuery {
  return {
    name,
    what,
    path(system, workload, random) {
      const range = drawRange(workload, seconds, random);
      const hosts = drawHosts(workload, hostCount, random);
      if (system === 'victoria-metrics') {
        const metric = `{__name__=~"cpu_(${fields.join('|')})",hostname=~"${hosts.join('|')}"}`;
        return promRange(`max(max_over_time(${metric}[${step}s])) by (__name__)`, range, step);
      }
      const select = fields.map((field) => `max(${field})`).join(', ');
      const where = hosts.map((host) => `hostname = '${host}'`).join(' OR ');
      return influx(`SELECT ${select} FROM cpu WHERE (${where}) AND ${during(range)} GROUP BY time(${step}s)`);
    },
  };
}

function meanByHostAndHour(name: string, fields: readonly string[], what: string): BenchQuery {
  return {
    name,
    what,
    path(system, workload) {
      const range = { from: workload.options.startSeconds, to: workload.endSeconds };
      if (system === 'victoria-metrics') {
        return promRange(
          `avg(avg_over_time({__name__=~"cpu_(${fields.join('|')})"}[1h])) by (__name__, hostname)`,
          range,
          3600,
        );
      }
      const select = fields.map((field) => `mean(${field})`).join(', ');
      return influx(`SELECT ${select} FROM cpu WHERE ${during(range)} GROUP BY time(1h), hostname`);
    },
  };
}

export const QUERIES: readonly BenchQuery[] = [
  maxOfHosts('single-groupby-1-1-1', FIELDS.slice(0, 1), 1, 3600, 60, 'max of 1 field, 1 host, 1 h by minute'),
  maxOfHosts('single-groupby-5-8-1', FIELDS.slice(0, 5), 8, 3600, 60, 'max of 5 fields, 8 hosts, 1 h by minute'),
  maxOfHosts('cpu-max-all-8', FIELDS, 8, 7200, 3600, 'max of 10 fields, 8 hosts, 2 h by hour'),
  meanByHostAndHour('double-groupby-1', FIELDS.slice(0, 1), 'mean of 1 field by host and hour'),
  meanByHostAndHour('double-groupby-all', FIELDS, 'mean of 10 fields by host and hour'),
  {
    name: 'high-cpu-1',
    what: 'all rows of a host with usage_user > 90',
    path(system, workload, random) {
      const [host] = drawHosts(workload, 1, random);
      const range = { from: workload.options.startSeconds, to: workload.endSeconds };
      if (system === 'victoria-metrics')
        return promRange(`cpu_usage_user{hostname="${host}"} > 90`, range, workload.options.intervalSeconds);
      return influx(`SELECT * FROM cpu WHERE hostname = '${host}' AND usage_user > 90 AND ${during(range)}`);
    },
  },
  {
    name: 'lastpoint',
    what: 'newest value of each host',
    path(system, workload) {
      if (system === 'victoria-metrics') return promInstant('last_over_time(cpu_usage_user[1h])', workload.endSeconds);
      return influx('SELECT last(usage_user) FROM cpu GROUP BY hostname');
    },
  },
  {
    name: 'groupby-orderby-limit',
    what: 'max by minute, newest 5 before an instant',
    path(system, workload, random) {
      const range = drawRange(
        workload,
        Math.floor((workload.endSeconds - workload.options.startSeconds) * 0.95),
        random,
      );
      if (system === 'victoria-metrics')
        return promRange('max(max_over_time(cpu_usage_user[1m]))', { from: range.to - 300, to: range.to }, 60);
      return influx(
        `SELECT max(usage_user) FROM cpu WHERE time < ${range.to}s AND time >= ${range.from}s GROUP BY time(1m) ORDER BY time DESC LIMIT 5`,
      );
    },
  },
  {
    name: 'count-all',
    what: 'count of a field over everything',
    path(system, workload) {
      const seconds = workload.endSeconds - workload.options.startSeconds + 1;
      if (system === 'victoria-metrics')
        return promInstant(`sum(count_over_time(cpu_usage_user[${seconds}s]))`, workload.endSeconds);
      return influx('SELECT count(usage_user) FROM cpu');
    },
  },
];

/** Checks that the systems hold the same data: count and sum of a field over everything. */
export function checkPath(system: SystemName, workload: Workload): { count: string; sum: string } {
  const seconds = workload.endSeconds - workload.options.startSeconds + 1;
  if (system !== 'victoria-metrics') {
    return { count: influx('SELECT count(usage_user) FROM cpu'), sum: influx('SELECT sum(usage_user) FROM cpu') };
  }
  const over = (f: string) => promInstant(`sum(${f}_over_time(cpu_usage_user[${seconds}s]))`, workload.endSeconds);
  return { count: over('count'), sum: over('sum') };
}

/** The single number in an answer to a check. */
export function numberIn(system: SystemName, text: string): number {
  const json = JSON.parse(text) as {
    results?: { series: { values: number[][] }[] }[];
    data?: { result: { value: [number, string] }[] };
  };
  return system === 'victoria-metrics'
    ? Number(json.data!.result[0]!.value[1])
    : json.results![0]!.series[0]!.values[0]![1]!;
}
