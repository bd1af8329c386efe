/**
 * Open versions (protocol rule 9): of each shard and set of full owners that acknowledged them, the oldest. A statement
 * names these, since closed(member, shard) lies below every batch that no full owner in the pass is known to have.
 *
 * An outbox may hold millions of entries, and a statement is made every second, so the oldest of each group is kept at
 * hand: a heap for each group, from which what has left the group goes as soon as it is at the top.
 */
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import type { Statement } from './cluster.ts';

export type AddOpen = (id: ShardId, version: Version, acknowledgedBy: Iterable<NodeNumber>) => void;

interface Held {
  readonly name: string;
  readonly id: ShardId;
  readonly version: Version;
  readonly acks: ReadonlySet<NodeNumber>;
}

interface Group {
  readonly name: string;
  readonly id: ShardId;
  readonly acknowledgedBy: readonly NodeNumber[];
  /** A binary heap by version, the least first, which is in the group. Has all that are in it, and some that were. */
  heap: Version[];
  size: number;
}

/** What has left may take up as much of a heap as what is in it, and this. */
const LEFT_MAX = 1_024;

/** Of entries that stay for long. */
export class OpenVersions {
  readonly #groups = new Map<string, Group>();
  /** By name of the entry: shard and version. */
  readonly #groupOf = new Map<string, Group>();

  /** To be called when it has come, and when its acknowledgements have changed. */
  place({ name, id, version, acks }: Held): void {
    const acknowledgedBy = [...acks].sort();
    const groupName = nameOf(id, acknowledgedBy);
    const former = this.#groupOf.get(name);
    if (former?.name === groupName) return;
    if (former !== undefined) this.remove(name);
    let group = this.#groups.get(groupName);
    if (group === undefined) {
      group = { name: groupName, id, acknowledgedBy, heap: [], size: 0 };
      this.#groups.set(groupName, group);
    }
    push(group.heap, version);
    group.size++;
    this.#groupOf.set(name, group);
    if (group.heap.length > 2 * group.size + LEFT_MAX)
      group.heap = group.heap.filter((each) => this.#isIn(group, each)).sort();
  }

  remove(name: string): void {
    const group = this.#groupOf.get(name);
    if (group === undefined) return;
    this.#groupOf.delete(name);
    this.#leave(group);
  }

  addOldest(add: AddOpen): void {
    for (const { id, heap, acknowledgedBy } of this.#groups.values()) add(id, heap[0]!, acknowledgedBy);
  }

  #isIn(group: Group, version: Version): boolean {
    return this.#groupOf.get(group.id + version) === group;
  }

  #leave(group: Group): void {
    group.size--;
    if (group.size === 0) this.#groups.delete(group.name);
    else while (!this.#isIn(group, group.heap[0]!)) pop(group.heap);
  }
}

/** What one statement names. */
export class OpenList {
  private readonly oldest = new Map<string, { shard: ShardId; oldest: Version; acknowledgedBy: NodeNumber[] }>();

  add(shard: ShardId, version: Version, acknowledgedBy: Iterable<NodeNumber>): void {
    const members = [...acknowledgedBy].sort();
    const name = nameOf(shard, members);
    const known = this.oldest.get(name);
    if (known === undefined || version < known.oldest)
      this.oldest.set(name, { shard, oldest: version, acknowledgedBy: members });
  }

  list(): Statement['open'] {
    return [...this.oldest.values()];
  }
}

function nameOf(id: ShardId, sorted: readonly NodeNumber[]): string {
  return `${id}:${sorted.join(',')}`;
}

function push(heap: Version[], version: Version): void {
  let at = heap.length;
  heap.push(version);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (heap[parent]! <= version) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = version;
}

function pop(heap: Version[]): void {
  const last = heap.pop()!;
  const { length } = heap;
  if (length === 0) return;
  let at = 0;
  for (let child = 1; child < length; child = 2 * at + 1) {
    if (child + 1 < length && heap[child + 1]! < heap[child]!) child++;
    if (heap[child]! >= last) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
}
