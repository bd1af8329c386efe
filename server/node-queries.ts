/** Queries of a node, bound to its parts. */
import type { NodeCore } from '../repair/node-core.ts';
import type { Config } from './config.ts';
import type { QueryBackend } from './query/backend.ts';
import { DEFAULT_QUERY_LIMITS } from './query/limits.ts';
import type { QueryService } from './query/result.ts';
import { createQueryService } from './query/service.ts';
import { type BackendPorts, createQueryBackend } from './query-backend.ts';
import { queryMetadata } from './query-metadata.ts';

export interface NodeQueryParts
  extends Pick<BackendPorts, 'pool' | 'places' | 'levelling' | 'coordinator' | 'clusterId'> {
  readonly config: Config;
  readonly core: NodeCore;
}

export interface NodeQueries {
  readonly service: QueryService;
  readonly backend: QueryBackend;
}

export function createNodeQueries({ config, core, ...parts }: NodeQueryParts): NodeQueries {
  const backend = createQueryBackend({
    ...parts,
    server: { owners: (shard) => core.owners(shard) },
    metadata: queryMetadata(core, config.nodeName),
    noteDeletes: (database, policy) => core.definitions.noteDeletes(database, policy, Date.now()),
    lift: (stamp) => core.lift(stamp, Date.now()),
    queryTimeoutMs: config.queryTimeoutMs,
    readRepairTimeoutMs: config.readRepairTimeoutMs,
    snapshot: () => core.snapshot(),
  });
  const service = createQueryService(backend, {
    ...DEFAULT_QUERY_LIMITS,
    queryMsMax: config.queryTimeoutMs,
    rowsMax: Math.min(DEFAULT_QUERY_LIMITS.rowsMax, config.queryPointsMax),
    seriesMax: config.querySeriesMax,
  });
  return { service, backend };
}
