/**
 * Direct mail: a coordinator's writes on their way to the owners, and the answers to their clients.
 *
 * A write is *open* from `submit` until every owner has it synced or it is durably in the outbox; until then, and in the
 * outbox as well, it is named in this member's statements together with the full owners that acknowledged it (rule 9).
 * Only a full owner's synced acknowledgement counts (rule 8); with `durability: interval | none` the client is answered
 * when it is applied, closing still waits for the sync. The outbox counts as one for `any`, and for `one` at a
 * coordinator that owns nothing while no owner can be reached. What too few owners can acknowledge is refused as soon as
 * that is known and the batch is in the outbox: it goes on to all owners, and its client need not wait for its timeout.
 */
import type { FrameHead } from '../shards/batch-codec.ts';
import { encodedKeys, type GivenKeys } from '../shards/series-keys.ts';
import { type ShardId, type ShardKey, shardId } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import type { CommitQueue } from './commit.ts';
import type { CommitResult } from './commit-entry.ts';
import type { MailAnswer } from './mail-messages.ts';
import type { AddOpen } from './open-versions.ts';
import type { Outbox } from './outbox.ts';
import type { OutboxSender } from './outbox-sender.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

export type WriteOutcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: string; readonly message: string; readonly status: number };

export interface SubmittedWrite {
  readonly request: number;
  readonly shard: ShardKey;
  readonly version: Version;
  readonly frame: Uint8Array;
  /** Of the frame, where it has been read. */
  readonly head?: FrameHead;
  /** Keys that the local worker and the owners may lack. */
  readonly keys: GivenKeys;
  /** Every key of the batch: sent when an owner asks for keys, and kept with the batch in the outbox. */
  readonly allKeys: () => GivenKeys;
  /** `live`: all owners but those that are not live, refuse, or do not answer in time; one at least. */
  readonly consistency: 'any' | 'one' | 'quorum' | 'all' | 'live';
  readonly durability: 'fsync' | 'interval' | 'none';
  readonly timeoutMs: number;
  /** Nobody reads the frame or the keys any more. Not told of writes that have gone into the outbox. */
  readonly released?: () => void;
}

const NO_ANSWER = 'no-answer';
/** Why an owner that is live cannot take any batch of the shard, for longer than a client waits. */
const LASTING: ReadonlySet<string> = new Set(['filling', 'disk-full', 'disk-failed', 'series-full']);
/** What else other members say is not repeated to clients: agents look for words in it. */
const CODE = /^[a-z-]{1,32}$/;

interface Pending {
  readonly write: SubmittedWrite;
  readonly name: string;
  readonly id: ShardId;
  readonly owners: readonly NodeNumber[];
  /** Synced at full owners. */
  readonly acks: Set<NodeNumber>;
  /** Applied at full owners: counts for clients of databases that do not wait for the sync. */
  readonly applied: Set<NodeNumber>;
  /** Owners that said no, or that could not be asked. */
  readonly failed: Map<NodeNumber, { code: string; reason: string }>;
  readonly startedMs: number;
  answered: boolean;
  outbox: 'no' | 'writing' | 'durable' | 'full';
}

export class Mail {
  private readonly pending = new Map<string, Pending>();
  private bytes = 0;
  private readonly commit: CommitQueue;
  private readonly outbox: Outbox;
  private readonly sender: OutboxSender;
  private readonly around: Surroundings;
  private readonly written: (request: number, outcome: WriteOutcome) => void;

  constructor(o: {
    commit: CommitQueue;
    outbox: Outbox;
    sender: OutboxSender;
    around: Surroundings;
    written: Mail['written'];
  }) {
    this.commit = o.commit;
    this.outbox = o.outbox;
    this.sender = o.sender;
    this.around = o.around;
    this.written = o.written;
  }

