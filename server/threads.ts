/**
 * Messages between the main thread and its workers, typed, and the main thread's side of them.
 *
 * A worker owns the shards whose number modulo the worker count is its index. Messages to one worker arrive in the order
 * in which they were posted; the heartbeat relies on it: what `openVersions` answers covers every write posted before.
 * Frames are moved, not copied. A worker that ends, for whatever reason, is reported once through `onDeath`: the process
 * must not go on without part of its shards.
 */
import { Worker } from 'node:worker_threads';
import type { RepairRates } from '../repair/budget.ts';
import type { ClusterSnapshot, HeldShard, Statement } from '../repair/cluster.ts';
import type { Handover } from '../repair/departures.ts';
import type { FoundWrite, SoughtWrite } from '../repair/found-writes.ts';
import type { LevelOrder, LevelResult } from '../repair/levelling.ts';
import type { OutboxStatus, PassRecord, RepairStatus, ScrubReport, ShardDescription } from '../repair/records.ts';
import type { OrderStatus, RepairOrder } from '../repair/repair-order.ts';
import type { RepairRecord } from '../repair/repair-records.ts';
import type { WriteOutcome } from '../repair/replica-host.ts';
import type { PartialRequest } from '../shards/query/partial.ts';
import { NO_KEYS_ENCODED } from '../shards/series-keys.ts';
import type { ShardId, ShardKey, ShardKeyJson } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import type { ReplicaProgress } from './bound-watch.ts';
import { type ClusterNews, ClusterNewsSender } from './cluster-news.ts';
import { movable, ownCopy } from './movable.ts';
import type { PartialAnswer } from './partial-answer.ts';
import type { CensusAnswer, CensusQuestion, SchemaAnswer, SchemaQuestion } from './shard-questions.ts';
import type { ThreadMemory } from './thread-memory.ts';
import { deathOf, READ_FAULT, WorkerCallError, WorkerDeathError, type WorkerErrorReport } from './worker-errors.ts';
import { ratesOfWorker } from './worker-settings.ts';

export interface WorkerSettings {
  readonly index: number;
  readonly workers: number;
  readonly self: NodeNumber;
  readonly dataDirectory: string;
  readonly snapshot: ClusterSnapshot;
  readonly tickMs: number;
  readonly passIntervalMs: number;
  readonly mailTimeoutMs: number;
  readonly clockDriftMaxMs: number;
  /** The worker's own share. */
  readonly outboxBytesMax: number;
  readonly logBytesMax: number;
  readonly memtableBytesMax: number;
  readonly flushIdleMs: number;
  readonly mergeIdleMs: number;
  readonly scrubBytesPerSecond: number;
  /** Bytes: the worker's own share. */
  readonly repairRates: RepairRates;
  /** Shared between threads: see said-nothing.ts. */
  readonly changes: Int32Array;
}

/** A batch on its way to the worker that owns its shard. `keys` and `allKeys` are encoded (shards/batch-codec.ts). */
export interface PostedWrite {
  readonly request: number;
  readonly shard: ShardKey;
  readonly version: Version;
  readonly frame: Uint8Array;
  readonly keys: Uint8Array;
  /** null: the same as `keys`. */
  readonly allKeys: Uint8Array | null;
  readonly consistency: 'any' | 'one' | 'quorum' | 'all' | 'live';
  readonly durability: 'fsync' | 'interval' | 'none';
  readonly timeoutMs: number;
}

export interface Recovery {
  readonly records: number;
  readonly bytes: number;
  readonly truncatedBytes: number;
  readonly ms: number;
}

/** Durations in seconds of what a worker did since it was last asked. */
export interface WorkerTimings {
  readonly fsyncSeconds: readonly number[];
  readonly flushSeconds: readonly number[];
  readonly logBytes: number;
  readonly memtableBytes: number;
  readonly blockCacheBytes: number;
  readonly ledgerBytes: number;
  readonly memory: ThreadMemory;
}

