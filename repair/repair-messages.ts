/**
 * Which part of a host each repair message is for. The compiler holds that none is forgotten; what state it may meet in that
 * part, and what follows, is in the table of states in PROTOCOL.md.
 */
import type { NodeNumber } from '../shards/version.ts';
import type { DebtSettling } from './debt-settling.ts';
import type { Disowning } from './disowning.ts';
import type { FillingSource } from './filling-source.ts';
import type { Repairs } from './repairs.ts';
import type { Message, Received } from './replica-messages.ts';
import type { Requests } from './requests.ts';
import type { Ring } from './ring.ts';
import type { RingAnswers } from './ring-answers.ts';
import type { Upkeep } from './upkeep.ts';

/** Mail is no repair: it is not held back by what repair may take. */
export type RepairMessage = Exclude<Message, { t: 'mail' | 'mail-answers' | 'mail-offers' }>;

export interface RepairParts {
  readonly ring: Ring;
  readonly debts: DebtSettling;
  readonly disowning: Disowning;
  readonly answers: RingAnswers;
  readonly fillingSource: FillingSource;
  readonly upkeep: Upkeep;
  readonly requests: Requests;
  readonly repairs: Repairs;
}

export function routeRepair(parts: RepairParts, from: NodeNumber, message: RepairMessage, received: Received): void {
  switch (message.t) {
    case 'bundle':
      for (const each of message.messages) routeRepair(parts, from, each, received);
      return;
    case 'token':
      parts.ring.receiveToken(from, message);
      return;
    case 'even':
      parts.ring.receiveEven(from, message);
      return;
    case 'token-answer':
      parts.ring.tokenAnswered(from, message);
      return;
    case 'pass-ended':
      parts.ring.passEnded(message.record);
      return;
    case 'proven':
      parts.ring.proven(from, message);
      return;
    case 'converged':
      parts.ring.proofs.converged(message);
      return;
    case 'converged-ask':
      parts.debts.asked(from, message);
      return;
    case 'compare':
      parts.answers.compare(from, message);
      return;
    case 'identities':
      parts.answers.identities(from, message);
      return;
    case 'fetch':
      parts.answers.fetch(from, message);
      return;
    case 'disown':
      parts.disowning.asked(from, message);
      return;
    case 'disowned':
      parts.requests.answer(from, message.request, received);
      return;
    case 'fill-open':
      parts.fillingSource.open(from, message);
      return;
    case 'fill-page':
      parts.fillingSource.page(from, message);
      return;
    case 'content-windows':
    case 'content-groups':
    case 'content-copy':
      parts.upkeep.asked(from, message);
      return;
    case 'suspect':
      parts.upkeep.conflicts.told(from, message);
      return;
    case 'content-windows-answer':
    case 'content-groups-answer':
    case 'content-copy-answer':
    case 'compare-answer':
    case 'identities-answer':
    case 'fetch-answer':
    case 'fill-answer':
      parts.requests.answer(from, message.request, received);
      return;
    case 'pass-control':
      parts.ring.callOff(message.pass, message.action);
      return;
    case 'pass-progress':
      parts.repairs.progressed(message.pass, message);
      return;
  }
}
