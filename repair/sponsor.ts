/**
 * Whether a member lets a fresh node in, and what the members' registers then say.
 *
 * A name belongs to one member. A fresh node under a name that a member has is that member after the loss of its disk:
 * the old number is marked removed, but only when the sponsor is sure not to hear it, which takes a whole liveness window
 * after the sponsor's own start, or after it has let the old one in: of two that come under one name in the same moment the
 * first has not had the time to speak. The joiner waits for that and is refused for good when the old one goes on living.
 * The joiner is let in as `joining`; it makes itself `up` when it has everything on disk. Repeating a request changes nothing.
 */
import type { NodeNumber } from '../shards/version.ts';
import type { Member } from './cluster.ts';
import type { Change } from './databases.ts';
import { memberChange } from './members.ts';

export interface Applicant {
  readonly number: NodeNumber;
  readonly name: string;
  readonly address: string;
}

export interface SponsorView {
  readonly self: { readonly number: NodeNumber; readonly name: string };
  readonly members: readonly Member[];
  readonly lastHeardMsAgo: (number: NodeNumber) => number | null;
  readonly windowMs: number;
  readonly isSilent: (number: NodeNumber) => boolean;
  readonly membersMax: number;
}

export interface Refusal {
  readonly kind: 'refuse';
  readonly code: 'name-live' | 'busy' | 'removed';
  readonly reason: string;
}

export function admit(applicant: Applicant, view: SponsorView): Refusal | { readonly changes: readonly Change[] } {
  const { number, name, address } = applicant;
  const known = view.members.find((member) => member.number === number);
  if (known?.state === 'removed') {
    const reason = `node "${name}" (${number}) was removed from the cluster`;
    return { kind: 'refuse', code: 'removed', reason };
  }
  const changes: Change[] = [];
  for (const member of view.members) {
    if (member.name !== name || member.number === number || member.state === 'removed') continue;
    const refusal = mayBeLive(member, view);
    if (refusal !== null) return refusal;
    changes.push(memberChange({ ...member, state: 'removed', removal: 'replaced' }));
  }
  if (known !== undefined && known.address === address) return { changes };
  const present = view.members.filter((member) => member.state !== 'removed').length;
  if (known === undefined && present >= view.membersMax) {
    return {
      kind: 'refuse',
      code: 'busy',
      reason: `the cluster has ${present} members, at most ${view.membersMax} are allowed`,
    };
  }
  changes.push(memberChange({ number, name, address, state: known?.state ?? 'joining' }));
  return { changes };
}

function mayBeLive(member: Member, view: SponsorView): Refusal | null {
  const self = member.number === view.self.number;
  const agoMs = self ? 0 : view.lastHeardMsAgo(member.number);
  const who = `a node named "${member.name}" is a live member already: number ${member.number} at ${member.address}`;
  if (agoMs !== null && agoMs <= view.windowMs) {
    const reason = `${who}${self ? '' : `, heard ${agoMs} ms ago`}. Give this node another name, or stop that one`;
    return { kind: 'refuse', code: 'name-live', reason };
  }
  if (!view.isSilent(member.number)) {
    const reason = `waiting to hear whether "${member.name}" (${member.number}) is live`;
    return { kind: 'refuse', code: 'busy', reason };
  }
  return null;
}
