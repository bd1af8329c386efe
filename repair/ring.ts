/**
 * The ring: passes through all replicas of a shard that end with proof that they are equal up to a cutoff.
 *
 * A pass is a token that walks the ring. Gathering half: each receiver pulls what its predecessor has and it lacks, so
 * the last one has everything; its synced root is what all must have. Spreading half: each pulls from its predecessor,
 * syncs, and verifies that its root is that one. The last to verify publishes. 2(k-1) hops.
 *
 * Who holds a token answers for it: it says `working` to its predecessor until its successor works on it, then `handed`.
 * A successor that is silent for `hopTimeoutMs`, or says no, is left out and named; the pass is then a live one. None of
 * it is said while all goes fast: whoever gets a later token of the pass, or its proof, knows that the earlier one was taken.
 * Nothing of a pass is durable: a crash loses at most the pass. Overlapping passes are safe, because batches are
 * idempotent and a floor is adopted only where the root is equal (rules 18, 19).
 */
import { attempt } from '../shards/errors.ts';
import { shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import { type NodeNumber, STAMP_ZERO } from '../shards/version.ts';
import { identitiesEqual, type Root, rootFromJson, rootToJson } from './ledger.ts';
import type { PassOutcome, PassRecord } from './records.ts';
import type { MessageOf, Token } from './replica-messages.ts';
import { claimOf, type Replica } from './replica-table.ts';
import { type PassPlan, planPass } from './ring-cutoff.ts';
import { EvenPasses, evenMessage, staysEven } from './ring-even.ts';
import { cannotRead, noteHeldBackHere, PAUSED, startProblem, syncProblem } from './ring-fitness.ts';
import { type Held, HeldTokens, heldToken } from './ring-held.ts';
import type { RingOptions } from './ring-options.ts';
import { isNews, noteEnd, Proofs } from './ring-proof.ts';
import { Pull, type Pulled } from './ring-pull.ts';
import { SeenTokens } from './ring-seen.ts';
import { PassSlots, PullSlots } from './ring-slots.ts';
import { PassStarts } from './ring-starts.ts';
import { FLOOR_ABOVE, takeToken } from './ring-taking.ts';
import {
  answerToken,
  firstToken,
  NOTHING_PULLED,
  nextToVerify,
  provenMessage,
  recordOf,
  reportProgress,
  tellFound,
  withHop,
  without,
} from './ring-token.ts';

const OVERTAKEN = 'overtaken by a newer proof';

export class Ring {
  readonly held = new HeldTokens();
  private readonly even: EvenPasses;
  private readonly seen: SeenTokens;
  /** Passes that were called off, and why: their tokens may still be on their way here. */
  private readonly calledOff = new Map<string, { reason: string; ms: number }>();
  private readonly slots: PassSlots;
  private readonly pulls: PullSlots;
  private readonly starts: PassStarts;
  private readonly o: RingOptions;
  readonly proofs: Proofs;

  constructor(options: RingOptions) {
    this.o = options;
    const { replicas, around, outbox } = options;
    this.even = new EvenPasses(around);
    this.seen = new SeenTokens(around);
    this.slots = new PassSlots(around);
    this.pulls = new PullSlots(around);
    this.starts = new PassStarts({
      replicas,
      around,
      underWay: () => this.held.underWay(),
      hasDebt: (id) => outbox.debts.has(id),
    });
    this.proofs = new Proofs(options);
  }

  plan(replica: Replica): PassPlan | null {
    const { around } = this.o;
    if (around.snapshot === null || replica.ledger.replica !== 'full') return null;
    const converged = replica.ledger.converged?.through ?? STAMP_ZERO;
    return planPass(around.snapshot, replica.id, around.owners(replica.key), converged);
  }

  /** Id of the pass, or why there is none. */
  start(replica: Replica, watched: boolean): { pass: string } | { refused: string } {
    const { around } = this.o;
    const problem = startProblem(replica, around);
    if (problem !== null) return { refused: problem };
    const plan = this.plan(replica);
    if (plan === null)
      return { refused: 'this node takes no part in the ring of the shard, or has not heard of it yet' };
    // Otherwise what the last pass has shown stands until this one ends.
    if (plan.heldBackBy !== null) replica.notes.heldBackBy = plan.heldBackBy;
    const { floor } = replica.ledger;
    if (plan.through < floor) return { refused: `the cutoff ${plan.through} lies below the floor ${floor}` };
    const pass = this.starts.name();
    const { viewHash } = around.snapshot!;
    const token = attempt(() => firstToken(pass, plan, replica, viewHash, around.wallMs, watched), cannotRead);
    if (typeof token === 'string') return { refused: token };
    this.slots.take(pass);
    around.count('passes_started');
    this.advance(this.hold(token, null, replica));
    return { pass };
  }

  receiveEven(from: NodeNumber, m: MessageOf<'even'>): void {
    const meant = this.even.meant(from, m);
    if (meant === null) this.o.around.count('passes_unknown');
    else if (meant.t === 'token') this.receiveToken(from, meant);
    else this.proven(from, meant);
  }

  receiveToken(from: NodeNumber, token: Token): void {
    const { around, replicas } = this.o;
    this.takenOn(token.pass, token.hop);
    if (this.seen.cameBefore(from, token)) return;
    const key = shardKeyFromJson(token.key);
    const taken = takeToken({ ...this.o, proofs: this.proofs }, from, token, key);
    if (typeof taken === 'string') {
      around.count('tokens_refused');
      answerToken(around, replicas.get(shardId(key)), from, token, 'refused', taken);
      return;
    }
    const { replica, isEqual } = taken;
    this.seen.taken(token);
    const held = this.hold(token, from, replica);
    if (isEqual) {
      this.pulled(held, NOTHING_PULLED);
      return;
    }
    held.pull = new Pull({
      ...this.o,
      replica,
      source: from,
      through: token.through,
      kind: 'pulls',
      meet: (claim) => this.proofs.meet(replica, claim, from),
      moved: (batches, rows) => {
        around.count('repair_batches_taken', batches);
        around.count('repair_rows_taken', rows);
      },
      done: (result) => this.pulled(held, result),
    });
    this.pulls.enter(held, replica.ledger.converged?.through ?? STAMP_ZERO);
  }

  tokenAnswered(from: NodeNumber, m: MessageOf<'token-answer'>): void {
    const held = this.held.of(m.pass).find((each) => each.next === from && each.token.hop === m.hop);
    if (held?.stage !== 'handing') return;
    held.nextHeardMs = this.o.around.nowMs;
    if (m.status === 'refused') {
      const replica = this.o.replicas.get(held.id);
      if (replica === null) {
        this.drop(held);
        return;
      }
      if (m.reason === FLOOR_ABOVE) {
        if (m.claim !== null) this.proofs.heardOf(replica, m.claim, from);
        this.end(held, 'overtaken', `${OVERTAKEN}: the floor of ${from} is above the cutoff`);
        return;
      }
      this.skip(held, m.reason);
      return;
    }
    if (!held.nextWorks) {
      held.nextWorks = true;
      this.seen.handedOn(held);
    }
    if (m.status === 'handed') this.drop(held);
  }

  proven(from: NodeNumber | null, m: MessageOf<'proven'>): void {
    this.takenOn(m.pass, Number.POSITIVE_INFINITY);
    this.ended(m.record);
    this.proofs.proven(from, m);
  }

  passEnded(record: PassRecord): void {
    const replica = this.o.replicas.get(record.shard);
    if (replica !== null) noteEnd(replica, record, this.o.around);
    this.ended(record);
  }

  /** By the operator, at whichever member its token is. */
  callOff(pass: string, action: 'pause' | 'cancel'): void {
    const reason = `${action === 'pause' ? 'paused' : 'cancelled'} by the operator`;
    this.calledOff.set(pass, { reason, ms: this.o.around.nowMs });
    for (const held of this.held.of(pass)) this.end(held, 'cancelled', reason);
  }

  tick(): void {
    const { around } = this.o;
    const { nowMs, limits } = around;
    const problem = syncProblem(this.o.commit, around) ?? (around.budget.rates.paused ? PAUSED : null);
    for (const held of this.held.all()) {
      if (nowMs - held.sinceMs > limits.passMsMax) {
        this.end(held, 'failed', `not done after ${limits.passMsMax} ms`);
        continue;
      }
      // Whatever it waits for has to be fetched and synced here.
      if (problem !== null && (held.stage === 'pulling' || held.stage === 'syncing')) {
        this.refuse(held, problem);
        continue;
      }
      // Before its predecessor repeats it.
      if (held.from !== null && !held.handed && nowMs - held.saidMs >= limits.requestTimeoutMs / 2)
        this.seen.say(held, 'working');
      if (held.stage !== 'handing' || held.next === null) continue;
      if (nowMs - held.nextHeardMs > limits.hopTimeoutMs) this.skip(held, 'no answer');
      else if (!held.nextWorks && nowMs - held.nextSentMs >= limits.requestTimeoutMs) {
        held.nextSentMs = nowMs;
        around.send(held.next, shardKeyFromJson(held.token.key).number, held.token);
      }
    }
    for (const [name, { ms }] of this.calledOff) if (nowMs - ms > limits.passMsMax) this.calledOff.delete(name);
    this.seen.tick();
    this.even.tick();
    this.slots.tick();
    this.startDue();
  }

  private startDue(): void {
    const { around } = this.o;
    const { nowMs, limits } = around;
    if (around.budget.rates.paused) return;
    for (const [i, replica] of this.starts.due().entries()) {
      if (this.slots.isFull || i === limits.passesPerTickMax) {
        this.starts.lookSoon();
        return;
      }
      const result = this.start(replica, false);
      // Not able now: looked at again soon, because what is missing (a view, a statement) comes with heartbeats.
      if ('refused' in result)
        replica.notes.begunMs = nowMs - limits.passIntervalMs + Math.min(1_000, limits.passIntervalMs);
    }
  }

  private hold(token: Token, from: NodeNumber | null, replica: Replica): Held {
    const { nowMs } = this.o.around;
    const held = heldToken(token, from, replica, nowMs);
    replica.notes.begunMs = nowMs;
    this.held.add(held);
    this.slots.holds(held);
    return held;
  }

  private pulled(held: Held, result: Pulled): void {
    const { around, replicas } = this.o;
    this.pulls.leave(held);
    if (held.stage === 'ended') return;
    tellFound(held, result, around);
    const replica = replicas.get(held.id);
    if (result.outcome === 'damage') {
      if (replica !== null) this.proofs.noteDamage(replica, held.from, result.reason, result.unequal);
      this.end(held, 'damage', result.reason);
      return;
    }
    if (result.outcome !== 'ok' || replica?.ledger.replica !== 'full') {
      if (result.outcome === 'refused') this.refuse(held, result.reason);
      else if (this.able(held) !== null) this.end(held, 'failed', result.reason);
      return;
    }
    const { token } = held;
    held.token = withHop(held, result, around);
    around.count('repair_hops');
    reportProgress(held, around, this.o.progressed);
    if (token.final === null) {
      this.advance(held);
      return;
    }
    // Another pass may have raised the floor above this cutoff during the pull.
    if (this.able(held) === null) return;
    const mine = this.rootHere(held, replica);
    if (mine === null) return;
    held.stage = 'syncing';
    this.o.commit.afterSync(() => this.verify(held, mine));
  }

  /** Spreading half. `mine` was taken before the sync (rule 13): what came in meanwhile may not survive a crash. */
  private verify(held: Held, mine: Root): void {
    if (held.stage !== 'syncing') return;
    const replica = this.able(held);
    if (replica === null) return;
    const { token } = held;
    const final = rootFromJson(token.final!);
    if (!identitiesEqual(mine, final)) {
      this.end(held, 'failed', `${this.o.around.self} holds more or less than was gathered`);
      return;
    }
    if (mine.content !== final.content) {
      this.proofs.noteDamage(replica, held.from, 'equal batches with unequal content');
      this.end(held, 'damage', `${this.o.around.self} has equal batches with unequal content`);
      return;
    }
    held.token = { ...token, verified: [...token.verified, this.o.around.self] };
    this.advance(held);
  }

  /** Hands the token to whoever is next, or closes the half, or the pass. */
  private advance(held: Held): void {
    const { around } = this.o;
    if (held.stage === 'ended') return;
    held.stage = 'handing';
    held.next = null;
    const off = this.calledOff.get(held.token.pass);
    if (off !== undefined) {
      this.end(held, 'cancelled', off.reason);
      return;
    }
    const { token } = held;
    const replica = this.able(held);
    const root = replica === null ? null : this.rootHere(held, replica);
    if (replica === null || root === null) return;
    if (token.final === null && token.gathered >= token.order.length) {
      held.stage = 'syncing';
      this.o.commit.afterSync(() => this.closeGathering(held, root));
      return;
    }
    const next = token.final === null ? token.order[token.gathered] : nextToVerify(token, around.self);
    if (next === undefined) {
      this.publish(held, replica);
      return;
    }
    const hop = token.hop + 1;
    const claim = claimOf(replica.ledger);
    held.token = { ...token, hop, root: rootToJson(root), ...claim, even: staysEven(token, root, claim) };
    held.next = next;
    held.nextWorks = false;
    held.nextHeardMs = around.nowMs;
    held.nextSentMs = around.nowMs;
    if (held.token.even) this.even.remember(held.token);
    // In the gathering half it is new to whom it goes to.
    const isKnown = held.token.even && token.final !== null;
    around.send(next, replica.key.number, isKnown ? evenMessage(held.token, null) : held.token);
  }

  /** null: the replica can no longer go on with this pass, which has been ended. */
  private able(held: Held): Replica | null {
    const replica = this.o.replicas.get(held.id);
    const state = replica?.ledger.replica ?? 'gone';
    if (replica !== null && state === 'full' && replica.ledger.floor <= held.token.through) return replica;
    if (state === 'full') this.end(held, 'overtaken', OVERTAKEN);
    else this.refuse(held, state);
    return null;
  }

  /** null: it cannot be read, and this node can no longer go on with the pass, which has been ended. */
  private rootHere(held: Held, { ledger }: Replica): Root | null {
    return attempt(
      () => ledger.root(held.token.through),
      (error) => {
        this.refuse(held, cannotRead(error));
        return null;
      },
    );
  }

  /** The fault is this node's: its predecessor goes on without it, as long as it still waits for this node. */
  private refuse(held: Held, reason: string): void {
    const { around, replicas } = this.o;
    if (held.from === null || held.handed || held.stage === 'handing') {
      this.end(held, 'failed', `${around.self} cannot go on: ${reason}`);
      return;
    }
    around.count('tokens_refused');
    const replica = replicas.get(held.id);
    this.seen.refuse(held, replica, reason);
    if (replica !== null) {
      // No pass has begun for this replica: it has to start one, for what only it has (ring-fitness.ts).
      replica.notes.begunMs = Math.min(replica.notes.begunMs, held.begunMs);
      noteHeldBackHere(replica, reason, around);
    }
    this.drop(held);
  }

  private closeGathering(held: Held, mine: Root): void {
    if (held.stage !== 'syncing') return;
    if (this.able(held) === null) return;
    held.token = { ...held.token, final: rootToJson(mine), verified: [this.o.around.self] };
    this.advance(held);
  }

  /** The successor is left out; the pass goes on as a live one. */
  private skip(held: Held, reason: string): void {
    this.o.around.count('hops_skipped');
    held.token = without(held.token, held.next!, reason);
    this.advance(held);
  }

  private publish(held: Held, replica: Replica): void {
    const { around } = this.o;
    const { token } = held;
    const message = provenMessage(token, held.id, around.wallMs);
    const said = this.even.isRemembered(token) ? evenMessage(token, message.record.finishedMs) : message;
    for (const member of token.verified) if (member !== around.self) around.send(member, replica.key.number, said);
    // It may have been left out of its own pass.
    if (!token.verified.includes(message.record.starter)) this.tellStarter(held, message.record);
    this.seen.passOn(held);
    this.drop(held);
    around.count(token.kind === 'full' ? 'passes_proven_full' : 'passes_proven_live');
    this.proven(null, message);
  }

  private end(held: Held, outcome: Exclude<PassOutcome, 'proven'>, reason: string): void {
    if (held.stage === 'ended') return;
    const { around } = this.o;
    const record = recordOf(held, around.wallMs, outcome, reason, null);
    around.count(`passes_${outcome}`);
    if (held.from !== null && !held.handed) this.seen.say(held, 'handed');
    this.drop(held);
    this.passEnded(record);
    if (record.starter !== around.self) this.tellStarter(held, record);
  }

  private tellStarter({ id, token }: Held, record: PassRecord): void {
    const { number } = shardKeyFromJson(token.key);
    this.o.around.send(record.starter, number, { t: 'pass-ended', shard: id, record });
  }

  private drop(held: Held): void {
    held.stage = 'ended';
    const stopped = held.pull?.stop() ?? null;
    if (stopped !== null) tellFound(held, stopped, this.o.around);
    this.pulls.leave(held);
    this.held.remove(held);
  }

  private ended(record: PassRecord): void {
    this.slots.free(record.id);
    this.even.forget(record.id);
    const replica = this.o.replicas.get(record.shard);
    if (replica === null || isNews(replica, record)) this.o.around.passEnded(record);
  }

  /** Tokens of the pass that left here before this hop have been taken on. */
  private takenOn(pass: string, hop: number): void {
    for (const held of this.held.of(pass)) {
      if (held.stage !== 'handing' || held.next === null || held.token.hop >= hop) continue;
      this.seen.passOn(held);
      this.drop(held);
    }
  }
}
