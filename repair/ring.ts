/**
 * The ring: passes through all replicas of a shard that end with proof that they are equal up to a cutoff.
 *
 * A pass is a token that walks the ring. Gathering half: each receiver pulls what its predecessor has and it lacks, so
 * the last one has everything; its synced root is what all must have. Spreading half: each pulls from its predecessor,
 * syncs, and verifies that its root is that one. The last to verify publishes. 2(k-1) hops.
 *
 * Who holds a token answers for it: it says `working` to its predecessor until its successor works on it, then `handed`.
 * A successor that is silent for `hopTimeoutMs`, or says no, is left out and named; the pass is then a live one.
 * Nothing of a pass is durable: a crash loses at most the pass. Overlapping passes are safe, because batches are
 * idempotent and a floor is adopted only where the root is equal (rules 18, 19).
 */
import { type ShardId, shardId, shardKeyFromJson, shardKeyToJson } from '../shards/shard-key.ts';
import { type NodeNumber, STAMP_ZERO, stampMs } from '../shards/version.ts';
import type { CommitQueue } from './commit.ts';
import type { Filling } from './filling.ts';
import { identitiesEqual, type Root, type RootJson, rootFromJson, rootsEqual, rootToJson } from './ledger.ts';
import type { Outbox } from './outbox.ts';
import type { LedgerSummary, PassOutcome, PassRecord } from './records.ts';
import type { FloorClaim, MessageOf, Token } from './replica-messages.ts';
import { claimOf, meetFloor, type Replica, type ReplicaTable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import { type PassPlan, planPass } from './ring-cutoff.ts';
import { Pull, type Pulled } from './ring-pull.ts';
import type { Surroundings } from './surroundings.ts';

/** A token at this node. */
interface Held {
  token: Token;
  readonly id: ShardId;
  readonly from: NodeNumber | null;
  /** Hop number under which the token came: the predecessor knows it by that. */
  readonly cameAs: number;
  stage: 'pulling' | 'syncing' | 'handing' | 'ended';
  pull: Pull | null;
  next: NodeNumber | null;
  nextHeardMs: number;
  nextSentMs: number;
  nextWorks: boolean;
  /** The predecessor knows that the successor works on it. */
  handed: boolean;
  saidMs: number;
  readonly sinceMs: number;
}

export interface PassProgress {
  readonly hop: number;
  readonly hops: number;
  readonly batches: number;
  readonly rows: number;
  readonly bytes: number;
}

export interface RingOptions {
  readonly replicas: ReplicaTable;
  readonly commit: CommitQueue;
  readonly requests: Requests;
  readonly filling: Filling;
  readonly outbox: Outbox;
  readonly around: Surroundings;
  readonly progressed: (pass: string, progress: PassProgress) => void;
}

export class Ring {
  private readonly held = new Map<string, Held>();
  /** Hops that came here and how they were answered last, so that a repeated token is not walked twice. */
  private readonly seen = new Map<string, { status: 'working' | 'handed' | 'refused'; ms: number }>();
  private readonly controls = new Map<string, { action: 'pause' | 'resume' | 'cancel'; ms: number }>();
  /** Passes that this worker has started and not seen end. */
  private readonly started = new Map<string, number>();
  private readonly o: RingOptions;

  constructor(options: RingOptions) {
    this.o = options;
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
    const { ledger } = replica;
    if (ledger.replica !== 'full') return { refused: `the replica here is ${ledger.replica}` };
    const plan = this.plan(replica);
    if (plan === null)
      return { refused: 'this node takes no part in the ring of the shard, or has not heard of it yet' };
    replica.notes.heldBackBy = plan.heldBackBy;
    if (plan.through < ledger.floor)
      return { refused: `the cutoff ${plan.through} lies below the floor ${ledger.floor}` };
    replica.notes.begunMs = around.nowMs;
    const pass = `${around.self}-${around.nowMs.toString(36)}-${Math.floor(around.random() * 2 ** 40).toString(36)}`;
    const token: Token = {
      t: 'token',
      pass,
      key: shardKeyToJson(replica.key),
      through: plan.through,
      view: around.snapshot!.viewHash,
      kind: plan.kind,
      order: plan.order,
      gathered: 1,
      verified: [],
      hop: 0,
      root: rootToJson(ledger.root(plan.through)),
      final: null,
      skipped: plan.skipped,
      hops: [],
      startedMs: around.nowMs,
      watched,
      ...claimOf(ledger),
    };
    this.started.set(pass, around.nowMs);
    around.count('passes_started');
    this.advance(this.hold(token, null, replica));
    return { pass };
  }

  receiveToken(from: NodeNumber, token: Token): void {
    const { around, replicas } = this.o;
    const key = shardKeyFromJson(token.key);
    const id = shardId(key);
    const name = `${token.pass}:${token.hop}`;
    const known = this.seen.get(name);
    if (known !== undefined) {
      this.answerToken(from, token, id, known.status, 'came before');
      return;
    }
    const refuse = (reason: string) => {
      around.count('tokens_refused');
      this.answerToken(from, token, id, 'refused', reason);
    };
    if (token.view !== around.snapshot?.viewHash) {
      refuse('has another view of the cluster');
      return;
    }
    if (!token.order.includes(around.self)) {
      refuse('is not in the ring of the pass');
      return;
    }
    const owner = around.owners(key).includes(around.self);
    if (!owner && replicas.get(id) === null) {
      refuse('does not hold the shard');
      return;
    }
    const replica = replicas.ensure(key);
    const { ledger, notes } = replica;
    notes.begunMs = around.nowMs;
    if (ledger.replica !== 'full') {
      refuse(ledger.replica);
      return;
    }
    if (token.through < ledger.floor) {
      refuse('its floor is above the cutoff');
      return;
    }
    if (!this.meet(replica, token, from)) {
      refuse(ledger.replica === 'full' ? 'damaged' : 'filling');
      return;
    }
    this.seen.set(name, { status: 'working', ms: around.nowMs });
    const held = this.hold(token, from, replica);
    this.answerToken(from, token, id, 'working', '');
    if (rootsEqual(ledger.root(token.through), rootFromJson(token.root))) {
      this.pulled(held, NOTHING_PULLED);
      return;
    }
    held.pull = new Pull({
      replica,
      source: from,
      through: token.through,
      commit: this.o.commit,
      requests: this.o.requests,
      around,
      meet: (claim) => this.meet(replica, claim, from),
      moved: (batches, rows) => {
        around.count('repair_batches_taken', batches);
        around.count('repair_rows_taken', rows);
      },
      done: (result) => this.pulled(held, result),
    });
    held.pull.start();
  }

  tokenAnswered(from: NodeNumber, m: MessageOf<'token-answer'>): void {
    const held = this.held.get(`${m.pass}:${m.hop}`);
    if (held === undefined || held.next !== from || held.stage !== 'handing') return;
    held.nextHeardMs = this.o.around.nowMs;
    if (m.status === 'refused') {
      const replica = this.o.replicas.get(held.id);
      if (replica === null) {
        this.drop(held);
        return;
      }
      if (m.reason === 'its floor is above the cutoff') {
        this.meet(replica, m, from);
        this.end(held, 'failed', `${from} ${m.reason}`);
        return;
      }
      this.skip(held, m.reason);
      return;
    }
    if (!held.nextWorks) {
      held.nextWorks = true;
      if (held.from !== null && !held.handed) {
        held.handed = true;
        this.say(held, 'handed');
      }
    }
    if (m.status === 'handed') this.drop(held);
  }

  proven(from: NodeNumber | null, m: MessageOf<'proven'>): void {
    const { around, replicas, filling, outbox } = this.o;
    const id = shardId(shardKeyFromJson(m.key));
    if (m.kind === 'full') outbox.settle(id, m.through);
    this.ended(m.record);
    const replica = replicas.get(id);
    if (replica === null || replica.ledger.replica !== 'full') return;
    const { ledger, notes } = replica;
    notes.lastPass = m.record;
    notes.passMs = m.record.finishedMs - m.record.startedMs;
    if (m.through < ledger.floor) return;
    const mine = ledger.root(m.through);
    const root = rootFromJson(m.root);
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
      ledger.adoptFloor(m.through);
      around.count('floors_adopted');
    }
    if (m.through > (ledger.liveConverged?.through ?? STAMP_ZERO)) ledger.liveConverged = watermark;
  }

  converged(m: MessageOf<'converged'>): void {
    this.o.outbox.settle(shardId(shardKeyFromJson(m.key)), m.through);
  }

  passEnded(record: PassRecord): void {
    const replica = this.o.replicas.get(record.shard);
    if (replica !== null) replica.notes.lastPass = record;
    this.ended(record);
  }

  control(pass: string, action: 'pause' | 'resume' | 'cancel'): void {
    this.controls.set(pass, { action, ms: this.o.around.nowMs });
    for (const held of [...this.held.values()]) {
      if (held.token.pass !== pass) continue;
      if (action === 'cancel') this.end(held, 'cancelled', 'cancelled by the operator');
      else if (action === 'resume' && held.stage === 'handing' && held.next === null) this.advance(held);
    }
  }

  tick(): void {
    const { around } = this.o;
    const { nowMs, limits } = around;
    for (const held of [...this.held.values()]) {
      if (nowMs - held.sinceMs > limits.passMsMax) {
        this.end(held, 'failed', `not done after ${limits.passMsMax} ms`);
        continue;
      }
      if (held.from !== null && !held.handed && nowMs - held.saidMs >= limits.requestTimeoutMs)
        this.say(held, 'working');
      if (held.stage !== 'handing' || held.next === null) continue;
      if (nowMs - held.nextHeardMs > limits.hopTimeoutMs) this.skip(held, 'no answer');
      else if (!held.nextWorks && nowMs - held.nextSentMs >= limits.requestTimeoutMs) {
        held.nextSentMs = nowMs;
        around.send(held.next, shardKeyFromJson(held.token.key).number, held.token);
      }
    }
    for (const table of [this.seen, this.controls]) {
      for (const [name, { ms }] of table) if (nowMs - ms > limits.passMsMax) table.delete(name);
    }
    for (const [pass, ms] of this.started) if (nowMs - ms > limits.passMsMax) this.started.delete(pass);
    this.startDue();
  }

  private startDue(): void {
    const { around, replicas } = this.o;
    const { nowMs, limits } = around;
    for (const id of replicas.ids()) {
      if (this.started.size >= limits.passesAtOnceMax) return;
      const replica = replicas.get(id)!;
      if (nowMs - replica.notes.begunMs < limits.passIntervalMs) continue;
      const rank = around.owners(replica.key).indexOf(around.self);
      if (rank < 0 || nowMs - replica.notes.begunMs < limits.passIntervalMs + rank * limits.staggerMs) continue;
      const result = this.start(replica, false);
      // Not able now: looked at again soon, because what is missing (a view, a statement) comes with heartbeats.
      if ('refused' in result)
        replica.notes.begunMs = nowMs - limits.passIntervalMs + Math.min(1_000, limits.passIntervalMs);
    }
  }

  private hold(token: Token, from: NodeNumber | null, replica: Replica): Held {
    const { nowMs } = this.o.around;
    const held: Held = {
      token,
      id: replica.id,
      from,
      cameAs: token.hop,
      stage: 'pulling',
      pull: null,
      next: null,
      nextHeardMs: 0,
      nextSentMs: 0,
      nextWorks: false,
      handed: false,
      saidMs: nowMs,
      sinceMs: nowMs,
    };
    this.held.set(`${token.pass}:in:${token.hop}`, held);
    return held;
  }

  private pulled(held: Held, result: Pulled): void {
    const { around, replicas } = this.o;
    if (held.stage === 'ended') return;
    const replica = replicas.get(held.id);
    if (result.outcome === 'damage' && replica !== null) this.noteDamage(replica, held.from, result.reason);
    if (result.outcome === 'damage') {
      this.end(held, 'damage', result.reason);
      return;
    }
    if (replica === null || replica.ledger.replica !== 'full') {
      this.end(held, 'failed', `${around.self} is filling`);
      return;
    }
    if (result.outcome === 'failed') {
      this.end(held, 'failed', result.reason);
      return;
    }
    const { token } = held;
    const ms = Math.max(0, around.nowMs - held.sinceMs);
    const { batches, rows, bytes } = result;
    const hop = { from: held.from!, to: around.self, epochsDiffering: result.epochs, batches, rows, bytes, ms };
    const gathered = token.final === null ? token.gathered + 1 : token.gathered;
    held.token = { ...token, gathered, hops: [...token.hops, hop] };
    this.report(held);
    if (token.final === null) {
      this.advance(held);
      return;
    }
    held.stage = 'syncing';
    this.o.commit.afterSync(() => this.verify(held));
  }

  /** Spreading half: synced (rule 13), so what is compared here survives a crash. */
  private verify(held: Held): void {
    if (held.stage !== 'syncing') return;
    const replica = this.o.replicas.get(held.id);
    const { token } = held;
    if (replica === null || replica.ledger.replica !== 'full' || replica.ledger.floor > token.through) {
      this.end(held, 'failed', 'overtaken by another pass');
      return;
    }
    const mine = replica.ledger.root(token.through);
    const final = rootFromJson(token.final!);
    if (!identitiesEqual(mine, final)) {
      this.end(held, 'failed', `${this.o.around.self} holds more or less than was gathered`);
      return;
    }
    if (mine.content !== final.content) {
      this.noteDamage(replica, held.from, 'equal batches with unequal content');
      this.end(held, 'damage', `${this.o.around.self} has equal batches with unequal content`);
      return;
    }
    held.token = { ...token, verified: [...token.verified, this.o.around.self] };
    this.advance(held);
  }

  /** Hands the token to whoever is next, or closes the half, or the pass. */
  private advance(held: Held): void {
    const { around, replicas } = this.o;
    if (held.stage === 'ended') return;
    held.stage = 'handing';
    held.next = null;
    const control = this.controls.get(held.token.pass)?.action;
    if (control === 'cancel') {
      this.end(held, 'cancelled', 'cancelled by the operator');
      return;
    }
    if (control === 'pause') return;
    const { token } = held;
    const replica = replicas.get(held.id);
    if (replica === null || replica.ledger.replica !== 'full' || token.through < replica.ledger.floor) {
      this.end(held, 'failed', 'overtaken by another pass');
      return;
    }
    if (token.final === null && token.gathered >= token.order.length) {
      held.stage = 'syncing';
      this.o.commit.afterSync(() => this.closeGathering(held));
      return;
    }
    const next = token.final === null ? token.order[token.gathered] : nextToVerify(token, around.self);
    if (next === undefined) {
      this.publish(held, replica);
      return;
    }
    const hop = token.hop + 1;
    held.token = { ...token, hop, root: rootToJson(replica.ledger.root(token.through)), ...claimOf(replica.ledger) };
    held.next = next;
    held.nextWorks = false;
    held.nextHeardMs = around.nowMs;
    held.nextSentMs = around.nowMs;
    this.held.set(`${token.pass}:${hop}`, held);
    around.send(next, replica.key.number, held.token);
  }

  private closeGathering(held: Held): void {
    if (held.stage !== 'syncing') return;
    const replica = this.o.replicas.get(held.id);
    if (replica === null || replica.ledger.replica !== 'full' || held.token.through < replica.ledger.floor) {
      this.end(held, 'failed', 'overtaken by another pass');
      return;
    }
    const final = rootToJson(replica.ledger.root(held.token.through));
    held.token = { ...held.token, final, verified: [this.o.around.self] };
    this.advance(held);
  }

  /** The successor is left out; the pass goes on as a live one. */
  private skip(held: Held, reason: string): void {
    const { token } = held;
    const member = held.next!;
    this.o.around.count('hops_skipped');
    this.held.delete(`${token.pass}:${token.hop}`);
    held.token = {
      ...token,
      kind: 'live',
      order: token.order.filter((m) => m !== member),
      verified: token.verified.filter((m) => m !== member),
      skipped: [...token.skipped, { member, reason }],
    };
    this.advance(held);
  }

  private publish(held: Held, replica: Replica): void {
    const { around } = this.o;
    const { token } = held;
    const root: RootJson = token.final!;
    const record = this.recordOf(held, 'proven', null, root);
    const { pass, key, through, kind, view } = token;
    const members = token.verified;
    const message = { t: 'proven' as const, key, pass, through, kind, view, members, root, record };
    for (const member of members) if (member !== around.self) around.send(member, replica.key.number, message);
    const others = (around.snapshot?.members ?? []).filter((m) => m.state !== 'removed' && !members.includes(m.number));
    if (kind === 'full') {
      for (const { number } of others) {
        around.send(number, replica.key.number, { t: 'converged', key, pass, through, members, root });
      }
    }
    if (held.from !== null && !held.handed) this.say(held, 'handed');
    this.drop(held);
    around.count(kind === 'full' ? 'passes_proven_full' : 'passes_proven_live');
    this.proven(null, message);
  }

  private end(held: Held, outcome: Exclude<PassOutcome, 'proven'>, reason: string): void {
    if (held.stage === 'ended') return;
    const { around } = this.o;
    const record = this.recordOf(held, outcome, reason, null);
    around.count(`passes_${outcome}`);
    if (held.from !== null && !held.handed) this.say(held, 'handed');
    const { starter } = record;
    this.drop(held);
    this.passEnded(record);
    if (starter !== around.self) {
      around.send(starter, shardKeyFromJson(held.token.key).number, { t: 'pass-ended', shard: held.id, record });
    }
  }

  private drop(held: Held): void {
    held.stage = 'ended';
    held.pull?.stop();
    this.held.delete(`${held.token.pass}:in:${held.cameAs}`);
    this.held.delete(`${held.token.pass}:${held.token.hop}`);
  }

  private ended(record: PassRecord): void {
    this.started.delete(record.id);
    this.o.around.passEnded(record);
  }

  /** Rule 19 against a token or an answer of `from`. False: this replica cannot go on with it. */
  private meet(replica: Replica, claim: FloorClaim, from: NodeNumber): boolean {
    const met = meetFloor(replica.ledger, claim, true);
    if (met === 'behind') this.o.filling.demote(replica, `behind the floor ${claim.floor} of ${from}`);
    if (met === 'damage') this.noteDamage(replica, from, `content differs at the floor ${claim.floor}`);
    return met === 'level' || met === 'lower';
  }

  private noteDamage(replica: Replica, comparedWith: NodeNumber | null, reason: string): void {
    this.o.around.count('damage_found');
    replica.notes.damage = { reason, sinceMs: this.o.around.nowMs, comparedWith };
    replica.notes.heldBackBy = `damage: ${reason}`;
  }

  private say(held: Held, status: 'working' | 'handed'): void {
    held.saidMs = this.o.around.nowMs;
    const seen = this.seen.get(`${held.token.pass}:${held.cameAs}`);
    if (seen !== undefined) seen.status = status;
    this.answerToken(held.from!, { ...held.token, hop: held.cameAs }, held.id, status, '');
  }

  private answerToken(
    to: NodeNumber,
    token: Token,
    shard: ShardId,
    status: 'working' | 'handed' | 'refused',
    reason: string,
  ): void {
    const replica = this.o.replicas.get(shard);
    const claim = replica === null ? { floor: token.floor, floorRoot: token.floorRoot } : claimOf(replica.ledger);
    const { pass, hop } = token;
    this.o.around.send(to, shardKeyFromJson(token.key).number, {
      t: 'token-answer',
      pass,
      shard,
      hop,
      status,
      reason,
      ...claim,
    });
  }

  private report(held: Held): void {
    const { token } = held;
    if (!token.watched) return;
    const progress = { hop: token.hops.length, hops: Math.max(1, 2 * (token.order.length - 1)), ...totals(token) };
    const starter = starterOf(token);
    if (starter === this.o.around.self) {
      this.o.progressed(token.pass, progress);
      return;
    }
    const number = shardKeyFromJson(token.key).number;
    this.o.around.send(starter, number, { t: 'pass-progress', shard: held.id, pass: token.pass, ...progress });
  }

  private recordOf(held: Held, outcome: PassOutcome, reason: string | null, root: RootJson | null): PassRecord {
    const { token } = held;
    const { batches, rows, bytes } = totals(token);
    return {
      id: token.pass,
      shard: held.id,
      kind: token.kind,
      starter: starterOf(token),
      order: token.order,
      skipped: token.skipped,
      cutoff: token.through,
      cutoffMs: stampMs(token.through),
      hops: token.hops,
      hopsPlanned: 2 * (token.order.length - 1),
      startedMs: token.startedMs,
      finishedMs: Math.max(token.startedMs, this.o.around.nowMs),
      outcome,
      reason: reason === null ? null : reason.slice(0, 1_000),
      root: root === null ? null : summaryOf(token.through, rootFromJson(root)),
      batchesMoved: batches,
      rowsMoved: rows,
      bytesMoved: bytes,
    };
  }
}

const NOTHING_PULLED: Pulled = { outcome: 'ok', reason: '', epochs: 0, batches: 0, rows: 0, bytes: 0 };

export function summaryOf(through: string, root: Root): LedgerSummary {
  const [batches, identitySum, contentSum] = rootToJson(root);
  return { through, batches, identitySum, contentSum };
}

/** The first after this node along the ring that has not verified. */
function nextToVerify(token: Token, self: NodeNumber): NodeNumber | undefined {
  const at = token.order.indexOf(self);
  const walk = [...token.order.slice(at + 1), ...token.order.slice(0, at)];
  return walk.find((member) => !token.verified.includes(member));
}

/** A pass is named after its starter. */
function starterOf(token: Token): NodeNumber {
  return token.pass.slice(0, 16);
}

function totals(token: Token): { batches: number; rows: number; bytes: number } {
  let [batches, rows, bytes] = [0, 0, 0];
  for (const hop of token.hops) {
    batches += hop.batches;
    rows += hop.rows;
    bytes += hop.bytes;
  }
  return { batches, rows, bytes };
}
