/**
 * The side that is asked for settled content: stateless, so any question may come twice, late or never. A damaged replica
 * answers as well, for what it can read.
 */
import type { GroupSum } from '../shards/care.ts';
import { addSums, sumToHex } from '../shards/checksum.ts';
import { attempt, isDamage, StorageError } from '../shards/errors.ts';
import { shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import { type NodeNumber, STAMP_ZERO } from '../shards/version.ts';
import type { ContentMessage, ContentStatus } from './content-messages.ts';
import { EMPTY_ROOT, rootToJson } from './ledger.ts';
import { claimOf, markDamaged, meetFloor, type Replica, type ReplicaTable } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

type Question = Extract<ContentMessage, { t: 'content-windows' | 'content-groups' | 'content-copy' }>;

export class ContentAnswers {
  private readonly o: {
    replicas: ReplicaTable;
    around: Surroundings;
    demote: (replica: Replica, reason: string) => void;
  };

  constructor(options: ContentAnswers['o']) {
    this.o = options;
  }

  receive(from: NodeNumber, m: Question): void {
    const { replicas } = this.o;
    const key = shardKeyFromJson(m.key);
    const replica = replicas.get(shardId(key));
    let status: ContentStatus = 'absent';
    if (replica !== null)
      status = attempt(
        () => this.statusOf(replica, from, m),
        () => 'busy',
      );
    if (status === 'ok') {
      try {
        replica!.stored.care.settle();
        this.answer(from, m, key.number, replica!);
        return;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        if (isDamage(error)) markDamaged(replica!, error.message, this.o.around);
        status = isDamage(error) ? 'damaged' : 'busy';
      }
    }
    this.send(from, m, key.number, replica, status);
  }

  private statusOf(replica: Replica, from: NodeNumber, m: Question): ContentStatus {
    if (replica.ledger.replica === 'filling') return 'filling';
    const met = meetFloor(replica.ledger, m, true);
    if (met === 'lower') return 'floor';
    if (met === 'damage') return 'damaged';
    if (met === 'level') return 'ok';
    this.o.demote(replica, `behind the floor ${m.floor} of ${from}`);
    return 'filling';
  }

  private answer(from: NodeNumber, m: Question, lane: number, replica: Replica): void {
    const { limits, count } = this.o.around;
    const { care } = replica.stored;
    const through = replica.ledger.floor;
    const cellsMax = limits.contentCellsMax;
    if (m.t === 'content-copy') {
      const { window, measurement, groups, fromTime } = m;
      const { page, rows, next } = care.copy({ through, window, measurement, groups, fromTime, cellsMax });
      const parts = page === null ? [] : [page.frame, page.keys];
      count('mend_rows_given', rows);
      this.send(from, m, lane, replica, 'ok', { rows, next }, parts);
      return;
    }
    const window = m.t === 'content-groups' ? m.window : null;
    const { groups, next } = care.groups({ through, window, from: m.from, cellsMax });
    if (m.t === 'content-groups') {
      const list = groups.map((g) => [g.measurement, g.group, g.rows, hexOrNull(g.content)] as const);
      this.send(from, m, lane, replica, 'ok', { groups: list, next });
    } else {
      const windows = [...byWindow(groups)].map(([n, { rows, content }]) => [n, rows, hexOrNull(content)] as const);
      this.send(from, m, lane, replica, 'ok', { windows, next });
    }
  }

  private send(
    to: NodeNumber,
    m: Question,
    lane: number,
    replica: Replica | null,
    status: ContentStatus,
    told: object = {},
    parts: readonly Uint8Array[] = [],
  ): void {
    const claim = replica === null ? { floor: STAMP_ZERO, floorRoot: rootToJson(EMPTY_ROOT) } : claimOf(replica.ledger);
    const shard = shardId(shardKeyFromJson(m.key));
    const empty = { windows: [], groups: [], rows: 0, next: null };
    const t = `${m.t}-answer`;
    const answer = { t, request: m.request, shard, status, ...claim, ...fieldsOf(m.t, empty), ...told };
    this.o.around.send(to, lane, answer as ContentMessage, parts);
  }
}

function fieldsOf(kind: Question['t'], { windows, groups, rows, next }: Record<string, unknown>): object {
  if (kind === 'content-windows') return { windows, next };
  return kind === 'content-groups' ? { groups, next } : { rows, next };
}

/** Sums over the groups of each window; null where one cannot be told. */
export function byWindow(groups: readonly GroupSum[]): Map<number, { rows: number; content: bigint | null }> {
  const windows = new Map<number, { rows: number; content: bigint | null }>();
  for (const { window, rows, content } of groups) addToWindow(windows, window, rows, content);
  return windows;
}

export function addToWindow(
  windows: Map<number, { rows: number; content: bigint | null }>,
  window: number,
  rows: number,
  content: bigint | null,
): void {
  const known = windows.get(window) ?? { rows: 0, content: 0n };
  const both = known.content === null || content === null ? null : addSums(known.content, content);
  windows.set(window, { rows: known.rows + rows, content: both });
}

function hexOrNull(sum: bigint | null): string | null {
  return sum === null ? null : sumToHex(sum);
}
