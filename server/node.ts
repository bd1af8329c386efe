/**
 * One node: puts the parts together, in order, and takes them apart again.
 *
 * Start: lock and identity -> HTTP listens (answers 503) -> metadata and clock -> workers recover their shards ->
 * membership starts (founds, joins, or goes on) -> `listening on http://HOST:PORT` on stdout. Stop: no new requests, what
 * is in flight is finished, workers flush, files close. A crash instead of a stop loses nothing that was acknowledged.
 *
 * The main thread never waits for disk on behalf of a write. It stops the process on broken invariants and when a worker
 * dies; bad input, absent members and full disks do not get that far.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { Logger } from 'pino';
import { HybridClock } from '../repair/clock.ts';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { bytesWithoutCrc } from '../repair/mail-messages.ts';
import { SqliteRegisterStore } from '../repair/metadata-store.ts';
import { NodeCore, type NodeEffect } from '../repair/node-core.ts';
import { type BoundWatch, watchOf } from './bound-watch.ts';
import { type Config, membershipLimits } from './config.ts';
import { hostText } from './config-values.ts';
import type { Coordinator } from './coordinator.ts';
import { queueMoreCompilations } from './eager-compiler.ts';
import { startHeartbeat } from './heartbeat.ts';
import { type HttpFront, type HttpPorts, startHttp } from './http/server.ts';
import { LevellingDesk } from './levelling-desk.ts';
import type { Extension, NodeContext, RunningNode } from './main.ts';
import { Metrics } from './metrics.ts';
import { createNodeApi } from './node-api.ts';
import { createHttpPorts } from './node-http.ts';
import { clockReservation, type NodeDirectory, type NodeFile, StartError, saveNodeFile } from './node-identity.ts';
import { createNodeQueries, type NodeQueries } from './node-queries.ts';
import { addNodeRoutes } from './node-routes.ts';
import { createWriter, type Writer } from './node-writer.ts';
import { OutgoingCalls } from './outgoing-calls.ts';
import { packageVersion } from './package-version.ts';
import { Peers } from './peers.ts';
import { linkIdentityOf } from './peers-link.ts';
import { LANE_NODE, type Packet } from './peers-packet.ts';
import { diskTrouble, endWithError, watchProcess } from './process-life.ts';
import { RunningQueries } from './query/running-queries.ts';
import type { NodeApi } from './query-rpc.ts';
import { whyNotReady } from './readiness.ts';
import { RepairJournal } from './repair-journal.ts';
import { RepairRatesStore } from './repair-rates.ts';
import { ShardPlaces } from './shard-places.ts';
import { WorkerPool, type WorkerTurn } from './threads.ts';
import { UdpListeners } from './udp-listeners.ts';
import { WarmUp } from './warm-up.ts';
import { workerSettings } from './worker-settings.ts';

const CORE_TICK_MS = 100;
const DRAIN_MS_MAX = 5_000;

export class Node implements RunningNode {
  readonly ended: Promise<void>;
  #config: Config;
  #log: Logger;
  #directory: NodeDirectory;
  #file: NodeFile;
  #http!: HttpFront;
  #clock!: HybridClock;
  #core!: NodeCore;
  #pool: WorkerPool | null = null;
  #levelling!: LevellingDesk;
  /** null before the workers have recovered. */
  #nodeApi: NodeApi | null = null;
  #peers!: Peers;
  #calls!: OutgoingCalls;
  #places!: ShardPlaces;
  #writer: Writer | null = null;
  #warmUp: WarmUp | null = null;
  #queries!: NodeQueries;
  readonly #udp = new UdpListeners();
  #metrics!: Metrics;
  #journal!: RepairJournal;
  #rates!: RepairRatesStore;
  #boundWatch!: BoundWatch;
  #context!: NodeContext;
  #meta!: Database.Database;
  #url = '';
  #clusterDirty = false;
  #heldDirty = true;
  #early: WorkerTurn[] = [];
  #stops: (() => Promise<void> | void)[] = [];
  #stopping: Promise<void> | null = null;
  #settleEnded!: { resolve: () => void; reject: (error: Error) => void };

  constructor(config: Config, log: Logger, directory: NodeDirectory, file: NodeFile) {
    this.#config = config;
    this.#log = log;
    this.#directory = directory;
    this.#file = file;
    this.ended = new Promise((resolve, reject) => {
      this.#settleEnded = { resolve, reject };
    });
    this.ended.catch(() => {});
  }

  get url(): string {
    return this.#url;
  }

  get context(): NodeContext {
    return this.#context;
  }

  async start(extensions: readonly Extension[]): Promise<void> {
    const config = this.#config;
    const startedMs = Date.now();
    this.#metrics = new Metrics();
    this.#rates = new RepairRatesStore(config);
    this.#http = await startHttp(config.listen, this.#httpPorts());
    try {
      await this.#assemble(extensions, startedMs);
    } catch (error) {
      await this.#takeApart();
      throw error;
    }
    this.#stops.push(
      watchProcess(
        this.#log,
        () => this.stop(),
        (error) => this.#fail(error),
      ),
    );
    process.stdout.write(`listening on http://${hostText(config.listen.host)}:${this.#http.port}\n`);
  }

  async #assemble(extensions: readonly Extension[], startedMs: number): Promise<void> {
    const config = this.#config;
    this.#url = config.advertise ?? `http://${hostText(config.listen.host)}:${this.#http.port}`;
    this.#meta = new Database(join(config.dataDirectory, 'meta.sqlite'));
    const [limits, reserved] = [membershipLimits(config), clockReservation(config.dataDirectory)];
    this.#peers = new Peers({
      identity: () => linkIdentityOf(this.#file),
      stampNow: () => this.#clock.now(),
      nowMs: Date.now,
      random: Math.random,
      heard: (from, stamp) => this.#core.heard(from, stamp, Date.now()),
      onPacket: (packet) => this.#receivePacket(packet),
      onConnected: (member) => this.#writer?.coordinator.forgetKeysOf(member),
      log: this.#log,
    });
    this.#stops.push(reserved.close);
    this.#clock = new HybridClock(reserved, limits);
    this.#core = new NodeCore({
      identity: this.#file,
      address: this.#url,
      clock: this.#clock,
      store: new SqliteRegisterStore(this.#meta),
      processId: randomBytes(8).toString('hex'),
      random: Math.random,
      limits,
      emit: (effect) => this.#takeEffect(effect),
    });
    this.#calls = new OutgoingCalls({
      core: this.#core,
      peers: this.#peers,
      address: this.#url,
      number: () => this.#file.number,
      isStopping: () => this.#stopping !== null,
      guard: (work) => this.#guard(work),
    });
    this.#places = new ShardPlaces({
      self: this.#file.number,
      snapshot: () => this.#core.snapshot(),
      owners: (shard) => this.#core.owners(shard),
      nowMs: Date.now,
    });
    this.#journal = RepairJournal.of(config, this.#log, this.#core, this.#places);
    const settings = workerSettings(config, this.#file.number, this.#core.snapshot(), this.#rates.rates);
    if (config.warmUp) queueMoreCompilations();
    this.#pool = await WorkerPool.start(settings, {
      onTurn: (_worker, turn) => (this.#pool === null ? this.#early.push(turn) : this.#takeTurn(turn)),
      // Nothing was given to the workers before the writer was there.
      onAcknowledged: (requests, isScratch) => this.#coordinatorOf(isScratch)?.acknowledge(requests),
      onFault: ({ stack }) => this.#log.error({ problem: stack }, 'a read failed'),
      onDeath: (error) => this.#fail(error),
    });
    const pool = this.#pool;
    this.#rates.onChange((rates) => pool.setRepairRates(rates));
    const [levelling, rates] = [new LevellingDesk(pool), this.#rates];
    this.#levelling = levelling;
    const viewHash = () => this.#core.snapshot().viewHash;
    const running = new RunningQueries(this.#file.number, config.maxConcurrentQueries);
    this.#nodeApi = createNodeApi({ pool, rates, levelling, journal: this.#journal, running, startedMs, viewHash });
    this.#places.setLocal(pool.held());
    for (const turn of this.#early.splice(0)) this.#takeTurn(turn);
    this.#log.info({ ...pool.recovery(), shards: pool.held().length }, 'shards recovered');

    this.#queries = createNodeQueries({
      config,
      core: this.#core,
      pool,
      places: this.#places,
      levelling,
      writer: () => this.#writing(),
      clusterId: () => this.#file.clusterId ?? '',
      metrics: this.#metrics,
      udp: this.#udp,
      running,
      startedMs,
      port: this.#http.port,
      log: this.#log,
    });
    this.#stops.push(() => this.#queries.subscribers.close());
    this.#context = {
      config,
      url: this.#url,
      core: this.#core,
      queryService: this.#queries.service,
      log: this.#log,
      isReady: () => this.#notReady() === null,
    };
    this.#addRoutes(pool, extensions);
    const scratch = { config, self: this.#file.number, pool, log: this.#log };
    const ready = () => this.#file.seed !== null && this.#writing();
    if (config.warmUp) this.#warmUp = new WarmUp({ ...scratch, requests: this.#metrics.requests, ready });
    this.#core.start(config.join, Date.now());
    this.#startTimers(pool);
    await this.#startUdp();
    await this.#calls.untilChecked();
  }

  /** Of the node itself, or of what it warms up with. */
  #coordinatorOf(isScratch: boolean): Coordinator | undefined {
    return isScratch ? this.#warmUp?.coordinator : this.#writer?.coordinator;
  }

  #addRoutes(pool: WorkerPool, extensions: readonly Extension[]): void {
    const [config, log, core, places] = [this.#config, this.#log, this.#core, this.#places];
    const [metrics, rates] = [this.#metrics, this.#rates];
    const snapshot = (): ClusterSnapshot => core.snapshot();
    const owners = core.owners.bind(core);
    const watched = { config, log, pool, places, snapshot, owners };
    this.#boundWatch = watchOf({ ...watched, metrics: metrics.requests, rates: rates.current });
    const parts = {
      ...watched,
      core,
      metrics,
      rates,
      queries: this.#queries,
      nodeApi: this.#nodeApi!,
      journal: this.#journal,
      boundWatch: this.#boundWatch,
      context: this.#context,
      clusterId: () => this.#file.clusterId,
      peers: () => this.#peers,
      notReady: () => this.#notReady(),
      coordinatorBytes: () => this.#writer?.coordinator.inFlightBytes ?? 0,
    };
    addNodeRoutes(this.#http.app, parts, extensions, this.#stops);
  }

  #startUdp(): Promise<void> {
    return this.#udp.start(this.#config.udp, {
      notReady: () => this.#notReady(),
      coordinator: () => this.#writing().coordinator,
      hasDatabase: (name) => this.#core.snapshot().databases.some((database) => database.name === name),
      createDatabase: (name) => this.#core.definitions.createDatabase(name, null, Date.now()),
      nowMs: Date.now,
      log: this.#log,
    });
  }

  #startTimers(pool: WorkerPool): void {
    const tick = setInterval(() => this.#guard(() => this.#core.tick(Date.now())), CORE_TICK_MS);
    const heartbeat = startHeartbeat({
      core: this.#core,
      pool,
      intervalMs: this.#config.heartbeatIntervalMs,
      nowMs: Date.now,
      beforeAsking: () => this.#shareCluster(),
      takeHeld: () => {
        const dirty = this.#heldDirty;
        this.#heldDirty = false;
        return dirty ? pool.held() : null;
      },
      afterBeat: () => this.#writer?.schemas.refresh(Date.now()),
      onError: (error) => this.#diskTrouble(error),
    });
    this.#stops.push(() => clearInterval(tick), heartbeat, this.#boundWatch.start());
  }

  #writing(): Writer {
    if (this.#writer !== null) return this.#writer;
    const { seed, clusterId } = this.#file;
    if (seed === null || clusterId === null) throw new Error('a write before this node has joined');
    this.#writer = createWriter({
      seed,
      clusterId,
      config: this.#config,
      core: this.#core,
      pool: this.#pool!,
      places: this.#places,
      metrics: this.#metrics.requests,
      isScratch: false,
      accepted: (request, points) => this.#queries.subscribers.accepted(request, points),
      isReady: () => this.#notReady() === null,
      shareCluster: () => this.#shareCluster(),
      guard: (work) => this.#guard(work),
      faulty: (error) => this.#log.error({ problem: error.stack }, 'request failed'),
    });
    return this.#writer;
  }

  #takeEffect(effect: NodeEffect): void {
    switch (effect.kind) {
      case 'send':
        this.#peers.send([effect.to], { lane: LANE_NODE, bytes: effect.message });
        return;
      case 'call':
        this.#calls.call(effect.address, effect.message);
        return;
      case 'identity':
        this.#file = { ...this.#file, ...effect.identity };
        saveNodeFile(this.#directory.path, this.#file);
        if (this.#file.clusterId !== null)
          this.#log.info({ clusterId: this.#file.clusterId, number: this.#file.number }, 'member of a cluster');
        return;
      case 'cluster-changed':
        if (!this.#clusterDirty) setImmediate(() => this.#shareCluster());
        this.#clusterDirty = true;
        return;
      case 'left':
      case 'twin':
        this.#log.warn({ reason: effect.reason }, effect.kind === 'left' ? 'left the cluster' : 'a twin runs');
        return;
      case 'refused':
        this.#fail(new StartError('refused', effect.reason));
        return;
    }
  }

  /** Workers see a change no later than the first message that was posted after it. */
  #shareCluster(): void {
    if (!this.#clusterDirty || this.#core === undefined) return;
    this.#clusterDirty = false;
    const snapshot = this.#core.snapshot();
    this.#pool?.setCluster(snapshot);
    this.#peers.setMembers(snapshot.members);
  }

  #receivePacket(packet: Packet<ArrayBuffer>): void {
    const pool = this.#pool;
    if (pool === null) return;
    const forWorkers = packet.messages.filter(({ lane }) => lane !== LANE_NODE);
    for (const { lane, bytes } of packet.messages) {
      if (lane === LANE_NODE) this.#core.receive({ number: packet.sender, address: null }, bytes, Date.now());
    }
    this.#shareCluster();
    pool.deliver(packet.sender, forWorkers);
  }

  #takeTurn(turn: WorkerTurn): void {
    const coordinator = this.#coordinatorOf(turn.isScratch);
    if (turn.acknowledged.length > 0) coordinator?.acknowledge(turn.acknowledged);
    if (turn.failed.length > 0) coordinator?.settle(turn.failed);
    if (turn.isScratch) return;
    for (const { to, lane, message } of turn.sends)
      this.#peers.send(to, { lane, bytes: message, checked: bytesWithoutCrc(message) });
    if (turn.held !== null) {
      this.#heldDirty = true;
      this.#places.setLocal(this.#pool!.held());
    }
    this.#levelling.settle(turn.levelled);
    this.#journal.take(turn);
    for (const record of turn.passes) this.#metrics.repairs.passEnded(record, this.#file.number);
  }

  #httpPorts(): HttpPorts {
    return createHttpPorts({
      version: packageVersion(),
      config: this.#config,
      log: this.#log,
      notReady: () => this.#notReady(),
      coordinator: () => this.#writing().coordinator,
      queryService: () => this.#queries.service,
      nodeApi: () => this.#nodeApi,
      clusterId: () => this.#file.clusterId,
      peers: () => (this.#stopping === null ? this.#peers : null),
      metrics: this.#metrics.requests,
      receiveCall: (address, message) => {
        let answer: Uint8Array | null = null;
        this.#guard(() => {
          answer = this.#core.receive({ number: null, address }, message, Date.now());
        });
        return answer;
      },
    });
  }

  #notReady(): string | null {
    const isWarmingUp = this.#warmUp?.isAwaited === true;
    const stage = { isStopping: this.#stopping !== null, isRecovering: this.#context === undefined, isWarmingUp };
    return whyNotReady(stage, () => this.#core, Date.now());
  }

  /** Runs work whose expected failures (a full disk under the clock or the metadata) must not end the process. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#diskTrouble(error);
    }
  }

  #diskTrouble(error: unknown): void {
    const trouble = diskTrouble(error);
    if (trouble === null) this.#fail(error as Error);
    else this.#log.error(trouble, 'the disk or a limit stands in the way');
  }

  #fail(error: Error): void {
    this.#settleEnded.reject(error);
    endWithError(error, this.#log);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    // Before this node stops taking writes: what came is handed in, and drained with the rest.
    this.#udp.close();
    const closed = this.#http.close();
    const drainUntil = Date.now() + DRAIN_MS_MAX;
    while ((this.#writer?.coordinator.inFlightBytes ?? 0) > 0 && Date.now() < drainUntil)
      await new Promise((resolve) => setTimeout(resolve, 10));
    await this.#takeApart();
    await closed;
    this.#settleEnded.resolve();
  }

  async #takeApart(): Promise<void> {
    this.#udp.close();
    this.#warmUp?.stop();
    for (const stop of this.#stops.splice(0).reverse()) await stop();
    this.#peers?.close();
    await this.#pool?.stop();
    this.#journal?.close();
    this.#meta?.close();
    this.#http.destroy();
    this.#directory.release();
  }
}