  /** Into this node's own log first, all together: nothing about the other owners delays it. */
  submit(writes: readonly SubmittedWrite[]): void {
    const opened: Pending[] = [];
    for (const write of writes) {
      const pending = this.open(write);
      if (pending === null) continue;
      opened.push(pending);
      if (pending.owners.includes(this.around.self)) this.commitHere(pending, write.keys);
    }
    this.commit.pump();
    for (const pending of opened) {
      const { keys } = pending.write;
      this.mail(pending, this.liveOthers(pending), keys);
      this.judge(pending);
    }
  }

  /** null: refused, and answered so. */
  private open(write: SubmittedWrite): Pending | null {
    const owners = this.around.owners(write.shard);
    const { limits, nowMs } = this.around;
    if (owners.length === 0) {
      this.written(write.request, failure('no-owners', 'this node does not know the cluster yet; safe to retry'));
      return null;
    }
    if (this.bytes + write.frame.byteLength > limits.pendingBytesMax) {
      this.around.count('writes_refused_overloaded');
      this.written(write.request, failure('overloaded', 'too many writes wait for their replicas; safe to retry'));
      return null;
    }
    const id = shardId(write.shard);
    const pending: Pending = {
      write,
      name: id + write.version,
      id,
      owners,
      acks: new Set(),
      applied: new Set(),
      failed: new Map(),
      startedMs: nowMs,
      answered: false,
      outbox: 'no',
    };
    this.pending.set(pending.name, pending);
    this.bytes += write.frame.byteLength;
    return pending;
  }

  /** Owners to mail to; those that are not live are noted as failed. */
  private liveOthers({ owners, failed }: Pending): NodeNumber[] {
    const live: NodeNumber[] = [];
    for (const owner of owners) {
      if (owner === this.around.self) continue;
      if (this.around.isLive(owner)) live.push(owner);
      else failed.set(owner, { code: 'not-live', reason: 'the replica is not live' });
    }
    return live;
  }

  answers(from: NodeNumber, answers: readonly MailAnswer[]): void {
    for (const answer of answers) {
      const [id, version, status, code, , reason] = answer;
      const pending = this.pending.get(id + version);
      // What the owner lacks of an offer the outbox sends.
      if (status !== 'lacks' && pending?.owners.includes(from)) {
        if (status === 'need-keys') this.mail(pending, [from], pending.write.allKeys());
        else this.result(pending, from, status === 'not-mine' ? 'refused' : status, code || status, reason);
      }
      if (this.outbox.entries.has(id + version)) this.sender.answered(from, id + version, answer);
    }
  }

  tick(): void {
    for (const pending of this.pending.values()) {
      const age = this.around.nowMs - pending.startedMs;
      if (age >= this.around.limits.mailTimeoutMs) {
        for (const owner of pending.owners) {
          if (pending.acks.has(owner) || pending.failed.has(owner)) continue;
          // The only owner, whose own log always says what became of it: files of many new shards take longer than mail may.
          if (owner === this.around.self && pending.owners.length === 1) continue;
          pending.failed.set(owner, { code: NO_ANSWER, reason: 'the replica did not answer in time' });
        }
      }
      this.judge(pending);
      if (!pending.answered && age >= pending.write.timeoutMs) {
        this.around.count('writes_timed_out');
        this.answer(pending, failure('not-acknowledged', this.tooFew(pending)));
        this.judge(pending);
      }
    }
  }

  /** Of this worker: batches that wait for owners, and everything in the outbox. */
  addOpen(add: AddOpen): void {
    for (const pending of this.pending.values()) add(pending.id, pending.write.version, pending.acks);
    this.outbox.open.addOldest(add);
  }

  /** The member's replica turns filling (rule 31), or is lost: what it acknowledged counts no longer. */
  disown(id: ShardId, member: NodeNumber, reason: string): void {
    for (const pending of [...this.pending.values()]) {
      if (pending.id !== id || !pending.owners.includes(member)) continue;
      pending.acks.delete(member);
      pending.applied.delete(member);
      pending.failed.set(member, { code: 'filling', reason });
      this.judge(pending);
    }
  }