export interface WorkerApi {
  openVersions(): Statement['open'];
  /** Of a leaving node: what others still need of this worker. */
  handover(): Handover;
  describeShards(): ShardDescription[];
  describeShard(id: ShardId, throughStamp: string | null): ShardDescription | null;
  /** Answered by the turn's `levelled`. */
  level(orders: readonly LevelOrder[]): void;
  unplaced(): ShardKeyJson[];
  findWrites(writes: readonly SoughtWrite[]): FoundWrite[];
  startRepair(order: RepairOrder, shards: readonly ShardId[]): void;
  controlRepair(id: string, action: 'pause' | 'resume' | 'cancel'): void;
  repairs(order: string): RepairStatus[];
  repairOrders(id: string): OrderStatus[];
  /** All shards of the worker; nothing while such a run is under way. */
  startScrub(): void;
  scrub(): ScrubReport | null;
  setRepairRates(rates: RepairRates): void;
  /** Little, and cheap to say: asked every few seconds. */
  progress(): ReplicaProgress[];
  /** Of all shards; null: there is nothing. */
  newestVersion(): Version | null;
  outboxStatus(): OutboxStatus[];
  counters(): Record<string, number>;
  timings(): WorkerTimings;
  /** In turns (partial-runs.ts), and until it is cancelled. */
  partial(ids: readonly ShardId[], request: PartialRequest): PartialAnswer;
  schemas(shards: readonly SchemaQuestion[]): SchemaAnswer[];
  census(shards: readonly CensusQuestion[]): CensusAnswer[];
  /** Names by database. */
  measurements(): ReadonlyMap<string, ReadonlySet<string>>;
  /** Makes a replica that is thrown away (scratch-replica.ts), in the cluster of that snapshot. */
  beginScratch(snapshot: ClusterSnapshot): void;
  /** Takes it apart step by step; to be called until it returns false. `flushed`: as one does that is kept. */
  endScratch(flushed: boolean): boolean;
  collectYoungGarbage(): void;
  /** Flushes and closes; the worker ends after answering. */
  stop(): void;
}

/** What many writes have in common. */
export type WriteTerms = Pick<PostedWrite, 'consistency' | 'durability' | 'timeoutMs'>;

/**
 * A `PostedWrite` between threads: request, frame, keys, all keys, terms. Shard and version are in the frame's head, no
 * keys are null, and writes of one message share their terms: each object and buffer costs its making twice.
 */
export type WriteOnTheWay = readonly [number, Uint8Array, Uint8Array | null, Uint8Array | null, WriteTerms];

export type ToWorker =
  | ({ readonly kind: 'cluster' } & ClusterNews)
  | { readonly kind: 'submit'; readonly isScratch: boolean; readonly writes: readonly WriteOnTheWay[] }
  | { readonly kind: 'deliver'; readonly from: NodeNumber; readonly messages: readonly Uint8Array[] }
  | { readonly kind: 'call'; readonly id: number; readonly method: keyof WorkerApi; readonly args: readonly unknown[] }
  | { readonly kind: 'cancel'; readonly id: number };

export interface OutgoingMessage {
  readonly to: readonly NodeNumber[];
  readonly lane: number;
  readonly message: Uint8Array;
}

/** Everything that one turn of a worker produced; of a scratch replica only what became of writes. */
export interface WorkerTurn {
  readonly kind: 'turn';
  readonly isScratch: boolean;
  readonly sends: readonly OutgoingMessage[];
  /** Requests. */
  readonly acknowledged: readonly number[];
  readonly failed: readonly { readonly request: number; readonly outcome: WriteOutcome }[];
  /** null: unchanged. */
  readonly held: readonly HeldShard[] | null;
  readonly passes: readonly PassRecord[];
  readonly repairs: readonly RepairRecord[];
  readonly levelled: readonly LevelResult[];
}

/** A turn that has only acknowledged requests, as most do that do anything. */
export interface WorkerAcknowledgement {
  readonly kind: 'acknowledged';
  readonly isScratch: boolean;
  readonly requests: readonly number[];
}

export type FromWorker =
  | { readonly kind: 'ready'; readonly held: readonly HeldShard[]; readonly recovery: Recovery }
  | WorkerTurn
  | WorkerAcknowledgement
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly error: WorkerErrorReport }
  | { readonly kind: 'fatal'; readonly code: string; readonly message: string };

export interface PoolEvents {
  onTurn(worker: number, turn: WorkerTurn): void;
  onAcknowledged(requests: readonly number[], isScratch: boolean): void;
  /** A read failed for a fault of ours, which whoever asked is told as well. */
  onFault(error: WorkerCallError): void;
  onDeath(error: WorkerDeathError): void;
}

