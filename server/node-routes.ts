/** All routes of a node that people and programs of administrators ask, and those of InfluxDB that are not hot. */
import type { Express } from 'express';
import type { Logger } from 'pino';
import type { NodeCore } from '../repair/node-core.ts';
import type { BoundWatch } from './bound-watch.ts';
import type { Config } from './config.ts';
import { addAdminRoutes } from './http/admin.ts';
import { addMemberRoutes } from './http/admin-members.ts';
import { addRepairRoutes } from './http/admin-repairs.ts';
import { addDebugVars } from './http/debug-vars.ts';
import { addReceiptRoutes } from './http/receipts.ts';
import { addErrorHandling } from './http/server.ts';
import { addStatusPage } from './http/status-page.ts';
import { addV2Routes } from './http/v2-routes.ts';
import type { Extension, NodeContext } from './main.ts';
import type { Metrics } from './metrics.ts';
import type { NodeQueries } from './node-queries.ts';
import { packageVersion } from './package-version.ts';
import type { Peers } from './peers.ts';
import type { NodeApi } from './query-rpc.ts';
import type { RepairJournal } from './repair-journal.ts';
import type { RepairRatesStore } from './repair-rates.ts';
import { startScrubs } from './scrub.ts';
import type { ShardPlaces } from './shard-places.ts';
import { followMembers } from './silence.ts';
import type { WorkerPool } from './threads.ts';

export interface RouteParts {
  readonly config: Config;
  readonly log: Logger;
  readonly core: NodeCore;
  readonly pool: WorkerPool;
  readonly nodeApi: NodeApi;
  readonly places: ShardPlaces;
  readonly journal: RepairJournal;
  readonly metrics: Metrics;
  readonly rates: RepairRatesStore;
  readonly boundWatch: BoundWatch;
  readonly queries: NodeQueries;
  readonly context: NodeContext;
  clusterId(): string | null;
  peers(): Peers;
  notReady(): string | null;
  coordinatorBytes(): number;
}

/** What stops that which runs behind them is added to `stops`. */
export function addNodeRoutes(
  app: Express,
  parts: RouteParts,
  extensions: readonly Extension[],
  stops: (() => Promise<void> | void)[],
): void {
  const { config, log, core, pool, metrics, queries, rates, boundWatch, notReady } = parts;
  const shared = {
    ...parts,
    version: packageVersion(),
    startedMs: queries.about.startedMs,
    snapshot: () => core.snapshot(),
    ...followMembers(() => core.describeMembers(Date.now()), stops),
    peers: () => parts.peers().status(),
    bound: () => boundWatch.measured(),
    owners: core.owners.bind(core),
    nowMs: Date.now,
  };
  addAdminRoutes(app, shared);
  addMemberRoutes(app, { core, nowMs: Date.now });
  addRepairRoutes(app, shared, rates);
  stops.push(startScrubs(app, { pool, cron: config.scrub, self: core.identity.number, log }));
  addReceiptRoutes(app, shared);
  metrics.addRoute(app, {
    ...shared,
    udp: queries.about.udp,
    subscribers: queries.subscribers,
    peers: parts.peers,
    rates: rates.current,
    boundWatch: () => boundWatch,
  });
  addDebugVars(app, { ...shared, statistics: queries.about });
  addV2Routes(app, { version: shared.version, backend: queries.backend, notReady });
  addStatusPage(app);
  for (const extension of extensions) {
    const stop = extension(app, parts.context);
    if (stop !== undefined) stops.push(stop);
  }
  addErrorHandling(app, log);
}
