/**
 * The settings of one node: one table of options, each with its unit, default, reason and limits.
 *
 * Every option is a flag (`--pass-interval`), an environment variable (`STARLING_PASS_INTERVAL`) and a key of the YAML
 * file (`pass-interval`). The first that is given wins, in this order: flag, environment, file, default. The command
 * line makes its help from `SERVE_OPTIONS`. Relations between limits are checked here, once, when the configuration is
 * built; the rest of the program relies on them.
 */
import { availableParallelism, hostname } from 'node:os';
import { z } from 'zod';
import { CPU_SHARE_MIN, REPAIR_RATE_MIN } from '../repair/budget.ts';
import { DEFAULT_MEMBERSHIP_LIMITS, type MembershipLimits } from '../repair/membership-limits.ts';
import { SHARDS_PER_GROUP } from '../shards/shard-key.ts';
import { ConfigError, readConfigFile } from './config-file.ts';
import { LIMIT_OPTIONS } from './config-limits.ts';
import {
  bytes,
  count,
  cronOrOff,
  duration,
  GIB,
  KIB,
  type ListenAddress,
  listenAddress,
  MIB,
  nodeName,
  noneOr,
  oneUrl,
  onOrOff,
  optionalPath,
  share,
  urlList,
} from './config-values.ts';
import { type UdpSettings, udpListeners } from './udp-settings.ts';

export { ConfigError };

interface OptionDefinition {
  readonly schema: z.ZodType<unknown, string>;
  readonly value: string;
  readonly fallback: string;
  readonly about: string;
}

const WORKERS_MAX = SHARDS_PER_GROUP;

/**
 * One processor is the main thread's, which is as busy as a worker while rows come; the others get workers, as many as
 * share a group's shards evenly.
 */
export function defaultWorkers(processors: number): number {
  let workers = Math.max(1, Math.min(WORKERS_MAX, processors - 1));
  while (SHARDS_PER_GROUP % workers !== 0) workers--;
  return workers;
}

