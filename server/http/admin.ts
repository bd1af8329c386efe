/**
 * The admin API about the cluster and its shards (JSON): `/api/cluster`, `/api/shards`, `/api/shards/:id`, `/health`,
 * `/ready`.
 *
 * A shard's page puts the roots of all live owners side by side, taken at one common stamp, so that equality can be
 * seen and not only claimed.
 */
import type { Express } from 'express';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import { lossName, withAcknowledged } from '../../repair/losses.ts';
import type { LossDescription, OutboxStatus, ShardDescription } from '../../repair/records.ts';
import type { NodeNumber, Stamp } from '../../shards/version.ts';
import type { PeerStatus } from '../peers.ts';
import { nameOf } from '../query-backend.ts';
import { callNode, type NodeApi } from '../query-rpc.ts';
import type { RepairJournal } from '../repair-journal.ts';
import type { KnownShard, ShardPlaces } from '../shard-places.ts';
import type { WorkerPool } from '../threads.ts';
import { setInfluxHeaders } from './influx-ping.ts';
import { sendError } from './server.ts';

export interface MemberStatus {
  readonly number: string;
  readonly name: string;
  readonly address: string;
  readonly state: string;
  readonly live: boolean;
  /** null: not since this node began. */
  readonly lastHeardMsAgo: number | null;
  /** Who hears it where this node does not; null: nobody. */
  readonly heardBy: string | null;
}

export interface AdminPorts {
  readonly version: string;
  readonly startedMs: number;
  readonly pool: WorkerPool;
  readonly nodeApi: NodeApi;
  readonly places: ShardPlaces;
  readonly journal: RepairJournal;
  snapshot(): ClusterSnapshot;
  clusterId(): string | null;
  members(): readonly MemberStatus[];
  /** For how long nothing of it has been heard while this node ran (silence.ts). */
  silentMs(member: NodeNumber): number;
  peers(): readonly PeerStatus[];
  notReady(): string | null;
  bound(): Promise<ConvergenceBound>;
  nowMs(): number;
}

export interface BoundOfShards {
  readonly boundMs: number;
  readonly withCopiesMs: number;
  readonly parts: Readonly<Record<string, number>>;
}

export interface ConvergenceBound extends BoundOfShards {
  /** The same of delete shards: all members are in their rings. What comes before it is that of shards with rows. */
  readonly deletes: BoundOfShards;
  /** Why it is as large as it is, or does not hold. */
  readonly warnings: readonly string[];
}

export function addAdminRoutes(app: Express, ports: AdminPorts): void {
  app.use(['/health', '/ready'], (request, response, next) => {
    setInfluxHeaders(request, response, ports.version);
    next();
  });
  app.get('/health', (_request, response) => {
    const problem = ports.notReady();
    response.status(problem === null ? 200 : 503).json({
      name: 'influxdb',
      message: problem ?? 'ready for queries and writes',
      status: problem === null ? 'pass' : 'fail',
      checks: [],
      version: ports.version,
    });
  });
  app.get('/ready', (_request, response) => {
    const problem = ports.notReady();
    const upSeconds = Math.floor((ports.nowMs() - ports.startedMs) / 1000);
    const started = new Date(ports.startedMs).toISOString();
    response.status(problem === null ? 200 : 503).json({ status: problem ?? 'ready', started, up: `${upSeconds}s` });
  });
  app.get('/api/cluster', async (_request, response) => {
    response.json(await describeCluster(ports));
  });
  app.get('/api/shards', async (request, response) => {
    const { database } = request.query;
    const shards = await describeShards(ports);
    response.json({
      shards: typeof database === 'string' ? shards.filter((shard) => shard.database === database) : shards,
    });
  });
  app.get('/api/shards/:id', async (request, response) => {
    const shard = ports.places.find(request.params.id);
    const described = shard === null ? null : await describeShardEverywhere(ports, shard);
    if (described === null) sendError(response, 404, 'not found', `no shard ${request.params.id} is known here`);
    else response.json(described);
  });
}

