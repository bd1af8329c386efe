/** What a worker of a leaving member still has that others need: its shards, and writes on their way to owners. */
import type { ClusterSnapshot } from './cluster.ts';
import type { Handover } from './departures.ts';
import { isOver } from './mail-receiver.ts';
import type { Outbox } from './outbox.ts';
import type { ReplicaTable } from './replica-table.ts';

/** What is expired or dropped is nobody's any more, and does not count. */
export function handoverOf(
  replicas: ReplicaTable,
  outbox: Outbox,
  writes: number,
  snapshot: ClusterSnapshot | null,
  nowMs: number,
): Handover {
  // Who does not know what it has lost must not leave: others would take it that nothing was.
  let [shards, bytes, outboxEntries, outboxBytes] = [replicas.untold, 0, 0, 0];
  for (const id of replicas.ids()) {
    const { key, stored } = replicas.get(id)!;
    if (snapshot !== null && isOver(snapshot, key, nowMs)) continue;
    const { fileBytes, memtableBytes } = stored.sizes();
    shards++;
    bytes += fileBytes + memtableBytes;
  }
  for (const entry of outbox.entries.values()) {
    if (snapshot !== null && isOver(snapshot, entry.key, nowMs)) continue;
    outboxEntries++;
    outboxBytes += entry.bytes;
  }
  return { shards, bytes, writes, outboxEntries, outboxBytes };
}

export function sumOfHandovers(parts: readonly Handover[]): Handover {
  const sum = (of: (part: Handover) => number) => parts.reduce((total, part) => total + of(part), 0);
  return {
    shards: sum((part) => part.shards),
    bytes: sum((part) => part.bytes),
    writes: sum((part) => part.writes),
    outboxEntries: sum((part) => part.outboxEntries),
    outboxBytes: sum((part) => part.outboxBytes),
  };
}
