/**
 * The way of a write through the node that a client talks to: body -> points -> one batch per shard -> workers.
 *
 * Requests that wait together (write-gathering.ts) for the same retention policy (and consistency level) are merged into
 * one batch per shard, so many small writes make few batches. Parsing, routing, drawing the version and posting to the
 * worker happen in one synchronous step: a heartbeat that draws its closing stamp afterwards finds every earlier version
 * already posted (protocol rule 9). Types, retention and duplicate cells are settled here, before the version is drawn
 * (protocol rules 4 and 6).
 *
 * The ingest stage takes bodies whole; what it cannot judge goes the general way.
 */
import type { DatabaseDefinition } from '../repair/cluster.ts';
import type { WriteOutcome } from '../repair/replica-host.ts';
import type { RoutingPolicy } from '../shards/batch-builder.ts';
import { IngestStage, type StageTarget } from '../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS, type LineLimits } from '../shards/line-protocol-errors.ts';
import type { Rejected } from '../shards/row-rules.ts';
import { NO_KEYS_ENCODED } from '../shards/series-keys.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import { SHARDS_PER_GROUP, shardId } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import { type Companions, companionsOf } from './companions.ts';
import type { CoordinatorLimits, CoordinatorPorts } from './coordinator-ports.ts';
import { encodeBuilt, GeneralRoute, type OpenBatch } from './general-route.ts';
import type { WriteCoordinator, WriteRequest, WriteResult } from './http/influx-write.ts';
import { KeyDestinations } from './key-destinations.ts';
import { into } from './lists.ts';
import { NamedPolicies, routingOf } from './named-policies.ts';
import { type GroupName, groupNameOf, type KnownGroup, type SchemaCache } from './schema-cache.ts';
import { SeriesLimit } from './series-limit.ts';
import type { ShardPlaces } from './shard-places.ts';
import type { PostedWrite } from './threads.ts';
import { bitsIn, EVERY_BIT, type Requests, resultOf, unavailable, type Waiting } from './waiting-write.ts';
import { takeUpTo, WriteGathering } from './write-gathering.ts';

/** The stage is sealed above this: about what its frames unfold to; the rows of one more request still fit. */
const STAGE_BYTES_TARGET = 32 * 1024 * 1024;
/** Bodies that are taken in one turn of the main thread: others have theirs before the rest, heartbeats as well. */
const TURN_BYTES_MAX = 16 * 1024 * 1024;
/** A request whose shard groups had to be loaded is routed again; more rounds than this mean that groups are evicted. */
const ROUTE_ROUNDS_MAX = 3;
const OK: WriteOutcome = { ok: true };
const NOTHING_REJECTED: Rejected = { dropped: 0, reason: null };
const NO_GROUPS: readonly GroupName[] = [];

/** A frame on its way out, as far as the fast and the general way differ. */
interface Encoded {
  readonly frame: Uint8Array;
  readonly keys: Uint8Array;
  readonly allKeys: Uint8Array | null;
  /** How many keys go along. */
  readonly fresh: number;
}

type GroupOf = (startNs: bigint) => KnownGroup | null;

export class Coordinator implements WriteCoordinator {
  #ports: CoordinatorPorts;
  #limits: CoordinatorLimits;
  readonly #lines: LineLimits;
  #schemas: SchemaCache;
  #places: ShardPlaces;
  readonly #policies: NamedPolicies;
  #stage: IngestStage;
  #general: GeneralRoute<Waiting> | null = null;
  readonly #queue = new Set<Waiting>();
  readonly #gathering: WriteGathering;
  readonly #series: SeriesLimit;
  #inFlightBytes = 0;
  #inFlight = new Map<number, (outcome: WriteOutcome) => void>();
  #nextRequest = 1;
  readonly #destinations = new KeyDestinations();

