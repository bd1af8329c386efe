/**
 * `GET /metrics`: what Prometheus is told about this node. Histograms are fed as things happen, those of requests in
 * request-metrics.ts, of passes in repair-metrics.ts; gauges are read from the workers when somebody asks.
 */
import type { Express } from 'express';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { RepairRates } from '../repair/budget.ts';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { openLosses } from '../repair/losses.ts';
import type { NodeCore } from '../repair/node-core.ts';
import type { ConvergenceBound } from './http/admin.ts';
import type { Peers } from './peers.ts';
import { RepairMetrics } from './repair-metrics.ts';
import { RequestMetrics, SECONDS_FAST } from './request-metrics.ts';
import type { Subscribers } from './subscriptions/subscribers.ts';
import { threadMemory } from './thread-memory.ts';
import type { WorkerPool } from './threads.ts';
import type { UdpListeners } from './udp-listeners.ts';

export interface MetricSources {
  readonly pool: WorkerPool;
  readonly core: NodeCore;
  snapshot(): ClusterSnapshot;
  bound(): Promise<ConvergenceBound>;
  peers(): Peers;
  members(): readonly {
    readonly number: string;
    readonly name: string;
    readonly live: boolean;
    readonly skewed: boolean;
    readonly clockOffsetMs: number | null;
    readonly handover: { readonly shards: number } | null;
  }[];
  coordinatorBytes(): number;
  rates(): RepairRates;
  boundWatch(): { readonly exceeded: number };
  readonly udp: UdpListeners;
  readonly subscribers: Subscribers;
}

export class Metrics {
  #registry = new Registry();
  readonly requests: RequestMetrics;
  readonly repairs: RepairMetrics;
  #fsync: Histogram;
  #flush: Histogram;
  #exceeded: Counter;

