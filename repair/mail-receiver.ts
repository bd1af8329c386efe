/**
 * Mail from other members: judged (rules 6 to 8), committed, answered. Answers to one sender that fall into one turn
 * travel in one message.
 */
import { BatchError, peekBatch } from '../shards/batch-codec.ts';
import { SeriesKeys } from '../shards/series-keys.ts';
import { type ShardId, type ShardKey, shardId } from '../shards/shard-key.ts';
import { type NodeNumber, stampMs, type Version } from '../shards/version.ts';
import type { ClusterSnapshot, DatabaseDefinition } from './cluster.ts';
import type { CommitQueue } from './commit.ts';
import type { CommitResult } from './commit-entry.ts';
import type { MailAnswer, MailMessage, MailOffers } from './mail-messages.ts';
import type { OutboxArrivals } from './outbox-arrivals.ts';
import { policyOf } from './owners.ts';
import type { ReplicaTable } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

type Durability = DatabaseDefinition['durability'];

const VERSION_ZERO: Version = '0'.repeat(32);

export interface Refusal {
  readonly code: 'drift' | 'unknown-database' | 'dropped' | 'expired';
  readonly retry: boolean;
  readonly reason: string;
}

export class MailReceiver {
  private readonly answers = new Map<NodeNumber, Map<number, MailAnswer[]>>();
  /** What `judgeFrame` let through under one snapshot: thousands of frames go to the same few shards. */
  private readonly judged = new Map<ShardId, { readonly durability: Durability; readonly untilMs: number }>();
  private judgedUnder: ClusterSnapshot | null = null;
  private readonly commit: CommitQueue;
  private readonly replicas: ReplicaTable;
  private readonly arrivals: OutboxArrivals;
  private readonly around: Surroundings;

  constructor(commit: CommitQueue, replicas: ReplicaTable, arrivals: OutboxArrivals, around: Surroundings) {
    this.commit = commit;
    this.arrivals = arrivals;
    this.replicas = replicas;
    this.around = around;
  }

  /** `bytes`: of which the attachments are views; null: they are to be kept. */
  receive(
    from: NodeNumber,
    { key, version, isFromOutbox = false }: MailMessage,
    attachments: readonly Uint8Array[],
    bytes: Uint8Array | null,
  ): void {
    const id = shardId(key);
    let isToTell = isFromOutbox && this.arrivals.isLacked(id, version);
    const answer = (result: CommitResult | { kind: 'not-mine' }) => {
      if (isToTell && (result.kind === 'stored' || result.kind === 'applied')) {
        this.arrivals.came(from, id, version, attachments[0]!.byteLength);
        isToTell = false;
      }
      this.answer(from, key.number, id, version, result);
      // Log and memtable have copies.
      if (bytes !== null && result.kind !== 'applied') this.around.released(bytes);
    };
    const { snapshot, wallMs, limits } = this.around;
    let durability = stampMs(version) - wallMs > limits.clockDriftMsMax ? undefined : this.acceptable(id);
    if (durability === undefined) {
      const refusal = judgeFrame(snapshot, key, version, wallMs, limits.clockDriftMsMax);
      if (refusal !== null) {
        this.around.count(`mail_refused_${refusal.code}`);
        answer({ kind: 'refused', ...refusal });
        return;
      }
      durability = this.remember(snapshot!, id, key);
    }
    if (!this.around.owners(key).includes(this.around.self) && this.replicas.get(id) === null) {
      answer({ kind: 'not-mine' });
      return;
    }
    try {
      const [frame, keyBytes] = attachments;
      const head = peekBatch(frame!);
      if (head.version !== version || head.id !== id) throw new BatchError('corrupt-batch', 'envelope differs');
      const keys = keyBytes!.byteLength === 0 ? [] : SeriesKeys.read(keyBytes!);
      this.commit.offer({ id, key, version, frame: frame!, head, keys, durability, content: null, done: answer });
    } catch (error) {
      if (!(error instanceof BatchError)) throw error;
      this.around.count('mail_refused_corrupt');
      answer({ kind: 'refused', code: error.code, retry: error.retry, reason: error.message });
    }
  }

  /** What is here of batches that may have come: a shard that is not here lacks them all, and its mail is judged. */
  offered(from: NodeNumber, { number, offers }: MailOffers): void {
    for (const [id, version] of offers)
      this.commit.ask(id, version, (result) => this.answer(from, number, id, version, result));
  }

