/**
 * What a replica answers to each event, and what it is afterwards, in each of its states: total, so that a new state, event or
 * message does not compile before somebody has said what it means. state-table.test.ts holds the code against it, cell by
 * cell; repair/PROTOCOL.md has the same in words.
 */

import type { CommitResult } from '../../repair/commit-entry.ts';
import type { ReplicaState } from '../../repair/records.ts';
import type { Message, MessageOf, PullStatus } from '../../repair/replica-messages.ts';

export type Condition = Exclude<ReplicaState, 'unknown'>;

/** Its meaning does not depend on the state of the replica it is about; why. */
interface Stateless {
  readonly stateless: string;
}

/** The events that each kind of message is; of an owner, unless they say otherwise. */
export const EVENTS_OF = {
  mail: ['mail', 'mail at or below the floor', 'mail, and not an owner'],
  'mail-offers': ['an offer of mail that it has', 'an offer of mail that it lacks'],
  'mail-answers': { stateless: 'of writes and entries of the outbox that wait here' },
  token: [
    'token with an equal root',
    'token with a cutoff below the floor',
    'token with a higher floor and an equal root',
    'token with a higher floor and other batches',
    'token with a higher floor and other content',
    'token, and not an owner',
  ],
  'token-answer': { stateless: 'of the hop that waits for it; the floor of whoever refuses is met as in a comparison' },
  even: { stateless: 'a token or a proof in short: as those' },
  bundle: { stateless: 'as what is in it' },
  'pass-ended': { stateless: 'noted for people' },
  proven: [
    'proof with an equal root',
    'proof with other batches',
    'live proof with an equal root',
    'live proof with other batches',
  ],
  converged: { stateless: 'settles what this node owes' },
  'converged-ask': ['a question up to where it is proven'],
  compare: [
    'comparison with an equal floor',
    'comparison with a lower floor',
    'comparison with a higher floor and an equal root',
    'comparison with a higher floor and other batches',
    'comparison with a higher floor and other content',
  ],
  'compare-answer': { stateless: 'of the pull that asked' },
  identities: ['identities'],
  'identities-answer': { stateless: 'of the pull that asked' },
  fetch: ['fetch'],
  'fetch-answer': { stateless: 'of the pull or mend that asked' },
  'fill-open': [
    'fill-open',
    'fill-open with a higher floor and an equal root',
    'fill-open with a higher floor and other batches',
  ],
  'fill-page': ['fill-page of a snapshot that is gone'],
  'fill-answer': { stateless: 'of the filling that asked' },
  'content-windows': ['content-windows', 'content-windows with a higher floor and other batches'],
  'content-windows-answer': { stateless: 'of the mend that asked' },
  'content-groups': ['content-groups'],
  'content-groups-answer': { stateless: 'of the mend that asked' },
  'content-copy': ['content-copy'],
  'content-copy-answer': { stateless: 'of the mend that asked' },
  suspect: ['suspect'],
  disown: ['disown'],
  disowned: { stateless: 'of the mend that asked' },
  'pass-control': { stateless: 'of the tokens here' },
  'pass-progress': { stateless: 'of the order that watches' },
} as const satisfies Record<Message['t'], readonly string[] | Stateless>;

type Told = Extract<(typeof EVENTS_OF)[Message['t']], readonly string[]>[number];

/** What nobody says. */
export const OWN_EVENTS = [
  'dropped',
  'time, with full owners that are live',
  'time, and no other member has the shard',
] as const;

export type ReplicaEvent = Told | (typeof OWN_EVENTS)[number];

export type Reply =
  | CommitResult['kind']
  | PullStatus
  | MessageOf<'token-answer'>['status']
  | 'lacks'
  | 'not-mine'
  | 'converged'
  | 'disowned'
  | 'nothing';

export interface Reaction {
  readonly reply: Reply;
  readonly becomes: Condition;
}

function to(reply: Reply, becomes: Condition): Reaction {
  return { reply, becomes };
}

/** Columns: absent, full, filling, damaged. */
function row(...[absent, full, filling, damaged]: readonly [Reaction, Reaction, Reaction, Reaction]) {
  return { absent, full, filling, damaged };
}

