/**
 * What InfluxDB counts of itself, by its names, where there is the same here: for SHOW STATS and /debug/vars. Beside it,
 * for SHOW STATS alone, what only this program has.
 */
import { join } from 'node:path';
import type { NodeCore } from '../repair/node-core.ts';
import type { ShardDescription } from '../repair/records.ts';
import { isDeleteShard } from '../shards/delete-shard.ts';
import type { Config } from './config.ts';
import { numericShardId } from './query/shards.ts';
import type { RequestMetrics } from './request-metrics.ts';
import type { Subscribers } from './subscriptions/subscribers.ts';
import type { WorkerPool } from './threads.ts';
import type { UdpListeners } from './udp-listeners.ts';

export interface StatisticSources {
  readonly pool: WorkerPool;
  readonly requests: RequestMetrics;
  readonly core: NodeCore;
  /** HOST:PORT of HTTP. */
  readonly bind: string;
  readonly config: Pick<Config, 'dataDirectory'>;
  readonly udp: UdpListeners;
  readonly subscribers: Subscribers;
}

export interface Statistic {
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, number>>;
}

const NS = 1e9;

/** By Go's names: heaps of all threads are this process's, buffers and kernels are counted as other memory. */
export function goMemory(): Record<string, number> {
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
  return {
    Alloc: heapUsed,
    Sys: rss,
    HeapAlloc: heapUsed,
    HeapSys: heapTotal,
    HeapIdle: heapTotal - heapUsed,
    HeapInuse: heapUsed,
    OtherSys: external,
  };
}

/** In the order in which InfluxDB lists them. */
export async function influxStatistics(sources: StatisticSources): Promise<Statistic[]> {
  const { bind, requests, config, pool, udp } = sources;
  const described = (await pool.callAll('describeShards')).flat();
  const shards = described.filter(
    (each) => !isDeleteShard({ startNs: BigInt(each.startNs), endNs: BigInt(each.endNs) }),
  );
  const writes = requests.totals('write');
  const queries = requests.totals('query');
  const found: Statistic[] = [];
  const add = (name: string, tags: Statistic['tags'], values: Statistic['values']): void => {
    found.push({ name, tags, values });
  };
  const { Sys = 0, Alloc = 0, HeapAlloc = 0, HeapSys = 0, HeapIdle = 0, HeapInuse: HeapInUse = 0 } = goMemory();
  add('runtime', {}, { Alloc, HeapAlloc, HeapIdle, HeapInUse, HeapSys, Sys });
  add(
    'queryExecutor',
    {},
    {
      queriesExecuted: queries.requests,
      queriesFinished: queries.requests,
      queryDurationNs: Math.round(queries.seconds * NS),
    },
  );
  const measurements = joinedNames(await pool.callAll('measurements'));
  for (const [database, numSeries] of seriesByDatabase(shards)) {
    const numMeasurements = measurements.get(database)?.size ?? 0;
    add('database', { database }, { numMeasurements, numSeries });
  }
  for (const { id, database, retentionPolicy, fileBytes, series, rows } of shards) {
    const kind = { engine: 'starling', indexType: 'starling' };
    const path = join(config.dataDirectory, 'shards', `${id}.sqlite`);
    const tags = { database, retentionPolicy, id: String(numericShardId(id)), path, ...kind };
    add('shard', tags, { diskBytes: fileBytes, seriesCreate: series, rows });
  }
  add(
    'write',
    {},
    {
      req: writes.requests,
      pointReq: requests.writtenRows + requests.refusedRows,
      writeOk: writes.requests - writes.clientErrors - writes.serverErrors,
      writeDrop: requests.refusedRows,
      writeError: writes.serverErrors,
    },
  );
  found.push(...sources.subscribers.statistics());
  add(
    'httpd',
    { bind },
    {
      req: writes.requests + queries.requests,
      queryReq: queries.requests,
      writeReq: writes.requests,
      writeReqBytes: requests.writtenBytes,
      pointsWrittenOK: requests.writtenRows,
      pointsWrittenDropped: requests.refusedRows,
      clientError: writes.clientErrors + queries.clientErrors,
      serverError: writes.serverErrors + queries.serverErrors,
      reqDurationNs: Math.round((writes.seconds + queries.seconds) * NS),
      queryReqDurationNs: Math.round(queries.seconds * NS),
      writeReqDurationNs: Math.round(writes.seconds * NS),
    },
  );
  for (const { bind: address, counts } of udp.all)
    add(
      'udp',
      { bind: address },
      {
        bytesRx: counts.bytes,
        pointsRx: counts.lines,
        pointsParseFail: counts.datagramsRefused,
        readFail: counts.socketErrors,
        batchesTx: counts.batches - counts.batchesFailed,
        batchesTxFail: counts.batchesFailed,
        pointsTx: counts.linesWritten,
        pointsDropped: counts.linesDropped,
      },
    );
  return found;
}

/** Of what InfluxDB does not have: members, what waits for them, repair. */
export async function ownStatistics({ core, pool }: StatisticSources): Promise<Statistic[]> {
  const { members, live, databases } = core.snapshot();
  const [outboxes, counters] = await Promise.all([pool.callAll('outboxStatus'), pool.callAll('counters')]);
  const membersUp = members.filter(({ state }) => state !== 'removed').length;
  const cluster = { members: membersUp, live: live.length, databases: databases.length, ...core.counters };
  return [
    { name: 'cluster', tags: {}, values: cluster },
    ...outboxes.flat().map(({ peer, bytes }) => ({ name: 'outbox', tags: { peer }, values: { bytes } })),
    { name: 'repair', tags: {}, values: summed(counters) },
  ];
}

function summed(all: readonly object[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const each of all)
    for (const [name, value] of Object.entries(each) as [string, number][]) sums[name] = (sums[name] ?? 0) + value;
  return sums;
}

function joinedNames(all: readonly ReadonlyMap<string, ReadonlySet<string>>[]): Map<string, Set<string>> {
  const joined = new Map<string, Set<string>>();
  for (const [database, names] of all.flatMap((each) => [...each]))
    joined.set(database, new Set([...(joined.get(database) ?? []), ...names]));
  return joined;
}

/** A series is in the shards of many times: the group with the most of them counts. */
function seriesByDatabase(shards: readonly ShardDescription[]): Map<string, number> {
  const ofGroup = new Map<string, number>();
  for (const { database, retentionPolicy, startNs, series } of shards) {
    const group = `${database}\0${retentionPolicy}\0${startNs}`;
    ofGroup.set(group, (ofGroup.get(group) ?? 0) + series);
  }
  const most = new Map<string, number>();
  for (const [group, series] of ofGroup) {
    const database = group.slice(0, group.indexOf('\0'));
    most.set(database, Math.max(most.get(database) ?? 0, series));
  }
  return most;
}