  /** The durability of a shard whose frames were taken under the present snapshot, as long as it has not expired. */
  private acceptable(id: ShardId): Durability | undefined {
    if (this.judgedUnder !== this.around.snapshot) return undefined;
    const known = this.judged.get(id);
    return known !== undefined && this.around.wallMs < known.untilMs ? known.durability : undefined;
  }

  private remember(snapshot: ClusterSnapshot, id: ShardId, key: ShardKey): Durability {
    if (this.judgedUnder !== snapshot) this.judged.clear();
    this.judgedUnder = snapshot;
    const { durability } = databaseOf(snapshot, key)!;
    const { durationNs } = policyOf(snapshot, key)!;
    const untilMs = durationNs === 0n ? Number.POSITIVE_INFINITY : Number((key.endNs + durationNs) / 1_000_000n);
    this.judged.set(id, { durability, untilMs });
    return durability;
  }

  /** At the end of every turn. */
  flush(): void {
    if (this.answers.size === 0) return;
    const view = this.around.snapshot?.viewHash ?? '';
    for (const [to, byNumber] of this.answers) {
      for (const [number, answers] of byNumber) this.around.send(to, number, { t: 'mail-answers', answers, view });
    }
    this.answers.clear();
  }

  private answer(
    to: NodeNumber,
    number: number,
    id: string,
    version: Version,
    result: CommitResult | { kind: 'not-mine' | 'lacks' },
  ): void {
    let byNumber = this.answers.get(to);
    if (byNumber === undefined) {
      byNumber = new Map();
      this.answers.set(to, byNumber);
    }
    let answers = byNumber.get(number);
    if (answers === undefined) {
      answers = [];
      byNumber.set(number, answers);
    }
    if (result.kind === 'refused')
      answers.push([id, version, 'refused', result.code, result.retry, result.reason.slice(0, 400)]);
    else answers.push([id, version, result.kind, '', true, '']);
  }
}

/**
 * Rule 6: why a member's frame is not taken, or null. `retry`: for now only. An unknown name or generation means *not
 * yet* (rule 24): the sender keeps the frame until the metadata has come here.
 */
export function judgeFrame(
  snapshot: ClusterSnapshot | null,
  key: ShardKey,
  version: Version,
  nowMs: number,
  driftMsMax: number,
): Refusal | null {
  const aheadMs = stampMs(version) - nowMs;
  if (aheadMs > driftMsMax) {
    return {
      code: 'drift',
      retry: true,
      reason: `version is ${aheadMs} ms ahead of this node, more than ${driftMsMax} ms`,
    };
  }
  const dropped = snapshot?.droppedThrough ?? {};
  const policyName = `${key.database}\0${key.retentionPolicy}`;
  if ((dropped[key.database] ?? 0) >= key.databaseGeneration && key.database in dropped) {
    return { code: 'dropped', retry: false, reason: `database ${key.database} has been dropped` };
  }
  if ((dropped[policyName] ?? 0) >= key.retentionPolicyGeneration && policyName in dropped) {
    return { code: 'dropped', retry: false, reason: `retention policy ${key.retentionPolicy} has been dropped` };
  }
  const database = snapshot === null ? undefined : databaseOf(snapshot, key);
  const policy = database?.retentionPolicies.find(
    (p) => p.name === key.retentionPolicy && p.generation === key.retentionPolicyGeneration,
  );
  if (policy === undefined) {
    return {
      code: 'unknown-database',
      retry: true,
      reason: `${key.database}.${key.retentionPolicy} is not known here yet`,
    };
  }
  if (policy.durationNs > 0n && key.endNs <= BigInt(nowMs) * 1_000_000n - policy.durationNs) {
    return { code: 'expired', retry: true, reason: 'the shard is beyond its retention' };
  }
  return null;
}

/** Nobody may write to it, compare it or copy it any more; each node removes its own (retention.ts). */
export function isOver(snapshot: ClusterSnapshot | null, key: ShardKey, nowMs: number): boolean {
  return whyOver(snapshot, key, nowMs) !== null;
}

/** `dropped` is so for good and everywhere; `expired` is what one clock says. */
export function whyOver(snapshot: ClusterSnapshot | null, key: ShardKey, nowMs: number): 'dropped' | 'expired' | null {
  const refusal = judgeFrame(snapshot, key, VERSION_ZERO, nowMs, 0);
  return refusal?.code === 'dropped' || refusal?.code === 'expired' ? refusal.code : null;
}

export function databaseOf(snapshot: ClusterSnapshot, key: ShardKey): DatabaseDefinition | undefined {
  return snapshot.databases.find((d) => d.name === key.database && d.generation === key.databaseGeneration);
}
