/**
 * Pulling: getting from one member everything up to a cutoff that it has and this replica lacks.
 *
 * Epoch sums first; of the epochs that differ the identities; of those that are missing the batches, which go through
 * the log like any others. Every step is an idempotent request, every page is bounded, and nothing is kept at the
 * source. What another pull of this worker has asked for is waited for (batches-asked.ts). Equal versions with unequal
 * content are damage, reported and not overwritten.
 */
import { BatchError } from '../shards/batch-codec.ts';
import { attempt } from '../shards/errors.ts';
import { SeriesKeys } from '../shards/series-keys.ts';
import { shardKeyToJson } from '../shards/shard-key.ts';
import { epochOf, type NodeNumber, type Stamp, type Version } from '../shards/version.ts';
import type { AskedPage, BatchesAsked } from './batches-asked.ts';
import type { CommitQueue } from './commit.ts';
import type { Unequal } from './conflicts.ts';
import { examine } from './examining.ts';
import { Explanation } from './explanation.ts';
import { rootFromJson, rootsEqual, rootToJson } from './ledger.ts';
import { decodeIdentities, type Identity, LedgerError } from './ledger-codec.ts';
import { databaseOf } from './mail-receiver.ts';
import type { FloorClaim, MessageOf, Received } from './replica-messages.ts';
import { claimOf, type Replica } from './replica-table.ts';
import type { Requests } from './requests.ts';
import { cannotRead, NO_PROGRESS } from './ring-fitness.ts';
import type { Surroundings } from './surroundings.ts';

export interface Pulled {
  /** `refused`: this node's own store did not take what came; the source is well. */
  readonly outcome: 'ok' | 'failed' | 'refused' | 'damage';
  readonly reason: string;
  /** The source is not proven with all owners since it was made; null: it gave no comparison. */
  readonly isNewcomer: boolean | null;
  readonly epochs: number;
  readonly batches: number;
  readonly rows: number;
  readonly bytes: number;
  /** Of `damage`: a batch that the source lists with another content. */
  readonly unequal: Unequal | null;
  /** What became of the values that came. */
  readonly found: Explanation;
}

export interface PullOptions {
  readonly replica: Replica;
  readonly source: NodeNumber;
  readonly through: Stamp;
  /** What is fetched is of what repair may take: as a pass, or for a query that waits. */
  readonly kind: 'pulls' | 'reads';
  readonly commit: CommitQueue;
  readonly requests: Requests;
  readonly asked: BatchesAsked;
  readonly around: Surroundings;
  /** The source's floor is above ours: adopt it or turn filling. False: this replica cannot go on. */
  readonly meet: (claim: FloorClaim) => boolean;
  readonly moved: (batches: number, rows: number, bytes: number) => void;
  /** Something differs: `go` begins to fetch it. Absent: at once. */
  readonly differs?: (go: () => void) => void;
  readonly done: (result: Pulled) => void;
}

/** What is refused here whatever this node's store is like; all other refusals are the store's. */
const OF_THE_SOURCE: ReadonlySet<string> = new Set(['corrupt-batch', 'unequal-content']);

export class Pull {
  private epochs: number[] = [];
  private batches = 0;
  private rows = 0;
  private bytes = 0;
  private damaged: Unequal | null = null;
  private readonly found = new Explanation();
  private isNewcomer: boolean | null = null;
  private restarts = 0;
  private ended = false;
  /** How it ended, until that is told. */
  private untold: Pulled | null = null;
  private isReading = false;
  private readonly o: PullOptions;

  constructor(options: PullOptions) {
    this.o = options;
  }

  start(): void {
    this.epochs = [];
    this.compare(0);
  }

  /** What it has done, for whoever tells of it; null: it had ended. */
  stop(): Pulled | null {
    if (this.ended) return null;
    this.ended = true;
    return this.result('failed', 'stopped');
  }

  private compare(from: number): void {
    const { replica, through } = this.o;
    const { ledger } = replica;
    const after = ledger.floor;
    const question = {
      t: 'compare' as const,
      key: shardKeyToJson(replica.key),
      through,
      from,
      preview: false,
      ...claimOf(ledger),
    };
    this.ask(question, (answer) => {
      if (answer === null) return this.fail('no answer to a comparison');
      const message = answer.message as MessageOf<'compare-answer'>;
      if (message.status === 'floor' || ledger.floor !== after) {
        if (this.restarts++ > 3 || !this.o.meet(message)) return this.fail('its floor is above this one');
        return this.start();
      }
      if (message.status !== 'ok') return this.fail(`source is ${message.status}`);
      this.isNewcomer = message.newcomer === true;
      // Equal as a whole: no more pages of sums, however many epochs lie above the floor.
      const isEqual =
        message.root !== null &&
        through >= ledger.floor &&
        rootsEqual(ledger.root(through), rootFromJson(message.root));
      if (isEqual) return this.finish();
      this.noteDiffering(message, after, from);
      if (message.next !== null && message.next <= from) return this.fail(NO_PROGRESS);
      if (message.next !== null) this.compare(message.next);
      else if (this.epochs.length === 0) this.finish();
      else this.differs(() => this.identities(0, ''));
    });
  }

