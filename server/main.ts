/**
 * `startNode`: takes the data directory, starts a node in it, and says in one clear line why it cannot.
 *
 * What is built on top of a node (alerts) comes in as extensions: they get the Express app and the node's context.
 */
import type { Express } from 'express';
import { type Logger, pino } from 'pino';
import type { NodeCore } from '../repair/node-core.ts';
import type { Config } from './config.ts';
import { Node } from './node.ts';
import { loadNodeFile, openNodeDirectory, startErrorOf } from './node-identity.ts';
import type { QueryService } from './query/result.ts';
import { finishReadmission, readmit } from './readmission.ts';
import { changeWorkerCount } from './worker-count.ts';
import { WorkerDeathError } from './worker-errors.ts';

/** What parts that are built on top of a node (alerts) get. */
export interface NodeContext {
  readonly config: Config;
  /** http://HOST:PORT that other nodes and people use. */
  readonly url: string;
  readonly core: NodeCore;
  readonly queryService: QueryService;
  readonly log: Logger;
  isReady(): boolean;
}

/** Adds routes and background work before the node serves; returns what stops it. */
export type Extension = (app: Express, context: NodeContext) => (() => Promise<void> | void) | undefined;

export interface RunningNode {
  readonly url: string;
  readonly context: NodeContext;
  stop(): Promise<void>;
  /** Resolves after `stop`, rejects when the node had to stop by itself. */
  readonly ended: Promise<void>;
}

/** Rejects with StartError (one clear line) when the node cannot start. Signals stop it and end the process. */
export async function startNode(config: Config, extensions: readonly Extension[] = []): Promise<RunningNode> {
  const log = pino(
    { level: config.logLevel, base: { node: config.nodeName } },
    pino.destination({ dest: 2, sync: true }),
  );
  const directory = openNodeDirectory(config.dataDirectory);
  try {
    if (config.readmit) await readmit(config.dataDirectory, config.join, log);
    finishReadmission(config.dataDirectory);
    let file = loadNodeFile(config.dataDirectory, config.nodeName, config.workers);
    if (file.workers !== config.workers) {
      log.info({ from: file.workers, to: config.workers }, 'the number of workers changes: flushing the former logs');
      file = await changeWorkerCount(config.dataDirectory, file, config.workers);
    }
    const node = new Node(config, log, directory, file);
    await node.start(extensions);
    return node;
  } catch (error) {
    directory.release();
    if (error instanceof WorkerDeathError) log.fatal({ problem: error.stack }, 'this node does not start');
    throw startErrorOf(error);
  }
}
