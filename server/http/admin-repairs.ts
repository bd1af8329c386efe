/**
 * Repairs on demand: `POST /api/repairs {shard | database | all, mode}` -> 202 {id}; `GET /api/repairs` (with those that
 * are kept, repair-records.ts), `GET /api/repairs/:id`, `GET /api/repairs/:id/events` (server-sent events), `POST /api/repairs/:id/pause|resume|cancel`.
 *
 * A repair is a set of shards. Each runs where the shard is: here, or at a live holder when this node has no replica.
 * Which shard was started where is remembered by the node that was asked; states are read from the workers each time.
 */
import { randomBytes } from 'node:crypto';
import express, { type Express, type Request, type Response } from 'express';
import { z } from 'zod';
import type { RepairMode, RepairState, RepairStatus } from '../../repair/records.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import type { NodeApi } from '../query-rpc.ts';
import { repairParameters } from '../repair-query.ts';
import type { RepairRatesStore } from '../repair-rates.ts';
import type { KnownShard } from '../shard-places.ts';
import type { AdminPorts } from './admin.ts';
import { apiOf, orNothing } from './member-calls.ts';
import { addRepairLimitRoutes, describeIssue } from './repair-limits.ts';
import { findRecord, listRecords } from './repair-records.ts';
import { sendError } from './server.ts';

const REPAIRS_MAX = 256;
const EVENT_INTERVAL_MS = 250;
const EVENT_STREAMS_MAX = 100;
const BODY_BYTES_MAX = 64 * 1024;

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

interface StartedRepair {
  readonly id: string;
  readonly mode: RepairMode;
  readonly scope: string;
  readonly startedMs: number;
  /** By the number of the member that runs them. */
  readonly shards: ReadonlyMap<string, readonly ShardId[]>;
  /** Known shards that nobody could start. */
  readonly unreachable: readonly ShardId[];
}

/** Sums over the shards of a repair, in the words of one shard's status. */
export interface RepairSummary extends Omit<RepairStatus, 'shard' | 'differences' | 'pass'> {
  readonly scope: string;
  readonly unreachable: readonly ShardId[];
  readonly shards: readonly RepairStatus[];
}

export function addRepairRoutes(app: Express, ports: AdminPorts, rates: RepairRatesStore): void {
  addRepairLimitRoutes(app, ports, rates);
  const started = new Map<string, StartedRepair>();
  const own = ports.nodeApi;
  let streams = 0;

  const look = (id: string): Promise<RepairSummary | null> => {
    const repair = started.get(id);
    return repair === undefined ? summarizeUnknown(own, id) : summarize(ports, own, repair);
  };
  const find = async (request: Request, response: Response): Promise<RepairSummary | null> => {
    const id = String(request.params.id);
    const found = await look(id);
    if (found === null) sendError(response, 404, 'not found', `no repair ${id} is known to this node`);
    return found;
  };

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
    const repair = await start(ports, own, wanted, mode, scope);
    if (started.size >= REPAIRS_MAX) started.delete(started.keys().next().value!);
    started.set(repair.id, repair);
    response
      .status(202)
      .json({ id: repair.id, shards: wanted.length - repair.unreachable.length, unreachable: repair.unreachable });
  });
  app.get('/api/repairs', async (request, response) => {
    const parsed = repairParameters.safeParse(request.query);
    if (!parsed.success) return sendError(response, 400, 'invalid', describeIssue(parsed.error.issues[0]));
    const [repairs, kept] = await Promise.all([
      Promise.all([...started.values()].reverse().map((each) => summarize(ports, own, each))),
      listRecords(ports, (member) => apiOf(ports, own, member), parsed.data),
    ]);
    response.json({ paused: rates.rates.paused, repairs, ...kept });
  });
  app.get('/api/repairs/:id', async (request, response) => {
    const id = String(request.params.id);
    const order = await look(id);
    const found = order ?? (await findRecord(ports, (member) => apiOf(ports, own, member), id));
    if (found !== null) response.json(found);
    else sendError(response, 404, 'not found', `no repair ${id} is known to this node`);
  });
  app.get('/api/repairs/:id/events', async (request, response) => {
    if (streams >= EVENT_STREAMS_MAX)
      return sendError(response, 503, 'unavailable', `more than ${EVENT_STREAMS_MAX} event streams`);
    const first = await find(request, response);
    if (first === null) return;
    let summary: RepairSummary = first;
    streams++;
    let open = true;
    response.on('close', () => {
      open = false;
      streams--;
    });
    response.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.flushHeaders();
    for (let last = ''; open; ) {
      const text = JSON.stringify(summary);
      if (text !== last) response.write(`event: ${isOver(summary.state) ? 'end' : 'progress'}\ndata: ${text}\n\n`);
      last = text;
      if (isOver(summary.state)) break;
      await new Promise((resolve) => setTimeout(resolve, EVENT_INTERVAL_MS));
      const next = await look(summary.id);
      if (next === null) break;
      summary = next;
    }
    response.end();
  });
  for (const action of ['pause', 'resume', 'cancel'] as const) {
    app.post(`/api/repairs/:id/${action}`, async (request, response) => {
      const found = await find(request, response);
      if (found === null) return;
      const members = started.get(found.id)?.shards.keys() ?? [ports.snapshot().self];
      await Promise.all([...members].map((member) => apiOf(ports, own, member)?.controlRepair(found.id, action)));
      response.status(202).json({ id: found.id, action });
    });
  }
}

