/** What the scenario of damage asks for: everything is read again after the faults and mended, at a bounded cost. */
import { Violation } from './books.ts';
import type { SimNode } from './sim-node.ts';

/** To be asked again and again: whoever has not read all of its shards since `sinceMs` begins to. */
export function areMended(nodes: readonly SimNode[], sinceMs: number, nowMs: number): boolean {
  return nodes.every(({ process }) => {
    const report = process!.host.scrub();
    const isRead = report !== null && report.startedMs >= sinceMs && report.finishedMs !== null;
    if (!isRead) process!.host.startScrub(nowMs);
    return isRead && process!.host.heldShards().every(({ state }) => state !== 'damaged');
  });
}

/**
 * A mend copies no more than 1.2 times what the damaged windows hold, and nothing is lost that others have. `counters`: of
 * processes that have ended.
 */
export function checkMends(
  nodes: readonly SimNode[],
  counters: Readonly<Record<string, number>>,
  damagedRows: number,
): void {
  const sum = (name: string): number => {
    const running = nodes.map(({ process }) => process?.host.counters()[name] ?? 0);
    return running.reduce((total, each) => total + each, counters[name] ?? 0);
  };
  if (sum('mend_rows') > 1.2 * damagedRows)
    throw new Violation(`${sum('mend_rows')} rows were copied for windows of ${damagedRows}`);
  const lost = sum('rows_lost') + sum('batches_lost');
  if (lost > 0) throw new Violation(`${lost} rows or batches are given up, and others have them`);
}
