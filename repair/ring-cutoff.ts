/**
 * Who takes part in a pass and up to which stamp it may prove (protocol rules 9 to 12, 16): a pure function of the
 * cluster as last heard.
 *
 * The ring is the shard's owners and every other member that still holds it. A pass is `full` when all of them are live,
 * full, and have spoken under this node's view, and every member has, and the shard list that its statement names has
 * been heard; otherwise it is `live`, among those that can.
 * The cutoff is the least closed stamp of the members that count, below every open batch of the shard that no
 * participant has acknowledged. What one acknowledged before its file was lost counts in no statement that may be older
 * than the news of that (`HeldShard.since`).
 */
import type { ShardId } from '../shards/shard-key.ts';
import { type NodeNumber, STAMP_ZERO, type Stamp, stampBefore, stampOf } from '../shards/version.ts';
import type { ClusterSnapshot, Statement } from './cluster.ts';
import { heldIn } from './held-shards.ts';
import type { PassKind, SkippedMember } from './records.ts';

export interface PassPlan {
  readonly kind: PassKind;
  readonly through: Stamp;
  /** Starter first, then on along the ring. */
  readonly order: readonly NodeNumber[];
  readonly skipped: readonly SkippedMember[];
  /** Why the pass is not full, or what holds its cutoff; null when nothing but the clock does. */
  readonly heldBackBy: string | null;
}

export function planPass(
  snapshot: ClusterSnapshot,
  shard: ShardId,
  owners: readonly NodeNumber[],
  converged: Stamp,
): PassPlan | null {
  const members = snapshot.members.filter((member) => member.state !== 'removed');
  const names = new Map(members.map((member) => [member.number, member.name]));
  const live = new Set(snapshot.live);
  const statements = new Map<NodeNumber, Statement>();
  for (const s of snapshot.statements)
    if (s.viewHash === snapshot.viewHash && names.has(s.member)) statements.set(s.member, s);
  const states = new Map<NodeNumber, string>();
  const sinces = new Map<NodeNumber, Stamp>();
  for (const { number } of members) {
    const held = heldIn(snapshot.heldBy[number], shard);
    if (held !== undefined) states.set(number, held.state);
    if (held?.since !== undefined) sinces.set(number, held.since);
  }
  // One fixed order for all shards of these members, so that their tokens go the same way and travel together.
  const ring = [...new Set([...owners, ...states.keys()])].sort();
  const skipped: SkippedMember[] = [];
  const order: NodeNumber[] = [];
  for (const member of ring) {
    const state = states.get(member) ?? 'full';
    if (!live.has(member)) skipped.push({ member, reason: 'not live' });
    else if (!statements.has(member)) skipped.push({ member, reason: 'has not spoken under this view' });
    else if (state !== 'full') skipped.push({ member, reason: state });
    else order.push(member);
  }
  // A list of another sequence than the statement names may lack a holder of the shard (rule 12).
  const isKnown = (member: NodeNumber) =>
    statements.has(member) && snapshot.heldSequence[member] === statements.get(member)!.shardListSequence;
  const silent = members.find((member) => !isKnown(member.number));
  const first = order.indexOf(snapshot.self);
  if (first < 0) return null;
  const rotated = [...order.slice(first), ...order.slice(0, first)];
  const wholeRing = skipped.length === 0 && silent === undefined;
  if (wholeRing) {
    const all = cutoff(
      shard,
      members.map((m) => statements.get(m.number)!),
      rotated,
      sinces,
    );
    const dead = members.find((member) => !live.has(member.number));
    // With a dead member outside the ring its last word is the limit: once proven, only the live ones get further.
    if (dead === undefined || all > converged) {
      const heldBackBy =
        dead === undefined ? null : `${dead.name} is not live: nothing newer than its last word can be proven`;
      return { kind: 'full', through: all, order: rotated, skipped, heldBackBy };
    }
  }
  const speaking = members.filter((m) => live.has(m.number) && statements.has(m.number));
  const through = cutoff(
    shard,
    speaking.map((m) => statements.get(m.number)!),
    rotated,
    sinces,
  );
  const culprit = skipped[0];
  let heldBackBy = 'a member outside the ring is not live';
  if (culprit !== undefined) heldBackBy = `${names.get(culprit.member) ?? culprit.member}: ${culprit.reason}`;
  else if (silent !== undefined) {
    const what = statements.has(silent.number)
      ? 'its list of shards has not been heard'
      : 'has not spoken under this view';
    heldBackBy = `${silent.name}: ${what}`;
  }
  return { kind: 'live', through, order: rotated, skipped, heldBackBy };
}

/** Least closed stamp, below what is open and at no participant. */
function cutoff(
  shard: ShardId,
  statements: readonly Statement[],
  participants: readonly NodeNumber[],
  sinces: ReadonlyMap<NodeNumber, Stamp>,
): Stamp {
  let through = 'f'.repeat(16);
  for (const statement of statements) {
    if (statement.closed < through) through = statement.closed;
    const counts = (member: NodeNumber) =>
      participants.includes(member) && statement.closed >= (sinces.get(member) ?? STAMP_ZERO);
    for (const open of statement.open) {
      if (open.shard !== shard || open.acknowledgedBy.some(counts)) continue;
      const below = stampBefore(stampOf(open.oldest));
      if (below < through) through = below;
    }
  }
  return through;
}
