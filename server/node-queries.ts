/** Queries of a node, bound to its parts. */
import type { Logger } from 'pino';
import type { NodeCore } from '../repair/node-core.ts';
import { ClusterQueries } from './cluster-queries.ts';
import type { Config } from './config.ts';
import { hostText } from './config-values.ts';
import { type DiagnosticSources, diagnosticsOf } from './diagnostics.ts';
import type { Metrics } from './metrics.ts';
import type { Writer } from './node-writer.ts';
import type { QueryBackend } from './query/backend.ts';
import { DEFAULT_QUERY_LIMITS } from './query/limits.ts';
import type { QueryService } from './query/result.ts';
import type { RunningQueries } from './query/running-queries.ts';
import { createQueryService } from './query/service.ts';
import { type BackendPorts, createQueryBackend } from './query-backend.ts';
import { queryMetadata } from './query-metadata.ts';
import { influxStatistics, ownStatistics, type StatisticSources } from './statistics.ts';
import { Subscribers } from './subscriptions/subscribers.ts';
import { mainTurns } from './turns.ts';
import type { UdpListeners } from './udp-listeners.ts';

export interface NodeQueryParts extends Pick<BackendPorts, 'pool' | 'places' | 'levelling' | 'clusterId'> {
  writer(): Writer;
  readonly config: Config;
  readonly core: NodeCore;
  readonly metrics: Metrics;
  readonly udp: UdpListeners;
  readonly running: RunningQueries;
  readonly startedMs: number;
  /** Of HTTP. */
  readonly port: number;
  readonly log: Logger;
}

export interface NodeQueries {
  readonly service: QueryService;
  readonly backend: QueryBackend;
  /** What this process says of itself, here and at other doors. */
  readonly about: StatisticSources & DiagnosticSources;
  readonly subscribers: Subscribers;
}

export function createNodeQueries({
  config,
  core,
  metrics,
  udp,
  running,
  startedMs,
  port,
  log,
  writer,
  ...parts
}: NodeQueryParts): NodeQueries {
  const metadata = queryMetadata(core, config.nodeName);
  const subscribers = new Subscribers(metadata.subscriptions, {
    snapshot: () => core.snapshot(),
    metadataHash: () => core.metadataHash(),
    turns: mainTurns,
    nowMs: Date.now,
    log,
  });
  const about = {
    subscribers,
    config,
    core,
    udp,
    startedMs,
    pool: parts.pool,
    requests: metrics.requests,
    bind: `${hostText(config.listen.host)}:${port}`,
    nowMs: Date.now,
  };
  const backend = createQueryBackend({
    ...parts,
    metadata,
    server: {
      owners: (shard) => core.owners(shard),
      statistics: async () => [...(await influxStatistics(about)), ...(await ownStatistics(about))],
      diagnostics: () => diagnosticsOf(about),
      queries: new ClusterQueries({ running, snapshot: () => core.snapshot(), clusterId: parts.clusterId }),
    },
    coordinator: () => writer().coordinator,
    forgetTypes: (policy) => writer().schemas.forgetPolicy(policy),
    noteDeletes: (database, policy) => core.definitions.noteDeletes(database, policy, Date.now()),
    lift: (stamp) => core.lift(stamp, Date.now()),
    queryTimeoutMs: config.queryTimeoutMs,
    readRepairTimeoutMs: config.readRepairTimeoutMs,
    snapshot: () => core.snapshot(),
  });
  const limits = {
    ...DEFAULT_QUERY_LIMITS,
    queryMsMax: config.queryTimeoutMs,
    rowsMax: Math.min(DEFAULT_QUERY_LIMITS.rowsMax, config.queryPointsMax),
    seriesMax: config.querySeriesMax,
    bytesMax: config.queryBytesMax,
    bucketsMax: config.queryBucketsMax,
    rowsScannedMax: config.queryPointsReadMax,
    charactersMax: config.queryCharactersMax,
    statementsMax: config.queryStatementsMax,
    nestingMax: config.queryNestingMax,
  };
  const service = createQueryService(backend, limits, running);
  return { service, backend, about, subscribers };
}
