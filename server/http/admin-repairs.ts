/**
 * Repairs on demand: `POST /api/repairs {shard | database | all, mode}` -> 202 {id}; `GET /api/repairs` (with those that
 * are kept, repair-records.ts), `GET /api/repairs/:id`, `GET /api/repairs/:id/events` (server-sent events), `POST /api/repairs/:id/pause|resume|cancel`.
 *
 * A repair is a set of shards. Each runs where the shard is: here, or at a live holder when this node has no full replica;
 * a scrub at every live holder. What runs is asked of the members each time (repair-orders.ts): any node tells of, and steers, any repair.
 */
import express, { type Express, type Response } from 'express';
import { z } from 'zod';
import { isOver } from '../../repair/repair-order.ts';
import { repairParameters } from '../repair-query.ts';
import type { RepairRatesStore } from '../repair-rates.ts';
import type { AdminPorts } from './admin.ts';
import { apiOf } from './member-calls.ts';
import { addRepairLimitRoutes, describeIssue } from './repair-limits.ts';
import {
  controlOrder,
  findOrder,
  followOrder,
  followToEnd,
  listOrders,
  type RepairSummary,
  startOrder,
} from './repair-orders.ts';
import { findRecord, listRecords } from './repair-records.ts';
import { sendError } from './server.ts';

const EVENT_INTERVAL_MS = 250;
const EVENT_STREAMS_MAX = 100;
const BODY_BYTES_MAX = 64 * 1024;
/** Orders that are not over, in the cluster: each has a part for every one of its shards, which members keep and save. */
export const OPEN_ORDERS_MAX = 64;

const requestSchema = z
  .object({
    shard: z.string().optional(),
    database: z.string().optional(),
    all: z.boolean().optional(),
    mode: z.enum(['ring', 'scrub', 'preview']).default('ring'),
  })
  .strict()
  .refine(
    (body) => Number(body.shard !== undefined) + Number(body.database !== undefined) + Number(body.all === true) === 1,
    {
      message: 'name exactly one of "shard", "database" or "all": true',
    },
  );

