/**
 * How a node with a fresh data directory finds its cluster, and how a member that hears nobody looks for the others.
 *
 * Rounds of probes to addresses, with backoff and jitter. A fresh node
 *   - joins through the first *established* node that answers;
 *   - founds a cluster only if every address of the closure (the ones it was told, and the ones that the fresh nodes which
 *     answered were told) has answered in this round, all of them fresh, every one of them would find this node by what
 *     they were told, and its own address sorts first among them.
 *     The closure and the whole round matter: with partial answers two nodes could each take themselves for the first. So
 *     does that all would find it: whom nobody names, or only who is not asked by the rest, is not seen by those that look
 *     for the first among themselves.
 * Aliases of one node are known by its number, so only addresses that nodes say of themselves are compared. An answer with
 * that number that comes from another process does not get here (twins.ts).
 *
 * A member probes while it hears nobody: the answer holds the members' registers, so that nodes which all came back on
 * other ports find each other, a removed member learns that it was removed, and a wrong `--join` shows as another cluster.
 */
import type { NodeNumber } from '../shards/version.ts';
import type { MembershipLimits } from './membership-limits.ts';
import type { Register } from './metadata.ts';
import type { Incarnation, NodeMessage } from './node-messages.ts';

type Of<K extends NodeMessage['kind']> = Extract<NodeMessage, { kind: K }>;

/** What joining needs of the NodeCore. */
export interface JoiningHost {
  readonly number: NodeNumber;
  readonly name: string;
  readonly address: string;
  readonly incarnation: Incarnation;
  clusterId(): string | null;
  /** The own member register, for the others. */
  ownRegisters(): Register[];
  /** Addresses of members known besides those of `--join`. */
  memberAddresses(): string[];
  call(address: string, message: NodeMessage): void;
  found(nowMs: number): void;
  refuse(reason: string): void;
  /** A member says that this number was removed, and it belongs to no cluster. */
  wasRemoved(): void;
  random(): number;
}

export class Joining {
  readonly #host: JoiningHost;
  readonly #limits: MembershipLimits;
  readonly #told: string[];
  #answers = new Map<string, Of<'presence'>>();
  #asked = new Set<string>();
  /** Own aliases: addresses at which this node answered itself. */
  readonly #own = new Set<string>();
  #nextMs = 0;
  #backoffMs: number;
  /** More addresses were named than are asked: nobody can tell whether this node is the first. */
  #isTooMany = false;
  readonly #wasToldTooMany: boolean;
  #sponsor: string | null = null;
  #claimSinceMs: number | null = null;
  /** Why this node is not a member yet. */
  problem: string;

