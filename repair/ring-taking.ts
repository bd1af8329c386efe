/** Whether a token that comes is taken on here. */
import { attempt, StorageError } from '../shards/errors.ts';
import { type ShardKey, shardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { rootFromJson, rootsEqual } from './ledger.ts';
import type { Token } from './replica-messages.ts';
import type { Replica } from './replica-table.ts';
import { cannotRead, diskProblem, PAUSED } from './ring-fitness.ts';
import type { RingOptions } from './ring-options.ts';
import type { Proofs } from './ring-proof.ts';
import { refusalOf } from './ring-token.ts';

export const FLOOR_ABOVE = 'its floor is above the cutoff';

export interface Taken {
  readonly replica: Replica;
  /** It has just what the sender has, up to the cutoff. */
  readonly isEqual: boolean;
}

export interface Taking extends RingOptions {
  readonly proofs: Proofs;
}

/** The replica with which a token is taken on, or why it is not. */
export function takeToken(o: Taking, from: NodeNumber, token: Token, key: ShardKey): Taken | string {
  const { around, replicas, commit, proofs } = o;
  if (around.budget.rates.paused) return PAUSED;
  const reason = refusalOf(token, key, around, replicas.get(shardId(key)) !== null);
  if (reason !== null) return reason;
  let replica: Replica;
  try {
    replica = replicas.ensure(key);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return error.code;
  }
  const { ledger } = replica;
  const problem = diskProblem(replica, commit, around);
  if (problem !== null) return problem;
  if (ledger.replica !== 'full') return ledger.replica;
  if (token.through < ledger.floor) return FLOOR_ABOVE;
  return attempt(() => {
    if (!proofs.meet(replica, token, from)) return ledger.replica === 'full' ? 'damaged' : 'filling';
    return { replica, isEqual: rootsEqual(ledger.root(token.through), rootFromJson(token.root)) };
  }, cannotRead);
}
