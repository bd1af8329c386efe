/**
 * Going on without a full replica (protocol rule 33): one that is to be filled, and finds that there is nobody to be filled from.
 *
 * It comes to this when the last full owner loses its disk or its file while another one, below its floor, is to be its copy, or when
 * all turn filling at once. What the filling one has is what it always had: all that its floor has passed, and what it held above
 * that, for a copy takes its place only when it is whole. So the one with the greatest floor, and of equal ones that with the least
 * number, goes on with it: `filling` -> `damaged` -> `full`. By way of `damaged`, since it may be filling because it was found damaged: the
 * mend reads all of it first, and counts what is lost (mend.ts).
 *
 * It asks all members that are not removed, by a comparison that changes nothing, what they have at its own floor. What counts is
 *   absent, or at this floor other batches: nothing that could fill it (rule 19: that one lies below this floor, and is filled itself);
 *   filling: its floor; what it has above it is named as open until its outbox has it (rule 31), and comes from there once somebody is full;
 *   all up to this floor or beyond, full or damaged: it will be the source (filling-source.ts), and is waited for;
 *   no answer: such a one may be full. It is waited for, and named, until it is back or given up (rule 23).
 * It asks also while its outbox has no room for what it owes: only what a full owner acknowledges makes room. Who goes on keeps all it has, and
 * owes nothing. Answers are those of one round of just now, under one view; a round with a doubt in it is begun anew after `backoffMsMax`.
 *
 * This needs no unanimity to be safe, only to be honest. An answer may be overtaken, two may go on, and a full owner may turn up that was in
 * nobody's view: whoever went on is then a full replica with a true floor, as any that was cut off, and where floors meet the lower one
 * is filled again, and owes what it has accepted meanwhile. No proof is made without those that hold the shard (rules 11, 12).
 *
 * What was proven above this floor is what may be lost. Its watermark was true, and is no longer: so the loss is noted (losses.ts) with the floor as its
 * stamp, durable with the state itself and carried along by copies. A quorum is not counted on this replica before its next proof
 * (`newcomer`): more than half of the owners may have had what it lacks. A delete among what is lost no longer hides what it hid;
 * deletes up to the floor are here, and so are the rows that they killed, or neither.
 */
import { type ShardId, shardKeyToJson } from '../shards/shard-key.ts';
import type { Stamp } from '../shards/version.ts';
import type { Member } from './cluster.ts';
import { rootFromJson, rootsEqual } from './ledger.ts';
import { noteGoingOn } from './losses.ts';
import { aboveAll, joinLostFiles, lostFile } from './lost-files.ts';
import type { FloorClaim, MessageOf, Received } from './replica-messages.ts';
import { claimOf, type Replica, tryFlush } from './replica-table.ts';
import type { Requests } from './requests.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

interface Round {
  readonly floor: Stamp;
  readonly viewHash: string;
  /** Members whose answers have not come. */
  open: number;
  /** Why this replica may not go on; null: nothing was said against it. */
  problem: string | null;
  endedMs: number;
  /** Its outcome has been told. */
  isTold: boolean;
}

export class NobodyFull {
  private readonly rounds = new Map<ShardId, Round>();
  private readonly requests: Requests;
  private readonly around: Surroundings;

  constructor(requests: Requests, around: Surroundings) {
    this.requests = requests;
    this.around = around;
  }

  /**
   * To be called for as long as a filling replica, whose state is durable, knows of no source, or of no full one where its outbox has no room.
   * `over`: a round has ended, and it may not go on; told once of each.
   */
  ask(replica: Replica): 'waiting' | 'over' | 'goes on' {
    const { snapshot, nowMs, limits } = this.around;
    const { id, ledger, notes } = replica;
    const round = this.rounds.get(id);
    if (snapshot === null || (round?.open ?? 0) > 0) return 'waiting';
    // An older one was of before a source was there, and has gone again.
    if (round?.isTold === false && nowMs - round.endedMs <= 2 * limits.backoffMsMax) {
      round.isTold = true;
      if (round.viewHash !== snapshot.viewHash || round.floor !== ledger.floor)
        round.problem ??= 'the members have changed';
      if (round.problem === null) {
        this.rounds.delete(id);
        this.goOn(replica);
        return 'goes on';
      }
      notes.heldBackBy = `nobody has a full replica to fill this one from: ${round.problem}`;
      return 'over';
    }
    if (round === undefined || nowMs - round.endedMs >= limits.backoffMsMax) this.begin(replica, snapshot.viewHash);
    return 'waiting';
  }

  private begin({ id, key, ledger }: Replica, viewHash: string): void {
    const { self, snapshot, nowMs } = this.around;
    const claim = claimOf(ledger);
    const members = snapshot!.members.filter(({ number, state }) => number !== self && state !== 'removed');
    const round: Round = {
      floor: claim.floor,
      viewHash,
      open: members.length,
      problem: null,
      endedMs: nowMs,
      isTold: false,
    };
    this.rounds.set(id, round);
    const question = { t: 'compare' as const, key: shardKeyToJson(key), from: 0, preview: true, ...claim };
    for (const member of members)
      this.requests.ask(member.number, key.number, { ...question, through: claim.floor }, (answer) => {
        round.problem ??= this.problemOf(member, claim, answer);
        round.open--;
        round.endedMs = this.around.nowMs;
      });
  }

  private problemOf({ number, name }: Member, claim: FloorClaim, answer: Received | null): string | null {
    if (answer === null)
      return `${name} cannot be reached, and may have one: start it, or give it up (starling cluster remove ${name} --force)`;
    const { status, floor, floorRoot } = answer.message as MessageOf<'compare-answer'>;
    if (status === 'absent') return null;
    if (status === 'filling') {
      const isAhead = floor > claim.floor || (floor === claim.floor && number < this.around.self);
      return isAhead
        ? `${name} is being filled, too, and has the higher floor, or the lesser number: it goes on first`
        : null;
    }
    if (status === 'busy') return `${name} cannot read what it has`;
    const hasAll = floor > claim.floor || rootsEqual(rootFromJson(floorRoot), rootFromJson(claim.floorRoot));
    return hasAll ? `${name} has all that is needed, and is not ready to give it yet` : null;
  }

  private goOn(replica: Replica): void {
    const { self, snapshot, nowMs, count, heldChanged } = this.around;
    const { ledger, notes, stored } = replica;
    const reason = 'no member had a full replica, and this one had the greatest floor: it goes on with what it has';
    noteGoingOn(ledger, self, nameOf(snapshot, self));
    // What full replicas had above this floor is gone as with their files: receipts have to say so.
    const lost = lostFile(self, aboveAll(this.around));
    ledger.lostFiles = joinLostFiles(ledger.lostFiles, [lost]);
    ledger.replica = 'damaged';
    ledger.damage = reason;
    ledger.newcomer = true;
    notes.damage = { reason, sinceMs: nowMs, comparedWith: null };
    notes.heldBackBy = `this replica is read again: ${reason}`;
    // Until that is durable a restart makes a filling one of it, which owes what it has accepted.
    tryFlush(stored);
    count('replicas_went_on');
    heldChanged();
  }
}