interface PendingCall {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Seat {
  readonly worker: Worker;
  readonly changes: Int32Array;
  readonly calls: Map<number, PendingCall>;
  held: readonly HeldShard[];
  recovery: Recovery | null;
}

function takeCall({ calls }: Seat, id: number): PendingCall | undefined {
  const call = calls.get(id);
  calls.delete(id);
  return call;
}

const NO_KEYS_BYTES = NO_KEYS_ENCODED.byteLength;

export class WorkerPool {
  #seats: Seat[] = [];
  #events: PoolEvents;
  #news: ClusterNewsSender;
  #nextCall = 1;
  #stopping = false;
  #dead = false;
  #heldRevision = 0;

  private constructor(events: PoolEvents, first: ClusterSnapshot) {
    this.#events = events;
    this.#news = new ClusterNewsSender(first);
  }

  /**
   * Resolves when every worker has recovered its shards; rejects with the first worker's error. At least one setting,
   * all with the same snapshot.
   */
  static async start(settings: readonly WorkerSettings[], events: PoolEvents): Promise<WorkerPool> {
    const pool = new WorkerPool(events, settings[0]!.snapshot);
    try {
      await Promise.all(settings.map((each) => pool.#startOne(each)));
    } catch (error) {
      pool.#stopping = true;
      await Promise.all(pool.#seats.map((seat) => seat.worker.terminate()));
      throw error;
    }
    return pool;
  }

  get count(): number {
    return this.#seats.length;
  }

  /** Which worker has the shards of this number. */
  workerOf(shardNumber: number): number {
    return shardNumber % this.#seats.length;
  }

  changesOf(worker: number): Int32Array {
    return this.#seats[worker]!.changes;
  }

  held(): HeldShard[] {
    return this.#seats.flatMap((seat) => seat.held);
  }

  /** Grows with every change of `held`. */
  get heldRevision(): number {
    return this.#heldRevision;
  }

  recovery(): Recovery {
    const total = { records: 0, bytes: 0, truncatedBytes: 0, ms: 0 };
    for (const { recovery } of this.#seats) {
      if (recovery === null) continue;
      total.records += recovery.records;
      total.bytes += recovery.bytes;
      total.truncatedBytes += recovery.truncatedBytes;
      total.ms = Math.max(total.ms, recovery.ms);
    }
    return total;
  }

  /** Of the node: each worker gets an equal share of the bytes. */
  setRepairRates(rates: RepairRates): void {
    // A worker that does not take it is dead, and the process ends for that.
    this.callAll('setRepairRates', ratesOfWorker(rates, this.count)).catch(() => {});
  }

  setCluster(snapshot: ClusterSnapshot): void {
    const news = this.#news.next(snapshot);
    for (const seat of this.#seats) this.#post(seat, { kind: 'cluster', ...news }, []);
  }

  submit(worker: number, writes: readonly PostedWrite[], isScratch: boolean): void {
    const moved = new Set<ArrayBuffer>();
    const move = (bytes: Uint8Array | null): Uint8Array | null => {
      if (bytes === null || bytes.byteLength <= NO_KEYS_BYTES) return null;
      const own = movable(bytes);
      moved.add(own.buffer);
      return own;
    };
    let terms: WriteTerms | null = null;
    const onTheWay = writes.map((write): WriteOnTheWay => {
      const { consistency, durability, timeoutMs } = write;
      const isSame =
        terms?.consistency === consistency && terms.durability === durability && terms.timeoutMs === timeoutMs;
      if (terms === null || !isSame) terms = { consistency, durability, timeoutMs };
      const frame = movable(write.frame);
      moved.add(frame.buffer);
      return [write.request, frame, move(write.keys), move(write.allKeys), terms];
    });
    this.#post(this.#seats[worker]!, { kind: 'submit', isScratch, writes: onTheWay }, [...moved]);
  }

  /** Messages of a member; `lane`: a shard number. Their buffers are moved whole: nobody else may need what is in them. */
  deliver(
    from: NodeNumber,
    messages: readonly { readonly lane: number; readonly bytes: Uint8Array<ArrayBuffer> }[],
  ): void {
    const byWorker = new Map<number, Uint8Array<ArrayBuffer>[]>();
    const takenBy = new Map<ArrayBuffer, number>();
    for (const { lane, bytes } of messages) {
      const worker = this.workerOf(lane);
      // A buffer goes to one worker; what is in it for another one is copied.
      const taker = takenBy.get(bytes.buffer) ?? worker;
      takenBy.set(bytes.buffer, taker);
      const own = taker === worker ? bytes : ownCopy(bytes);
      const list = byWorker.get(worker);
      if (list === undefined) byWorker.set(worker, [own]);
      else list.push(own);
    }
    for (const [worker, own] of byWorker) {
      const moved = new Set(own.map(({ buffer }) => buffer));
      this.#post(this.#seats[worker]!, { kind: 'deliver', from, messages: own }, [...moved]);
    }
  }

  call<K extends keyof WorkerApi>(
    worker: number,
    method: K,
    ...args: Parameters<WorkerApi[K]>
  ): Promise<ReturnType<WorkerApi[K]>> {
    return new Promise((resolve, reject) => this.ask(worker, method, args, resolve, reject));
  }

  /** The same without a promise: what is called may not throw. Returns the call's number; 0: it has failed already. */
  ask<K extends keyof WorkerApi>(
    worker: number,
    method: K,
    args: Parameters<WorkerApi[K]>,
    resolve: (value: ReturnType<WorkerApi[K]>) => void,
    reject: (error: Error) => void,
  ): number {
    const seat = this.#seats[worker]!;
    if (this.#dead) {
      reject(new WorkerDeathError('worker-gone', 'the node is stopping'));
      return 0;
    }
    const id = this.#nextCall++;
    seat.calls.set(id, { resolve: resolve as PendingCall['resolve'], reject });
    this.#post(seat, { kind: 'call', id, method, args }, []);
    return id;
  }

  /** Of a `partial`; neither is called. */
  cancel(worker: number, call: number): void {
    if (takeCall(this.#seats[worker]!, call)) this.#post(this.#seats[worker]!, { kind: 'cancel', id: call }, []);
  }

  callAll<K extends keyof WorkerApi>(
    method: K,
    ...args: Parameters<WorkerApi[K]>
  ): Promise<ReturnType<WorkerApi[K]>[]> {
    return Promise.all(this.#seats.map((_, worker) => this.call(worker, method, ...args)));
  }

  /** Flushes and closes all workers. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      this.#seats.map(async (seat, worker) => {
        const ended = new Promise((resolve) => seat.worker.once('exit', resolve));
        await this.call(worker, 'stop');
        await ended;
      }),
    );
    this.#dead = true;
  }

  #startOne(settings: WorkerSettings): Promise<void> {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: settings });
    const { changes } = settings;
    const seat: Seat = { worker, changes, calls: new Map(), held: [], recovery: null };
    this.#seats[settings.index] = seat;
    return new Promise((resolve, reject) => {
      const die = (error: WorkerDeathError) => {
        reject(error);
        for (const call of seat.calls.values()) call.reject(error);
        seat.calls.clear();
        if (this.#stopping || this.#dead || seat.recovery === null) return;
        this.#dead = true;
        this.#events.onDeath(error);
      };
      worker.on('message', (message: FromWorker) => {
        switch (message.kind) {
          case 'ready':
            seat.held = message.held;
            this.#heldRevision++;
            seat.recovery = message.recovery;
            resolve();
            return;
          case 'acknowledged':
            this.#events.onAcknowledged(message.requests, message.isScratch);
            return;
          case 'turn':
            if (message.held !== null) {
              seat.held = message.held;
              this.#heldRevision++;
            }
            this.#events.onTurn(settings.index, message);
            return;
          case 'answer':
            takeCall(seat, message.id)?.resolve(message.value);
            return;
          case 'failed':
            this.#failed(seat, message);
            return;
          case 'fatal':
            die(new WorkerDeathError(message.code, message.message));
            return;
        }
      });
      worker.on('error', (error) => die(deathOf(settings.index, error as Error)));
      worker.on('exit', (code) => die(new WorkerDeathError('worker-exit', `worker ${settings.index} ended (${code})`)));
    });
  }

  #failed(seat: Seat, message: Extract<FromWorker, { kind: 'failed' }>): void {
    const error = new WorkerCallError(message.error);
    if (error.code === READ_FAULT.code) this.#events.onFault(error);
    takeCall(seat, message.id)?.reject(error);
  }

  #post(seat: Seat, message: ToWorker, moved: readonly ArrayBuffer[]): void {
    if (!this.#dead) seat.worker.postMessage(message, moved as ArrayBuffer[]);
  }
}