async function start(
  ports: AdminPorts,
  own: NodeApi,
  wanted: readonly KnownShard[],
  mode: RepairMode,
  scope: string,
): Promise<StartedRepair> {
  const id = randomBytes(6).toString('hex');
  const { self } = ports.snapshot();
  const byMember = new Map<string, KnownShard[]>();
  const unreachable: ShardId[] = [];
  const here = new Set(ports.places.local().map((held) => held.id));
  for (const shard of wanted) {
    const member = here.has(shard.id) ? self : ports.places.remoteHolders(shard)[0];
    if (member === undefined) unreachable.push(shard.id);
    else byMember.set(member, [...(byMember.get(member) ?? []), shard]);
  }
  const shards = new Map<string, readonly ShardId[]>();
  await Promise.all(
    [...byMember].map(async ([member, each]) => {
      const list = each.map((shard) => ({ id: shard.id, key: shardKeyToJson(shard.key) }));
      const accepted = (await orNothing(apiOf(ports, own, member)?.startRepair({ id, mode, shards: list }))) ?? [];
      if (accepted.length > 0) shards.set(member, accepted);
      unreachable.push(...each.map((shard) => shard.id).filter((shard) => !accepted.includes(shard)));
    }),
  );
  return { id, mode, scope, startedMs: ports.nowMs(), shards, unreachable };
}

async function summarize(ports: AdminPorts, own: NodeApi, repair: StartedRepair): Promise<RepairSummary> {
  const answers = await Promise.all(
    [...repair.shards.keys()].map((member) => orNothing(apiOf(ports, own, member)?.repairs(repair.id))),
  );
  return combine(
    repair,
    answers.flatMap((each) => each ?? []),
  );
}

/** A repair that another node was asked for, as far as it runs here. */
async function summarizeUnknown(own: NodeApi, id: string): Promise<RepairSummary | null> {
  const parts = await own.repairs(id);
  const first = parts[0];
  if (first === undefined) return null;
  const shards = new Map([['', parts.map((each) => each.shard)]]);
  return combine(
    { id, mode: first.mode, scope: 'shards on this node', startedMs: first.startedMs, shards, unreachable: [] },
    parts,
  );
}

function combine(repair: StartedRepair, parts: readonly RepairStatus[]): RepairSummary {
  const expected = [...repair.shards.values()].reduce((sum, each) => sum + each.length, 0);
  const sum = (pick: (each: RepairStatus) => number) => parts.reduce((total, each) => total + pick(each), 0);
  const lost = expected - parts.length;
  const state = combinedState(parts, lost);
  const etas = parts.map((each) => (isOver(each.state) ? 0 : each.etaMs));
  const failed = parts.find((each) => each.state === 'failed');
  return {
    id: repair.id,
    mode: repair.mode,
    scope: repair.scope,
    state,
    hop: sum((each) => each.hop),
    hops: sum((each) => each.hops),
    percentage: parts.length === 0 ? (expected === 0 ? 100 : 0) : Math.floor(sum((each) => each.percentage) / expected),
    batchesMoved: sum((each) => each.batchesMoved),
    rowsMoved: sum((each) => each.rowsMoved),
    bytesMoved: sum((each) => each.bytesMoved),
    etaMs: etas.includes(null) ? null : Math.max(0, ...(etas as number[])),
    startedMs: repair.startedMs,
    finishedMs: isOver(state) ? Math.max(repair.startedMs, ...parts.map((each) => each.finishedMs ?? 0)) : null,
    message:
      failed?.message ??
      (lost > 0 ? `${lost} of ${expected} shards run on a member that does not answer` : `${expected} shards`),
    unreachable: repair.unreachable,
    shards: parts,
  };
}

function combinedState(parts: readonly RepairStatus[], lost: number): RepairState {
  const states = new Set(parts.map((each) => each.state));
  if (states.has('running')) return 'running';
  if (states.has('paused')) return 'paused';
  if (states.has('queued')) return states.size > 1 ? 'running' : 'queued';
  if (lost > 0) return 'running';
  if (states.has('failed')) return 'failed';
  return states.has('cancelled') ? 'cancelled' : 'done';
}

function isOver(state: RepairState): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}
