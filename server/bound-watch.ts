/**
 * Holds this node's replicas against the published bound, and says what stands in its way.
 *
 * The bound counts from the later of acceptance and the return of the last owner: here from the start of the process, the
 * last change of the view, the first time that the shard was seen, the last time that one of the shard's owners came or went (another member may do so as often as it likes), the
 * end of the shard's last copy, the last time that its watermark fell, and the end of a pause, whichever came last. A shard
 * that is later than its bound (delete shards have one of their own) is counted and logged once, until it has caught up.
 */
import type { Logger } from 'pino';
import type { RepairRates } from '../repair/budget.ts';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { isOver } from '../repair/mail-receiver.ts';
import { isDeleteShard } from '../shards/delete-shard.ts';
import type { ShardId, ShardKey, ShardKeyJson } from '../shards/shard-key.ts';
import { shardKeyFromJson } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { Config } from './config.ts';
import type { ConvergenceBound } from './http/admin.ts';
import { boundWarnings, measuredBound } from './published-bound.ts';
import type { ShardPlaces } from './shard-places.ts';
import type { WorkerPool } from './threads.ts';

/** What a worker says of a replica, often: little. */
export interface ReplicaProgress {
  readonly id: ShardId;
  readonly key: ShardKeyJson;
  readonly state: 'full' | 'filling' | 'damaged';
  /** This node is one of its owners. */
  readonly isOwner: boolean;
  /** Up to where the live owners are proven equal; 0 before the first proof. */
  readonly liveThroughMs: number;
}

export interface BoundWatchPorts {
  readonly config: Pick<Config, 'passIntervalMs' | 'outboxBytesMax'>;
  readonly log: Pick<Logger, 'warn' | 'info'>;
  nowMs(): number;
  snapshot(): ClusterSnapshot;
  owners(key: ShardKey): readonly NodeNumber[];
  rates(): RepairRates;
  /** Measured anew: asks the workers for everything. */
  bound(): Promise<ConvergenceBound>;
  progress(): Promise<readonly ReplicaProgress[]>;
  /** Why the watermark of a shard does not move. */
  heldBackBy(id: ShardId): Promise<string | null>;
  /** Bytes of writes since the start. */
  writtenBytes(): number;
}

const MEASURE_EVERY_MS = 60_000;
const LOOK_EVERY_MS_MAX = 10_000;
const LOOK_EVERY_MS_MIN = 500;

export class BoundWatch {
  exceeded = 0;
  warnings: readonly string[] = [];
  readonly #late = new Set<ShardId>();
  /** When its replica was first seen, last being filled, or found with older batches than before: these came with a member that was away. */
  readonly #anewMs = new Map<ShardId, number>();
  readonly #throughMs = new Map<ShardId, number>();
  readonly #ports: BoundWatchPorts;
  #bound: ConvergenceBound | null = null;
  #measuredMs = Number.NEGATIVE_INFINITY;
  #measuredBytes = 0;
  #sinceMs: number;
  #viewHash = '';
  #live: ReadonlySet<NodeNumber> = new Set();
  /** When each member was last found to be live, or no longer. */
  readonly #turnedMs = new Map<NodeNumber, number>();

  constructor(ports: BoundWatchPorts) {
    this.#ports = ports;
    this.#sinceMs = ports.nowMs();
  }

  measured(): Promise<ConvergenceBound> {
    return this.#ports.bound();
  }