  get waiting(): number {
    return this.pending.size;
  }

  private mail(pending: Pending, to: readonly NodeNumber[], keys: GivenKeys): void {
    if (to.length === 0) return;
    const { shard, version, frame } = pending.write;
    const attachments = keys.length === 0 ? [frame] : [frame, encodedKeys(keys)];
    this.around.sendAll(to, shard.number, { t: 'mail', key: shard, version }, attachments);
  }

  /** For the log's next group; the caller, or the end of the turn, sees to it that it is written. */
  private commitHere(pending: Pending, keys: GivenKeys): void {
    const { shard, version, frame, head = null, durability, allKeys } = pending.write;
    const { self } = this.around;
    const done = (result: CommitResult): void => {
      if (result.kind === 'need-keys') {
        const all = allKeys();
        if (keys !== all && keys.length < all.length) {
          this.commitHere(pending, all);
          return;
        }
        this.result(pending, self, 'refused', 'unknown-series', 'a key of the batch is missing');
        return;
      }
      const [code, reason] = result.kind === 'refused' ? [result.code, result.reason] : [result.kind, result.kind];
      this.result(pending, self, result.kind, code, reason);
    };
    const { id } = pending;
    this.commit.offer({ id, key: shard, version, frame, head, keys, durability, content: null, isOwn: true, done });
  }

  private result(
    pending: Pending,
    owner: NodeNumber,
    kind: 'stored' | 'applied' | 'filling' | 'refused',
    code: string,
    reason: string,
  ): void {
    if (kind === 'stored') {
      pending.acks.add(owner);
      pending.failed.delete(owner);
      this.outbox.acknowledge(pending.name, owner);
      const entry = this.outbox.entries.get(pending.name);
      if (entry !== undefined) this.sender.route(entry);
    } else if (kind === 'applied') pending.applied.add(owner);
    else if (!pending.acks.has(owner)) pending.failed.set(owner, { code, reason });
    this.judge(pending);
  }

  private counted(pending: Pending): ReadonlySet<NodeNumber> {
    return pending.write.durability === 'fsync' ? pending.acks : new Set([...pending.acks, ...pending.applied]);
  }

  private needed(pending: Pending): number {
    const { consistency } = pending.write;
    if (consistency === 'all') return pending.owners.length;
    if (consistency === 'live') return Math.max(1, pending.owners.length - pending.failed.size);
    return consistency === 'quorum' ? Math.floor(pending.owners.length / 2) + 1 : 1;
  }

  /** Whether the outbox counts as the one that is needed. */
  private outboxCounts(pending: Pending): boolean {
    const { consistency } = pending.write;
    if (consistency === 'any') return true;
    return (
      consistency === 'one' &&
      !pending.owners.includes(this.around.self) &&
      pending.failed.size === pending.owners.length
    );
  }

  /**
   * Too few are left that may still acknowledge it. Whoever was not heard since the start of this node, or is live and
   * cannot take it, is given the time of mail: a start or a small copy is soon over.
   */
  private isHopeless(pending: Pending): boolean {
    const { nowMs, limits, snapshot } = this.around;
    const isNew = nowMs - pending.startedMs < limits.mailTimeoutMs;
    let open = this.counted(pending).size;
    for (const [owner, { code }] of pending.failed) {
      const mayStill = this.around.isLive(owner)
        ? isNew || !LASTING.has(code)
        : isNew && snapshot?.heldBy[owner] === undefined;
      if (mayStill) open++;
    }
    return open < this.needed(pending);
  }

  private tooFew(pending: Pending): string {
    const counted = this.counted(pending);
    const missing = pending.owners
      .filter((owner) => !counted.has(owner))
      .map((owner) => `${nameOf(this.around.snapshot, owner)} (${this.whyNot(pending, owner)})`)
      .sort();
    const names = missing.length === 0 ? '' : `, without ${missing.join(', ')}`;
    return `write not acknowledged: ${counted.size} of ${this.needed(pending)} replicas${names}; safe to retry`;
  }

