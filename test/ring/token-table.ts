/**
 * What a node does with a token that it has taken on, by the stage it is at: total, so that a new stage or event does not
 * compile before somebody has said what it means. token-table.test.ts holds the code against it; repair/PROTOCOL.md has
 * the same in words.
 */
import type { Held } from '../../repair/ring-held.ts';

export type TokenStage = Exclude<Held['stage'], 'ended'>;

/**
 * `refused`: its predecessor goes on without this node, and names it. `failed`: the pass is over. `left out`: its successor
 * is. `forgotten`: others see to it. `stays`: it goes on waiting.
 */
export type TokenReaction = 'refused' | 'failed' | 'left out' | 'forgotten' | 'stays';

export const TOKEN_EVENTS = [
  'what was fetched is refused by the disk here',
  'no sync here for longer than a hop may take',
  'repair is paused here',
  'the replica is no longer full when what is waited for comes',
  'the source does not answer',
  'the source cannot read what it is asked for',
  'an identity list here cannot be read',
  'the successor says no',
  'no sign of life from the successor',
  'a later hop, or the proof, is heard of',
  'it is not done after the longest time of a pass',
] as const;

export type TokenEvent = (typeof TOKEN_EVENTS)[number];

function row(pulling: TokenReaction, syncing: TokenReaction, handing: TokenReaction) {
  return { pulling, syncing, handing };
}

export const TOKEN_TABLE = {
  'what was fetched is refused by the disk here': row('refused', 'stays', 'stays'),
  // Whoever hands it on has stored and synced all of it.
  'no sync here for longer than a hop may take': row('refused', 'refused', 'stays'),
  'repair is paused here': row('refused', 'refused', 'stays'),
  // Its predecessor may have forgotten it by then.
  'the replica is no longer full when what is waited for comes': row('refused', 'refused', 'failed'),
  // What was gathered is there.
  'the source does not answer': row('failed', 'stays', 'stays'),
  'the source cannot read what it is asked for': row('failed', 'stays', 'stays'),
  // What was gathered here, or synced, is told by the root.
  'an identity list here cannot be read': row('refused', 'failed', 'failed'),
  'the successor says no': row('stays', 'stays', 'left out'),
  'no sign of life from the successor': row('stays', 'stays', 'left out'),
  'a later hop, or the proof, is heard of': row('stays', 'stays', 'forgotten'),
  'it is not done after the longest time of a pass': row('failed', 'failed', 'failed'),
} satisfies Record<TokenEvent, Record<TokenStage, TokenReaction>>;
