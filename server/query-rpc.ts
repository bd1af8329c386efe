/**
 * Requests from one node to another that want an answer: partial queries, schemas, descriptions, repairs.
 *
 * POST /internal/query with a body made by v8.serialize (it knows typed arrays, bigints and maps), authenticated by the
 * cluster's id, which only members know. Bounded in size and time. These are reads, or orders that may be repeated; what
 * must not get lost travels as frames between workers instead.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { deserialize, serialize } from 'node:v8';
import { request as undiciRequest } from 'undici';
import type { HeldShard } from '../repair/cluster.ts';
import type { FoundWrite } from '../repair/found-writes.ts';
import type { LevelOrder, LevelResult } from '../repair/levelling.ts';
import type { RepairStatus, ShardDescription } from '../repair/records.ts';
import type { OrderStatus, RepairOrder } from '../repair/repair-order.ts';
import type { PartialRequest } from '../shards/query/partial.ts';
import type { ShardId, ShardKeyJson } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import type { PartialAnswer } from './partial-answer.ts';
import { Ending } from './query/ending.ts';
import type { QueryDescription } from './query/running-queries.ts';
import type { KeptRepair } from './repair-history.ts';
import type { RepairQuery } from './repair-query.ts';
import type { RatesStatus } from './repair-rates.ts';
import type { CensusAnswer, CensusQuestion, SchemaAnswer, SchemaQuestion } from './shard-questions.ts';

const REQUEST_BYTES_MAX = 8 * 1024 * 1024;
const ANSWER_BYTES_MAX = 512 * 1024 * 1024;
const SHORT_TIMEOUT_MS = 3_000;

export type PlaceAnswer = Omit<PartialAnswer, 'nothingAsOf'>;

/** Which shards a member holds, and of which it has writes that no owner is known to have. */
export interface Whereabouts {
  readonly viewHash: string;
  /** Names the list: a member that is told it need not send the list again. */
  readonly revision: string;
  /** null: as it was under `known`. */
  readonly held: readonly HeldShard[] | null;
  readonly unplaced: readonly ShardKeyJson[];
}

/** A `LevelOrder` between nodes. */
export interface LevelCall extends Omit<LevelOrder, 'request' | 'shard'> {
  readonly shard: ShardKeyJson;
}

/** Of orders what runs at one member: sums of each of its workers. */
export interface RepairParts {
  readonly orders: readonly OrderStatus[];
  readonly parts: readonly RepairStatus[];
}

/** What every node answers for its own shards. */
export interface NodeApi {
  /** `ending`: of the connection that asked; it is not sent. */
  partial(
    shards: readonly { id: ShardId; number: number }[],
    request: PartialRequest,
    ending?: Ending,
  ): Promise<PlaceAnswer>;
  schemas(shards: readonly (SchemaQuestion & { number: number })[]): Promise<SchemaAnswer[]>;
  census(shards: readonly (CensusQuestion & { number: number })[]): Promise<CensusAnswer[]>;
  describeShard(shard: { id: ShardId; number: number }, throughStamp: string | null): Promise<ShardDescription | null>;
  /** `known`: the revision of the list that the caller has. */
  whereabouts(known: string | null): Promise<Whereabouts>;
  /** In the order of the calls. */
  level(calls: readonly LevelCall[]): Promise<LevelResult[]>;
  /** In the order of the writes. */
  findWrites(
    writes: readonly { shard: ShardKeyJson; version: Version; foundWith?: NodeNumber }[],
  ): Promise<FoundWrite[]>;
  /** Starts those that are here; answers which. Idempotent. */
  startRepair(repair: {
    order: RepairOrder;
    shards: readonly { id: ShardId; key: ShardKeyJson }[];
  }): Promise<ShardId[]>;
  controlRepair(id: string, action: 'pause' | 'resume' | 'cancel'): Promise<void>;
  /** One order, or a mend that runs; '': all. */
  repairs(id: string, withParts: boolean): Promise<RepairParts>;
  pauseRepair(paused: boolean): Promise<void>;
  /** A page of the repairs that this node keeps; and what repair may take of it. */
  repairHistory(query: RepairQuery): Promise<{ records: KeptRepair[]; rates: RatesStatus }>;
  repairRecord(id: string): Promise<KeptRepair | null>;
  /** Of all that this node has stored; null: nothing. */
  newestVersion(): Promise<Version | null>;
  /** For its clients. */
  runningQueries(): Promise<QueryDescription[]>;
  /** null: it ends; else why not. */
  killQuery(id: string): Promise<string | null>;
}

