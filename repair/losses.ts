/**
 * What may be lost with a member that was given up or replaced (protocol rule 23): of each shard that it may have had writes
 * of, everything accepted above the watermark that was proven while it was there. Such a write may have been on its disk, or
 * in its outbox, and nowhere else. Each replica keeps a note of it beside its watermark, and copies carry it along. So does one
 * that went on when no member had a full replica any more (rule 33), or whose file was lost when no other had one (mend.ts).
 *
 * A replica is concerned when it has something from before the removal and no proof from after it. A note becomes durable
 * with the ledger, as does the watermark that would hide the need for it: a crash in between means that it is made again, as it
 * was made (losses-file.ts).
 */
import { attempt } from '../shards/errors.ts';
import type { NodeNumber, Stamp } from '../shards/version.ts';
import { STAMP_ZERO, stampMs, stampOf } from '../shards/version.ts';
import type { ClusterSnapshot, Member } from './cluster.ts';
import type { Ledger } from './ledger.ts';
import type { LossesFile } from './losses-file.ts';
import type { GoneMember } from './passed-lists.ts';
import type { LossDescription } from './records.ts';
import type { ReplicaTable } from './replica-table.ts';

export interface Loss {
  readonly member: NodeNumber;
  readonly name: string;
  /** What was accepted with a stamp above it may be lost. */
  readonly after: Stamp;
  /** Not with the member: it had the most when nobody had all, and went on with that (nobody-full.ts). */
  readonly wentOn?: true;
}

/** Of one replica; the oldest go first. */
const LOSSES_MAX = 16;

export function describeLosses(ledger: Pick<Ledger, 'losses'>): LossDescription[] {
  return ledger.losses.map(({ after, ...loss }) => ({ ...loss, afterMs: stampMs(after) }));
}

/** Of two losses with one member only that in which it went on is another one. */
export function lossName({ member, wentOn }: Pick<Loss, 'member' | 'wentOn'>): string {
  return wentOn === true ? `${member} went on` : member;
}

/** Of several replicas: each loss once, with the earliest that may be lost. */
export function earliestLosses(losses: Iterable<LossDescription>): LossDescription[] {
  const found = new Map<string, LossDescription>();
  for (const loss of losses)
    if (loss.afterMs < (found.get(lossName(loss))?.afterMs ?? Number.POSITIVE_INFINITY))
      found.set(lossName(loss), loss);
  return [...found.values()];
}

/** What only it held may be lost. */
export function isGivenUp({ removal }: Pick<Member, 'removal'>): boolean {
  return removal === 'forced' || removal === 'replaced';
}

export function goneMembers(snapshot: ClusterSnapshot): GoneMember[] {
  return snapshot.members
    .filter(isGivenUp)
    .flatMap(({ number, removedAt }) => (removedAt === undefined ? [] : [{ number, removedAt }]));
}

/** With when an operator has taken note of each. */
export function withAcknowledged(losses: readonly LossDescription[], members: readonly Member[]): LossDescription[] {
  return losses.map((loss) => {
    const acknowledgedMs = members.find(({ number }) => number === lossName(loss))?.lossAcknowledgedMs;
    return acknowledgedMs === undefined ? loss : { ...loss, acknowledgedMs };
  });
}

/** Those that nobody has taken note of. */
export function openLosses(losses: readonly LossDescription[], members: readonly Member[]): LossDescription[] {
  return withAcknowledged(losses, members).filter(({ acknowledgedMs }) => acknowledgedMs === undefined);
}

/** When the members have changed. Returns how many notes were made. */
export function noteLosses(replicas: ReplicaTable, snapshot: ClusterSnapshot, file: LossesFile): number {
  const gone = snapshot.members.filter(isGivenUp);
  if (gone.length === 0) return 0;
  let noted = 0;
  for (const id of replicas.ids()) {
    const { ledger } = replicas.get(id)!;
    for (const member of gone) {
      if (!isConcerned(ledger, member)) continue;
      const after = ledger.converged?.through ?? STAMP_ZERO;
      const loss = file.get(id, member.number) ?? { member: member.number, name: member.name, after };
      note(ledger, loss);
      noted++;
    }
  }
  if (noted > 0) file.replace(new Map([...replicas.ids()].map((id) => [id, replicas.get(id)!.ledger.losses])));
  return noted;
}

/** Its own floor is what it certainly has all of. Of two notes of the same the one with the lower floor names more. */
export function noteGoingOn(ledger: Ledger, member: NodeNumber, name: string): void {
  const loss = { member, name, after: ledger.floor, wentOn: true } as const;
  const known = ledger.losses.find((each) => lossName(each) === lossName(loss));
  if (known !== undefined && known.after <= loss.after) return;
  ledger.losses = ledger.losses.filter((each) => each !== known);
  note(ledger, loss);
}

/** Those of the file of before, which was set aside. */
export function takeOver(ledger: Ledger, former: readonly Loss[]): void {
  const isNews = (loss: Loss) => !ledger.losses.some((each) => lossName(each) === lossName(loss));
  ledger.losses = [...former.filter(isNews), ...ledger.losses].slice(-LOSSES_MAX);
}

function note(ledger: Ledger, loss: Loss): void {
  ledger.losses = [...ledger.losses, loss].slice(-LOSSES_MAX);
}

function isConcerned(ledger: Ledger, { number, removedAt }: Member): boolean {
  if (removedAt === undefined || ledger.losses.some((loss) => lossName(loss) === number)) return false;
  if (ledger.converged !== null && ledger.converged.through >= removedAt) return false;
  if (ledger.floor > STAMP_ZERO) return ledger.floor <= removedAt;
  // Rather a note too many than none.
  const oldest = attempt(
    () => ledger.oldest(),
    () => ledger.oldestStamp,
  );
  return oldest !== null && stampOf(oldest) <= removedAt;
}