/** Key: the option's name as a flag. More workers than shards per group would have nothing to do. */
const DEFINITIONS = {
  node: {
    schema: nodeName,
    value: 'NAME',
    fallback:
      hostname()
        .replace(/[^A-Za-z0-9_.-]/g, '-')
        .slice(0, 64) || 'node',
    about: 'name of this node; it must stay the same over restarts and be unique in the cluster',
  },
  listen: {
    schema: listenAddress,
    value: 'HOST:PORT',
    fallback: '127.0.0.1:8086',
    about: 'address for clients and other nodes; port 0 picks a free one',
  },
  advertise: {
    schema: oneUrl,
    value: 'URL',
    fallback: '',
    about: 'URL under which other nodes reach this one (default: the listen address)',
  },
  data: { schema: z.string().min(1), value: 'DIR', fallback: './data/node', about: 'directory of this node alone' },
  join: {
    schema: urlList,
    value: 'URL,...',
    fallback: '',
    about: 'members to join through; needed only while the data directory is new',
  },
  readmit: {
    schema: onOrOff,
    value: '[on|off]',
    fallback: 'off',
    about:
      'if the cluster has removed the node of this data directory: set all in it aside in quarantine/ and join anew as another member',
  },
  workers: {
    schema: count(1, WORKERS_MAX),
    value: 'N',
    fallback: String(defaultWorkers(availableParallelism())),
    about: `threads that store and query, beside the main thread; at most ${WORKERS_MAX}`,
  },
  'warm-up': {
    schema: onOrOff,
    value: 'on|off',
    fallback: 'on',
    about: 'write made-up rows to a scratch shard at the start, so that the first real ones find compiled code',
  },
  udp: {
    schema: udpListeners,
    value: 'SETTINGS',
    fallback: '',
    about:
      "listen for line protocol over UDP: 'bind-address=HOST:PORT,database=NAME,precision=ms', several with ; between",
  },
  rules: { schema: optionalPath, value: 'DIR', fallback: '', about: 'directory with alert rules (*.yml, *.yaml)' },
  'log-level': {
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    value: 'LEVEL',
    fallback: 'info',
    about: 'trace, debug, info, warn, error, fatal or silent; logs go to stderr as JSON lines',
  },
  'pass-interval': {
    schema: duration(100, 3_600_000),
    value: 'DURATION',
    fallback: '30s',
    about: 'time between two repair passes over a shard',
  },
  'heartbeat-interval': {
    schema: duration(50, 60_000),
    value: 'DURATION',
    fallback: '500ms',
    about: 'time between two heartbeats to each member; part of the convergence bound',
  },
  'max-clock-drift': {
    schema: duration(100, 600_000),
    value: 'DURATION',
    fallback: '10s',
    about: 'a node whose clock is further away from the others than this is not listened to',
  },
  'mail-timeout': {
    schema: duration(50, 60_000),
    value: 'DURATION',
    fallback: '1s',
    about: 'an owner that has not acknowledged a write by then gets it from the outbox later',
  },
  'write-timeout': {
    schema: duration(100, 300_000),
    value: 'DURATION',
    fallback: '10s',
    about: 'a write that has not enough acknowledgements by then is answered with 503',
  },
  'query-timeout': {
    schema: duration(100, 86_400_000),
    value: 'DURATION',
    fallback: '60s',
    about: 'a query that takes longer is ended with an error',
  },
  'read-repair-timeout': {
    schema: duration(100, 600_000),
    value: 'DURATION',
    fallback: '5s',
    about: 'a query with consistency=quorum or all that could not be levelled by then is an error',
  },
  'body-bytes-max': {
    // A record of the log takes no longer one, and the ingest kernel's memory ends at 2 GiB.
    schema: bytes(1 * KIB, 256 * MIB),
    value: 'SIZE',
    fallback: '25000000',
    about: 'largest body of a write after decompression; larger ones get 413',
  },
  'write-in-flight-bytes-max': {
    schema: bytes(1 * MIB, 16 * GIB),
    value: 'SIZE',
    fallback: '256MiB',
    about: 'bodies waiting to be acknowledged; above it writes get 503 with Retry-After',
  },
  'log-bytes-max': {
    schema: bytes(32 * MIB, 1024 * GIB),
    value: 'SIZE',
    fallback: '1GiB',
    about:
      'largest write-ahead log of a node; the oldest shards are flushed above it, and writes get 503 at twice this',
  },
  'memtable-bytes-max': {
    schema: bytes(4 * MIB, 64 * GIB),
    value: 'SIZE',
    fallback: '128MiB',
    about:
      'rows that a node keeps in memory before it flushes them, all workers together; by default never more than --log-bytes-max',
  },
  'flush-idle': {
    schema: duration(1000, 86_400_000),
    value: 'DURATION',
    fallback: '10m',
    about: 'a shard that nothing was written to for so long is flushed from memory to its file',
  },
  'merge-idle': {
    schema: duration(1000, 86_400_000),
    value: 'DURATION',
    fallback: '10m',
    about: 'a time window that was not flushed into for so long is merged into one run, its smallest form',
  },
  scrub: {
    schema: cronOrOff,
    value: 'CRON',
    fallback: '0 3 * * *',
    about:
      'when everything stored is read again and checked; each node begins up to an hour later, at a time of its own; off: never',
  },
  'scrub-bytes-per-second': {
    schema: bytes(64 * KIB, 16 * GIB),
    value: 'SIZE',
    fallback: '8MiB',
    about: 'stored bytes that scrubs of a node read in a second; a damaged replica is mended at twice this',
  },
  'outbox-bytes-max': {
    schema: bytes(1 * MIB, 1024 * GIB),
    value: 'SIZE',
    fallback: '1GiB',
    about: 'writes kept on disk for owners that are away, in all outboxes of a node together',
  },
  'repair-rate-max': {
    schema: noneOr(bytes(REPAIR_RATE_MIN, 1024 * GIB)),
    value: 'SIZE',
    fallback: 'none',
    about: 'bytes a second that this node fetches for repair and sends from its outbox; can be changed while it runs',
  },
  'repair-cpu-max': {
    schema: noneOr(share(CPU_SHARE_MIN)),
    value: 'SHARE',
    fallback: 'none',
    about: 'share of a core that repair may take in each worker; can be changed while it runs',
  },
  ...LIMIT_OPTIONS,
  'repair-history': {
    schema: duration(3_600_000, 10 * 365 * 86_400_000),
    value: 'DURATION',
    fallback: '30d',
    about: 'repairs that moved something or failed are remembered for so long',
  },
  'repair-history-bytes-max': {
    schema: bytes(MIB, 16 * GIB),
    value: 'SIZE',
    fallback: '64MiB',
    about: 'disk space for them, about; the oldest are forgotten above it',
  },
} satisfies Readonly<Record<string, OptionDefinition>>;

type OptionName = keyof typeof DEFINITIONS;

