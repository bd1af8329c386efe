/**
 * What can be said of a token without the node that it is at.
 */
import { type ShardId, type ShardKey, shardKeyFromJson, shardKeyToJson } from '../shards/shard-key.ts';
import { type NodeNumber, stampMs } from '../shards/version.ts';
import { Explanation } from './explanation.ts';
import { type Root, type RootJson, rootFromJson, rootToJson } from './ledger.ts';
import { isOver } from './mail-receiver.ts';
import type { HopRecord, LedgerSummary, PassOutcome, PassRecord } from './records.ts';
import { repairRecord, sampleOf, stepOf } from './repair-records.ts';
import type { MessageOf, Token } from './replica-messages.ts';
import { claimOf, type Replica } from './replica-table.ts';
import type { PassPlan } from './ring-cutoff.ts';
import type { Held } from './ring-held.ts';
import type { Pulled } from './ring-pull.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

export const NOTHING_PULLED: Pulled = {
  outcome: 'ok',
  reason: '',
  isNewcomer: null,
  epochs: 0,
  batches: 0,
  rows: 0,
  bytes: 0,
  unequal: null,
  found: new Explanation(),
};

export function recordOf(
  { token, id }: Pick<Held, 'token' | 'id'>,
  nowMs: number,
  outcome: PassOutcome,
  reason: string | null,
  root: RootJson | null,
): PassRecord {
  const { batches, rows, bytes } = totals(token);
  return {
    id: token.pass,
    shard: id,
    kind: token.kind,
    starter: starterOf(token),
    order: token.order,
    skipped: token.skipped,
    cutoff: token.through,
    cutoffMs: stampMs(token.through),
    hops: token.hops,
    hopsPlanned: 2 * (token.order.length - 1),
    startedMs: token.startedMs,
    finishedMs: Math.max(token.startedMs, nowMs),
    outcome,
    reason: reason === null ? null : reason.slice(0, 1_000),
    root: root === null ? null : summaryOf(token.through, rootFromJson(root)),
    batchesMoved: batches,
    rowsMoved: rows,
    bytesMoved: bytes,
  };
}

/** All that are left of its order have verified. */
export function provenMessage(token: Token, id: ShardId, nowMs: number): MessageOf<'proven'> {
  const { pass, key, through, kind, view, verified: members } = token;
  const root = token.final!;
  const record = recordOf({ token, id }, nowMs, 'proven', null, root);
  return { t: 'proven', key, pass, through, kind, view, members, root, record };
}

export function summaryOf(through: string, root: Root): LedgerSummary {
  const [batches, identitySum, contentSum] = rootToJson(root);
  return { through, batches, identitySum, contentSum };
}

/** The first after this node along the ring that has not verified. */
export function nextToVerify(token: Token, self: NodeNumber): NodeNumber | undefined {
  const at = token.order.indexOf(self);
  const walk = [...token.order.slice(at + 1), ...token.order.slice(0, at)];
  return walk.find((member) => !token.verified.includes(member));
}

/** A pass is named after its starter. */
export function starterOf(token: Token): NodeNumber {
  return token.pass.slice(0, 16);
}

export function totals(token: Token): { batches: number; rows: number; bytes: number } {
  let [batches, rows, bytes] = [0, 0, 0];
  for (const hop of token.hops) {
    batches += hop.batches;
    rows += hop.rows;
    bytes += hop.bytes;
  }
  return { batches, rows, bytes };
}

/** A pass begins at the node that has planned it. */
export function firstToken(
  pass: string,
  plan: PassPlan,
  replica: Replica,
  view: string,
  nowMs: number,
  watched: boolean,
): Token {
  return {
    t: 'token',
    pass,
    key: shardKeyToJson(replica.key),
    through: plan.through,
    view: view,
    kind: plan.kind,
    order: plan.order,
    gathered: 1,
    verified: [],
    hop: 0,
    root: rootToJson(replica.ledger.root(plan.through)),
    final: null,
    skipped: plan.skipped,
    hops: [],
    startedMs: nowMs,
    watched,
    even: true,
    ...claimOf(replica.ledger),
  };
}

/** `replica`: of whoever refuses, if it has one. */
export function answerToken(
  around: Surroundings,
  replica: Replica | null,
  to: NodeNumber,
  { pass, hop, key }: Token,
  status: 'working' | 'handed' | 'refused',
  reason: string,
): void {
  const claim = replica === null ? null : claimOf(replica.ledger);
  around.send(to, shardKeyFromJson(key).number, { t: 'token-answer', pass, hop, status, reason, claim });
}

