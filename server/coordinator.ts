/**
 * The way of a write through the node that a client talks to: body -> points -> one batch per shard -> workers.
 *
 * Requests that wait at the same moment are merged into one batch per shard (and per consistency level), so many small
 * writes make few batches. Parsing, routing, drawing the version and posting to the worker happen in one synchronous
 * step: a heartbeat that draws its closing stamp afterwards finds every earlier version already posted (protocol rule 9).
 * Types, retention and duplicate cells are settled here, before the version is drawn (protocol rules 4 and 6).
 */
import type { ClusterSnapshot, DatabaseDefinition, RetentionPolicyDefinition } from '../repair/cluster.ts';
import type { WriteOutcome } from '../repair/replica-host.ts';
import type { SeriesKeyRecord } from '../shards/batch.ts';
import type { Rejected, RoutingPolicy } from '../shards/batch-builder.ts';
import { BatchBuilder, groupStartsOf, routePoints } from '../shards/batch-builder.ts';
import { encodeBatch, encodeKeys } from '../shards/batch-codec.ts';
import type { ParsedPoints } from '../shards/line-protocol.ts';
import { LINE_LIMITS, LineParser } from '../shards/line-protocol.ts';
import { SeriesCache } from '../shards/series-cache.ts';
import type { ShardKey } from '../shards/shard-key.ts';
import { SHARDS_PER_GROUP, shardId } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import type { WriteConsistency, WriteCoordinator, WriteRequest, WriteResult } from './http/influx-write.ts';
import type { GroupName, SchemaCache } from './schema-cache.ts';
import type { ShardPlaces } from './shard-places.ts';
import { oldestKeptNs } from './shard-places.ts';
import type { PostedWrite } from './threads.ts';

/** A batch is closed above this; the rows of one more request still fit. */
const BATCH_BYTES_TARGET = 8 * 1024 * 1024;
const RETRY_AFTER_SECONDS = 1;
/** A request whose shard groups had to be loaded is routed again; more rounds than this mean that groups are evicted. */
const ROUTE_ROUNDS_MAX = 3;

export interface CoordinatorLimits {
  readonly writeInFlightBytesMax: number;
  readonly writeTimeoutMs: number;
  readonly seriesCacheMax: number;
}

export interface CoordinatorPorts {
  readonly seed: string;
  isReady(): boolean;
  snapshot(): ClusterSnapshot;
  owners(shard: ShardKey): readonly NodeNumber[];
  /** Throws an error with `status` and `message` when this node may not mint now. */
  mint(): Version;
  nowMs(): number;
  workerOf(shardNumber: number): number;
  submit(worker: number, writes: readonly PostedWrite[]): void;
  /** Runs `work` after the current turn of the event loop. */
  later(work: () => void): void;
  observe(event: {
    readonly rows: number;
    readonly failedRows: number;
    readonly bytes: number;
    readonly ms: number;
    readonly status: number;
  }): void;
}

interface Waiting {
  readonly request: WriteRequest;
  readonly startedMs: number;
  readonly resolve: (result: WriteResult) => void;
  rounds: number;
  rows: number;
  parsed: ParsedPoints | null;
  rejected: Rejected;
  outstanding: number;
  failure: (WriteOutcome & { ok: false }) | null;
  groups: GroupName[];
}

interface OpenBatch {
  readonly builder: BatchBuilder;
  readonly database: DatabaseDefinition;
  readonly consistency: WriteConsistency;
  readonly requests: Set<Waiting>;
}

export class Coordinator implements WriteCoordinator {
  #ports: CoordinatorPorts;
  #limits: CoordinatorLimits;
  #schemas: SchemaCache;
  #places: ShardPlaces;
  #series: SeriesCache;
  #parser: LineParser;
  #queue: Waiting[] = [];
  #scheduled = false;
  #inFlightBytes = 0;
  #inFlight = new Map<number, (outcome: WriteOutcome) => void>();
  #nextRequest = 1;
  #slots = new Map<NodeNumber, number>();