  constructor(host: JoiningHost, limits: MembershipLimits, join: readonly string[]) {
    this.#host = host;
    this.#limits = limits;
    this.#own.add(normalAddress(host.address));
    const told = [...new Set(join.map(normalAddress))].filter((address) => !this.#own.has(address));
    this.#told = told.slice(0, limits.joinAddressesMax);
    this.#wasToldTooMany = told.length > limits.joinAddressesMax;
    this.#backoffMs = limits.joinBackoffMinMs;
    this.problem = `asking ${this.#told.join(', ')}`;
  }

  get told(): readonly string[] {
    return this.#told;
  }

  /** Starts a round when it is time; nothing to ask: nothing happens. */
  tick(nowMs: number): void {
    if (nowMs < this.#nextMs && this.#nextMs - nowMs <= 2 * this.#limits.joinBackoffMaxMs) return;
    this.#nextMs = nowMs + this.#backoffMs * (0.5 + this.#host.random());
    this.#backoffMs = Math.min(this.#backoffMs * 2, this.#limits.joinBackoffMaxMs);
    const silent = [...this.#asked].filter((address) => !this.#answers.has(address));
    if (silent.length > 0 && this.#sponsor === null) this.problem = `no answer from ${silent.join(', ')}`;
    this.#answers = new Map();
    this.#asked = new Set();
    this.#isTooMany = this.#wasToldTooMany;
    this.#sponsor = null;
    const known = this.#host.clusterId() === null ? [] : this.#host.memberAddresses();
    for (const address of [...this.#told, ...known]) this.#ask(address);
  }

  /** The next probing starts soon again, and carefully: something was heard in between. */
  rest(): void {
    this.#backoffMs = this.#limits.joinBackoffMinMs;
  }

  presence(address: string, message: Of<'presence'>, nowMs: number): void {
    const at = normalAddress(address);
    if (message.number === this.#host.number) {
      this.#own.add(at);
      this.#asked.delete(at);
      if (this.#host.clusterId() === null) this.#foundIfFirst(nowMs);
      return;
    }
    this.#answers.set(at, message);
    const clusterId = this.#host.clusterId();
    if (clusterId !== null) {
      // Of a former member's address, or a former one of this node, nobody said that its cluster is there.
      if (message.clusterId !== null && message.clusterId !== clusterId && this.#told.includes(at)) {
        this.#host.refuse(
          `node "${message.name}" at ${at} belongs to cluster ${message.clusterId}, but the data directory of this node "${this.#host.name}" belongs to cluster ${clusterId}: correct --join, or start with an empty data directory to join that cluster`,
        );
      }
      return;
    }
    if (message.clusterId !== null) {
      if (this.#sponsor !== null) return;
      this.#sponsor = at;
      const { number, name } = this.#host;
      this.#host.call(at, { kind: 'join', number, name, address: this.#host.address });
      return;
    }
    for (const other of message.join) this.#ask(normalAddress(other));
    this.#foundIfFirst(nowMs);
  }

  refused(address: string, message: Of<'refuse'>, nowMs: number): void {
    if (this.#host.clusterId() !== null) return;
    this.problem = `${address}: ${message.reason}`;
    this.#sponsor = null;
    if (message.code === 'removed') this.#host.wasRemoved();
    if (message.code !== 'name-live') return;
    this.#claimSinceMs ??= nowMs;
    if (nowMs - this.#claimSinceMs >= this.#limits.nameClaimWaitMs) this.#host.refuse(message.reason);
  }

  #ask(address: string): void {
    if (this.#own.has(address) || this.#asked.has(address)) return;
    if (this.#asked.size >= this.#limits.joinAddressesMax) {
      this.#isTooMany = true;
      return;
    }
    this.#asked.add(address);
    this.probe(address);
  }

  probe(address: string): void {
    const { number, name } = this.#host;
    this.#host.call(address, {
      kind: 'probe',
      clusterId: this.#host.clusterId(),
      number,
      name,
      address: this.#host.address,
      registers: this.#host.ownRegisters(),
      incarnation: this.#host.incarnation,
    });
  }

  #foundIfFirst(nowMs: number): void {
    if (this.#isTooMany) {
      this.problem = `fresh nodes name more than ${this.#limits.joinAddressesMax} addresses to join: name a few that are the same for all`;
      return;
    }
    for (const address of this.#asked) if (!this.#answers.has(address)) return;
    const fresh = [...this.#answers.values()];
    if (fresh.some((answer) => answer.clusterId !== null)) return;
    const blind = this.#whoWouldNotFindThis();
    if (blind !== null) {
      this.problem = `waiting for a cluster: "${blind.name}" at ${blind.address} was not told of this node, nor of any that was`;
      return;
    }
    const own = sortKey(this.#host.address, this.#host.number);
    const first = fresh.find((answer) => sortKey(answer.address, answer.number) < own);
    if (first === undefined) this.#host.found(nowMs);
    else
      this.problem = `waiting for "${first.name}" at ${first.address}, whose address sorts first, to found the cluster`;
  }

  /** Of the fresh nodes that answered: one that does not come to this node by what it and the others were told. */
  #whoWouldNotFindThis(): Of<'presence'> | null {
    const finding = new Set(this.#own);
    let missing = [...this.#answers];
    for (let before = Number.POSITIVE_INFINITY; missing.length < before; ) {
      before = missing.length;
      missing = missing.filter(([at, answer]) => {
        const finds = finding.has(at) || answer.join.some((address) => finding.has(normalAddress(address)));
        if (finds) finding.add(at).add(normalAddress(answer.address));
        return !finds;
      });
    }
    return missing[0]?.[1] ?? null;
  }
}

/** Without a trailing slash; `host:port` alone means http. */
export function normalAddress(address: string): string {
  const text = address.trim().replace(/\/+$/, '');
  return /^[a-z]+:\/\//.test(text) ? text : `http://${text}`;
}

function sortKey(address: string, number: NodeNumber): string {
  return `${normalAddress(address)} ${number}`;
}
