/**
 * `GET /debug/vars`: what InfluxDB tells of itself there, in its shape, so that Telegraf's `inputs.influxdb` and the
 * dashboards behind it go on. What there is nothing of here (Go's allocator, TSM files) is left out, and reads as absent;
 * what only this program has is in /metrics.
 */
import type { Express } from 'express';
import type { ShardDescription } from '../../repair/records.ts';
import type { RequestMetrics } from '../request-metrics.ts';
import type { WorkerPool } from '../threads.ts';
import type { UdpListeners } from '../udp-listeners.ts';
import { setInfluxHeaders } from './influx-ping.ts';

export interface DebugPorts {
  readonly version: string;
  readonly startedMs: number;
  readonly pool: WorkerPool;
  readonly requests: RequestMetrics;
  /** HOST:PORT of HTTP. */
  readonly bind: string;
  readonly dataDirectory: string;
  readonly udp: UdpListeners;
  nowMs(): number;
}

interface Statistic {
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, number>>;
}

const NS = 1e9;

export function addDebugVars(app: Express, ports: DebugPorts): void {
  app.get('/debug/vars', async (request, response) => {
    const shards = (await ports.pool.callAll('describeShards')).flat();
    setInfluxHeaders(request, response, ports.version);
    response.json({
      system: systemOf(ports),
      cmdline: process.argv,
      memstats: goMemory(),
      ...keyed(ports, shards),
    });
  });
}

function systemOf({ startedMs, nowMs }: DebugPorts): object {
  const now = nowMs();
  return {
    currentTime: new Date(now).toISOString(),
    started: new Date(startedMs).toISOString(),
    uptime: Math.floor((now - startedMs) / 1000),
  };
}

/** By Go's names: heaps of all threads are this process's, buffers and kernels are counted as other memory. */
function goMemory(): Record<string, number> {
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

/** The keys are InfluxDB's; nobody reads them, but each must be there once. */
function keyed(ports: DebugPorts, shards: readonly ShardDescription[]): Record<string, Statistic> {
  const { bind, requests, dataDirectory } = ports;
  const writes = requests.totals('write');
  const queries = requests.totals('query');
  const found: Record<string, Statistic> = {};
  const add = (key: string, name: string, tags: Statistic['tags'], values: Statistic['values']): void => {
    found[key] = { name, tags, values };
  };
  const { Sys, Alloc, HeapAlloc, HeapSys, HeapIdle, HeapInuse } = goMemory() as Record<string, number>;
  add('runtime', 'runtime', {}, {
    Alloc,
    HeapAlloc,
    HeapIdle,
    HeapInUse: HeapInuse,
    HeapSys,
    Sys,
  } as Statistic['values']);
  add(
    'queryExecutor',
    'queryExecutor',
    {},
    {
      queriesExecuted: queries.requests,
      queriesFinished: queries.requests,
      queryDurationNs: Math.round(queries.seconds * NS),
    },
  );
  for (const [database, numSeries] of seriesByDatabase(shards))
    add(`database:${database}`, 'database', { database }, { numSeries });
  for (const shard of shards) {
    const { id, database, retentionPolicy, fileBytes, series, rows } = shard;
    const tags = { database, retentionPolicy, id, engine: 'starling', indexType: 'starling', path: dataDirectory };
    add(`shard:${id}`, 'shard', tags, { diskBytes: fileBytes, seriesCreate: series, rows });
  }
  add(
    'write',
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
  add(
    `httpd:${bind}`,
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
  for (const { bind: address, counts } of ports.udp.all)
    add(
      `udp:${address}`,
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
