/**
 * `GET /debug/vars`: what InfluxDB tells of itself there, in its shape, so that Telegraf's `inputs.influxdb` and the
 * dashboards behind it go on. What there is nothing of here (Go's allocator, TSM files) is left out, and reads as absent;
 * what only this program has is in /metrics.
 */
import type { Express } from 'express';
import { goMemory, influxStatistics, type Statistic, type StatisticSources } from '../statistics.ts';
import { setInfluxHeaders } from './influx-ping.ts';

export interface DebugPorts {
  readonly version: string;
  readonly startedMs: number;
  readonly statistics: StatisticSources;
  nowMs(): number;
}

export function addDebugVars(app: Express, ports: DebugPorts): void {
  app.get('/debug/vars', async (request, response) => {
    const statistics = await influxStatistics(ports.statistics);
    setInfluxHeaders(request, response, ports.version);
    response.json({
      system: systemOf(ports),
      cmdline: process.argv,
      memstats: goMemory(),
      // The keys are InfluxDB's; nobody reads them, but each must be there once.
      ...Object.fromEntries(statistics.map((each) => [keyOf(each), each])),
    });
  });
}

function keyOf({ name, tags }: Pick<Statistic, 'name' | 'tags'>): string {
  const { id, database, bind, destination } = tags;
  if (destination !== undefined) return [name, database, tags.retention_policy, tags.name, destination].join(':');
  const which = id ?? database ?? bind;
  return which === undefined ? name : `${name}:${which}`;
}

function systemOf({ startedMs, nowMs }: DebugPorts): object {
  const now = nowMs();
  return {
    currentTime: new Date(now).toISOString(),
    started: new Date(startedMs).toISOString(),
    uptime: Math.floor((now - startedMs) / 1000),
  };
}