const METHODS: readonly (keyof NodeApi)[] = [
  'partial',
  'schemas',
  'census',
  'describeShard',
  'whereabouts',
  'level',
  'findWrites',
  'startRepair',
  'controlRepair',
  'repairs',
  'pauseRepair',
  'repairHistory',
  'repairRecord',
  'newestVersion',
  'runningQueries',
  'killQuery',
];

export class NodeCallError extends Error {
  readonly code = 'node-call';
  readonly status = 503;
}

type Answer = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly message: string };

/** Rejects with NodeCallError when the node does not answer, or answers with an error. */
export async function callNode<K extends keyof NodeApi>(
  target: {
    readonly address: string;
    readonly clusterId: string;
    /** Name of the node that asks. */
    readonly from: string;
    readonly timeoutMs?: number;
    readonly signal?: AbortSignal;
  },
  method: K,
  ...args: Parameters<NodeApi[K]>
): Promise<Awaited<ReturnType<NodeApi[K]>>> {
  const timeoutMs = target.timeoutMs ?? SHORT_TIMEOUT_MS;
  let answer: Answer;
  try {
    const response = await undiciRequest(new URL('/internal/query', target.address), {
      method: 'POST',
      body: serialize({ method, args }),
      headers: {
        'content-type': 'application/octet-stream',
        'starling-cluster': target.clusterId,
        'starling-name': target.from,
      },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      signal: target.signal ?? AbortSignal.timeout(timeoutMs),
    });
    const bytes = await readBytes(response.body, ANSWER_BYTES_MAX);
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
    answer = deserialize(bytes) as Answer;
  } catch (error) {
    throw new NodeCallError(`${target.address} did not answer ${method}: ${(error as Error).message}`);
  }
  if (!answer.ok) throw new NodeCallError(answer.message);
  return answer.value as Awaited<ReturnType<NodeApi[K]>>;
}

/** The other side. Never throws: what is wrong with the request is answered, and what is wrong here too. */
export async function serveNodeCall(
  request: IncomingMessage,
  response: ServerResponse,
  clusterId: string | null,
  api: NodeApi,
): Promise<void> {
  if (request.method !== 'POST' || clusterId === null || request.headers['starling-cluster'] !== clusterId) {
    request.resume();
    response.writeHead(403).end();
    return;
  }
  let answer: Answer;
  try {
    const call = deserialize(await readBytes(request, REQUEST_BYTES_MAX)) as { method: keyof NodeApi; args: unknown[] };
    if (!METHODS.includes(call.method) || !Array.isArray(call.args)) throw new Error('unknown method');
    const method = api[call.method] as (...args: unknown[]) => Promise<unknown>;
    const args = call.method === 'partial' ? [call.args[0], call.args[1], endingOf(response)] : call.args;
    answer = { ok: true, value: await method(...args) };
  } catch (error) {
    answer = { ok: false, message: (error as Error).message };
  }
  if (response.destroyed) return;
  const body = serialize(answer);
  response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': body.length });
  response.end(body);
}

/** Who asked is gone: there is nobody to work for. */
function endingOf(response: ServerResponse): Ending {
  const ending = new Ending();
  const gone = (): void => ending.end(new NodeCallError('the connection was closed'));
  // It may have left while its request was read.
  if (response.destroyed) gone();
  else response.once('close', gone);
  return ending;
}

export async function readBytes(stream: AsyncIterable<Buffer>, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new NodeCallError(`more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}
