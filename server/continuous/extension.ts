/** Puts continuous queries into a node: the runner on the node's metadata and queries, and its tick. */
import type { Express } from 'express';
import { clusterRegisters } from '../cluster-registers.ts';
import type { NodeContext } from '../main.ts';
import { ContinuousQueries } from './registry.ts';
import { ContinuousRunner } from './runner.ts';

const TICK_MS = 1_000;

export function addContinuousQueries(_app: Express, context: NodeContext): () => Promise<void> {
  const { core, config, log } = context;
  const registers = clusterRegisters(core, config.nodeName);
  const queries = new ContinuousQueries(registers, () => core.snapshot());
  const runner = new ContinuousRunner(queries, registers, context.queryService, log);
  // Not by the wall clock, which may be set: intervals end when it says so, and it is asked each second.
  const timer = setInterval(() => {
    if (!context.isReady()) return;
    runner
      .tick(Date.now())
      .catch((error: unknown) => log.error({ problem: (error as Error).message }, 'continuous queries were not run'));
  }, TICK_MS);
  return async () => {
    clearInterval(timer);
    runner.stop();
  };
}
