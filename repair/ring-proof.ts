/**
 * What a proof, a floor, or a difference in content means for this node's replica (protocol rules 16, 18, 19, 32).
 */
import { attempt } from '../shards/errors.ts';
import { shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import { type NodeNumber, STAMP_ZERO } from '../shards/version.ts';
import type { Unequal } from './conflicts.ts';
import type { Filling } from './filling.ts';
import type { KnownDeletes } from './known-deletes.ts';
import { identitiesEqual, rootFromJson, rootsEqual } from './ledger.ts';
import type { LettingGo } from './letting-go.ts';
import type { Outbox } from './outbox.ts';
import type { PassRecord } from './records.ts';
import type { FloorClaim, MessageOf } from './replica-messages.ts';
import { isYoung, meetFloor, type Replica, type ReplicaTable } from './replica-table.ts';
import { cannotRead, noteHeldBackHere } from './ring-fitness.ts';
import { heldBackAfter } from './ring-token.ts';
import type { Surroundings } from './surroundings.ts';

/** For people: what the end of a pass shows of the replica. */
export function noteEnd({ ledger, notes }: Replica, record: PassRecord, around: Surroundings): void {
  notes.lastPass = record;
  const heldBackBy = heldBackAfter(record, around);
  // Another state than full says itself why.
  if (heldBackBy !== undefined && ledger.replica === 'full') notes.heldBackBy = heldBackBy;
}

/** Passes of a shard that overlap are few. */
const ENDED_MAX = 4;

/**
 * An end may be heard more than once: a message is repeated, or a pass had gone two ways. That one was proven is news also
 * where it was heard that it has failed.
 */
export function isNews({ notes }: Replica, { id, outcome }: PassRecord): boolean {
  const end = `${id} ${outcome === 'proven' ? 'proven' : 'not proven'}`;
  if (notes.ended.includes(end)) return false;
  notes.ended = [end, ...notes.ended.slice(0, ENDED_MAX - 1)];
  return true;
}

export class Proofs {
  /** Somebody has to find out who is right; set before the first turn. */
  suspected: (replica: Replica, other: NodeNumber | null, unequal: Unequal | null) => void = () => {};
  private readonly o: {
    replicas: ReplicaTable;
    filling: Filling;
    outbox: Outbox;
    lettingGo: LettingGo;
    deletes: KnownDeletes;
    around: Surroundings;
  };

  constructor(options: Proofs['o']) {
    this.o = options;
  }

  /** What cannot be read here now is proven by another pass. */
  proven(from: NodeNumber | null, m: MessageOf<'proven'>): void {
    const { around } = this.o;
    attempt(
      () => this.take(from, m),
      (error) => {
        around.count('proofs_refused_by_disk');
        const replica = this.o.replicas.get(shardId(shardKeyFromJson(m.key)));
        if (replica !== null) noteHeldBackHere(replica, cannotRead(error), around);
      },
    );
  }

  private take(from: NodeNumber | null, m: MessageOf<'proven'>): void {
    const { around, replicas, filling, outbox, deletes } = this.o;
    const id = shardId(shardKeyFromJson(m.key));
    if (m.kind === 'full') outbox.settle(id, m.through);
    const replica = replicas.get(id);
    if (replica === null || replica.ledger.replica !== 'full') return;
    const { ledger, notes } = replica;
    const wasYoung = isYoung(ledger);
    const root = rootFromJson(m.root);
    // First what may have to be read: a proof that is put off is not shown.
    const mine = m.through < ledger.floor ? null : ledger.root(m.through);
    if (m.kind === 'full' && mine !== null && rootsEqual(mine, root)) ledger.adoptFloor(m.through);
    noteEnd(replica, m.record, around);
    notes.passMs = m.record.finishedMs - m.record.startedMs;
    if (mine === null) return;
    const watermark = { through: m.through, pass: m.pass, members: m.members, root: m.root };
    if (!identitiesEqual(mine, root)) {
      // In the proof and yet different: something came or went since. Rule 19 decides, exactly as with a token.
      if (m.kind === 'full') filling.demote(replica, `differs from what pass ${m.pass} proved`);
      return;
    }
    if (mine.content !== root.content) {
      this.noteDamage(replica, from, `content differs from what pass ${m.pass} proved`);
      return;
    }
    if (m.kind === 'full') {
      if (m.through > (ledger.converged?.through ?? STAMP_ZERO)) ledger.converged = watermark;
      around.count('floors_adopted');
    }
    if (m.through > (ledger.liveConverged?.through ?? STAMP_ZERO)) ledger.liveConverged = watermark;
    const areKnown = deletes.note(replica, m.members, m.through);
    if (areKnown || (wasYoung && !isYoung(ledger))) around.heldChanged();
    this.o.lettingGo.proven(replica, m);
  }

  converged(m: MessageOf<'converged'>): void {
    this.o.outbox.settle(shardId(shardKeyFromJson(m.key)), m.through);
  }

  /** Rule 19 against a token or an answer of `from`. False: this replica cannot go on with it. Throws StorageError. */
  meet(replica: Replica, claim: FloorClaim, from: NodeNumber): boolean {
    const met = meetFloor(replica.ledger, claim, true);
    if (met === 'behind') this.o.filling.demote(replica, `behind the floor ${claim.floor} of ${from}`);
    if (met === 'damage') this.noteDamage(replica, from, `content differs at the floor ${claim.floor}`);
    return met === 'level' || met === 'lower';
  }

  /** The same of whoever goes on without this one. */
  heardOf(replica: Replica, claim: FloorClaim, from: NodeNumber): void {
    attempt(
      () => this.meet(replica, claim, from),
      () => false,
    );
  }

  noteDamage(replica: Replica, comparedWith: NodeNumber | null, reason: string, unequal: Unequal | null = null): void {
    this.o.around.count('damage_found');
    replica.notes.damage = { reason, sinceMs: this.o.around.nowMs, comparedWith };
    replica.notes.heldBackBy = `damage: ${reason}`;
    this.suspected(replica, comparedWith, unequal);
  }
}