  /** What has to be read here for the answer, and cannot be, ends the pull. */
  private ask(question: Parameters<Requests['ask']>[2], answered: (answer: Received | null) => void): void {
    const { requests, source, replica } = this.o;
    requests.ask(source, replica.key.number, question, (answer) => {
      if (!this.ended) this.reading(() => answered(answer));
    });
  }

  private reading(work: () => void): void {
    const isWithin = this.isReading;
    this.isReading = true;
    try {
      attempt(work, (error) => this.fail(cannotRead(error), 'refused'));
    } finally {
      this.isReading = isWithin;
    }
    this.tell();
  }

  private differs(go: () => void): void {
    if (this.o.differs === undefined) go();
    else
      this.o.differs(() => {
        if (!this.ended) go();
      });
  }

  private noteDiffering(message: MessageOf<'compare-answer'>, after: Stamp, from: number): void {
    const { ledger } = this.o.replica;
    const mine = new Map<number, string>();
    const own = ledger.epochSums(after, this.o.through, from, Number.MAX_SAFE_INTEGER).sums;
    for (const sum of own) mine.set(sum.epoch, rootToJson(sum).join());
    for (const [epoch, count, identity, content] of message.sums) {
      if (mine.get(epoch) !== [count, identity, content].join()) this.epochs.push(epoch);
    }
  }

  /** Pages of identities: epochs from index `at` of the list on, versions above `above`. */
  private identities(at: number, above: Version | ''): void {
    const { replica, through, around } = this.o;
    const epochs = this.epochs.slice(at, at + around.limits.epochsPerPage);
    const after = replica.ledger.floor;
    const question = { t: 'identities' as const, key: shardKeyToJson(replica.key), after, through, epochs, above };
    this.ask(question, (answer) => {
      if (answer === null) return this.fail('no answer to a question for identities');
      const message = answer.message as MessageOf<'identities-answer'>;
      if (message.status !== 'ok') return this.fail(`source is ${message.status}`);
      let listed: Identity[];
      try {
        listed = decodeIdentities(answer.attachments[0] ?? new Uint8Array(0));
      } catch (error) {
        if (error instanceof LedgerError) return this.fail(error.message);
        throw error;
      }
      const missing: Identity[] = [];
      for (const identity of listed) {
        if (!replica.ledger.has(identity.version)) missing.push(identity);
        else {
          const content = replica.ledger.contentOf(identity.version);
          if (content !== null && content !== identity.content)
            this.damaged ??= { version: identity.version, theirs: identity.content };
        }
      }
      const last = listed.at(-1);
      const next = at + epochs.length;
      let then = () => this.finish();
      if (message.more && (last?.version ?? '') <= above) return this.fail(NO_PROGRESS);
      if (message.more && last !== undefined) then = () => this.identities(at, last.version);
      else if (next < this.epochs.length) then = () => this.identities(next, '');
      this.fetch(missing, then);
    });
  }

  private lacking(some: readonly Identity[]): Identity[] {
    const { ledger } = this.o.replica;
    let lacking: Identity[] = [];
    this.reading(() => {
      lacking = some.filter(({ version }) => !ledger.has(version));
    });
    return lacking;
  }

  private fetch(missing: readonly Identity[], then: () => void): void {
    const { replica, source, requests, around, asked } = this.o;
    if (this.ended) return;
    const wanted = this.lacking(missing);
    if (this.ended) return;
    if (wanted.length === 0) {
      then();
      return;
    }
    if (!asked.areSomeFree(replica.id, wanted)) {
      asked.whenNext(replica.id, () => this.fetch(wanted, then));
      return;
    }
    const { budget, limits } = around;
    budget.whenOpen(this.o.kind, limits.fetchBytesMax, () => {
      // While the store here takes nothing, one is asked for to see whether it does again.
      const most = this.o.commit.isRefusing ? 1 : limits.fetchBatchesMax;
      const lacking = this.lacking(wanted);
      const page = this.ended ? null : asked.take(replica.id, lacking, most);
      if (page === null) {
        budget.settle(limits.fetchBytesMax, 0);
        this.fetch(wanted, then);
        return;
      }
      const versions = page.identities.map(({ version }) => version);
      const question = { t: 'fetch' as const, key: shardKeyToJson(replica.key), versions };
      requests.ask(source, replica.key.number, question, (answer) => {
        const bytes = answer === null ? 0 : answer.attachments.reduce((sum, part) => sum + part.byteLength, 0);
        budget.settle(limits.fetchBytesMax, bytes);
        const reason = failureOf(answer, versions);
        if (reason === null) {
          // Also when this pull is over: what has come need not come again.
          asked.come(page);
          this.store(page, answer!, () => this.fetch(wanted, then));
          return;
        }
        asked.end(page);
        this.fail(reason);
      });
    });
  }