/**
 * Of each member that was added, or is being filled: shards that it owns and others have in full, and it has not. Owners of a
 * shard that was just made are all as young.
 */
export function shardsToCome(shards: readonly Pick<ShardDescription, 'replicas'>[]): Map<NodeNumber, number> {
  const found = new Map<NodeNumber, number>();
  for (const { replicas } of shards) {
    const isWhole = ({ state, young }: ShardDescription['replicas'][number]) => state === 'full' && !young;
    if (!replicas.some(isWhole)) continue;
    for (const each of replicas)
      if (each.owner && each.state !== 'unknown' && !isWhole(each))
        found.set(each.member, (found.get(each.member) ?? 0) + 1);
  }
  return found;
}

async function describeCluster(ports: AdminPorts): Promise<object> {
  const snapshot = ports.snapshot();
  const [shards, outbox, bound] = await Promise.all([describeShards(ports), outboxes(ports.pool), ports.bound()]);
  const nowMs = ports.nowMs();
  const links = new Map(ports.peers().map((peer) => [peer.peer, peer]));
  const toCome = shardsToCome(shards);
  return {
    node: snapshot.self,
    name: snapshot.members.find((member) => member.number === snapshot.self)?.name ?? null,
    version: ports.version,
    clusterId: ports.clusterId(),
    viewHash: snapshot.viewHash,
    ready: ports.notReady() === null,
    notReady: ports.notReady(),
    nowMs,
    members: ports.members().map((member) => ({
      ...member,
      self: member.number === snapshot.self,
      shards: snapshot.heldBy[member.number]?.length ?? 0,
      shardsToCome: toCome.get(member.number) ?? 0,
      link: links.get(member.number) ?? null,
    })),
    databases: snapshot.databases.map((database) => ({
      name: database.name,
      durability: database.durability,
      conflict: database.conflict,
      defaultRetentionPolicy: database.defaultRetentionPolicy,
      retentionPolicies: database.retentionPolicies.map((policy) => ({
        name: policy.name,
        durationNs: policy.durationNs.toString(),
        shardDurationNs: policy.shardDurationNs.toString(),
        replication: policy.replication,
      })),
    })),
    outbox,
    bound,
    convergedThroughMs: least(shards.map((shard) => shard.converged?.throughMs ?? null)),
    liveConvergedThroughMs: least(shards.map((shard) => shard.liveConverged?.throughMs ?? null)),
    shards: shards.length,
    losses: lossesOf(shards),
  };
}

/** By member: which shards may lack what only it held, or what it lacked when it went on, and since when; but for those that somebody has taken note of. */
function lossesOf(shards: readonly ShardDescription[]): object[] {
  const found = new Map<string, LossDescription & { afterMs: number; shards: string[] }>();
  for (const { id, losses } of shards) {
    for (const loss of losses) {
      if (loss.acknowledgedMs !== undefined) continue;
      const before = found.get(lossName(loss));
      if (before === undefined) found.set(lossName(loss), { ...loss, shards: [id] });
      else {
        before.afterMs = Math.min(before.afterMs, loss.afterMs);
        before.shards.push(id);
      }
    }
  }
  return [...found.values()];
}

/** This node's own view of every shard that it knows; those that it does not hold are asked of a live holder. */
export async function describeShards(ports: AdminPorts): Promise<ShardDescription[]> {
  const own = (await ports.pool.callAll('describeShards')).flat();
  const here = new Set(own.map((shard) => shard.id));
  const elsewhere = ports.places.all().filter((shard) => !here.has(shard.id));
  const asked = await Promise.all(elsewhere.map((shard) => askHolder(ports, shard)));
  const { members } = ports.snapshot();
  const found = [...own, ...asked.filter((shard) => shard !== null)].map((shard) =>
    shard.losses.length === 0 ? shard : { ...shard, losses: withAcknowledged(shard.losses, members) },
  );
  return found.sort((a, b) =>
    a.database !== b.database
      ? a.database < b.database
        ? -1
        : 1
      : a.startNs === b.startNs
        ? a.number - b.number
        : BigInt(a.startNs) < BigInt(b.startNs)
          ? -1
          : 1,
  );
}