export const STATE_TABLE = {
  mail: row(to('stored', 'full'), to('stored', 'full'), to('filling', 'filling'), to('stored', 'damaged')),
  'mail at or below the floor': row(
    to('stored', 'full'),
    to('stored', 'full'),
    to('filling', 'filling'),
    to('stored', 'damaged'),
  ),
  'mail, and not an owner': row(
    to('not-mine', 'absent'),
    to('stored', 'full'),
    to('filling', 'filling'),
    to('stored', 'damaged'),
  ),
  'an offer of mail that it has': row(
    to('lacks', 'absent'),
    to('stored', 'full'),
    to('filling', 'filling'),
    to('stored', 'damaged'),
  ),
  'an offer of mail that it lacks': row(
    to('lacks', 'absent'),
    to('lacks', 'full'),
    to('filling', 'filling'),
    to('lacks', 'damaged'),
  ),
  // Taken: said by what follows, and in so many words only when that takes a while.
  'token with an equal root': row(
    to('refused', 'filling'),
    to('nothing', 'full'),
    to('refused', 'filling'),
    to('refused', 'damaged'),
  ),
  // A new one is taken on, and finds the floor of its predecessor with its first question.
  'token with a cutoff below the floor': row(
    to('refused', 'filling'),
    to('refused', 'full'),
    to('refused', 'filling'),
    to('refused', 'damaged'),
  ),
  // Nobody but its owners has to have it.
  'token, and not an owner': row(
    to('refused', 'absent'),
    to('nothing', 'full'),
    to('refused', 'filling'),
    to('refused', 'damaged'),
  ),
  'token with a higher floor and an equal root': row(
    to('refused', 'filling'),
    to('nothing', 'full'),
    to('refused', 'filling'),
    to('refused', 'damaged'),
  ),
  'token with a higher floor and other batches': row(
    to('refused', 'filling'),
    to('refused', 'filling'),
    to('refused', 'filling'),
    to('refused', 'damaged'),
  ),
  'token with a higher floor and other content': row(
    to('refused', 'filling'),
    to('refused', 'full'),
    to('refused', 'filling'),
    to('refused', 'damaged'),
  ),
  'comparison with an equal floor': row(
    to('absent', 'absent'),
    to('ok', 'full'),
    to('filling', 'filling'),
    to('ok', 'damaged'),
  ),
  'comparison with a lower floor': row(
    to('absent', 'absent'),
    to('floor', 'full'),
    to('filling', 'filling'),
    to('floor', 'damaged'),
  ),
  'comparison with a higher floor and an equal root': row(
    to('absent', 'absent'),
    to('ok', 'full'),
    to('filling', 'filling'),
    to('ok', 'damaged'),
  ),
  'comparison with a higher floor and other batches': row(
    to('absent', 'absent'),
    to('filling', 'filling'),
    to('filling', 'filling'),
    to('filling', 'filling'),
  ),
  'comparison with a higher floor and other content': row(
    to('absent', 'absent'),
    to('damaged', 'full'),
    to('filling', 'filling'),
    to('damaged', 'damaged'),
  ),
  'proof with an equal root': row(
    to('nothing', 'absent'),
    to('nothing', 'full'),
    to('nothing', 'filling'),
    to('nothing', 'damaged'),
  ),
  'proof with other batches': row(
    to('nothing', 'absent'),
    to('nothing', 'filling'),
    to('nothing', 'filling'),
    to('nothing', 'damaged'),
  ),
  // LCT is what the live ones have; who differs shows in the next pass.
  'live proof with an equal root': row(
    to('nothing', 'absent'),
    to('nothing', 'full'),
    to('nothing', 'filling'),
    to('nothing', 'damaged'),
  ),
  'live proof with other batches': row(
    to('nothing', 'absent'),
    to('nothing', 'full'),
    to('nothing', 'filling'),
    to('nothing', 'damaged'),
  ),
  'a question up to where it is proven': row(
    to('nothing', 'absent'),
    to('converged', 'full'),
    to('converged', 'filling'),
    to('converged', 'damaged'),
  ),
  identities: row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('ok', 'damaged')),
  fetch: row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('ok', 'damaged')),
  'fill-open': row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('damaged', 'damaged')),
  'fill-open with a higher floor and an equal root': row(
    to('absent', 'absent'),
    to('ok', 'full'),
    to('filling', 'filling'),
    to('damaged', 'damaged'),
  ),
  // It can give nothing; what becomes of it is told when the floors of full ones meet.
  'fill-open with a higher floor and other batches': row(
    to('absent', 'absent'),
    to('floor', 'full'),
    to('filling', 'filling'),
    to('damaged', 'damaged'),
  ),
  'fill-page of a snapshot that is gone': row(
    to('gone', 'absent'),
    to('gone', 'full'),
    to('gone', 'filling'),
    to('gone', 'damaged'),
  ),
  'content-windows': row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('ok', 'damaged')),
  'content-windows with a higher floor and other batches': row(
    to('absent', 'absent'),
    to('filling', 'filling'),
    to('filling', 'filling'),
    to('filling', 'filling'),
  ),
  'content-groups': row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('ok', 'damaged')),
  'content-copy': row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('ok', 'damaged')),
  // What comes of it comes later: the batch is asked for, or the replica read again.
  suspect: row(to('nothing', 'absent'), to('nothing', 'full'), to('nothing', 'filling'), to('nothing', 'damaged')),
  // An owner that has nothing of the shard makes it: there it is noted what is lost.
  disown: row(to('disowned', 'full'), to('disowned', 'full'), to('disowned', 'filling'), to('disowned', 'damaged')),
  dropped: row(to('nothing', 'absent'), to('nothing', 'absent'), to('nothing', 'absent'), to('nothing', 'absent')),
  // Copied, and mended.
  'time, with full owners that are live': row(
    to('nothing', 'absent'),
    to('nothing', 'full'),
    to('nothing', 'full'),
    to('nothing', 'full'),
  ),
  // Goes on with what it has, or without what it lacks.
  'time, and no other member has the shard': row(
    to('nothing', 'absent'),
    to('nothing', 'full'),
    to('nothing', 'full'),
    to('nothing', 'full'),
  ),
} satisfies Record<ReplicaEvent, Record<Condition, Reaction>>;
