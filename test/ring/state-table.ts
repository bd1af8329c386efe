/**
 * What a replica answers to each event, and what it is afterwards, in each of its states: total, so that a new state or event
 * does not compile before somebody has said what it means. state-table.test.ts holds the code against it, cell by cell;
 * repair/PROTOCOL.md has the same in words.
 */

import type { CommitResult } from '../../repair/commit.ts';
import type { ReplicaState } from '../../repair/records.ts';
import type { MessageOf, PullStatus } from '../../repair/replica-messages.ts';

export type Condition = Exclude<ReplicaState, 'unknown'>;

/** Messages about a replica whose meaning depends on its state; of an owner. */
export const REPLICA_EVENTS = [
  'mail',
  'mail at or below the floor',
  'token with an equal root',
  'token with a cutoff below the floor',
  'token with a higher floor and an equal root',
  'token with a higher floor and other batches',
  'token with a higher floor and other content',
  'comparison with an equal floor',
  'comparison with a lower floor',
  'comparison with a higher floor and an equal root',
  'comparison with a higher floor and other batches',
  'comparison with a higher floor and other content',
  'proof with an equal root',
  'proof with other batches',
  'identities',
  'fetch',
  'fill-open',
  'fill-page of a snapshot that is gone',
] as const;
export type ReplicaEvent = (typeof REPLICA_EVENTS)[number];

export type Reply = CommitResult['kind'] | PullStatus | MessageOf<'token-answer'>['status'] | 'nothing';

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
  // Taken: said by what follows, and in so many words only when that takes a while.
  'token with an equal root': row(
    to('refused', 'filling'),
    to('nothing', 'full'),
    to('refused', 'filling'),
    to('refused', 'damaged'),
  ),
  // A new one finds the floor of its predecessor with its first question.
  'token with a cutoff below the floor': row(
    to('handed', 'filling'),
    to('refused', 'full'),
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
  identities: row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('ok', 'damaged')),
  fetch: row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('ok', 'damaged')),
  'fill-open': row(to('absent', 'absent'), to('ok', 'full'), to('filling', 'filling'), to('damaged', 'damaged')),
  'fill-page of a snapshot that is gone': row(
    to('gone', 'absent'),
    to('gone', 'full'),
    to('gone', 'filling'),
    to('gone', 'damaged'),
  ),
} satisfies Record<ReplicaEvent, Record<Condition, Reaction>>;