  constructor(ports: CoordinatorPorts, limits: CoordinatorLimits, schemas: SchemaCache, places: ShardPlaces) {
    this.#ports = ports;
    this.#limits = limits;
    this.#schemas = schemas;
    this.#places = places;
    this.#series = new SeriesCache(ports.seed, limits.seriesCacheMax, SHARDS_PER_GROUP);
    this.#parser = new LineParser(this.#series, LINE_LIMITS);
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  write(request: WriteRequest): Promise<WriteResult> {
    if (!this.#ports.isReady())
      return Promise.resolve(unavailable('joining: this node is not yet a member of its cluster'));
    if (this.#inFlightBytes + request.body.byteLength > this.#limits.writeInFlightBytesMax) {
      return Promise.resolve(
        unavailable(`overloaded: ${this.#inFlightBytes} bytes of writes are waiting; retry later`),
      );
    }
    const refusal = this.#policyOf(request);
    if ('error' in refusal) return Promise.resolve(refusal);
    this.#inFlightBytes += request.body.byteLength;
    return new Promise((resolve) => {
      this.#queue.push({
        request,
        startedMs: this.#ports.nowMs(),
        resolve,
        rounds: 0,
        rows: 0,
        parsed: null,
        rejected: { dropped: 0, reason: null },
        outstanding: 0,
        failure: null,
        groups: [],
      });
      this.#schedule();
    });
  }

