/**
 * Scrubs of this node: `GET /api/scrubs` -> what the run that is under way, or the last one, has read and found, and how
 * damaged replicas are mended; `POST /api/scrubs` -> 202, all shards of this node from now on.
 */
import type { Express } from 'express';
import type { RepairStatus, ScrubReport } from '../../repair/records.ts';
import type { WorkerPool } from '../threads.ts';

export interface NodeScrubs {
  /** A cron expression; null: never. */
  readonly schedule: string | null;
  /** All workers together; null: none so far. */
  readonly run: ScrubReport | null;
  readonly mends: readonly RepairStatus[];
}

export function addScrubRoutes(app: Express, pool: WorkerPool, schedule: string | null): void {
  app.get('/api/scrubs', async (_request, response) => {
    const [reports, repairs] = await Promise.all([pool.callAll('scrub'), pool.callAll('repairs', '')]);
    const mends = repairs.flat().filter(({ mode }) => mode === 'mend');
    const answer: NodeScrubs = { schedule, run: together(reports.filter((report) => report !== null)), mends };
    response.json(answer);
  });
  app.post('/api/scrubs', async (_request, response) => {
    await pool.callAll('startScrub');
    response.status(202).json({});
  });
}

function together(reports: readonly ScrubReport[]): ScrubReport | null {
  if (reports.length === 0) return null;
  const sum = (pick: (report: ScrubReport) => number): number => reports.reduce((total, each) => total + pick(each), 0);
  const ends = reports.map(({ finishedMs }) => finishedMs);
  return {
    startedMs: Math.min(...reports.map(({ startedMs }) => startedMs)),
    finishedMs: ends.includes(null) ? null : Math.max(...(ends as number[])),
    shards: sum(({ shards }) => shards),
    shardsDone: sum(({ shardsDone }) => shardsDone),
    bytesRead: sum(({ bytesRead }) => bytesRead),
    damaged: reports.flatMap(({ damaged }) => damaged),
  };
}
