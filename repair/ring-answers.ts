/**
 * The side of a comparison that is asked: stateless, so any question may come twice, late or never.
 */

import { attempt, StorageError } from '../shards/errors.ts';
import { encodeKeys } from '../shards/series-keys.ts';
import { type ShardKeyJson, shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import { STAMP_ZERO } from '../shards/version.ts';
import { EMPTY_ROOT, type Ledger, rootToJson } from './ledger.ts';
import { encodeIdentities, type Identity } from './ledger-codec.ts';
import type { FloorClaim, MessageOf, PullStatus } from './replica-messages.ts';
import {
  claimOf,
  isNewcomer,
  markDamaged,
  meetFloor,
  type Replica,
  type ReplicaTable,
  rebuildReadable,
} from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

const NO_CLAIM: FloorClaim = { floor: STAMP_ZERO, floorRoot: rootToJson(EMPTY_ROOT) };

/** A preview makes no floors meet: it hears of both at the higher one, up to which neither lists batches for certain. */
function claimFor(ledger: Ledger, { preview, floor }: MessageOf<'compare'>, status: PullStatus): FloorClaim {
  if (!preview || floor <= ledger.floor || status !== 'ok') return claimOf(ledger);
  return { floor, floorRoot: rootToJson(ledger.root(floor)) };
}

export class RingAnswers {
  private readonly replicas: ReplicaTable;
  private readonly around: Surroundings;
  private readonly demote: (replica: Replica, reason: string) => void;

  constructor(replicas: ReplicaTable, around: Surroundings, demote: RingAnswers['demote']) {
    this.replicas = replicas;
    this.around = around;
    this.demote = demote;
  }

  compare(from: NodeNumber, m: MessageOf<'compare'>): void {
    const { id, number, replica } = this.find(m.key);
    const answer = (status: PullStatus, rest: Partial<MessageOf<'compare-answer'>> = {}) => {
      const claim = replica === null ? NO_CLAIM : claimFor(replica.ledger, m, status);
      const empty = { root: null, sums: [], next: null };
      this.around.send(from, number, {
        t: 'compare-answer',
        request: m.request,
        shard: id,
        status,
        ...claim,
        ...empty,
        ...rest,
      });
    };
    if (replica === null) {
      // It may be a full one: nobody goes on without it (rule 33).
      answer(m.preview && this.replicas.isUnopened(id) ? 'busy' : 'absent');
      return;
    }
    if (replica.ledger.replica === 'filling') {
      answer('filling');
      return;
    }
    attempt(
      () => this.compareWith(from, replica, m, answer),
      () => {
        this.around.count('comparisons_refused_by_disk');
        answer('busy');
      },
    );
  }

  private compareWith(
    from: NodeNumber,
    replica: Replica,
    m: MessageOf<'compare'>,
    answer: (status: PullStatus, rest?: Partial<MessageOf<'compare-answer'>>) => void,
  ): void {
    const { ledger } = replica;
    if (!m.preview) {
      const met = meetFloor(ledger, m, true);
      if (met === 'behind') {
        this.demote(replica, `behind the floor ${m.floor} of ${from}`);
        answer('filling');
        return;
      }
      if (met === 'damage') {
        answer('damaged');
        return;
      }
      if (met === 'lower') {
        answer('floor');
        return;
      }
    }
    if (m.through < ledger.floor) {
      answer('floor', { root: null });
      return;
    }
    const { sums, next } = ledger.epochSums(m.floor, m.through, m.from, this.around.limits.epochsPerPage);
    answer('ok', {
      ...(isNewcomer(ledger) && { newcomer: true }),
      root: rootToJson(ledger.root(m.through)),
      sums: sums.map((sum) => [sum.epoch, ...rootToJson(sum)] as const),
      next,
    });
  }

  identities(from: NodeNumber, m: MessageOf<'identities'>): void {
    const { id, number, replica } = this.find(m.key);
    const max = this.around.limits.identitiesPerPage;
    const list: Identity[] = [];
    let status = statusOf(replica);
    let more = false;
    if (status === 'ok') {
      try {
        for (const epoch of m.epochs) {
          if (list.length >= max) {
            more = true;
            break;
          }
          const rest = max - list.length;
          const found = replica!.ledger.identities(epoch, m.after, m.through, m.above, rest + 1);
          list.push(...found.slice(0, rest));
          if (found.length > rest) more = true;
        }
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        this.around.count('comparisons_refused_by_disk');
        status = 'busy';
      }
    }
    const answer = { t: 'identities-answer' as const, request: m.request, shard: id, status, more };
    this.around.send(from, number, answer, [encodeIdentities(status === 'ok' ? list : [])]);
  }

  fetch(from: NodeNumber, m: MessageOf<'fetch'>): void {
    const { id, number, replica } = this.find(m.key);
    let status = statusOf(replica);
    const parts: Uint8Array[] = [];
    const versions: string[] = [];
    if (status === 'ok') {
      const { limits } = this.around;
      let batches: ReturnType<typeof rebuildReadable>['batches'] = [];
      let asked: ReadonlySet<Version> = new Set();
      try {
        asked = this.asked(replica!, m.versions);
        const rebuilt = asked.size === 0 ? { batches, unreadable: null } : rebuildReadable(replica!.stored, asked);
        batches = rebuilt.batches;
        if (rebuilt.unreadable !== null) markDamaged(replica!, rebuilt.unreadable, this.around);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        this.around.count('fetches_refused_by_disk');
        if (asked.size > 0) replica!.notes.unreadable = asked;
        status = 'busy';
      }
      let bytes = 0;
      for (const { version, frame, keys } of batches) {
        const keyBytes = encodeKeys(keys);
        bytes += frame.byteLength + keyBytes.byteLength;
        if (bytes > limits.fetchBytesMax && versions.length > 0) break;
        versions.push(version);
        parts.push(frame, keyBytes);
      }
      this.around.count('repair_batches_given', versions.length);
    }
    this.around.send(from, number, { t: 'fetch-answer', request: m.request, shard: id, status, versions }, parts);
  }

  /** Those that are here, up to the limits, at least one. */
  private asked(replica: Replica, versions: readonly Version[]): Set<Version> {
    const { fetchBatchesMax, fetchRowsMax } = this.around.limits;
    const asked = new Set<Version>();
    let rows = 0;
    for (const version of versions.slice(0, fetchBatchesMax)) {
      if (!replica.ledger.lists(version)) continue;
      rows += replica.ledger.rowsIn(version);
      if (asked.size > 0 && rows > fetchRowsMax) break;
      asked.add(version);
    }
    return asked;
  }

  private find(json: ShardKeyJson): { id: string; number: number; replica: Replica | null } {
    const key = shardKeyFromJson(json);
    const id = shardId(key);
    return { id, number: key.number, replica: this.replicas.get(id) };
  }
}

function statusOf(replica: Replica | null): PullStatus {
  if (replica === null) return 'absent';
  return replica.ledger.replica === 'filling' ? 'filling' : 'ok';
}
