/** Tokens while they are at this node: of one pass there may be two, since its token comes by twice. */
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { Token } from './replica-messages.ts';
import type { Replica } from './replica-table.ts';
import type { Pull } from './ring-pull.ts';

/** A token at this node. */
export interface Held {
  token: Token;
  readonly id: ShardId;
  readonly from: NodeNumber | null;
  /** Hop number under which the token came: the predecessor knows it by that. */
  readonly cameAs: number;
  stage: 'pulling' | 'syncing' | 'handing' | 'ended';
  pull: Pull | null;
  next: NodeNumber | null;
  nextHeardMs: number;
  nextSentMs: number;
  nextWorks: boolean;
  /** The predecessor knows that the successor works on it. */
  handed: boolean;
  /** When it was last said that it is here; at first when it came. */
  saidMs: number;
  hasSaid: boolean;
  readonly sinceMs: number;
  /** When a pass of the replica had begun before this one. */
  readonly begunMs: number;
}

export function heldToken(token: Token, from: NodeNumber | null, { id, notes }: Replica, nowMs: number): Held {
  return {
    token,
    id,
    from,
    cameAs: token.hop,
    stage: 'pulling',
    pull: null,
    next: null,
    nextHeardMs: 0,
    nextSentMs: 0,
    nextWorks: false,
    handed: false,
    saidMs: nowMs,
    hasSaid: false,
    sinceMs: nowMs,
    begunMs: notes.begunMs,
  };
}

export class HeldTokens {
  private readonly byPass = new Map<string, Held[]>();

  add(held: Held): void {
    const { pass } = held.token;
    this.byPass.set(pass, [...this.of(pass), held]);
  }

  remove(held: Held): void {
    const { pass } = held.token;
    const left = this.of(pass).filter((each) => each !== held);
    if (left.length === 0) this.byPass.delete(pass);
    else this.byPass.set(pass, left);
  }

  of(pass: string): readonly Held[] {
    return this.byPass.get(pass) ?? [];
  }

  /** A token of another pass pulls into the shard's replica, or waits for a sync of it. */
  isWorkingOn(id: ShardId, except: string): boolean {
    const isAtWork = ({ stage }: Held) => stage === 'pulling' || stage === 'syncing';
    return this.all().some((held) => held.id === id && held.token.pass !== except && isAtWork(held));
  }

  /** Shards of which a token is here. */
  underWay(): Set<ShardId> {
    return new Set(this.all().map(({ id }) => id));
  }

  all(): Held[] {
    return [...this.byPass.values()].flat();
  }
}