export interface Config {
  readonly nodeName: string;
  readonly listen: ListenAddress;
  /** null: made from the listen address once the port is known. */
  readonly advertise: string | null;
  readonly dataDirectory: string;
  readonly join: readonly string[];
  readonly readmit: boolean;
  readonly workers: number;
  readonly warmUp: boolean;
  readonly udp: readonly UdpSettings[];
  readonly rulesDirectory: string | null;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly passIntervalMs: number;
  readonly heartbeatIntervalMs: number;
  readonly clockDriftMaxMs: number;
  readonly mailTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly queryTimeoutMs: number;
  readonly readRepairTimeoutMs: number;
  readonly bodyBytesMax: number;
  readonly writeInFlightBytesMax: number;
  readonly seriesCacheMax: number;
  readonly logBytesMax: number;
  readonly memtableBytesMax: number;
  readonly flushIdleMs: number;
  readonly mergeIdleMs: number;
  /** A cron expression; null: never. */
  readonly scrub: string | null;
  readonly scrubBytesPerSecond: number;
  readonly outboxBytesMax: number;
  /** null: no limit. */
  readonly repairBytesPerSecond: number | null;
  readonly repairCpuShare: number | null;
  readonly queryPointsMax: number;
  readonly queryBytesMax: number;
  readonly querySeriesMax: number;
  readonly queryBucketsMax: number;
  readonly queryPointsReadMax: number;
  readonly queryCharactersMax: number;
  readonly queryStatementsMax: number;
  readonly queryNestingMax: number;
  /** 0: no limit. */
  readonly maxRowLimit: number;
  readonly lineBytesMax: number;
  readonly keyBytesMax: number;
  readonly stringBytesMax: number;
  readonly fieldsMax: number;
  readonly bodySeriesMax: number;
  /** 0: no limit. */
  readonly seriesMax: number;
  /** 0: no limit. */
  readonly maxConcurrentQueries: number;
  readonly repairHistoryMs: number;
  readonly repairHistoryBytesMax: number;
}

/** What the command line shows for one option. */
export interface OptionSpec {
  /** Without the dashes: `pass-interval`. Also the key of the YAML file. */
  readonly name: string;
  /** `STARLING_PASS_INTERVAL`. */
  readonly environment: string;
  /** Placeholder in help: `DURATION`. */
  readonly value: string;
  readonly fallback: string;
  readonly about: string;
}

export const SERVE_OPTIONS: readonly OptionSpec[] = (Object.keys(DEFINITIONS) as OptionName[]).map((name) => ({
  name,
  environment: environmentName(name),
  value: DEFINITIONS[name].value,
  fallback: DEFINITIONS[name].fallback,
  about: DEFINITIONS[name].about,
}));

