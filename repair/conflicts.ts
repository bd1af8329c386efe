/**
 * Equal batches with unequal content (protocol rule 4): which of two replicas is wrong?
 *
 * Both know what their ledgers list; the batch itself is fetched and summed on both sides. A side whose stored rows are not
 * what its ledger says is damaged, and mends itself; where the rows are equal, the ledger of one was wrong and is put
 * right. When both are true to themselves, the batch was written twice under one version: the greater bytes win, with an
 * alarm (`conflicts_resolved`), and the other side is told so that it does the same. Of what is settled no single batch
 * can be looked at: then both replicas read themselves again.
 */
import { BatchError } from '../shards/batch-codec.ts';
import { type Sum128, sumToHex } from '../shards/checksum.ts';
import { attempt, StorageError } from '../shards/errors.ts';
import { holdFrame } from '../shards/held-frame.ts';
import { SeriesKeys } from '../shards/series-keys.ts';
import { shardId, shardKeyFromJson, shardKeyToJson } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import { repairRecord, stepOf } from './repair-records.ts';
import type { MessageOf } from './replica-messages.ts';
import { markDamaged, type Replica, type ReplicaTable, rebuildReadable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import type { Scrubs } from './scrubs.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

/** What another member lists of a batch that this one lists otherwise. */
export interface Unequal {
  readonly version: Version;
  readonly theirs: Sum128;
}

/** A shard that was read again within this time is not read again because somebody has doubts. */
const READ_AGAIN_MS = 600_000;

export class Conflicts {
  private readonly open = new Set<string>();
  private readonly o: { replicas: ReplicaTable; requests: Requests; scrubs: Scrubs; around: Surroundings };

  constructor(options: Conflicts['o']) {
    this.o = options;
  }

  /** A pass has found it. `unequal` null: no single batch is known. */
  found(replica: Replica, other: NodeNumber | null, unequal: Unequal | null): void {
    if (unequal !== null && other !== null) {
      this.readingOf(() => this.compare(replica, other, unequal));
      return;
    }
    this.readAgain(replica);
    if (other !== null) this.tell(replica, other, null);
  }

  /** What cannot be read now is found again by the next pass. */
  private readingOf(work: () => void): void {
    attempt(work, () => this.o.around.count('conflicts_put_off'));
  }

  /** Another member has. */
  told(from: NodeNumber, m: MessageOf<'suspect'>): void {
    const replica = this.o.replicas.get(shardId(shardKeyFromJson(m.key)));
    if (replica === null || replica.ledger.replica !== 'full') return;
    if (m.version === null || m.content === null) this.readAgain(replica);
    else {
      const unequal = { version: m.version, theirs: BigInt(`0x${m.content}`) };
      this.readingOf(() => this.compare(replica, from, unequal));
    }
  }

  private readAgain(replica: Replica): void {
    const { scrubs, around } = this.o;
    const agoMs = around.wallMs - replica.ledger.scrubbedMs;
    // Of a clock that was ahead: nothing is known of when that was.
    if (agoMs > READ_AGAIN_MS || agoMs < 0) scrubs.startOne(replica.id, null);
  }

  private tell(replica: Replica, other: NodeNumber, version: Version | null): void {
    const listed = version === null ? null : replica.ledger.contentOf(version);
    const content = listed === null ? null : sumToHex(listed);
    this.o.around.send(other, replica.key.number, { t: 'suspect', key: shardKeyToJson(replica.key), version, content });
  }

  private compare(replica: Replica, other: NodeNumber, unequal: Unequal): void {
    const { version, theirs } = unequal;
    const listed = replica.ledger.contentOf(version);
    const name = `${replica.id} ${version}`;
    if (listed === null || listed === theirs || this.open.has(name)) return;
    this.open.add(name);
    const question = { t: 'fetch' as const, key: shardKeyToJson(replica.key), versions: [version] };
    this.o.requests.ask(other, replica.key.number, question, (answer) => {
      this.open.delete(name);
      const message = answer?.message as MessageOf<'fetch-answer'> | undefined;
      const [frame, keys] = answer?.attachments ?? [];
      if (message?.status !== 'ok' || message.versions[0] !== version || frame === undefined || keys === undefined)
        return;
      const now = this.o.replicas.get(replica.id);
      if (now === null || now.ledger.replica !== 'full') return;
      try {
        if (now.ledger.contentOf(version) !== listed) return;
        this.judge(now, other, unequal, frame, keys);
      } catch (error) {
        if (!(error instanceof StorageError || error instanceof BatchError)) throw error;
        this.o.around.count('conflicts_put_off');
      }
    });
  }

  private judge(
    replica: Replica,
    other: NodeNumber,
    { version, theirs }: Unequal,
    frame: Uint8Array,
    keys: Uint8Array,
  ): void {
    const { around } = this.o;
    const { ledger, stored } = replica;
    const given = contentOf(frame, replica, version);
    // What comes of it is told when nothing can fail any more.
    const rows = ledger.rowsIn(version);
    const own = rebuildReadable(stored, new Set([version])).batches[0]?.frame ?? null;
    const ownContent = own === null ? null : contentOf(own, replica, version);
    let verdict: string;
    if (given !== theirs) {
      this.tell(replica, other, null);
      verdict = 'what the other one gives is not what its ledger says: it reads itself again';
    } else if (ownContent === given) {
      ledger.restate(version, given);
      around.count('ledgers_corrected');
      forgetDamage(replica);
      verdict = 'the rows are equal, the ledger here was wrong and was put right';
    } else if (own === null || ownContent !== ledger.contentOf(version)) {
      markDamaged(replica, `batch ${version} is not stored as its ledger says`, around);
      verdict = 'what is stored here is not what the ledger says: this replica is damaged, and mends itself';
    } else if (Buffer.compare(frame, own) < 0) {
      this.tell(replica, other, version);
      forgetDamage(replica);
      verdict = 'written twice under one version: the greater bytes are kept, which are those here';
    } else {
      this.replace(replica, version, given, frame, keys);
      verdict = 'written twice under one version: the greater bytes are kept, which are those of the other one';
    }
    this.explain(replica, other, version, { batches: 1, rows, bytes: frame.byteLength }, verdict);
  }

  private explain(
    replica: Replica,
    other: NodeNumber,
    version: Version,
    batch: { readonly batches: number; readonly rows: number; readonly bytes: number },
    verdict: string,
  ): void {
    const { around } = this.o;
    const at = around.wallMs;
    const given = {
      id: `conflict-${around.self}-${replica.id}-${version}-${at.toString(36)}`,
      kind: 'conflict',
      shard: replica.id,
      outcome: 'done',
      reason: `batch ${version} has another content at ${nameOf(around.snapshot, other)}: ${verdict}`,
      startedMs: at,
      finishedMs: at,
    } as const;
    around.repaired(repairRecord(given, { steps: [stepOf(other, around.self, batch)] }));
  }

  /** Damaged until it has been read again (mending.ts), so that a crash in between is found. */
  private replace(replica: Replica, version: Version, content: Sum128, frame: Uint8Array, keys: Uint8Array): void {
    const { around } = this.o;
    const { ledger, stored } = replica;
    markDamaged(replica, `batch ${version} was written twice with different content: the greater is kept`, around);
    around.count('conflicts_resolved');
    const purged = new Set([version]);
    for (const { window, measurement } of stored.care.placesOf(purged)) {
      const target = { through: ledger.floor, window, measurement, groups: [], purged, lost: false };
      const replacement = stored.care.replace(target);
      try {
        while (replacement.step());
      } finally {
        // When the disk refuses: merging goes on.
        replacement.abandon();
      }
    }
    stored.care.restore([{ frame, keys: SeriesKeys.read(keys).records() }]);
    ledger.restate(version, content);
  }
}

function forgetDamage({ notes }: Replica): void {
  notes.damage = null;
  notes.heldBackBy = null;
}

/** null when it is another batch. Throws BatchError. */
function contentOf(frame: Uint8Array, replica: Replica, version: Version): Sum128 | null {
  const held = holdFrame(frame);
  const content = held.version === version && held.id === replica.id ? held.content : null;
  held.release();
  return content;
}