async function askHolder(ports: AdminPorts, shard: KnownShard): Promise<ShardDescription | null> {
  for (const holder of ports.places.remoteHolders(shard)) {
    const described = await describeAt(ports, holder, shard, null);
    if (described !== null) return described;
  }
  return null;
}

async function describeAt(
  ports: AdminPorts,
  member: string,
  shard: KnownShard,
  through: Stamp | null,
): Promise<ShardDescription | null> {
  const snapshot = ports.snapshot();
  if (member === snapshot.self)
    return ports.pool.call(ports.pool.workerOf(shard.key.number), 'describeShard', shard.id, through);
  const address = snapshot.members.find((each) => each.number === member)?.address;
  const clusterId = ports.clusterId();
  if (address === undefined || clusterId === null) return null;
  try {
    return await callNode(
      { address, clusterId, from: nameOf(snapshot) },
      'describeShard',
      { id: shard.id, number: shard.key.number },
      through,
    );
  } catch (error) {
    if ((error as { code?: string }).code === 'node-call') return null;
    throw error;
  }
}

async function describeShardEverywhere(ports: AdminPorts, shard: KnownShard): Promise<object | null> {
  const snapshot = ports.snapshot();
  const holders = [snapshot.self, ...ports.places.remoteHolders(shard)];
  const first = await Promise.all(holders.map((holder) => describeAt(ports, holder, shard, null)));
  const present = first.filter((each) => each !== null);
  const base = first[0] ?? present[0];
  if (base === undefined || base === null) return null;
  // The greatest stamp that every replica can still answer for exactly: the newest of the newest versions. What is
  // written meanwhile is newer, and left out of the picture.
  const newest = present.map((each) => each.newestVersion?.slice(0, 16) ?? null).filter((each) => each !== null);
  const through = newest.sort().at(-1) ?? null;
  const second =
    through === null ? first : await Promise.all(holders.map((holder) => describeAt(ports, holder, shard, through)));
  const checksums = holders.flatMap((holder, index) => {
    const described = second[index];
    if (described === null || described === undefined) return [];
    const member = snapshot.members.find((each) => each.number === holder);
    return [
      { member: holder, name: member?.name ?? holder, state: described.state, ledger: described.ledgerAtWatermark },
    ];
  });
  const roots = checksums.map(({ ledger }) =>
    ledger === null ? null : `${ledger.batches} ${ledger.identitySum} ${ledger.contentSum}`,
  );
  const equal =
    checksums.every(({ state }) => state === 'full') && roots.every((root) => root !== null && root === roots[0]);
  const losses = withAcknowledged(base.losses, snapshot.members);
  return { ...base, losses, checksums, checksumsThrough: through, equal: through === null ? true : equal };
}

async function outboxes(pool: WorkerPool): Promise<OutboxStatus[]> {
  const total = new Map<string, OutboxStatus>();
  for (const status of (await pool.callAll('outboxStatus')).flat()) {
    const before = total.get(status.peer);
    total.set(status.peer, {
      ...status,
      bytes: status.bytes + (before?.bytes ?? 0),
      entries: status.entries + (before?.entries ?? 0),
      debts: status.debts + (before?.debts ?? 0),
      holdingBytes: status.holdingBytes + (before?.holdingBytes ?? 0),
      lastError: status.lastError ?? before?.lastError ?? null,
    });
  }
  return [...total.values()];
}

function least(values: readonly (number | null)[]): number | null {
  if (values.length === 0 || values.includes(null)) return null;
  return Math.min(...(values as number[]));
}
