/**
 * What a write passes on the main thread, made by the node's own functions for a replica that is thrown away (warm-up.ts):
 * a cluster of one in memory with one database, the way of a write, and a door.
 */
import { Registry } from 'prom-client';
import { HybridClock } from '../repair/clock.ts';
import { NodeCore } from '../repair/node-core.ts';
import { type NodeNumber, STAMP_ZERO } from '../shards/version.ts';
import { type Config, membershipLimits } from './config.ts';
import { PlainDoor } from './http/plain-door.ts';
import type { HttpPorts } from './http/server.ts';
import { createHttpPorts } from './node-http.ts';
import { createWriter, type Writer } from './node-writer.ts';
import { packageVersion } from './package-version.ts';
import type { QueryService } from './query/result.ts';
import { whyNotReady } from './readiness.ts';
import { RequestMetrics } from './request-metrics.ts';
import { ShardPlaces } from './shard-places.ts';
import type { WorkerPool } from './threads.ts';

export const SCRATCH_DATABASE = 'warm-up';
/** Of a door that is there for seconds. */
const TIMEOUTS = { headersMs: 60_000, requestMs: 60_000, keepAliveMs: 60_000 };

const NO_QUERIES: QueryService = {
  execute() {
    throw new Error('a query at a door for writes');
  },
};

export interface ScratchParts {
  readonly config: Config;
  readonly self: NodeNumber;
  readonly pool: WorkerPool;
  readonly log: HttpPorts['log'] & { warn(fields: object, text: string): void };
}

export interface ScratchNode {
  readonly core: NodeCore;
  readonly writer: Writer;
  readonly door: PlainDoor;
}

function problemOf(core: NodeCore): string | null {
  return whyNotReady({ isStopping: false, isRecovering: false, isWarmingUp: false }, () => core, Date.now());
}

/** The same, each within another function. */
function wrapped<T extends Readonly<Record<string, (...given: never[]) => unknown>>>(functions: T): T {
  const each = Object.entries(functions).map(([name, inner]) => [name, (...given: never[]) => inner(...given)]);
  return Object.fromEntries(each) as T;
}

/** `life`: how many there were before, from one to the next of which V8 sees other functions called. */
export function makeScratchNode({ config, self, pool, log }: ScratchParts, life: number): ScratchNode {
  const limits = membershipLimits(config);
  const core = new NodeCore({
    identity: { number: self, name: SCRATCH_DATABASE, clusterId: null, seed: null },
    address: 'http://127.0.0.1:1',
    clock: new HybridClock({ load: () => STAMP_ZERO, save: () => {} }, limits),
    processId: '0'.repeat(16),
    store: { load: () => [], save: () => {}, clear: () => {} },
    random: Math.random,
    limits,
    emit: () => {},
  });
  core.start([], Date.now());
  core.definitions.createDatabase(SCRATCH_DATABASE, null, Date.now());
  // The first heartbeat: its shards can be passed.
  core.heartbeat(core.closing(Date.now()), [], [], Date.now());
  const { clusterId, seed } = core.identity;
  const metrics = new RequestMetrics(new Registry());
  const owners = core.owners.bind(core);
  const places = new ShardPlaces({ self, snapshot: () => core.snapshot(), owners, nowMs: Date.now });
  const plain = {
    notReady: () => problemOf(core),
    coordinator: () => writer.coordinator,
    isReady: () => problemOf(core) === null,
    shareCluster: () => {},
    guard: (work: () => void) => work(),
    accepted: () => {},
  };
  const { isReady, shareCluster, guard, accepted, ...ofDoor } = life % 2 === 0 ? plain : wrapped(plain);
  const writer: Writer = createWriter({
    seed: seed!,
    clusterId: clusterId!,
    config,
    core,
    accepted,
    pool,
    places,
    metrics,
    isScratch: true,
    isReady,
    shareCluster,
    guard,
    faulty: (error) => log.error({ problem: error.stack }, 'a made-up write failed'),
  });
  const ports = createHttpPorts({
    version: packageVersion(),
    config,
    log,
    ...ofDoor,
    metrics,
    queryService: () => NO_QUERIES,
    nodeApi: () => null,
    clusterId: () => clusterId,
    peers: () => null,
    receiveCall: () => null,
  });
  return { core, writer, door: new PlainDoor(ports, TIMEOUTS, (socket) => socket.destroy()) };
}