  /** Returns what stops it. */
  start(): () => Promise<void> {
    const { config } = this.#ports;
    let running: Promise<void> | null = null;
    const look = () => {
      running ??= this.look()
        .catch((error: Error) => this.#ports.log.warn({ problem: error.message }, 'the bound was not looked at'))
        .finally(() => {
          running = null;
        });
    };
    const everyMs = Math.min(LOOK_EVERY_MS_MAX, Math.max(LOOK_EVERY_MS_MIN, config.passIntervalMs / 3));
    const timer = setInterval(look, everyMs);
    look();
    return async () => {
      clearInterval(timer);
      await running;
    };
  }

  async look(): Promise<void> {
    const { nowMs, snapshot, rates } = this.#ports;
    await this.#measure();
    const progress = await this.#ports.progress();
    const now = nowMs();
    const { live, viewHash } = snapshot();
    if (viewHash !== this.#viewHash || rates().paused) this.#sinceMs = now;
    this.#viewHash = viewHash;
    this.#noteTurns(new Set(live), now);
    const here = new Set(progress.map(({ id }) => id));
    for (const id of [...this.#throughMs.keys(), ...this.#late]) {
      if (here.has(id)) continue;
      this.#anewMs.delete(id);
      this.#throughMs.delete(id);
      this.#late.delete(id);
    }
    for (const each of progress) await this.#judge(each, now);
  }

  #noteTurns(live: ReadonlySet<NodeNumber>, now: number): void {
    for (const member of new Set([...live, ...this.#live]))
      if (live.has(member) !== this.#live.has(member)) this.#turnedMs.set(member, now);
    this.#live = live;
  }

  async #judge({ id, key, state, isOwner, liveThroughMs }: ReplicaProgress, now: number): Promise<void> {
    const shardKey = shardKeyFromJson(key);
    const { boundMs } = isDeleteShard(shardKey) ? this.#bound!.deletes : this.#bound!;
    const beforeMs = this.#throughMs.get(id);
    if (beforeMs === undefined || state === 'filling' || liveThroughMs < beforeMs) this.#anewMs.set(id, now);
    this.#throughMs.set(id, liveThroughMs);
    const turnedMs = this.#ports.owners(shardKey).map((owner) => this.#turnedMs.get(owner) ?? 0);
    const anewMs = this.#anewMs.get(id)!;
    const fromMs = Math.max(this.#sinceMs, ...turnedMs, anewMs, liveThroughMs);
    const counts = isOwner && state === 'full' && !isOver(this.#ports.snapshot(), shardKey, now);
    if (!counts || now - fromMs <= boundMs) {
      this.#late.delete(id);
      return;
    }
    if (this.#late.has(id)) return;
    this.#late.add(id);
    this.exceeded++;
    const heldBackBy = await this.#ports.heldBackBy(id);
    const lagMs = now - (liveThroughMs === 0 ? anewMs : liveThroughMs);
    const late = { shard: id, database: key[0], lagMs, boundMs, heldBackBy };
    this.#ports.log.warn(late, 'a shard exceeds the convergence bound');
  }

  /** Now and then, since it asks for everything; and when something that is in it was changed. */
  async #measure(): Promise<void> {
    const { nowMs, bound, rates, config, log, writtenBytes } = this.#ports;
    const spanMs = nowMs() - this.#measuredMs;
    if (this.#bound !== null && spanMs < MEASURE_EVERY_MS) return;
    const first = this.#bound === null;
    this.#bound = await bound();
    const written = writtenBytes();
    const perSecond = first ? null : (1000 * (written - this.#measuredBytes)) / spanMs;
    this.#measuredBytes = written;
    this.#measuredMs = nowMs();
    const { boundMs, withCopiesMs, parts, deletes } = this.#bound;
    if (first) log.info({ boundMs, withCopiesMs, parts, deletes }, 'the convergence bound');
    const warnings = boundWarnings(config, this.#bound, rates(), perSecond);
    // What was said before is not said again because a figure in it is another one.
    const kinds = (list: readonly string[]) => list.map((text) => text.replace(/[0-9.]+/g, '')).join();
    if (kinds(warnings) !== kinds(this.warnings))
      for (const problem of warnings) log.warn({ problem }, 'the convergence bound');
    this.warnings = warnings;
  }
}

export interface WatchParts extends Pick<BoundWatchPorts, 'log' | 'snapshot' | 'owners' | 'rates'> {
  readonly config: Config;
  readonly pool: WorkerPool;
  readonly places: ShardPlaces;
  readonly metrics: { readonly writtenBytes: number };
}

export function watchOf({ config, log, pool, places, snapshot, owners, rates, metrics }: WatchParts): BoundWatch {
  return new BoundWatch({
    config,
    log,
    nowMs: Date.now,
    snapshot,
    owners,
    rates,
    bound: async () => {
      const [shards, outboxes] = await Promise.all([pool.callAll('describeShards'), pool.callAll('outboxStatus')]);
      return measuredBound(config, { snapshot: snapshot(), shards: shards.flat(), outboxes: outboxes.flat() }, rates());
    },
    progress: async () => (await pool.callAll('progress')).flat(),
    heldBackBy: async (id) => {
      const number = places.find(id)?.key.number;
      if (number === undefined) return null;
      return (await pool.call(pool.workerOf(number), 'describeShard', id, null))?.heldBackBy ?? null;
    },
    writtenBytes: () => metrics.writtenBytes,
  });
}
