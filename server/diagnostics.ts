/** What SHOW DIAGNOSTICS says: InfluxDB's tables of the build, the settings and the machine; and one of the cluster. */
import { hostname } from 'node:os';
import type { NodeCore } from '../repair/node-core.ts';
import type { Config } from './config.ts';
import { influxVersion } from './http/influx-ping.ts';
import { formatClockDuration } from './influxql/duration.ts';
import { packageVersion } from './package-version.ts';

export interface DiagnosticSources {
  readonly config: Config;
  readonly core: NodeCore;
  /** HOST:PORT of HTTP. */
  readonly bind: string;
  readonly startedMs: number;
  nowMs(): number;
}

export interface Diagnostic {
  readonly name: string;
  readonly values: Readonly<Record<string, string | number | boolean>>;
}

/** Go's name of what Node calls x64. */
const GO_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** By name, as InfluxDB does. */
export function diagnosticsOf(sources: DiagnosticSources): Diagnostic[] {
  const found = [...settings(sources), ...processTables(sources), cluster(sources)];
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function settings({ config, bind }: DiagnosticSources): Diagnostic[] {
  const { dataDirectory: dir } = config;
  return [
    { name: 'config', values: { 'bind-address': bind, 'reporting-enabled': false } },
    {
      name: 'config-coordinator',
      values: {
        'max-concurrent-queries': config.maxConcurrentQueries,
        'max-select-buckets': config.queryBucketsMax,
        'max-select-point': config.queryPointsReadMax,
        'max-select-series': config.querySeriesMax,
        'query-timeout': duration(config.queryTimeoutMs),
        'write-timeout': duration(config.writeTimeoutMs),
      },
    },
    {
      name: 'config-data',
      values: {
        'cache-max-memory-size': config.memtableBytesMax,
        'cache-snapshot-write-cold-duration': duration(config.flushIdleMs),
        'compact-full-write-cold-duration': duration(config.mergeIdleMs),
        dir,
        'wal-dir': dir,
        'wal-fsync-delay': duration(0),
      },
    },
    {
      name: 'config-httpd',
      values: {
        'bind-address': bind,
        enabled: true,
        'https-enabled': false,
        'max-body-size': config.bodyBytesMax,
        'max-row-limit': config.maxRowLimit,
      },
    },
    { name: 'config-meta', values: { dir } },
    {
      name: 'config-repair',
      values: {
        'heartbeat-interval': duration(config.heartbeatIntervalMs),
        'max-clock-drift': duration(config.clockDriftMaxMs),
        'outbox-bytes-max': config.outboxBytesMax,
        'pass-interval': duration(config.passIntervalMs),
        scrub: config.scrub ?? 'off',
      },
    },
  ];
}

function processTables({ startedMs, nowMs, config }: DiagnosticSources): Diagnostic[] {
  const now = nowMs();
  return [
    { name: 'build', values: { Branch: '', 'Build Time': '', Commit: '', Version: influxVersion(packageVersion()) } },
    { name: 'network', values: { hostname: hostname() } },
    {
      name: 'runtime',
      values: {
        GOARCH: GO_ARCHITECTURES[process.arch] ?? process.arch,
        GOMAXPROCS: config.workers,
        GOOS: process.platform,
        version: `node ${process.version}`,
      },
    },
    {
      name: 'system',
      values: {
        PID: process.pid,
        currentTime: new Date(now).toISOString(),
        started: new Date(startedMs).toISOString(),
        uptime: duration(now - startedMs),
      },
    },
  ];
}

function cluster({ core, config }: DiagnosticSources): Diagnostic {
  const { members, live, self } = core.snapshot();
  const present = members.filter(({ state }) => state !== 'removed').length;
  const id = core.identity.clusterId ?? '';
  return {
    name: 'cluster',
    values: { id, live: live.length, member: self, members: present, node: config.nodeName, state: core.state },
  };
}

function duration(ms: number): string {
  return formatClockDuration(BigInt(Math.round(ms)) * 1_000_000n);
}