  /** A frame that is no client's points (a delete), made and posted in one step. Rejects when it was not acknowledged. */
  submitFrame(shard: ShardKey, database: DatabaseDefinition, frameOf: (version: Version) => Uint8Array): Promise<void> {
    const version = this.#ports.mint();
    return new Promise((resolve, reject) => {
      const request = this.#expect((outcome) => {
        if (outcome.ok) resolve();
        else reject(new Error(outcome.message));
      });
      const nothing = encodeKeys([]);
      this.#ports.submit(this.#ports.workerOf(shard.number), [
        {
          request,
          shard,
          version,
          frame: frameOf(version),
          keys: nothing,
          allKeys: null,
          consistency: 'one',
          durability: database.durability,
          timeoutMs: this.#limits.writeTimeoutMs,
        },
      ]);
    });
  }

  /** The workers' answers. */
  settle(written: readonly { readonly request: number; readonly outcome: WriteOutcome }[]): void {
    for (const { request, outcome } of written) {
      const done = this.#inFlight.get(request);
      this.#inFlight.delete(request);
      done?.(outcome);
    }
  }

  /** Members that restarted or are new may lack keys that were sent before. */
  forgetKeysOf(member: NodeNumber): void {
    const slot = this.#slots.get(member);
    if (slot !== undefined) this.#series.forgetSlot(slot);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#ports.later(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const waiting = this.#queue;
    this.#queue = [];
    const open = new Map<string, OpenBatch>();
    const sealed: OpenBatch[] = [];
    for (const each of waiting) this.#route(each, open, sealed);
    const byWorker = new Map<number, PostedWrite[]>();
    for (const batch of [...sealed, ...open.values()]) {
      const posted = this.#seal(batch);
      if (posted === null) continue;
      const worker = this.#ports.workerOf(posted.shard.number);
      const list = byWorker.get(worker);
      if (list === undefined) byWorker.set(worker, [posted]);
      else list.push(posted);
    }
    for (const [worker, writes] of byWorker) this.#ports.submit(worker, writes);
  }

  /** Puts the rows of one request into the open batches of this turn, or postpones it until its groups are known. */
  #route(waiting: Waiting, open: Map<string, OpenBatch>, sealed: OpenBatch[]): void {
    const result = this.#routeOrAnswer(waiting, open, sealed);
    if (result !== null) this.#finish(waiting, result);
  }

  /** The answer, when there is nothing to wait for. */
  #routeOrAnswer(waiting: Waiting, open: Map<string, OpenBatch>, sealed: OpenBatch[]): WriteResult | null {
    const { request } = waiting;
    const found = this.#policyOf(request);
    if ('error' in found) return found;
    const { database, policy, routing } = found;
    const nowMs = this.#ports.nowMs();
    const parsed = this.#parser.parse(request.body, request.precision, request.nowNs);
    waiting.parsed = parsed;
    waiting.rows = parsed.rows;
    if (parsed.rows === 0) return resultOf(waiting);

    const nameOf = (startNs: bigint): GroupName => ({ ...routing, startNs, shardDurationNs: policy.shardDurationNs });
    const groups = groupStartsOf(parsed, routing).map(nameOf);
    const unknown = groups.filter((name) => this.#schemas.get(name, nowMs) === null);
    if (unknown.length > 0) {
      if (++waiting.rounds > ROUTE_ROUNDS_MAX) {
        return unavailable(`overloaded: a body over ${groups.length} shard groups`);
      }
      void Promise.all(unknown.map((name) => this.#schemas.load(name, nowMs))).then(() => {
        this.#queue.push(waiting);
        this.#schedule();
      });
      return null;
    }
    waiting.groups = groups;
    const touched = new Set<OpenBatch>();
    waiting.rejected = routePoints(
      parsed,
      routing,
      this.#series,
      (startNs) => this.#schemas.get(nameOf(startNs), nowMs)!,
      (shard) => {
        const batch = this.#openBatch(shard, database, request.consistency, touched, open, sealed);
        touched.add(batch);
        return batch.builder;
      },
    );
    if (touched.size === 0) return resultOf(waiting);
    waiting.outstanding = touched.size;
    for (const batch of touched) batch.requests.add(waiting);
    return null;
  }

  #openBatch(
    shard: ShardKey,
    database: DatabaseDefinition,
    consistency: WriteConsistency,
    touched: ReadonlySet<OpenBatch>,
    open: Map<string, OpenBatch>,
    sealed: OpenBatch[],
  ): OpenBatch {
    const name = `${shard.database}\0${shard.retentionPolicy}\0${shard.startNs}\0${shard.number}\0${consistency}`;
    const batch = open.get(name);
    if (batch !== undefined) {
      if (touched.has(batch) || batch.builder.bytes < BATCH_BYTES_TARGET) return batch;
      sealed.push(batch);
    }
    const fresh: OpenBatch = {
      builder: new BatchBuilder(shard),
      database,
      consistency,
      requests: new Set(),
    };
    open.set(name, fresh);
    return fresh;
  }

  /** Draws the version and makes the frame; null when this node may not mint, and the requests are answered. */
  #seal(batch: OpenBatch): PostedWrite | null {
    let version: Version;
    try {
      version = this.#ports.mint();
    } catch (error) {
      const { message, status, code } = error as Error & { status?: number; code?: string };
      if (typeof code !== 'string') throw error;
      for (const waiting of batch.requests)
        this.#settleOne(waiting, { ok: false, code, message, status: status ?? 503 });
      return null;
    }
    const { shard } = batch.builder;
    const built = batch.builder.build(version);
    const owners = this.#ports.owners(shard);
    const all: SeriesKeyRecord[] = built.batch.series.map((hash, i) => ({ hash, key: built.keys[i]! }));
    const id = shardId(shard);
    const firstHere = this.#places.noteWritten(id, shard);
    const unsent = this.#unsent(built.seriesIds, all, owners);
    // An owner that has had a key for another shard may still lack it in a new one.
    const fresh = firstHere ? all : unsent;
    const request = this.#expect((outcome) => {
      if (outcome.ok) this.#places.noteAcknowledged(id);
      for (const waiting of batch.requests) this.#settleOne(waiting, outcome);
    });
    return {
      request,
      shard,
      version,
      frame: encodeBatch(built.batch),
      keys: encodeKeys(fresh),
      allKeys: fresh.length === all.length ? null : encodeKeys(all),
      consistency: batch.consistency,
      durability: batch.database.durability,
      timeoutMs: this.#limits.writeTimeoutMs,
    };
  }

  /** Records of series that some owner of the shard may not have had from here, and marks them as sent. */
  #unsent(
    ids: Uint32Array,
    all: readonly SeriesKeyRecord[],
    owners: readonly NodeNumber[],
  ): readonly SeriesKeyRecord[] {
    const slots = owners.map((owner) => this.#slotOf(owner));
    const fresh: SeriesKeyRecord[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      let sent = true;
      for (const slot of slots) {
        if (this.#series.sentTo(id, slot)) continue;
        sent = false;
        this.#series.markSent(id, slot);
      }
      if (!sent) fresh.push(all[i]!);
    }
    return fresh;
  }

  /** Slots beyond those that the cache has bits for are always sent all keys. */
  #slotOf(member: NodeNumber): number {
    let slot = this.#slots.get(member);
    if (slot === undefined) {
      slot = this.#slots.size;
      this.#slots.set(member, slot);
    }
    return slot;
  }

  #expect(done: (outcome: WriteOutcome) => void): number {
    const request = this.#nextRequest++;
    this.#inFlight.set(request, done);
    return request;
  }

  #settleOne(waiting: Waiting, outcome: WriteOutcome): void {
    if (!outcome.ok) waiting.failure ??= outcome;
    if (--waiting.outstanding === 0) this.#finish(waiting, resultOf(waiting));
  }

  #finish(waiting: Waiting, result: WriteResult): void {
    this.#inFlightBytes -= waiting.request.body.byteLength;
    if (waiting.failure !== null) for (const name of waiting.groups) this.#schemas.forget(name);
    this.#ports.observe({
      rows: waiting.failure === null ? waiting.rows - waiting.rejected.dropped : 0,
      failedRows: (waiting.parsed?.failed ?? 0) + waiting.rejected.dropped,
      bytes: waiting.request.body.byteLength,
      ms: this.#ports.nowMs() - waiting.startedMs,
      status: result.status,
    });
    waiting.resolve(result);
  }

  #policyOf(
    request: WriteRequest,
  ):
    | { database: DatabaseDefinition; policy: RetentionPolicyDefinition; routing: RoutingPolicy }
    | { status: number; error: string } {
    const database = this.#ports.snapshot().databases.find((each) => each.name === request.database);
    if (database === undefined)
      return { status: 404, error: `database not found: ${JSON.stringify(request.database)}` };
    const name = request.retentionPolicy === '' ? database.defaultRetentionPolicy : request.retentionPolicy;
    const policy = database.retentionPolicies.find((each) => each.name === name);
    if (policy === undefined) return { status: 500, error: `retention policy not found: ${name}` };
    const routing: RoutingPolicy = {
      database: database.name,
      databaseGeneration: database.generation,
      retentionPolicy: policy.name,
      retentionPolicyGeneration: policy.generation,
      shardDurationNs: policy.shardDurationNs,
      oldestNs: oldestKeptNs(policy, this.#ports.nowMs()),
      shardsPerGroup: SHARDS_PER_GROUP,
    };
    return { database, policy, routing };
  }
}

function unavailable(error: string): WriteResult {
  return { status: 503, error, retryAfterSeconds: RETRY_AFTER_SECONDS };
}

/** InfluxDB's answer to a request whose every batch is settled. */
function resultOf({ parsed, rejected, failure }: Waiting): WriteResult {
  if (failure !== null) {
    return failure.status === 503 ? unavailable(failure.message) : { status: failure.status, error: failure.message };
  }
  const parseErrors = parsed === null ? '' : parsed.errors.map((each) => each.message).join('\n');
  if (parsed !== null && parsed.rows === 0)
    return parseErrors === '' ? { status: 204 } : { status: 400, error: parseErrors };
  if (rejected.dropped > 0)
    return { status: 400, error: `partial write: ${rejected.reason} dropped=${rejected.dropped}` };
  if (parseErrors !== '') return { status: 400, error: `partial write: ${parseErrors} dropped=0` };
  return { status: 204 };
}
