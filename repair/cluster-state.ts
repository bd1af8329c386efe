/**
 * The registers of the cluster and what follows from them: members, databases, the hash of the view.
 *
 * Derived values are computed anew when a register that they rest on has changed, and are equal on all nodes that have
 * equal registers. Nothing is derived from anything else, so a crash needs no mending beyond the store's own.
 */
import type { NodeNumber, Version } from '../shards/version.ts';
import type { DatabaseDefinition, Member } from './cluster.ts';
import { type Change, databasesOf, droppedThroughOf } from './databases.ts';
import { memberKey, membersOf, standingOf, viewHashOf } from './members.ts';
import { MembershipError } from './membership-error.ts';
import type { MembershipLimits } from './membership-limits.ts';
import { Metadata, type Register, type RegisterStore } from './metadata.ts';

/** What members, databases and the view follow from. */
const DERIVED = /^(member|loss|database|policy|dropped|deletes)\//;
/** Registers that only functions of their own may write. */
const RESERVED = /^(member|loss|database|policy|dropped|deletes|user|admin|grant|dropped-user)\//;
const KEY_LENGTH_MAX = 1_024;

export class ClusterState {
  readonly metadata: Metadata;
  readonly #limits: MembershipLimits;
  /** As their registers say. */
  members: readonly Member[] = [];
  /** The same, where nobody stays as if none had been told to leave. */
  standing: readonly Member[] = [];
  databases: readonly DatabaseDefinition[] = [];
  droppedThrough: Readonly<Record<string, number>> = {};
  viewHash = '';
  /** Those that are not removed. */
  present: ReadonlySet<NodeNumber> = new Set();
  #byNumber: ReadonlyMap<NodeNumber, Member> = new Map();

  constructor(store: RegisterStore, limits: MembershipLimits) {
    this.metadata = new Metadata(store);
    this.#limits = limits;
    this.#derive();
  }

  clear(): void {
    this.metadata.clear();
    this.#derive();
  }

  member(number: NodeNumber): Member | null {
    return this.#byNumber.get(number) ?? null;
  }

  ownRegisters(number: NodeNumber): Register[] {
    const own = this.metadata.get(memberKey(number));
    return own === null ? [] : [own];
  }

  /** What a joiner must know to begin with; the rest comes by push-pull. */
  firstRegisters(): Register[] {
    let bytes = 0;
    return this.metadata.all().filter(({ key, value }) => {
      if (!DERIVED.test(key)) return false;
      bytes += key.length + (value?.length ?? 0) + 100;
      return bytes < this.#limits.messageBytesMax / 2;
    });
  }

  /** Throws MembershipError `register-too-large`. */
  registerOf(change: Change, version: Version): Register {
    const value = change.value === undefined ? null : JSON.stringify(change.value);
    const size = value?.length ?? 0;
    if (size > this.#limits.registerBytesMax) {
      throw new MembershipError(
        'register-too-large',
        `${change.key} would have ${size} characters, at most ${this.#limits.registerBytesMax} are allowed`,
      );
    }
    return { key: change.key, rank: change.rank, version, value };
  }

  /** Durable when it returns what was new. Throws MembershipError `too-many-registers`. */
  merge(registers: readonly Register[]): Register[] {
    const { metadata } = this;
    const max = this.#limits.registersMax;
    if (metadata.size + registers.length > max) {
      const size = metadata.size + registers.filter(({ key }) => metadata.get(key) === null).length;
      if (size > max) {
        throw new MembershipError(
          'too-many-registers',
          `the cluster's metadata would have ${size} entries, at most ${max} are allowed`,
        );
      }
    }
    const changed = metadata.merge(registers);
    if (changed.some(({ key }) => DERIVED.test(key))) this.#derive();
    return changed;
  }

  #derive(): void {
    this.members = membersOf(this.metadata);
    this.standing = standingOf(this.members);
    this.#byNumber = new Map(this.members.map((member) => [member.number, member]));
    this.present = new Set(this.members.filter(({ state }) => state !== 'removed').map(({ number }) => number));
    this.databases = databasesOf(this.metadata);
    this.droppedThrough = droppedThroughOf(this.metadata);
    this.viewHash = viewHashOf(this.members, this.databases, this.droppedThrough);
  }
}

/** Throws MembershipError `invalid-name` for keys that are not free for everybody's use. */
export function checkFreeKey(key: string): void {
  if (key === '' || key.length > KEY_LENGTH_MAX || RESERVED.test(key)) {
    throw new MembershipError('invalid-name', `a register may not be called ${JSON.stringify(key.slice(0, 100))}`);
  }
}
