/**
 * Rows as a Prometheus-like agent sends them: the metric's name is the measurement, its labels are the tags, and there is
 * one field, `value`. Each target has 1,000 series, as a node exporter and a service beside it have; a round is a scrape
 * of every target after the other.
 */
import { randomOf } from './random.ts';
import { RequestWriter } from './requests.ts';
import { firstState, type ValueKind, writeNext } from './series-values.ts';
import type { FieldTruth, MetricShape, Workload, WorkloadOptions } from './workloads.ts';

type Labels = Readonly<Record<string, string>>;

interface Family {
  readonly name: string;
  readonly kind: ValueKind;
  readonly job: string;
  readonly labels: readonly Labels[];
}

const LINE_BYTES_MAX = 300;

const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
const HANDLERS = [
  '/api/v1/query',
  '/api/v1/series',
  '/api/v1/write',
  '/login',
  '/logout',
  '/metrics',
  '/orders',
  '/orders/:id',
  '/static',
  '/users',
];
const METHODS = ['GET', 'POST', 'PUT'];
const CODES = ['200', '302', '404', '500'];
const BOUNDS = [
  '0.001',
  '0.0025',
  '0.005',
  '0.0075',
  '0.01',
  '0.025',
  '0.05',
  '0.075',
  '0.1',
  '0.25',
  '0.5',
  '0.75',
  '1',
  '2.5',
  '5',
  '7.5',
  '10',
  '30',
  '60',
  '+Inf',
];
const MODES = ['idle', 'iowait', 'irq', 'nice', 'softirq', 'steal', 'system', 'user'];
const MEMORY = ['Active', 'AnonPages', 'Buffers', 'Cached', 'Dirty', 'Inactive', 'Mapped', 'MemAvailable', 'MemFree'];
const MORE_MEMORY = ['MemTotal', 'PageTables', 'SReclaimable', 'SUnreclaim', 'Shmem', 'Slab', 'SwapCached', 'SwapFree'];
const GO = ['alloc', 'buck_hash_sys', 'frees', 'gc_sys', 'heap_alloc', 'heap_idle', 'heap_inuse', 'heap_released'];

function product(...sides: readonly (readonly [string, readonly string[]])[]): Labels[] {
  return sides.reduce<Labels[]>(
    (found, [name, values]) => found.flatMap((labels) => values.map((value) => ({ ...labels, [name]: value }))),
    [{}],
  );
}

function family(name: string, kind: ValueKind, job: string, ...sides: [string, readonly string[]][]): Family {
  return { name, kind, job, labels: product(...sides) };
}

/** 1,000 series, all in all. */
export const FAMILIES: readonly Family[] = [
  family('node_cpu_seconds_total', 'counter-hundredths', 'node', ['cpu', numbered('', 16)], ['mode', MODES]),
  family('node_network_receive_bytes_total', 'counter', 'node', ['device', numbered('eth', 8)]),
  family('node_network_transmit_bytes_total', 'counter', 'node', ['device', numbered('eth', 8)]),
  family('node_disk_io_time_seconds_total', 'counter-hundredths', 'node', ['device', numbered('nvme', 8)]),
  family('node_filesystem_avail_bytes', 'whole', 'node', ['device', numbered('/dev/sd', 12)]),
  ...[...MEMORY, ...MORE_MEMORY].map((name) => family(`node_memory_${name}_bytes`, 'whole', 'node')),
  family('node_load1', 'percent', 'node'),
  family('node_load5', 'percent', 'node'),
  family('node_load15', 'percent', 'node'),
  ...GO.map((name) => family(`go_memstats_${name}_bytes`, 'whole', 'orders')),
  family('go_goroutines', 'whole', 'orders'),
  family('go_threads', 'whole', 'orders'),
  family('process_cpu_seconds_total', 'counter-hundredths', 'orders'),
  family('process_open_fds', 'whole', 'orders'),
  family('process_resident_memory_bytes', 'whole', 'orders'),
  family('queue_length', 'whole', 'orders', ['queue', numbered('q', 7)]),
  family('http_requests_total', 'counter', 'orders', ['code', CODES], ['handler', HANDLERS], ['method', METHODS]),
  family('http_request_duration_seconds_sum', 'counter-double', 'orders', ['handler', HANDLERS], ['method', METHODS]),
  family('http_request_duration_seconds_count', 'counter', 'orders', ['handler', HANDLERS], ['method', METHODS]),
  family(
    'http_request_duration_seconds_bucket',
    'counter',
    'orders',
    ['handler', HANDLERS],
    ['le', BOUNDS],
    ['method', METHODS],
  ),
  family('http_response_size_bytes_sum', 'counter', 'orders', ['handler', HANDLERS.slice(0, 8)]),
  family('temperature_celsius', 'double', 'node', ['sensor', numbered('core', 8)]),
];

interface TargetSeries {
  readonly family: number;
  readonly kind: ValueKind;
  /** Around the target's address. */
  readonly before: Buffer;
  readonly after: Buffer;
}

/** Tags stand in the order of their names, as agents send them. */
function seriesOfTarget(): TargetSeries[] {
  return FAMILIES.flatMap(({ name, kind, job, labels }, index) =>
    labels.map((own) => {
      const tags = Object.entries({ ...own, env: 'production', job, instance: '\0' }).sort(([a], [b]) =>
        a < b ? -1 : 1,
      );
      const [before, after] = `${name},${tags.map(([tag, value]) => `${tag}=${value}`).join(',')} value=`.split('\0');
      return { family: index, kind, before: Buffer.from(before!), after: Buffer.from(after!) };
    }),
  );
}

export const SERIES_PER_TARGET = FAMILIES.reduce((sum, { labels }) => sum + labels.length, 0);

export function makeMetricRequests(options: WorkloadOptions & MetricShape): Workload {
  const { targets, rounds, intervalSeconds, startSeconds } = options;
  const random = randomOf(options.seed);
  const out = new RequestWriter(options.rowsPerBody, LINE_BYTES_MAX);
  const series = seriesOfTarget();
  const state = new Float64Array(targets * series.length);
  for (let at = 0; at < state.length; at++) state[at] = firstState(series[at % series.length]!.kind, random);
  const truth: FieldTruth[] = FAMILIES.map(({ name }) => ({
    measurement: name,
    field: 'value',
    count: 0,
    sum: 0,
    writtenCount: 0,
    writtenSum: 0,
  }));
  for (let round = 0; round < rounds; round++) {
    const seconds = startSeconds + round * intervalSeconds;
    for (let target = 0; target < targets; target++) {
      const instance = Buffer.from(`10.${target >> 16}.${(target >> 8) & 255}.${target & 255}:9100`);
      for (let index = 0; index < series.length; index++) {
        const { family: of, kind, before, after } = series[index]!;
        out.copy(before);
        out.copy(instance);
        out.copy(after);
        const value = writeNext(kind, state, target * series.length + index, random, out);
        out.endLine(seconds);
        const found = truth[of]!;
        found.count++;
        found.sum += value;
      }
    }
  }
  for (const found of truth) {
    found.writtenCount = found.count;
    found.writtenSum = found.sum;
  }
  const requests = out.finish();
  const rows = targets * rounds * series.length;
  return {
    requests,
    summary: {
      options,
      bodies: requests.all.length,
      bytes: requests.bytes,
      rows,
      values: rows,
      endSeconds: startSeconds + rounds * intervalSeconds,
      truth,
      windowBodies: requests.all.length,
    },
  };
}
