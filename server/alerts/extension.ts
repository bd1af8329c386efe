/**
 * Puts alerts into a node: the manager on the node's metadata and queries, its routes, its tick, and the rules directory.
 */
import type { Express } from 'express';
import { clusterRegisters } from '../cluster-registers.ts';
import type { NodeContext } from '../main.ts';
import { type AlertCluster, AlertManager } from './manager.ts';
import { addAlertRoutes } from './routes.ts';
import { RuleError } from './rule.ts';
import { readRuleFiles } from './rule-files.ts';

const TICK_MS = 1_000;

export function addAlerts(app: Express, context: NodeContext): () => Promise<void> {
  const { core, config, log } = context;
  const cluster: AlertCluster = { ...clusterRegisters(core, config.nodeName), externalUrl: context.url };
  const manager = new AlertManager(cluster, context.queryService, log);
  addAlertRoutes(app, manager);
  let filesLoaded = config.rulesDirectory === null;
  const tick = async (): Promise<void> => {
    if (!context.isReady()) return;
    if (!filesLoaded) {
      loadFiles(manager, config.rulesDirectory!, log);
      filesLoaded = true;
    }
    await manager.tick(Date.now());
  };
  // Not by the wall clock, which may be set: rules go on whatever it says.
  const timer = setInterval(() => {
    tick().catch((error: unknown) =>
      log.error({ problem: (error as Error).message }, 'alert rules were not evaluated'),
    );
  }, TICK_MS);
  return async () => clearInterval(timer);
}

/** A wrong file is reported and passed over: the other rules go on. */
function loadFiles(manager: AlertManager, directory: string, log: NodeContext['log']): void {
  try {
    for (const { name, body, hash, path } of readRuleFiles(directory)) {
      if (manager.fileHashOf(name) === hash) continue;
      try {
        manager.putRule(name, body, hash);
        log.info({ rule: name, path }, 'rule set from its file');
      } catch (error) {
        if (!(error instanceof RuleError)) throw error;
        log.error({ path, problem: error.message }, 'a rule in a file is not valid');
      }
    }
  } catch (error) {
    if (!(error instanceof RuleError)) throw error;
    log.error({ problem: error.message }, 'rules could not be read');
  }
}