  constructor(ports: CoordinatorPorts, limits: CoordinatorLimits, schemas: SchemaCache, places: ShardPlaces) {
    this.#ports = ports;
    this.#limits = limits;
    const { lineBytesMax, keyBytesMax, stringBytesMax, fieldsMax: columnsMax, bodySeriesMax: seriesMax } = limits;
    this.#lines = { ...LINE_LIMITS, lineBytesMax, keyBytesMax, stringBytesMax, columnsMax, seriesMax };
    this.#schemas = schemas;
    this.#places = places;
    this.#policies = new NamedPolicies(ports.snapshot);
    this.#gathering = new WriteGathering({
      nowMs: ports.nowMs,
      later: ports.later,
      after: ports.after,
      inFlight: () => this.#inFlight.size,
      leave: () => this.#flush(),
    });
    this.#series = new SeriesLimit(limits.seriesMax, {
      census: ports.census,
      again: (waiting) => this.#enqueue(waiting),
    });
    this.#stage = new IngestStage(ports.seed, limits.seriesCacheMax, SHARDS_PER_GROUP, this.#lines);
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  write(request: WriteRequest, answered: (result: WriteResult) => void): void {
    if (!this.#ports.isReady()) {
      answered(unavailable('joining: this node is not yet a member of its cluster'));
      return;
    }
    let bytes = 0;
    for (const piece of request.body) bytes += piece.length;
    if (this.#inFlightBytes + bytes > this.#limits.writeInFlightBytesMax) {
      answered(unavailable(`overloaded: ${this.#inFlightBytes} bytes of writes are waiting; retry later`));
      return;
    }
    const found = this.#policies.find(request.database, request.retentionPolicy);
    if ('error' in found) {
      answered(found);
      return;
    }
    this.#inFlightBytes += bytes;
    this.#enqueue({
      request,
      bytes,
      startedMs: this.#ports.nowMs(),
      answered,
      rounds: 0,
      read: null,
      rejected: NOTHING_REJECTED,
      touched: 0,
      barred: null,
      outstanding: 0,
      failure: null,
      groups: NO_GROUPS,
      batches: request.receipt === true ? [] : null,
    });
  }

  /**
   * A frame that is no client's points (a delete), made and posted in one step. Acknowledged by
   * all live owners; rejects when by none.
   */
  submitFrame(shard: ShardKey, database: DatabaseDefinition, frameOf: (version: Version) => Uint8Array): Promise<void> {
    const version = this.#ports.mint();
    return new Promise((resolve, reject) => {
      const request = this.#expect((outcome) => {
        if (outcome.ok) resolve();
        else reject(new Error(outcome.message));
      });
      this.#ports.submit(this.#ports.workerOf(shard.number), [
        {
          request,
          shard,
          version,
          frame: frameOf(version),
          keys: NO_KEYS_ENCODED,
          allKeys: null,
          consistency: 'live',
          durability: database.durability,
          timeoutMs: this.#limits.writeTimeoutMs,
        },
      ]);
    });
  }

  /** The workers' answers. */
  settle(written: readonly { readonly request: number; readonly outcome: WriteOutcome }[]): void {
    for (const { request, outcome } of written) this.#settle(request, outcome);
    this.#gathering.settled();
  }

  /** The same for requests that are written. */
  acknowledge(requests: readonly number[]): void {
    for (const request of requests) this.#settle(request, OK);
    this.#gathering.settled();
  }

  #settle(request: number, outcome: WriteOutcome): void {
    const done = this.#inFlight.get(request);
    this.#inFlight.delete(request);
    done?.(outcome);
  }

  /** Members that restarted or are new may lack keys that were sent before. */
  forgetKeysOf(member: NodeNumber): void {
    if (this.#destinations.has(member)) this.#stage.forgetSent();
  }

  #enqueue(waiting: Waiting): void {
    this.#queue.add(waiting);
    this.#gathering.joined(waiting.bytes);
  }

  #flush(): void {
    const waiting = takeUpTo(this.#queue, TURN_BYTES_MAX, ({ bytes }) => bytes);
    this.#gathering.left();
    for (const { bytes } of this.#queue) this.#gathering.joined(bytes);
    const posted: PostedWrite[] = [];
    const refuse = (each: Waiting, refusal: WriteResult): void => this.#finish(each, refusal);
    for (const companions of companionsOf(waiting, this.#policies, refuse)) this.#write(companions, posted);
    const byWorker = new Map<number, PostedWrite[]>();
    for (const write of posted) into(byWorker, this.#ports.workerOf(write.shard.number), write);
    for (const [worker, writes] of byWorker) this.#ports.submit(worker, writes);
  }

  #write(companions: Companions, posted: PostedWrite[]): void {
    const stage = this.#stage;
    const general: Waiting[] = [];
    const nowMs = this.#ports.nowMs();
    const routing = routingOf(companions.named, nowMs);
    const groupOf = this.#groupsOf(routing, nowMs, true);
    for (let rest = companions.requests; rest.length > 0; ) {
      const staged: Waiting[] = [];
      const later: Waiting[] = [];
      stage.begin(routing, rest[0]!.request.nowNs);
      for (const waiting of rest) {
        if (later.length > 0 || stage.hasGrown || (staged.length > 0 && stage.bytes > STAGE_BYTES_TARGET)) {
          later.push(waiting);
          continue;
        }
        if (waiting.barred !== null && waiting.barred.byGroup.size > 0) {
          general.push(waiting);
          continue;
        }
        const { body, precision, nowNs } = waiting.request;
        const result = stage.add(body, precision, nowNs, groupOf);
        if (result.kind === 'general') general.push(waiting);
        else if (result.kind === 'full') later.push(waiting);
        else if (result.kind === 'unknown') this.#load(waiting, routing, result.startsNs, nowMs);
        else {
          const { rows, aged } = result;
          waiting.read = result;
          waiting.rejected = aged > 0 ? { dropped: aged, reason: 'points beyond retention policy' } : NOTHING_REJECTED;
          waiting.touched = result.touched;
          if (aged === rows) this.#finish(waiting, resultOf(waiting));
          else staged.push(waiting);
        }
      }
      rest = later;
      if (stage.hasDuplicates()) {
        general.push(...staged);
        continue;
      }
      const targets = stage.targets();
      if (this.#series.holdsStage(stage, targets, groupOf)) {
        const judged = staged.filter(({ barred }) => barred !== null);
        if (judged.length < staged.length) {
          const startsNs = stage.startsNs();
          for (const waiting of staged) if (waiting.barred === null) this.#hold(waiting, startsNs, routing, groupOf);
          rest = [...judged, ...later];
          continue;
        }
      }
      this.#sealStage(companions, routing, staged, targets, groupOf, posted);
    }
    if (general.length > 0) this.#writeGenerally(companions, routing, general, posted);
  }

  /** Postpones the request until its series have been looked at. */
  #hold(waiting: Waiting, startsNs: readonly bigint[], routing: RoutingPolicy, groupOf: GroupOf): void {
    const general = this.#generalRoute();
    const { body, precision, nowNs } = waiting.request;
    const read = () => general.seriesOf(general.parse(body, precision, nowNs), routing);
    this.#series.hold(waiting, startsNs, groupOf, read);
  }

  /** The groups that are known, each looked up once; `begins`: new ones too (of a stage, which has few). */
  #groupsOf(routing: RoutingPolicy, nowMs: number, begins: boolean): GroupOf {
    const found = new Map<bigint, KnownGroup>();
    const get = begins ? 'getOrBegin' : 'get';
    return (startNs) => {
      const group = found.get(startNs) ?? this.#schemas[get](groupNameOf(routing, startNs), nowMs);
      if (group !== null) found.set(startNs, group);
      return group;
    };
  }

  /** Postpones the request until its shard groups are known. */
  #load(waiting: Waiting, routing: RoutingPolicy, startsNs: readonly bigint[], nowMs: number): void {
    if (++waiting.rounds > ROUTE_ROUNDS_MAX) {
      this.#finish(waiting, unavailable(`overloaded: a body over ${startsNs.length} shard groups`));
      return;
    }
    void Promise.all(startsNs.map((startNs) => this.#schemas.load(groupNameOf(routing, startNs), nowMs))).then(() => {
      this.#enqueue(waiting);
    });
  }

  #sealStage(
    companions: Companions,
    routing: RoutingPolicy,
    staged: readonly Waiting[],
    targets: readonly StageTarget[],
    groupOf: GroupOf,
    posted: PostedWrite[],
  ): void {
    this.#stage.teach();
    const groups = this.#stage.startsNs().map((startNs) => groupNameOf(routing, startNs));
    const present = targets.reduce((bits, { index }) => bits | (1 << index), 0);
    for (const waiting of staged) {
      waiting.groups = groups;
      waiting.touched &= present;
      waiting.outstanding = bitsIn(waiting.touched);
    }
    for (const target of targets) {
      const requests: Requests = { all: staged, bit: 1 << target.index };
      this.#post(target, companions, requests, groupOf, posted, (version) => this.#sealTarget(target, version));
    }
  }

  /** Keys go to owners that may not have had them from here. */
  #sealTarget(target: StageTarget, version: Version): Encoded {
    const owners = this.#ports.owners(target.shard);
    this.#places.noteWritten(target.id, target.shard);
    const { bits, others } = this.#destinations.of(owners);
    // This node's own worker is not asked again: when it lacks a key, the write fails and the next one brings all.
    const { self } = this.#ports.snapshot();
    const allKeys = owners.some((owner) => owner !== self);
    return this.#stage.seal(target, version, bits, others, allKeys);
  }

  #writeGenerally(
    companions: Companions,
    routing: RoutingPolicy,
    requests: readonly Waiting[],
    posted: PostedWrite[],
  ): void {
    const groupOf = this.#groupsOf(routing, this.#ports.nowMs(), false);
    const general = this.#generalRoute();
    let routed = 0;
    for (const waiting of requests) {
      const { body, precision, nowNs } = waiting.request;
      const points = general.parse(body, precision, nowNs);
      waiting.read = points;
      if (points.rows === 0) {
        this.#finish(waiting, resultOf(waiting));
        continue;
      }
      const startsNs = general.startsOf(points, routing);
      const unknown = startsNs.filter((startNs) => groupOf(startNs) === null);
      if (unknown.length > 0) {
        this.#load(waiting, routing, unknown, this.#ports.nowMs());
        continue;
      }
      const { barred } = waiting;
      routed += points.rows;
      if (barred === null && startsNs.some((startNs) => this.#series.holds(groupOf(startNs)!, routed))) {
        this.#hold(waiting, startsNs, routing, groupOf);
        continue;
      }
      waiting.groups = startsNs.map((startNs) => groupNameOf(routing, startNs));
      const { rejected, batches } = general.route(points, waiting, routing, (startNs) => groupOf(startNs)!, barred);
      waiting.rejected = rejected;
      waiting.touched = EVERY_BIT;
      waiting.outstanding = batches;
      if (batches === 0) this.#finish(waiting, resultOf(waiting));
    }
    for (const batch of general.take()) this.#postBuilt(batch, companions, groupOf, posted);
  }

  #generalRoute(): GeneralRoute<Waiting> {
    const hashOf = (key: string) => this.#stage.hashOf(key);
    this.#general ??= new GeneralRoute(hashOf, this.#limits.seriesCacheMax, this.#lines);
    return this.#general;
  }

  #postBuilt(
    { builder, requests }: OpenBatch<Waiting>,
    companions: Companions,
    groupOf: GroupOf,
    posted: PostedWrite[],
  ): void {
    const { shard } = builder;
    const id = shardId(shard);
    const { conflict } = companions.named.database;
    this.#post({ shard, id }, companions, { all: [...requests], bit: EVERY_BIT }, groupOf, posted, (version) => {
      this.#places.noteWritten(id, shard);
      return { ...encodeBuilt(builder, version, conflict), allKeys: null };
    });
  }

  /** Draws the version and makes the frame; when this node may not mint, the requests are answered so. */
  #post(
    { shard, id }: { readonly shard: ShardKey; readonly id: ShardId },
    { consistency, named }: Companions,
    requests: Requests,
    groupOf: GroupOf,
    posted: PostedWrite[],
    encode: (version: Version) => Encoded,
  ): void {
    let version: Version;
    try {
      version = this.#ports.mint();
    } catch (error) {
      const { message, status, code } = error as Error & { status?: number; code?: string };
      if (typeof code !== 'string') throw error;
      this.#settleAll(requests, { ok: false, code, message, status: status ?? 503 });
      return;
    }
    for (const { touched, batches } of requests.all)
      if (batches !== null && (touched & requests.bit) !== 0) batches.push({ shard, version });
    const { frame, keys, allKeys, fresh } = encode(version);
    const series = fresh === 0 ? undefined : groupOf(shard.startNs)?.series;
    series?.sealed(fresh);
    const request = this.#expect((outcome) => {
      if (outcome.ok) this.#places.noteAcknowledged(id);
      // Who has which key is in doubt; the batches from now on bring them again.
      else this.#stage.forgetSent(id);
      series?.settled(fresh);
      this.#settleAll(requests, outcome);
    });
    const { durability } = named.database;
    const timeoutMs = this.#limits.writeTimeoutMs;
    posted.push({ request, shard, version, frame, keys, allKeys, consistency, durability, timeoutMs });
  }

  #expect(done: (outcome: WriteOutcome) => void): number {
    const request = this.#nextRequest++;
    this.#inFlight.set(request, done);
    return request;
  }

  /** A batch of these requests is settled: those that wait for no other one are answered. */
  #settleAll({ all, bit }: Requests, outcome: WriteOutcome): void {
    for (const waiting of all) {
      if ((waiting.touched & bit) === 0) continue;
      if (!outcome.ok) waiting.failure ??= outcome;
      waiting.outstanding--;
      if (waiting.outstanding === 0) this.#finish(waiting, resultOf(waiting));
    }
  }

  #finish(waiting: Waiting, result: WriteResult): void {
    this.#inFlightBytes -= waiting.bytes;
    this.#gathering.answered();
    this.#series.finished(waiting);
    if (waiting.failure !== null) for (const name of waiting.groups) this.#schemas.forget(name);
    const rows = waiting.failure === null ? (waiting.read?.rows ?? 0) - waiting.rejected.dropped : 0;
    if (rows > 0) this.#ports.accepted(waiting.request, rows);
    this.#ports.observe({
      rows,
      failedRows: (waiting.read?.failed ?? 0) + waiting.rejected.dropped,
      bytes: waiting.bytes,
      ms: this.#ports.nowMs() - waiting.startedMs,
      status: result.status,
    });
    // Others of its batch are still to be answered.
    try {
      waiting.answered(result);
    } catch (error) {
      this.#ports.faulty(error as Error);
    }
  }
}
