/** One run: a system started fresh, loaded with a workload, settled, ended, started again, checked and asked. */
import { setTimeout as wait } from 'node:timers/promises';
import { type Answer, ask, command, influxPath } from './asking.ts';
import { checkTruth, DifferenceError } from './checks.ts';
import { Connection } from './connection.ts';
import type { Generator } from './generator.ts';
import type { Program, SystemName } from './programs.ts';
import { QUERIES, type Question } from './queries.ts';
import { randomOf } from './random.ts';
import { DATABASE } from './requests.ts';
import { percentile, sortedCopy } from './statistics.ts';
import { RunningSystem, type SystemOptions } from './system.ts';
import type { WorkloadSummary } from './workloads.ts';

const REPLICAS_TIMEOUT_MS = 120_000;
const REPLICAS_POLL_MS = 200;
const DRAWS_MAX = 1000;
const WARM_UPS_MIN = 5;
/** The questions before the ones that count are drawn apart: how many there are must not change those. */
const WARM_UP_SEED = 7919;
/** Numbers of answers that are kept of each query, at least, as far as there are so many. */
const COMPARED_NUMBERS = 20_000;

export interface QueryFigures {
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/** The load once more, in a process that has taken as much before: of hours that follow the last one. */
export interface WarmFigures {
  readonly valuesPerSecond: number;
  readonly acknowledgedCpu: number;
  readonly writeP99Ms: number;
}

export interface RunFigures {
  readonly system: SystemName;
  /** CPU-seconds from starting the processes until they were idle, which no other figure has in it. */
  readonly startCpu: number;
  readonly valuesPerSecond: number;
  /** CPU-seconds (user and system) per million values until the last acknowledgement; of a cluster, until all have all. */
  readonly acknowledgedCpu: number;
  /** The same until memory was flushed, files were merged and the processes had ended; without the benchmark's own questions. */
  readonly settledCpu: number;
  readonly writeP50Ms: number;
  readonly writeP99Ms: number;
  readonly residentBytes: number;
  readonly residentBytesPeak: number;
  readonly bytesPerValue: number;
  readonly generatorCpu: number;
  readonly repeatedWrites: number;
  /** Seconds from the last acknowledgement until every replica had every row; null for a single node. */
  readonly replicasSeconds: number | null;
  readonly queries: Readonly<Record<string, QueryFigures>>;
  /** null: not asked for. */
  readonly warm: WarmFigures | null;
}

export interface MeasureOptions {
  readonly nodes: number;
  /** Calls of each query that are counted; 0 asks none. */
  readonly queryCalls: number;
  /** Each query is asked for so long before that (cold caches, code not compiled yet), and at least WARM_UPS_MIN times. */
  readonly queryWarmUpMs: number;
  readonly seed: number;
  readonly quietMs: number;
  readonly isWarm: boolean;
  readonly profileFolder: string | null;
}

export interface Measured {
  readonly figures: RunFigures;
  /** Answers to each query, those of the first calls together, for comparison between systems. */
  readonly answers: ReadonlyMap<string, Answer>;
}

export async function measure(
  program: Program,
  generator: Generator,
  summary: WorkloadSummary,
  options: MeasureOptions,
): Promise<Measured> {
  const some: Partial<SystemOptions> = { nodes: options.nodes, profileFolder: options.profileFolder };
  const system = new RunningSystem(program, some);
  try {
    await system.start();
    await system.untilIdle();
    const startCpu = system.usage().cpuSeconds;
    await createDatabase(system, options.nodes);
    const idleCpu = system.usage().cpuSeconds;
    const load = await generator.send(system.ports);
    const replicasSeconds = options.nodes > 1 ? await untilReplicated(system) : null;
    const acknowledged = system.usage();
    if (options.nodes > 1) await checkEveryNode(system, summary);
    // Which no user asks, and no single node is asked before it has been started again.
    const checkCpu = system.usage().cpuSeconds - acknowledged.cpuSeconds;
    // Whatever was left for later (flush, merge, compaction) belongs to the price: it is paid by settling and ending.
    await system.settle(options.quietMs);
    await system.stop();
    const settledCpu = system.usage().cpuSeconds;
    const diskBytes = system.diskBytes();
    await system.start();
    const asked = await checkAndAsk(system, summary, options);
    await system.stop();
    const warm = options.isWarm ? await loadAgain(system, generator, summary) : null;
    const millions = summary.values / 1e6;
    const figures: RunFigures = {
      system: program.name,
      startCpu,
      valuesPerSecond: summary.values / load.seconds,
      acknowledgedCpu: (acknowledged.cpuSeconds - idleCpu) / millions,
      settledCpu: (settledCpu - checkCpu - idleCpu) / millions,
      writeP50Ms: percentile(load.latenciesMs, 0.5),
      writeP99Ms: percentile(load.latenciesMs, 0.99),
      residentBytes: acknowledged.residentBytes,
      residentBytesPeak: acknowledged.residentBytesPeak,
      bytesPerValue: diskBytes / summary.values,
      generatorCpu: load.generatorCpuSeconds / millions,
      repeatedWrites: load.repeated,
      replicasSeconds,
      queries: asked.queries,
      warm,
    };
    return { figures, answers: asked.answers };
  } catch (error) {
    if (error instanceof DifferenceError) throw error;
    throw new Error(`${program.name}: ${(error as Error).message}\n${system.logTail()}`);
  } finally {
    await system.remove();
  }
}

async function loadAgain(
  system: RunningSystem,
  generator: Generator,
  { options, endSeconds, values }: WorkloadSummary,
): Promise<WarmFigures> {
  const spanSeconds = endSeconds - options.startSeconds + options.intervalSeconds;
  await system.start();
  const send = async () => {
    await generator.advance(spanSeconds);
    const before = system.usage().cpuSeconds;
    const load = await generator.send(system.ports);
    if (system.ports.length > 1) await untilReplicated(system);
    return { load, cpuSeconds: system.usage().cpuSeconds - before };
  };
  await send();
  const { load, cpuSeconds } = await send();
  await generator.advance(-2 * spanSeconds);
  await system.stop();
  return {
    valuesPerSecond: values / load.seconds,
    acknowledgedCpu: (cpuSeconds / values) * 1e6,
    writeP99Ms: percentile(load.latenciesMs, 0.99),
  };
}

/** On a cluster also waits until all members are up and know the database. */
export async function createDatabase(system: RunningSystem, nodes: number, policy = ''): Promise<void> {
  if (system.program.name === 'victoria-metrics') return;
  const connections = system.ports.map((port) => new Connection(port));
  try {
    const all = (what: string, isSo: (connection: Connection) => Promise<boolean>) =>
      until(what, async () => (await Promise.all(connections.map(isSo))).every(Boolean));
    if (nodes > 1)
      await all('all members are up', async (connection) => {
        const { body } = await ask(connection, '/api/cluster');
        const { members } = JSON.parse(body.toString()) as { members: { live: boolean }[] };
        return members.filter(({ live }) => live).length === nodes;
      }).catch(async (error: Error) => {
        const views = await Promise.all(connections.map((connection) => ask(connection, '/api/cluster')));
        throw new Error([error.message, ...views.map(({ body }) => body.toString()), system.logTail()].join('\n'));
      });
    await command(connections[0]!, `CREATE DATABASE ${DATABASE}${policy}`);
    if (nodes > 1)
      await all('the database is known everywhere', async (connection) => {
        const { body } = await ask(connection, influxPath('SHOW DATABASES'));
        return body.includes(`"${DATABASE}"`);
      });
  } finally {
    for (const connection of connections) connection.close();
  }
}

export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + REPLICAS_TIMEOUT_MS;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not within ${REPLICAS_TIMEOUT_MS / 1000} s: ${what}`);
    await wait(REPLICAS_POLL_MS);
  }
}

interface ShardsPage {
  readonly shards: readonly {
    readonly id: string;
    readonly state: string;
    readonly outboxEntries: number;
    readonly debts: number;
    readonly ledger: { readonly batches: number; readonly identitySum: string; readonly contentSum: string } | null;
  }[];
}

/** Every member holds every shard, all have received the same, and no outbox owes anything. Returns the seconds waited. */
export async function untilReplicated(system: RunningSystem): Promise<number> {
  const started = performance.now();
  const connections = system.ports.map((port) => new Connection(port));
  try {
    await until('every node has every row', async () => {
      const pages = await Promise.all(connections.map((connection) => ask(connection, '/api/shards')));
      const seen = pages.map(({ body }) => {
        const { shards } = JSON.parse(body.toString()) as ShardsPage;
        const isDone = shards.every(
          (shard) => shard.state === 'full' && shard.outboxEntries === 0 && shard.debts === 0,
        );
        return isDone ? JSON.stringify(shards.map(({ id, ledger }) => [id, ledger])) : null;
      });
      return seen.every((each) => each !== null && each === seen[0]);
    });
    return (performance.now() - started) / 1000;
  } finally {
    for (const connection of connections) connection.close();
  }
}

async function checkEveryNode(system: RunningSystem, summary: WorkloadSummary): Promise<void> {
  for (const port of system.ports) {
    const connection = new Connection(port);
    try {
      await checkTruth(system.program.name, connection, summary);
    } finally {
      connection.close();
    }
  }
}

async function checkAndAsk(
  system: RunningSystem,
  summary: WorkloadSummary,
  { queryCalls, queryWarmUpMs, seed }: MeasureOptions,
): Promise<{ queries: Record<string, QueryFigures>; answers: Map<string, Answer> }> {
  const { name } = system.program;
  const connection = new Connection(system.ports[0]!);
  const queries: Record<string, QueryFigures> = {};
  const answers = new Map<string, Answer>();
  try {
    await checkTruth(name, connection, summary);
    const { options } = summary;
    if (queryCalls === 0 || options.shape !== 'cpu') return { queries, answers };
    const data = { ...options, endSeconds: summary.endSeconds };
    for (const query of QUERIES) {
      const warming = randomOf(seed + WARM_UP_SEED);
      const warmUntil = performance.now() + queryWarmUpMs;
      for (let call = 0; call < WARM_UPS_MIN || performance.now() < warmUntil; call++)
        await ask(connection, query.draw(name, data, warming).path);
      const random = randomOf(seed);
      const asked = new Set<string>();
      const times: number[] = [];
      const compared = new Map<string, number>();
      for (let call = 0; call < queryCalls; call++) {
        const question = drawNew(() => query.draw(name, data, random), asked);
        const { ms, body } = await ask(connection, question.path);
        if (compared.size < COMPARED_NUMBERS)
          for (const [key, value] of question.answer(body)) compared.set(`call ${call} ${key}`, value);
        times.push(ms);
      }
      answers.set(query.name, compared);
      const sorted = sortedCopy(times);
      queries[query.name] = { p50Ms: percentile(sorted, 0.5), p95Ms: percentile(sorted, 0.95) };
    }
    return { queries, answers };
  } finally {
    connection.close();
  }
}

/** A question that was not asked before, as long as there are such. */
function drawNew(draw: () => Question, asked: Set<string>): Question {
  let question = draw();
  for (let more = 0; more < DRAWS_MAX && question.texts.some((text) => asked.has(text)); more++) question = draw();
  for (const text of question.texts) asked.add(text);
  return question;
}