export interface ConfigSources {
  /** Flags by name without dashes (`pass-interval`); undefined where not given. `config` names the YAML file. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** Throws ConfigError with one line that names the option, where it was given, and what is wrong. */
export function loadConfig(sources: ConfigSources): Config {
  const flags = sources.flags ?? {};
  const environment = sources.environment ?? {};
  for (const name of Object.keys(flags)) {
    if (name !== 'config' && !(name in DEFINITIONS)) throw new ConfigError(`unknown option --${name}`);
  }
  const path = flags.config ?? environment.STARLING_CONFIG;
  const file = path === undefined || path === '' ? {} : readConfigFile(path, Object.keys(DEFINITIONS));

  const sourceOf = (name: OptionName) => pickSource(name, flags, environment, file, path);
  const resolve = <T>(name: OptionName, schema: z.ZodType<T, string>): T => {
    const from = sourceOf(name);
    const parsed = schema.safeParse(from.text);
    if (!parsed.success) throw new ConfigError(`${from.where}: ${parsed.error.issues[0]?.message ?? 'invalid'}`);
    return parsed.data;
  };
  const d = DEFINITIONS;
  const logBytesMax = resolve('log-bytes-max', d['log-bytes-max'].schema);
  const memtable = resolve('memtable-bytes-max', d['memtable-bytes-max'].schema);
  const config: Config = {
    nodeName: resolve('node', d.node.schema),
    listen: resolve('listen', d.listen.schema),
    advertise: resolve('advertise', d.advertise.schema),
    dataDirectory: resolve('data', d.data.schema),
    join: resolve('join', d.join.schema),
    readmit: resolve('readmit', d.readmit.schema),
    workers: resolve('workers', d.workers.schema),
    warmUp: resolve('warm-up', d['warm-up'].schema),
    udp: resolve('udp', d.udp.schema),
    rulesDirectory: resolve('rules', d.rules.schema),
    logLevel: resolve('log-level', d['log-level'].schema),
    passIntervalMs: resolve('pass-interval', d['pass-interval'].schema),
    heartbeatIntervalMs: resolve('heartbeat-interval', d['heartbeat-interval'].schema),
    clockDriftMaxMs: resolve('max-clock-drift', d['max-clock-drift'].schema),
    mailTimeoutMs: resolve('mail-timeout', d['mail-timeout'].schema),
    writeTimeoutMs: resolve('write-timeout', d['write-timeout'].schema),
    queryTimeoutMs: resolve('query-timeout', d['query-timeout'].schema),
    readRepairTimeoutMs: resolve('read-repair-timeout', d['read-repair-timeout'].schema),
    bodyBytesMax: resolve('body-bytes-max', d['body-bytes-max'].schema),
    writeInFlightBytesMax: resolve('write-in-flight-bytes-max', d['write-in-flight-bytes-max'].schema),
    seriesCacheMax: resolve('series-cache-max', d['series-cache-max'].schema),
    logBytesMax,
    memtableBytesMax: sourceOf('memtable-bytes-max').isDefault ? Math.min(memtable, logBytesMax) : memtable,
    flushIdleMs: resolve('flush-idle', d['flush-idle'].schema),
    mergeIdleMs: resolve('merge-idle', d['merge-idle'].schema),
    scrub: resolve('scrub', d.scrub.schema),
    scrubBytesPerSecond: resolve('scrub-bytes-per-second', d['scrub-bytes-per-second'].schema),
    outboxBytesMax: resolve('outbox-bytes-max', d['outbox-bytes-max'].schema),
    repairBytesPerSecond: resolve('repair-rate-max', d['repair-rate-max'].schema),
    repairCpuShare: resolve('repair-cpu-max', d['repair-cpu-max'].schema),
    queryPointsMax: resolve('query-points-max', d['query-points-max'].schema),
    queryBytesMax: resolve('query-bytes-max', d['query-bytes-max'].schema),
    querySeriesMax: resolve('query-series-max', d['query-series-max'].schema),
    queryBucketsMax: resolve('query-buckets-max', d['query-buckets-max'].schema),
    queryPointsReadMax: resolve('query-points-read-max', d['query-points-read-max'].schema),
    queryCharactersMax: resolve('query-characters-max', d['query-characters-max'].schema),
    queryStatementsMax: resolve('query-statements-max', d['query-statements-max'].schema),
    queryNestingMax: resolve('query-nesting-max', d['query-nesting-max'].schema),
    maxRowLimit: resolve('max-row-limit', d['max-row-limit'].schema),
    lineBytesMax: resolve('line-bytes-max', d['line-bytes-max'].schema),
    keyBytesMax: resolve('key-bytes-max', d['key-bytes-max'].schema),
    stringBytesMax: resolve('string-bytes-max', d['string-bytes-max'].schema),
    fieldsMax: resolve('fields-max', d['fields-max'].schema),
    bodySeriesMax: resolve('body-series-max', d['body-series-max'].schema),
    seriesMax: resolve('series-max', d['series-max'].schema),
    maxConcurrentQueries: resolve('max-concurrent-queries', d['max-concurrent-queries'].schema),
    repairHistoryMs: resolve('repair-history', d['repair-history'].schema),
    repairHistoryBytesMax: resolve('repair-history-bytes-max', d['repair-history-bytes-max'].schema),
  };
  checkRelations(config);
  return config;
}

export function membershipLimits(config: Config): MembershipLimits {
  return {
    ...DEFAULT_MEMBERSHIP_LIMITS,
    heartbeatIntervalMs: config.heartbeatIntervalMs,
    clockDriftMaxMs: config.clockDriftMaxMs,
  };
}

function checkRelations(config: Config): void {
  const relations: readonly [boolean, string][] = [
    [config.mailTimeoutMs <= config.writeTimeoutMs, 'mail-timeout must not exceed write-timeout'],
    [config.bodyBytesMax <= config.writeInFlightBytesMax, 'body-bytes-max must not exceed write-in-flight-bytes-max'],
    // Beyond it a member would be thought dead, or skewed, between two of its heartbeats.
    [
      config.heartbeatIntervalMs * 2 <= config.clockDriftMaxMs,
      'heartbeat-interval must be at most half of max-clock-drift',
    ],
    [config.memtableBytesMax <= config.logBytesMax, 'memtable-bytes-max must not exceed log-bytes-max'],
    // What is being flushed counts, too. All lies in the 2 GiB of a kernel's memory.
    [config.memtableBytesMax / config.workers <= GIB, 'memtable-bytes-max must not exceed 1 GiB for each worker'],
  ];
  for (const [holds, rule] of relations) if (!holds) throw new ConfigError(rule);
}

function environmentName(option: string): string {
  return `STARLING_${option.toUpperCase().replaceAll('-', '_')}`;
}

function pickSource(
  name: OptionName,
  flags: Readonly<Record<string, string | undefined>>,
  environment: Readonly<Record<string, string | undefined>>,
  file: Readonly<Record<string, string>>,
  path: string | undefined,
): { text: string; where: string; isDefault?: true } {
  const flag = flags[name];
  if (flag !== undefined) return { text: flag, where: `--${name}` };
  const variable = environmentName(name);
  const fromEnvironment = environment[variable];
  if (fromEnvironment !== undefined && fromEnvironment !== '') return { text: fromEnvironment, where: variable };
  if (file[name] !== undefined) return { text: file[name], where: `${path}: ${name}` };
  return { text: DEFINITIONS[name].fallback, where: `default of --${name}`, isDefault: true };
}