  private whyNot(pending: Pending, owner: NodeNumber): string {
    if (!this.around.isLive(owner)) return 'not live';
    const code = pending.failed.get(owner)?.code ?? NO_ANSWER;
    if (code === NO_ANSWER) return 'no answer';
    return CODE.test(code) ? code : 'refused';
  }

  private judge(pending: Pending): void {
    if (this.pending.get(pending.name) !== pending) return;
    if (!pending.answered && this.counted(pending).size >= this.needed(pending)) this.answer(pending, { ok: true });
    if (pending.acks.size === pending.owners.length) {
      this.forget(pending);
      return;
    }
    const settled = pending.acks.size + pending.failed.size;
    if (pending.outbox === 'no' && pending.failed.size > 0) {
      const nobody = pending.failed.size === pending.owners.length;
      const hopeless = nobody && !this.outboxCounts(pending) && [...pending.failed.keys()].includes(this.around.self);
      if (hopeless && pending.owners.length === 1) {
        // The only owner is this node and it cannot take the write: the client is told, and nothing is kept.
        const { code, reason } = pending.failed.get(this.around.self)!;
        if (!pending.answered) this.answer(pending, failure(code, `write not acknowledged: ${reason}; safe to retry`));
        this.forget(pending);
        return;
      }
      if (settled === pending.owners.length) this.toOutbox(pending);
    }
    if (pending.outbox === 'durable' && !pending.answered) {
      if (this.outboxCounts(pending)) this.answer(pending, { ok: true });
      else if (this.isHopeless(pending)) this.answer(pending, failure('not-acknowledged', this.tooFew(pending)));
    }
    if (pending.outbox === 'durable' && pending.answered) this.forget(pending);
    if (pending.outbox === 'full') {
      if (!pending.answered && settled === pending.owners.length && this.counted(pending).size < this.needed(pending)) {
        this.answer(pending, failure('outbox-full', `the outbox is full; ${this.tooFew(pending)}`));
      }
      if (pending.answered) this.forget(pending);
    }
  }

  private toOutbox(pending: Pending): void {
    const { shard, version, frame, allKeys } = pending.write;
    pending.outbox = 'writing';
    const done = () => {
      pending.outbox = 'durable';
      this.judge(pending);
    };
    const lost = () => {
      if (this.pending.get(pending.name) !== pending) return;
      this.toOutbox(pending);
      this.judge(pending);
    };
    const owners = (key: ShardKey) => this.around.owners(key);
    if (this.outbox.put(shard, version, frame, encodedKeys(allKeys()), pending.acks, owners, done, lost)) {
      this.around.count('outbox_entries_taken');
      this.sender.route(this.outbox.entries.get(pending.name)!);
      for (const [owner, { code }] of pending.failed) if (code === NO_ANSWER) this.sender.wasSent(pending.name, owner);
      return;
    }
    this.around.count('outbox_full');
    pending.outbox = 'full';
    if (pending.acks.size > 0)
      this.outbox.owe(
        shard,
        version,
        pending.owners.filter((o) => !pending.acks.has(o)),
      );
  }

  private answer(pending: Pending, outcome: WriteOutcome): void {
    pending.answered = true;
    this.around.count(outcome.ok ? 'writes_acknowledged' : 'writes_failed');
    this.written(pending.write.request, outcome);
  }

  private forget(pending: Pending): void {
    this.pending.delete(pending.name);
    this.bytes -= pending.write.frame.byteLength;
    const { owners, acks, outbox, write } = pending;
    // Mail is a copy, and who has acknowledged asks for no keys.
    if (acks.size === owners.length && outbox === 'no') write.released?.();
  }
}

function failure(code: string, message: string): WriteOutcome {
  return { ok: false, code, message, status: 503 };
}
