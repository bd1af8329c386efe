/**
 * Scrubs by the clock: all shards of this node are read again and checked (repair/scrubs.ts), by the cron expression of
 * the configuration. Nodes with one expression do not all read at once: each begins up to an hour later, by its number.
 */
import type { Express } from 'express';
import type { NodeNumber } from '../shards/version.ts';
import { atTimes } from './clock-times.ts';
import { addScrubRoutes } from './http/admin-scrubs.ts';
import type { WorkerPool } from './threads.ts';

const SPREAD_MS = 3_600_000;

export interface ScrubPorts {
  readonly pool: WorkerPool;
  /** null: never. */
  readonly cron: string | null;
  readonly self: NodeNumber;
  readonly log: { info(fields: object, text: string): void; error(fields: object, text: string): void };
}

/** Of any number below the spread, as likely. */
export function scrubDelayMs(self: NodeNumber): number {
  return Math.floor((Number.parseInt(self.slice(0, 8), 16) / 2 ** 32) * SPREAD_MS);
}

/** With the routes that tell of them. Returns what stops it. */
export function startScrubs(app: Express, { pool, cron, self, log }: ScrubPorts): () => Promise<void> {
  addScrubRoutes(app, pool, cron);
  if (cron === null) return async () => {};
  let waiting: NodeJS.Timeout | null = null;
  const begin = async (): Promise<void> => {
    waiting = null;
    try {
      await pool.callAll('startScrub');
      log.info({}, 'scrub begins');
    } catch (error) {
      log.error({ problem: (error as Error).message }, 'scrub did not begin');
    }
  };
  const stop = atTimes(cron, () => {
    waiting ??= setTimeout(() => void begin(), scrubDelayMs(self));
  });
  return async () => {
    if (waiting !== null) clearTimeout(waiting);
    stop();
  };
}
