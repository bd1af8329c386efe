/**
 * What other members have said: their latest statements and the lists of shards they hold.
 *
 * A statement carries the sequence of its sender's shard list; when that is new here the list is asked for, again with
 * every heartbeat until it has come. Older statements and lists than those known are ignored, so repeats and reordering
 * do nothing. Sequences go on rising over restarts because they start from the hybrid clock.
 *
 * A full pass needs a statement together with the very list that it names (rule 12). While many shards are proven a member's list
 * changes with each heartbeat, so the newest statement is without its list for as long as that is on its way. Until then the one before,
 * whose list is here, counts: what it says was closed stays closed, and a pass that is planned with it is one that could have
 * been planned a moment ago.
 */
import type { NodeNumber } from '../shards/version.ts';
import { stampMs } from '../shards/version.ts';
import type { HeldShard, Statement } from './cluster.ts';

interface Said {
  statement: Statement | null;
  /** The newest whose list was here. */
  listed: Statement | null;
  shards: readonly HeldShard[] | null;
  /** Of `shards`; 0: not known. */
  shardsSequence: number;
}

export interface ShardLists {
  readonly heldBy: Readonly<Record<NodeNumber, readonly HeldShard[]>>;
  /** Sequences of the lists in `heldBy`. */
  readonly heldSequence: Readonly<Record<NodeNumber, number>>;
}

export class Statements {
  readonly #said = new Map<NodeNumber, Said>();
  /** Made anew when a list or the members have changed: a snapshot comes with each heartbeat of each member. */
  #lists: (ShardLists & { readonly members: ReadonlySet<NodeNumber> }) | null = null;

  /** True when the sender should be asked for its shard list. Null: an old statement. */
  statement(statement: Statement): { askShards: boolean } | null {
    const said = this.#of(statement.member);
    if (said.statement !== null && statement.sequence <= said.statement.sequence) return null;
    said.statement = statement;
    noteListed(said);
    return { askShards: statement.shardListSequence > said.shardsSequence };
  }

  /** True when it is newer than what was known. */
  shards(member: NodeNumber, sequence: number, shards: readonly HeldShard[]): boolean {
    const said = this.#of(member);
    if (sequence <= said.shardsSequence) return false;
    said.shards = shards;
    said.shardsSequence = sequence;
    noteListed(said);
    this.#lists = null;
    return true;
  }

  /** The next own statement; `shards` null: unchanged. */
  own(
    member: NodeNumber,
    from: Pick<Statement, 'viewHash' | 'closed' | 'open'>,
    shards: readonly HeldShard[] | null,
  ): Statement {
    const said = this.#of(member);
    const fresh = stampMs(from.closed);
    if (shards !== null) {
      said.shards = shards;
      said.shardsSequence = Math.max(said.shardsSequence + 1, fresh);
      this.#lists = null;
    }
    const sequence = Math.max((said.statement?.sequence ?? 0) + 1, fresh);
    said.statement = { member, sequence, ...from, shardListSequence: said.shardsSequence };
    noteListed(said);
    return said.statement;
  }

  /** Of the latest statement; 0: none has been heard. */
  sequenceOf(member: NodeNumber): number {
    return this.#said.get(member)?.statement?.sequence ?? 0;
  }

  shardsOf(member: NodeNumber): { sequence: number; shards: HeldShard[] } | null {
    const said = this.#said.get(member);
    if (said === undefined || said.shards === null) return null;
    return { sequence: said.shardsSequence, shards: [...said.shards] };
  }

  /** Of each member the newest, or the one before while the list that it names is on its way. */
  statements(members: ReadonlySet<NodeNumber>): Statement[] {
    const found: Statement[] = [];
    for (const [member, { statement, listed, shardsSequence }] of this.#said) {
      if (statement === null || !members.has(member)) continue;
      const isUsable = listed?.shardListSequence === shardsSequence && listed.viewHash === statement.viewHash;
      found.push(isUsable ? listed : statement);
    }
    return found;
  }

  /** The same objects until something in them has changed. */
  lists(members: ReadonlySet<NodeNumber>): ShardLists {
    if (this.#lists?.members === members) {
      const { heldBy, heldSequence } = this.#lists;
      return { heldBy, heldSequence };
    }
    const heldBy: Record<NodeNumber, readonly HeldShard[]> = {};
    const heldSequence: Record<NodeNumber, number> = {};
    for (const [member, { shards, shardsSequence }] of this.#said) {
      if (shards === null || !members.has(member)) continue;
      heldBy[member] = shards;
      heldSequence[member] = shardsSequence;
    }
    this.#lists = { members, heldBy, heldSequence };
    return { heldBy, heldSequence };
  }

  forget(member: NodeNumber): void {
    this.#said.delete(member);
    this.#lists = null;
  }

  #of(member: NodeNumber): Said {
    let said = this.#said.get(member);
    if (said === undefined) {
      said = { statement: null, listed: null, shards: null, shardsSequence: 0 };
      this.#said.set(member, said);
    }
    return said;
  }
}

function noteListed(said: Said): void {
  if (said.statement?.shardListSequence === said.shardsSequence) said.listed = said.statement;
}