  constructor() {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    const histogram = (name: string, help: string) => new Histogram({ name, help, buckets: SECONDS_FAST, registers });
    const counter = (name: string, help: string) => new Counter({ name, help, registers });
    this.requests = new RequestMetrics(this.#registry);
    this.#fsync = histogram('starling_fsync_seconds', 'fdatasync of logs and outboxes');
    this.#flush = histogram('starling_flush_seconds', 'steps of flushing and compaction');
    this.repairs = new RepairMetrics(this.#registry);
    this.#exceeded = counter(
      'starling_convergence_bound_exceeded_total',
      'times that a shard was not proven equal on the live owners within the bound',
    );
  }

  addRoute(app: Express, sources: MetricSources): void {
    sources.udp.addTo(this.#registry);
    sources.subscribers.addTo(this.#registry);
    const gauges = makeGauges(this.#registry);
    app.get('/metrics', async (_request, response) => {
      await this.#collect(gauges, sources);
      response.set('Content-Type', this.#registry.contentType).send(await this.#registry.metrics());
    });
  }

  async #collect(gauges: Gauges, sources: MetricSources): Promise<void> {
    const { pool } = sources;
    const [shards, outboxes, timings, counters, bound] = await Promise.all([
      pool.callAll('describeShards'),
      pool.callAll('outboxStatus'),
      pool.callAll('timings'),
      pool.callAll('counters'),
      sources.bound(),
    ]);
    for (const gauge of Object.values(gauges)) gauge.reset();
    this.requests.collect();
    this.repairs.collect(counters);
    for (const { fsyncSeconds, flushSeconds } of timings) {
      for (const seconds of fsyncSeconds) this.#fsync.observe(seconds);
      for (const seconds of flushSeconds) this.#flush.observe(seconds);
    }
    gauges.logBytes.set(timings.reduce((sum, each) => sum + each.logBytes, 0));
    gauges.memtableBytes.set(timings.reduce((sum, each) => sum + each.memtableBytes, 0));
    gauges.blockCacheBytes.set(timings.reduce((sum, each) => sum + each.blockCacheBytes, 0));
    gauges.ledgerBytes.set(timings.reduce((sum, each) => sum + each.ledgerBytes, 0));
    for (const memory of [threadMemory(), ...timings.map((each) => each.memory)])
      for (const [kind, bytes] of Object.entries(memory)) gauges.memory.inc({ kind }, bytes);
    const { members } = sources.snapshot();
    for (const shard of shards.flat()) {
      const labels = { database: shard.database, shard: shard.id };
      if (shard.converged !== null) gauges.converged.set(labels, shard.converged.throughMs / 1000);
      if (shard.liveConverged !== null) gauges.liveConverged.set(labels, shard.liveConverged.throughMs / 1000);
      gauges.shardRows.set(labels, shard.rows);
      if (shard.losses.length > 0) gauges.shardLosses.set(labels, openLosses(shard.losses, members).length);
      gauges.shardBytes.set(labels, shard.fileBytes);
    }
    const names = new Map(members.map((member) => [member.number, member.name]));
    const nameOf = (number: string) => names.get(number) ?? number;
    for (const peer of sources.peers().status()) {
      gauges.outboxBytes.set({ peer: nameOf(peer.peer) }, 0);
      gauges.peerConnected.set({ peer: nameOf(peer.peer) }, peer.connected ? 1 : 0);
      gauges.peerDropped.set({ peer: nameOf(peer.peer) }, peer.dropped);
    }
    for (const status of outboxes.flat()) gauges.outboxBytes.inc({ peer: nameOf(status.peer) }, status.bytes);
    for (const member of sources.members()) {
      gauges.memberLive.set({ peer: member.name }, member.live ? 1 : 0);
      if (member.handover !== null) gauges.handoverShards.set({ peer: member.name }, member.handover.shards);
      gauges.memberSkewed.set({ peer: member.name }, member.skewed ? 1 : 0);
      if (member.clockOffsetMs !== null) gauges.clockOffset.set({ peer: member.name }, member.clockOffsetMs / 1000);
    }
    const transport = sources.peers().counters;
    gauges.event.set({ event: 'corrupt_packets' }, transport.corruptPackets);
    gauges.event.set({ event: 'refused_connections' }, transport.refusedConnections);
    gauges.event.set({ event: 'skewed_packets' }, transport.skewedPackets);
    for (const [event, value] of Object.entries(sources.core.counters))
      gauges.event.set({ event: snakeCase(event) }, value);
    for (const each of counters)
      for (const [event, value] of Object.entries(each)) gauges.event.inc({ event: snakeCase(event) }, value);
    gauges.bound.set(bound.boundMs / 1000);
    gauges.boundWithCopies.set(bound.withCopiesMs / 1000);
    gauges.boundOfDeletes.set(bound.deletes.boundMs / 1000);
    gauges.inFlight.set(sources.coordinatorBytes());
    const { paused, bytesPerSecond, cpuShare } = sources.rates();
    gauges.repairPaused.set(paused ? 1 : 0);
    if (bytesPerSecond !== null) gauges.repairRate.set(bytesPerSecond);
    if (cpuShare !== null) gauges.repairCpu.set(cpuShare);
    this.#exceeded.reset();
    this.#exceeded.inc(sources.boundWatch().exceeded);
  }
}

function makeGauges(registry: Registry) {
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Gauge<L>({ name, help, labelNames, registers: [registry] });
  const perShard = ['database', 'shard'] as const;
  const perPeer = ['peer'] as const;
  const plain: readonly string[] = [];
  return {
    converged: gauge(
      'starling_shard_converged_through_seconds',
      'all owners are proven equal for everything accepted up to here',
      perShard,
    ),
    liveConverged: gauge(
      'starling_shard_live_converged_through_seconds',
      'the live owners are proven equal up to here',
      perShard,
    ),
    shardRows: gauge('starling_shard_rows', 'rows stored, fragments included', perShard),
    shardLosses: gauge(
      'starling_shard_losses',
      'members with whom writes of the shard may be lost, as nobody has acknowledged: given up, replaced, or gone on when nobody was full',
      perShard,
    ),
    shardBytes: gauge('starling_shard_file_bytes', 'size of the shard file', perShard),
    bound: gauge(
      'starling_convergence_bound_seconds',
      'every accepted row is on all live owners within this time',
      plain,
    ),
    boundOfDeletes: gauge(
      'starling_convergence_bound_of_deletes_seconds',
      'every delete for a whole retention policy is on all live members within this time',
      plain,
    ),
    boundWithCopies: gauge(
      'starling_convergence_bound_with_copies_seconds',
      'the same where all that a node holds has to be copied first',
      plain,
    ),
    outboxBytes: gauge('starling_outbox_bytes', 'writes kept for a member that has not acknowledged them', perPeer),
    peerConnected: gauge('starling_peer_connected', '1: the connection to the member is open', perPeer),
    peerDropped: gauge(
      'starling_peer_dropped_messages',
      'messages not sent because the member could not be reached',
      perPeer,
    ),
    memberLive: gauge('starling_member_live', '1: heard of lately', perPeer),
    handoverShards: gauge('starling_handover_shards', 'shards that a leaving member still holds', perPeer),
    memberSkewed: gauge('starling_member_skewed', '1: its clock is too far from the others', perPeer),
    clockOffset: gauge(
      'starling_clock_offset_seconds',
      'clock of a member against the median of the live members',
      perPeer,
    ),
    logBytes: gauge('starling_log_bytes', 'write-ahead logs', plain),
    memtableBytes: gauge('starling_memtable_bytes', 'rows in memory', plain),
    blockCacheBytes: gauge('starling_block_cache_bytes', 'stored blocks that queries read lately, in memory', plain),
    ledgerBytes: gauge('starling_ledger_bytes', 'what ledgers take in memory, about', plain),
    memory: gauge(
      'starling_memory_bytes',
      'what all threads hold; memtables and cached blocks lie in kernels, which never shrink',
      ['kind'] as const,
    ),
    inFlight: gauge('starling_writes_in_flight_bytes', 'bodies that wait to be acknowledged', plain),
    repairPaused: gauge('starling_repair_paused', '1: an operator has paused repair on this node', plain),
    repairRate: gauge(
      'starling_repair_rate_limit_bytes_per_second',
      'what repair may fetch and the outbox send; absent without a limit',
      plain,
    ),
    repairCpu: gauge(
      'starling_repair_cpu_limit_share',
      'share of a core that repair may take in each worker; absent without a limit',
      plain,
    ),
    event: gauge('starling_events', 'counts since the start of the process, by what happened', ['event'] as const),
  };
}

type Gauges = ReturnType<typeof makeGauges>;

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