function hopOf({ from, sinceMs }: Held, pulled: Pulled, { self, nowMs }: Surroundings): HopRecord {
  const { epochs: epochsDiffering, batches, rows, bytes, found } = pulled;
  const ms = Math.max(0, nowMs - sinceMs);
  return stepOf(from!, self, { epochsDiffering, batches, rows, bytes, ms }, found.decided);
}

/** Says at once what came, and what became of it: the token carries no more than counts. */
export function tellFound(held: Held, pulled: Pulled, around: Surroundings): void {
  around.count('repair_epochs_differing', pulled.epochs);
  if (pulled.batches === 0) return;
  const { token, id, from } = held;
  const sample = sampleOf(around.self, from, pulled.found);
  const given = { id: token.pass, kind: 'pass', shard: id, outcome: 'running', reason: null } as const;
  const parts = { steps: [hopOf(held, pulled, around)], samples: sample === null ? [] : [sample] };
  const times = { startedMs: token.startedMs, finishedMs: Math.max(token.startedMs, around.wallMs) };
  around.repaired(repairRecord({ ...given, ...times }, parts, token.order));
}

/** What this node has pulled is a hop of the pass. */
export function withHop(held: Held, pulled: Pulled, around: Surroundings): Token {
  const { token } = held;
  const hop = hopOf(held, pulled, around);
  const gathered = token.final === null ? token.gathered + 1 : token.gathered;
  const even = token.even && hop.epochsDiffering === 0 && hop.batches === 0;
  return { ...token, gathered, hops: [...token.hops, hop], even };
}

/** What keeps the others from being proven with, as a pass that ended says: null for nothing, undefined where it says nothing. */
export function heldBackAfter(record: PassRecord, { snapshot }: Surroundings): string | null | undefined {
  const { outcome, kind, skipped, reason } = record;
  if (outcome === 'failed') return reason;
  if (outcome !== 'proven') return undefined;
  const [first] = skipped;
  if (first !== undefined) return `${nameOf(snapshot, first.member)}: ${first.reason}`;
  return kind === 'full' ? null : undefined;
}

/** The pass goes on as a live one. */
export function without(token: Token, member: NodeNumber, reason: string): Token {
  return {
    ...token,
    kind: 'live',
    even: false,
    order: token.order.filter((each) => each !== member),
    verified: token.verified.filter((each) => each !== member),
    skipped: [...token.skipped, { member, reason }],
  };
}

export interface PassProgress {
  readonly hop: number;
  readonly hops: number;
  readonly batches: number;
  readonly rows: number;
  readonly bytes: number;
}

function progressOf(token: Token): PassProgress {
  return { hop: token.hops.length, hops: Math.max(1, 2 * (token.order.length - 1)), ...totals(token) };
}

/** Why a token is not for this node, whatever state its replica is in; null when it is. */
export function refusalOf(token: Token, key: ShardKey, around: Surroundings, isHeld: boolean): string | null {
  if (token.view !== around.snapshot?.viewHash) return 'has another view of the cluster';
  if (isOver(around.snapshot, key, around.wallMs)) return 'is expired or dropped';
  if (token.floor > token.through) return 'has a floor above its cutoff';
  if (!token.order.includes(around.self)) return 'is not in the ring of the pass';
  if (!isHeld && !around.owners(key).includes(around.self)) return 'does not hold the shard';
  return null;
}

/** Hops that were faster and moved nothing are not worth a message. */
const PROGRESS_MS_MIN = 200;

/** To the starter, when somebody watches. */
export function reportProgress(
  { token, id }: Held,
  around: Surroundings,
  progressed: (pass: string, progress: PassProgress) => void,
): void {
  const last = token.hops.at(-1);
  if (!token.watched || last === undefined || (last.batches === 0 && last.ms < PROGRESS_MS_MIN)) return;
  const progress = progressOf(token);
  const starter = starterOf(token);
  if (starter === around.self) {
    progressed(token.pass, progress);
    return;
  }
  const { number } = shardKeyFromJson(token.key);
  around.send(starter, number, { t: 'pass-progress', shard: id, pass: token.pass, ...progress });
}