  private store(page: AskedPage, answer: Received, then: () => void): void {
    const { replica, commit, around, asked } = this.o;
    const { versions } = answer.message as MessageOf<'fetch-answer'>;
    const expected = new Map(page.identities.map((identity) => [identity.version, identity]));
    const durability =
      around.snapshot === null ? 'fsync' : (databaseOf(around.snapshot, replica.key)?.durability ?? 'fsync');
    const came: Identity[] = [];
    let open = versions.length;
    let failure: string | null = null;
    let outcome: 'failed' | 'refused' = 'failed';
    const ready = (why: string | null, ofWhat: typeof outcome = 'failed') => {
      if (why !== null && failure === null) [failure, outcome] = [why, ofWhat];
      if (--open > 0) return;
      if (!this.ended && commit.holds(replica)) examine(this.found, replica, came, around);
      asked.end(page);
      if (failure === null) then();
      else this.fail(failure, outcome);
    };
    for (let i = 0; i < versions.length; i++) {
      const version = versions[i]!;
      const [frame, keyBytes] = answer.attachments.slice(2 * i, 2 * i + 2);
      const identity = expected.get(version);
      if (frame === undefined || keyBytes === undefined || identity === undefined) {
        ready(`answer with a batch that was not asked for: ${version}`);
        continue;
      }
      try {
        const keys = SeriesKeys.read(keyBytes);
        let counted = false;
        commit.offer({
          id: replica.id,
          key: replica.key,
          version,
          frame,
          head: null,
          keys,
          durability,
          content: identity.content,
          isRepair: true,
          done: (result) => {
            if (counted) return;
            counted = true;
            if (result.kind !== 'stored' && result.kind !== 'applied') {
              if (result.kind === 'refused' && result.code === 'unequal-content')
                this.damaged ??= { version, theirs: identity.content };
              return result.kind === 'refused'
                ? ready(`${result.code}: ${result.reason}`, OF_THE_SOURCE.has(result.code) ? 'failed' : 'refused')
                : ready(result.kind, result.kind === 'filling' ? 'refused' : 'failed');
            }
            this.batches++;
            this.rows += identity.rows;
            this.bytes += frame.byteLength;
            came.push(identity);
            this.o.moved(1, identity.rows, frame.byteLength);
            ready(null);
          },
        });
      } catch (error) {
        if (!(error instanceof BatchError)) throw error;
        ready(error.message);
      }
    }
    commit.pump();
  }

  private fail(reason: string, outcome: 'failed' | 'refused' = 'failed'): void {
    this.end(this.damaged === null ? outcome : 'damage', reason);
  }

  private finish(): void {
    const damage = this.damaged;
    if (damage === null) this.end('ok', '');
    else
      this.end(
        'damage',
        `batch ${damage.version} has unequal content here and at the source (epoch ${epochOf(damage.version)})`,
      );
  }

  private end(outcome: Pulled['outcome'], reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.untold = this.result(outcome, reason);
    this.tell();
  }

  /** After what was read here: whoever goes on then may fail on its own account. */
  private tell(): void {
    const { untold } = this;
    if (untold === null || this.isReading) return;
    this.untold = null;
    this.o.done(untold);
  }

  private result(outcome: Pulled['outcome'], reason: string): Pulled {
    const { isNewcomer, batches, rows, bytes, damaged: unequal, found } = this;
    return { outcome, reason, isNewcomer, epochs: this.epochs.length, batches, rows, bytes, unequal, found };
  }
}

function failureOf(answer: Received | null, asked: readonly Version[]): string | null {
  if (answer === null) return 'no answer to a question for batches';
  const message = answer.message as MessageOf<'fetch-answer'>;
  if (message.status !== 'ok') return `source is ${message.status}`;
  return message.versions.length === 0 ? `source lists ${asked[0]!} and does not give it` : null;
}