export function addRepairRoutes(app: Express, ports: AdminPorts, rates: RepairRatesStore): void {
  addRepairLimitRoutes(app, ports, rates);
  const own = ports.nodeApi;
  let streams = 0;
  /** Orders that are being told to members: not all of them would be listed. */
  let starting = 0;
  /** Of each request that looks for open orders those that were told since it began: its list may be of before. */
  const looking = new Set<Set<string>>();

  app.post('/api/repairs', express.json({ limit: BODY_BYTES_MAX, type: () => true }), async (request, response) => {
    const parsed = requestSchema.safeParse(request.body ?? {});
    if (!parsed.success) {
      return sendError(response, 400, 'invalid', parsed.error.issues[0]?.message ?? 'invalid body');
    }
    const { shard, database, mode } = parsed.data;
    const known = ports.places.all();
    const wanted = known.filter((each) =>
      shard !== undefined ? each.id === shard : database === undefined || each.key.database === database,
    );
    if (wanted.length === 0 && shard !== undefined)
      return sendError(response, 404, 'not found', `no shard ${shard} is known here`);
    if (
      wanted.length === 0 &&
      database !== undefined &&
      !ports.snapshot().databases.some((each) => each.name === database)
    ) {
      return sendError(response, 404, 'not found', `database not found: ${database}`);
    }
    const scope = shard !== undefined ? `shard ${shard}` : database !== undefined ? `database ${database}` : 'all';
    starting++;
    const since = new Set<string>();
    looking.add(since);
    try {
      const open = (await listOrders(ports)).filter((each) => each.mode !== 'mend' && !isOver(each.state));
      const same = open.find((each) => mode === 'scrub' && each.mode === mode && each.scope === scope);
      // What waits for a silent member alone has read all others already.
      if (same?.state === 'running' && same.silent.length === 0) {
        const { id, unreachable } = same;
        return response.status(202).json({ id, shards: wanted.length, unreachable, without: [], joined: true });
      }
      const ids = new Set([...open.map(({ id }) => id), ...since]);
      if (ids.size + starting > OPEN_ORDERS_MAX) return sendTooMany(response, open);
      const { id, unreachable, without } = await startOrder(ports, wanted, mode, scope);
      for (const each of looking) each.add(id);
      // Of a node that stops: whoever looks at the repair later finds its end as well.
      followToEnd(ports, id).catch(() => {});
      response.status(202).json({ id, shards: wanted.length - unreachable.length, unreachable, without });
    } finally {
      starting--;
      looking.delete(since);
    }
  });
  app.get('/api/repairs', async (request, response) => {
    const parsed = repairParameters.safeParse(request.query);
    if (!parsed.success) return sendError(response, 400, 'invalid', describeIssue(parsed.error.issues[0]));
    const [repairs, kept] = await Promise.all([
      listOrders(ports),
      listRecords(ports, (member) => apiOf(ports, own, member), parsed.data),
    ]);
    response.json({ paused: rates.rates.paused, repairs, ...kept });
  });
  app.get('/api/repairs/:id', async (request, response) => {
    const id = String(request.params.id);
    const order = await findOrder(ports, id);
    const found = order ?? (await findRecord(ports, (member) => apiOf(ports, own, member), id));
    if (found !== null) response.json(found);
    else sendUnknown(response, id);
  });
  app.get('/api/repairs/:id/events', async (request, response) => {
    if (streams >= EVENT_STREAMS_MAX)
      return sendError(response, 503, 'unavailable', `more than ${EVENT_STREAMS_MAX} event streams`);
    // Before anything is awaited: of a client that has left by then no other sign comes.
    if (response.destroyed) return;
    streams++;
    let open = true;
    response.on('close', () => {
      open = false;
      streams--;
    });
    const id = String(request.params.id);
    const first = await followOrder(ports, id);
    if (!open) return;
    if (first === null) return sendUnknown(response, id);
    let summary: RepairSummary = first;
    response.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.flushHeaders();
    for (let last = ''; open; ) {
      const isEnd = isOver(summary.state);
      const text = JSON.stringify(isEnd ? ((await findOrder(ports, id)) ?? summary) : summary);
      if (text !== last) response.write(`event: ${isEnd ? 'end' : 'progress'}\ndata: ${text}\n\n`);
      last = text;
      if (isEnd) break;
      await new Promise((resolve) => setTimeout(resolve, EVENT_INTERVAL_MS));
      const next = await followOrder(ports, id);
      if (next === null) break;
      summary = next;
    }
    response.end();
  });
  for (const action of ['pause', 'resume', 'cancel'] as const) {
    app.post(`/api/repairs/:id/${action}`, async (request, response) => {
      const id = String(request.params.id);
      const found = await followOrder(ports, id);
      if (found === null) return sendUnknown(response, id);
      const refused = whyNot(found);
      if (refused !== null) return sendError(response, 409, 'conflict', refused);
      response.status(202).json({ id, action, unreachable: await controlOrder(ports, id, action) });
    });
  }
}

/** What cannot be steered; null: all else. */
function whyNot({ id, mode, state }: RepairSummary): string | null {
  if (mode === 'mend')
    return `${id} is no order: a damaged replica is mended by itself, because it holds the proofs of its shard back until then`;
  return isOver(state) ? `repair ${id} is over: ${state}` : null;
}

/** `open`: newest first. */
function sendTooMany(response: Response, open: readonly RepairSummary[]): void {
  const oldest = open.at(-1);
  const which =
    oldest === undefined ? '' : `; the oldest is ${oldest.id} (${oldest.mode}, ${oldest.scope}, ${oldest.state})`;
  const what = `${OPEN_ORDERS_MAX} repairs that were asked for run or are paused, and there may be no more`;
  sendError(
    response,
    429,
    'too many',
    `${what}: wait until some are over, or cancel them (starling repair cancel ID)${which}`,
  );
}

function sendUnknown(response: Response, id: string): void {
  sendError(response, 404, 'not found', `no repair ${id} is known to the members that are up`);
}
