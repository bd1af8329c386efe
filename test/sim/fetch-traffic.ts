/**
 * What passes (and reads that level, and mends) fetch, held against what was missing: of each replica they may fetch at
 * most `OVER` times what it lacked, in bytes of frames and keys.
 *
 * A batch that comes was *missing* when its replica lacked it at the moment at which the question for it left first, and
 * no other answer to the same process has brought it since then. So a batch that two passes ask for at the same time is
 * missing once and fetched twice; one that the outbox brings while it is asked for was missing; and whoever has lost it
 * again (a crash, a copy from elsewhere) misses it anew. A damaged replica lacks whatever it asks for.
 *
 * While there are faults, what the network alone causes is left out of both: the second answer to a question that was
 * repeated, and what was asked for again when the first question had been without an answer for `requestTimeoutMs`, by the time that
 * the process knows: when its disk calls it, that is the time of its last turn. Of questions
 * that left after the faults nothing is left out. Comparisons, identities and tokens are not counted: what they
 * cost is `npm run sim -- --nodes 100`'s to say, and the benchmark's.
 */
import { decodeMessage, type MessageOf, type Received } from '../../repair/replica-messages.ts';
import { type ShardId, shardId, shardKeyFromJson } from '../../shards/shard-key.ts';
import type { NodeNumber, Version } from '../../shards/version.ts';
import { isOfKind, type MessageWatcher } from './network.ts';
import type { Process, SimNode } from './sim-node.ts';
import { lookUp } from './unread-lists.ts';
import { Violation } from './violation.ts';

const OVER = 1.2;

interface Question {
  readonly lacking: ReadonlySet<Version>;
  readonly askedMs: number;
  /** The same by the clock of who asked: when it is set forward, the time-out is over sooner. */
  readonly askedWallMs: number;
  /** Among questions and arrivals: within one millisecond a batch can come, be refused by the disk, and be asked for again. */
  readonly order: number;
  readonly isAmongFaults: boolean;
  isAnswered: boolean;
}

/** How a batch came to a process last. */
interface Arrival {
  readonly order: number;
  readonly question: Question;
}

interface OfProcess {
  readonly questions: Map<number, Question>;
  readonly arrivals: Map<string, Arrival>;
}

interface Tally {
  readonly name: string;
  fetched: number;
  missing: number;
}

export class FetchTraffic implements MessageWatcher {
  private readonly processes = new WeakMap<Process, OfProcess>();
  private readonly tallies = new Map<string, Tally>();
  private readonly awaitedMs: number;
  private order = 0;

  /** A turn comes with each tick, at least. */
  constructor({ requestTimeoutMs, tickMs }: { readonly requestTimeoutMs: number; readonly tickMs: number }) {
    this.awaitedMs = requestTimeoutMs - tickMs;
  }

  get fetched(): number {
    return this.sum(({ fetched }) => fetched);
  }

  get missing(): number {
    return this.sum(({ missing }) => missing);
  }

  /** A message leaves a node. */
  leaves(from: SimNode, _to: NodeNumber, bytes: Uint8Array, nowMs: number, isAmongFaults: boolean): void {
    if (!isOfKind(bytes, 'fetch')) return;
    const { questions } = this.of(from.process!);
    const message = decodeMessage(bytes).message as MessageOf<'fetch'>;
    if (questions.has(message.request)) return;
    const { storage, ledgerOf } = from.process!.open;
    const id = shardId(shardKeyFromJson(message.key));
    const ledger = storage.shards.has(id) ? ledgerOf(id) : null;
    const lacks = (version: Version) =>
      ledger === null || ledger.replica === 'damaged' || !lookUp(() => ledger.has(version));
    const lacking = new Set(message.versions.filter(lacks));
    const asked = { askedMs: nowMs, askedWallMs: from.wallMs, order: this.order++ };
    questions.set(message.request, { lacking, ...asked, isAmongFaults, isAnswered: false });
  }

  /** A message is about to be received. */
  arrives(at: SimNode, bytes: Uint8Array): void {
    if (!isOfKind(bytes, 'fetch-answer')) return;
    const received = decodeMessage(bytes);
    const message = received.message as MessageOf<'fetch-answer'>;
    const { questions, arrivals } = this.of(at.process!);
    const question = questions.get(message.request);
    // Asked by the process before.
    if (question === undefined) return;
    const isRepeated = question.isAnswered;
    question.isAnswered = true;
    if (isRepeated && question.isAmongFaults) return;
    const tally = this.tallyOf(at, message.shard);
    for (const [version, size] of sizesOf(received)) {
      const name = message.shard + version;
      const before = arrivals.get(name);
      const cameSince = before !== undefined && before.order > question.order;
      if (cameSince && this.isOfNetwork(before.question, question)) continue;
      tally.fetched += size;
      if (question.lacking.has(version) && !cameSince) tally.missing += size;
      arrivals.set(name, { order: this.order++, question });
    }
  }

  check(): void {
    for (const { name, fetched, missing } of this.tallies.values()) {
      if (fetched > OVER * missing)
        throw new Violation('fetched-once', `${name} fetched ${fetched} bytes and lacked ${missing}`);
    }
  }

  /** Whoever asked second had waited for the first for as long as one waits. */
  private isOfNetwork(one: Question, other: Question): boolean {
    const [first] = one.askedMs <= other.askedMs ? [one] : [other];
    const ms = Math.max(Math.abs(one.askedMs - other.askedMs), Math.abs(one.askedWallMs - other.askedWallMs));
    return first.isAmongFaults && ms >= this.awaitedMs;
  }

  private of(process: Process): OfProcess {
    let found = this.processes.get(process);
    if (found === undefined) {
      found = { questions: new Map(), arrivals: new Map() };
      this.processes.set(process, found);
    }
    return found;
  }

  private tallyOf({ name, number }: SimNode, id: ShardId): Tally {
    const key = `${number} ${id}`;
    let tally = this.tallies.get(key);
    if (tally === undefined) {
      tally = { name: `${id} on ${name}`, fetched: 0, missing: 0 };
      this.tallies.set(key, tally);
    }
    return tally;
  }

  private sum(of: (tally: Tally) => number): number {
    return [...this.tallies.values()].reduce((sum, tally) => sum + of(tally), 0);
  }
}

/** Bytes of each batch of an answer. */
function sizesOf({ message, attachments }: Received): [Version, number][] {
  const { versions } = message as MessageOf<'fetch-answer'>;
  return versions.map((version, i) => [
    version,
    (attachments[2 * i]?.byteLength ?? 0) + (attachments[2 * i + 1]?.byteLength ?? 0),
  ]);
}
