/**
 * Members as registers, and the hash of the view that rests on them.
 *
 *   member/<number>   rank = the state's place in joining, up, leaving, removed; {name, address, removal}
 *   loss/<number>     {acknowledgedMs}: an operator knows what may be lost with that removed member (losses.ts)
 *
 * Because the rank decides before the version, a state only rises, whatever the versions say; removed is final
 * (protocol rule 23). An address is last-writer-wins within a state, and each member corrects its own.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type NodeNumber, stampOf } from '../shards/version.ts';
import { type DatabaseDefinition, MEMBER_STATES, type Member, type MemberState, REMOVALS } from './cluster.ts';
import type { Change } from './databases.ts';
import { jsonOf, type Metadata, type Register } from './metadata.ts';

const PREFIX = 'member/';
const LOSS_PREFIX = 'loss/';
const lossSchema = z.object({ acknowledgedMs: z.number() });
const valueSchema = z.object({
  name: z.string().min(1).max(255),
  address: z.string().max(1_024),
  removal: z.enum(REMOVALS).optional(),
});

/** Sorted by number. */
export function membersOf(metadata: Metadata): Member[] {
  const members: Member[] = [];
  for (const register of metadata.withPrefix(PREFIX)) {
    const member = memberOfRegister(register);
    if (member !== null) members.push({ ...member, ...acknowledgedLoss(metadata, member) });
  }
  return members;
}

function acknowledgedLoss(metadata: Metadata, { number, state }: Member): Pick<Member, 'lossAcknowledgedMs'> {
  const register = state === 'removed' ? metadata.get(LOSS_PREFIX + number) : null;
  const value = lossSchema.safeParse(register === null ? undefined : jsonOf(register));
  return value.success ? { lossAcknowledgedMs: value.data.acknowledgedMs } : {};
}

export function lossChange(number: NodeNumber, acknowledgedMs: number): Change {
  return { key: LOSS_PREFIX + number, rank: 0, value: { acknowledgedMs } };
}

export function memberChange(member: Member): Change {
  return {
    key: PREFIX + member.number,
    rank: MEMBER_STATES.indexOf(member.state),
    value: { name: member.name, address: member.address, removal: member.removal },
  };
}

export function isMemberKey(key: string): boolean {
  return key.startsWith(PREFIX);
}

export function memberKey(number: NodeNumber): string {
  return PREFIX + number;
}

function memberOfRegister(register: Register): Member | null {
  const number = register.key.slice(PREFIX.length);
  const state: MemberState | undefined = MEMBER_STATES[register.rank];
  const value = valueSchema.safeParse(jsonOf(register));
  if (!/^[0-9a-f]{16}$/.test(number) || state === undefined || !value.success) return null;
  const { name, address, removal } = value.data;
  if (state !== 'removed') return { number, name, address, state };
  return { number, name, address, state, removedAt: stampOf(register.version), ...(removal && { removal }) };
}

/**
 * As owners, deletes and all else that goes by who is up has to see them: leaving takes effect while somebody stays to take over.
 * All may have been told to leave at the same moment, or on both sides of a cut; then each goes on as it was, until one joins.
 */
export function standingOf(members: readonly Member[]): readonly Member[] {
  if (members.some(({ state }) => state === 'up')) return members;
  return members.map((member) => (member.state === 'leaving' ? { ...member, state: 'up' } : member));
}

/**
 * Over members with their states, databases and policies (protocol rule 11). Addresses are left out: they decide nothing
 * that a pass rests on. 32 hexadecimal digits.
 */
export function viewHashOf(
  members: readonly Member[],
  databases: readonly DatabaseDefinition[],
  droppedThrough: Readonly<Record<string, number>>,
): string {
  const text = JSON.stringify([
    members.map(({ number, name, state }) => [number, name, state]),
    databases.map((database) => [
      database.name,
      database.generation,
      database.durability,
      database.conflict,
      database.defaultRetentionPolicy,
      database.retentionPolicies.map((policy) => [
        policy.name,
        policy.generation,
        policy.durationNs.toString(),
        policy.shardDurationNs.toString(),
        ...(policy.earlierShards ?? []).map((each) => [each.untilNs.toString(), each.shardDurationNs.toString()]),
        policy.replication,
        policy.hasDeletes,
      ]),
    ]),
    Object.keys(droppedThrough)
      .sort()
      .map((name) => [name, droppedThrough[name]]),
  ]);
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
