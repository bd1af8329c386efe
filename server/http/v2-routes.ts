/**
 * What of InfluxDB 2.x's API a server of 1.x has beside /api/v2/write: buckets, deletes, and a clear word about Flux. Whose
 * organisation and token come along is not looked at.
 */
import type { Express, Request, Response } from 'express';
import { z } from 'zod';
import { TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import { QueryError } from '../query/query-error.ts';
import { parseTime } from '../query/time-range.ts';
import { parseDeletePredicate } from './delete-predicate.ts';
import { setInfluxHeaders } from './influx-ping.ts';
import { addBucketRoutes } from './v2-buckets.ts';
import { answering, existing, jsonOf, refuseV2, V2Error, type V2Ports } from './v2-requests.ts';

const deletion = z.object({ start: z.string(), stop: z.string(), predicate: z.string().optional() });

export function addV2Routes(app: Express, ports: V2Ports): void {
  app.use('/api/v2', (request, response, next) => {
    setInfluxHeaders(request, response, ports.version);
    const problem = ports.notReady();
    if (request.method === 'OPTIONS') response.status(204).end();
    else if (problem !== null) refuseV2(response, 503, problem);
    else next();
  });
  app.use('/api/v2/query', (_request, response) => {
    refuseV2(response, 501, 'Flux is not implemented: use InfluxQL, GET or POST /query?db=DATABASE&q=STATEMENT');
  });
  app.post('/api/v2/delete', (request, response) => answering(response, () => deleteRows(request, response, ports)));
  addBucketRoutes(app, ports);
}

async function deleteRows(request: Request, response: Response, ports: V2Ports): Promise<void> {
  const { database, policy } = existing(ports, String(request.query.bucket ?? ''));
  const { start, stop, predicate } = await jsonOf(
    request,
    deletion,
    '{"start": TIME, "stop": TIME, "predicate": TEXT}',
  );
  const [minNs, maxNs] = [timeOf('start', start), timeOf('stop', stop)];
  if (minNs > maxNs) throw new V2Error(400, 'start must not be later than stop');
  const pick = parseDeletePredicate(predicate ?? '');
  const [fromNs, toNs] = [minNs < TIME_MIN_NS ? TIME_MIN_NS : minNs, maxNs > TIME_MAX_NS ? TIME_MAX_NS : maxNs];
  await ports.backend.deleteRows(database, policy, pick, fromNs, toNs);
  response.status(204).end();
}

function timeOf(name: string, text: string): bigint {
  try {
    return parseTime(text, null);
  } catch (error) {
    if (error instanceof QueryError)
      throw new V2Error(400, `${name}: "${text}" is not a time such as 2030-01-02T03:04:05Z`);
    throw error;
  }
}
