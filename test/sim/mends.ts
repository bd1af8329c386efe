/** What the scenario of damage asks for: everything is read again after the faults and mended, at a bounded cost. */
import { decodeMessage, type MessageOf } from '../../repair/replica-messages.ts';
import { shardId, shardKeyFromJson } from '../../shards/shard-key.ts';
import type { NodeNumber } from '../../shards/version.ts';
import { isOfKind, type MessageWatcher } from './network.ts';
import type { StoredWindow } from './sim-disk.ts';
import type { SimNode } from './sim-node.ts';
import { Violation } from './violation.ts';

const OVER = 1.2;

/** To be asked again and again: whoever has not read all of its shards since `sinceMs` begins to. */
export function areMended(nodes: readonly SimNode[], sinceMs: number): boolean {
  return nodes.every(({ process, offsetMs, wallMs }) => {
    const report = process!.host.scrub();
    const isRead = report !== null && report.startedMs >= sinceMs + offsetMs && report.finishedMs !== null;
    if (!isRead) process!.host.startScrub(wallMs);
    return isRead && process!.host.heldShards().every(({ state }) => state !== 'damaged');
  });
}

/** Bits that fell over, and what their windows hold: at that time, or, as they grow, when a mend asks for their content. */
export class Mends implements MessageWatcher {
  private readonly flips: StoredWindow[] = [];
  private readonly rows = new Map<string, number>();

  flipped(node: SimNode, window: StoredWindow): void {
    this.flips.push(window);
    this.look(node, window);
  }

  leaves(from: SimNode, _to: NodeNumber, bytes: Uint8Array): void {
    if (!isOfKind(bytes, 'content-copy')) return;
    const { key, window } = decodeMessage(bytes).message as MessageOf<'content-copy'>;
    this.look(from, { shard: shardId(shardKeyFromJson(key)), window });
  }

  arrives(): void {}

  /**
   * Mends copy no more than 1.2 times what the damaged windows hold, and nothing is lost that others have. `counters`: of
   * processes that have ended.
   */
  check(nodes: readonly SimNode[], counters: Readonly<Record<string, number>>): void {
    const sum = (name: string): number => {
      const running = nodes.map(({ process }) => process?.host.counters()[name] ?? 0);
      return running.reduce((total, each) => total + each, counters[name] ?? 0);
    };
    const damaged = this.flips.reduce((total, window) => total + this.rows.get(nameOf(window))!, 0);
    if (sum('mend_rows') > OVER * damaged)
      throw new Violation('mended-sparingly', `${sum('mend_rows')} rows were copied for windows of ${damaged}`);
    const lost = sum('rows_lost') + sum('batches_lost');
    if (lost > 0) throw new Violation('nothing-lost', `${lost} rows or batches are given up, and others have them`);
  }

  private look({ disk }: SimNode, window: StoredWindow): void {
    const name = nameOf(window);
    this.rows.set(name, Math.max(this.rows.get(name) ?? 0, disk.rowsIn(window)));
  }
}

function nameOf({ shard, window }: StoredWindow): string {
  return `${shard} ${window}`;
}
