/** Asks the workers, or the members that hold a shard, for its fields and series (schema-cache.ts, series-limit.ts). */
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { heldIn } from '../repair/held-shards.ts';
import { emptyCensus } from '../shards/series-census.ts';
import { SERIES_HASH_BYTES } from '../shards/series-key.ts';
import { into } from './lists.ts';
import { nameOf } from './query-backend.ts';
import { callNode, NodeCallError } from './query-rpc.ts';
import type { SchemaShard } from './schema-cache.ts';
import type { CensusShard } from './series-limit.ts';
import type { KnownShard, ShardPlaces } from './shard-places.ts';
import type { CensusAnswer, CensusQuestion, SchemaAnswer, SchemaQuestion } from './shard-questions.ts';
import type { WorkerPool } from './threads.ts';

/** A write waits this long for an answer at most; then it goes on without. */
const TIMEOUT_MS = 1_000;
/** Of one call to another member, whose length is bounded (query-rpc.ts). */
const CALL_BYTES_MAX = 4 * 1024 * 1024;

export interface SchemaPlaces {
  readonly pool: WorkerPool;
  readonly places: ShardPlaces;
  readonly clusterId: string;
  snapshot(): ClusterSnapshot;
}

interface Numbered {
  readonly number: number;
}

interface CallTarget {
  readonly address: string;
  readonly clusterId: string;
  readonly from: string;
  readonly timeoutMs: number;
}

/** No worker and no member has any of them. */
export function areNowhere(at: SchemaPlaces, shards: readonly KnownShard[]): boolean {
  return whereabouts(at, shards, true).nowhere.length === shards.length;
}

export async function fetchSchemas(at: SchemaPlaces, shards: readonly SchemaShard[]): Promise<SchemaAnswer[]> {
  const { here, there } = whereabouts(at, shards, true);
  const plain = ({ id, key, known, series }: SchemaShard) => ({ id, number: key.number, known, series });
  const remote = [...there].map(([address, asked]) =>
    orNothing(callNode(targetOf(at, address), 'schemas', asked.map(plain))),
  );
  return (await Promise.all([localSchemas(at.pool, here.map(plain)), ...remote])).flat();
}

/**
 * A shard that nobody lists is new, or another member has just made it: one of its owners is asked whether it is there. When
 * there is no other owner it has no series.
 */
export async function fetchCensus(
  at: SchemaPlaces,
  shards: readonly CensusShard[],
  callBytesMax = CALL_BYTES_MAX,
): Promise<CensusAnswer[]> {
  const { here, there, nowhere } = whereabouts(at, shards, false);
  const plain = ({ id, key, hashes }: CensusShard) => {
    return { id, number: key.number, hashes, isListed: at.places.isKnown(id) };
  };
  const remote = [...there].map(async ([address, asked]) => {
    const calls = inCalls(asked, callBytesMax).map(async (some) => {
      const answers = await orNothing(callNode(targetOf(at, address), 'census', some.map(plain)));
      return some.map(({ id }) => answers.find((answer) => answer.id === id) ?? null);
    });
    return joined((await Promise.all(calls)).flat(), asked, callBytesMax);
  });
  const answers = await Promise.all([localCensus(at.pool, here.map(plain)), ...remote]);
  const fresh = nowhere.filter(({ id }) => !at.places.isKnown(id));
  return [...fresh.map(({ id, hashes }) => ({ id, ...emptyCensus(hashes) })), ...answers.flat()];
}

export async function localSchemas(
  pool: WorkerPool,
  shards: readonly (SchemaQuestion & Numbered)[],
): Promise<SchemaAnswer[]> {
  const asked = [...byWorker(pool, shards)].map(([worker, each]) => pool.call(worker, 'schemas', each));
  return (await Promise.all(asked)).flat();
}

export async function localCensus(
  pool: WorkerPool,
  shards: readonly (CensusQuestion & Numbered)[],
): Promise<CensusAnswer[]> {
  const asked = [...byWorker(pool, shards)].map(([worker, each]) => pool.call(worker, 'census', each));
  return (await Promise.all(asked)).flat();
}

function byWorker<T extends Numbered>(pool: WorkerPool, shards: readonly T[]): Map<number, T[]> {
  const found = new Map<number, T[]>();
  for (const shard of shards) into(found, pool.workerOf(shard.number), shard);
  return found;
}

/** Shards by the member that is to be asked, which lists it (`listed`) or may have it without; `nowhere`: nobody can answer for them. */
function whereabouts<T extends KnownShard>(
  { places, snapshot }: SchemaPlaces,
  shards: readonly T[],
  listed: boolean,
): { readonly here: T[]; readonly there: Map<string, T[]>; readonly nowhere: T[] } {
  const here = shards.filter(({ id }) => places.isLocal(id));
  const there = new Map<string, T[]>();
  const nowhere: T[] = [];
  for (const shard of shards) {
    if (places.isLocal(shard.id)) continue;
    const { heldBy, members } = snapshot();
    const holder = places.remoteHolders(shard).find((each) => !listed || heldIn(heldBy[each], shard.id) !== undefined);
    const member = members.find((each) => each.number === holder);
    if (member === undefined) nowhere.push(shard);
    else into(there, member.address, shard);
  }
  return { here, there, nowhere };
}

/** A shard of which more is asked comes in several calls, one behind the other. */
function inCalls(shards: readonly CensusShard[], bytesMax: number): CensusShard[][] {
  const calls: CensusShard[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const part of shards.flatMap((shard) => partsOf(shard, bytesMax))) {
    bytes += part.hashes.byteLength;
    if (bytes > bytesMax) {
      calls.push([]);
      bytes = part.hashes.byteLength;
    }
    calls.at(-1)!.push(part);
  }
  return calls;
}

function partsOf(shard: CensusShard, bytesMax: number): CensusShard[] {
  const parts: CensusShard[] = [];
  for (let at = 0; at === 0 || at < shard.hashes.byteLength; at += bytesMax)
    parts.push({ ...shard, hashes: shard.hashes.subarray(at, at + bytesMax) });
  return parts;
}

/** One answer for each shard, of those for its parts in order; none where one of them is missing. */
function joined(
  parts: readonly (CensusAnswer | null)[],
  shards: readonly CensusShard[],
  bytesMax: number,
): CensusAnswer[] {
  let next = 0;
  return shards.flatMap((shard) => {
    const own = partsOf(shard, bytesMax).map(() => parts[next++] ?? null);
    if (own.includes(null)) return [];
    const first = own[0]!;
    if (own.length === 1) return [first];
    const places = own.flatMap((part, i) =>
      Array.from(part!.unknown, (place) => place + (i * bytesMax) / SERIES_HASH_BYTES),
    );
    return [{ ...first, unknown: Uint32Array.from(places) }];
  });
}

function targetOf({ clusterId, snapshot }: SchemaPlaces, address: string): CallTarget {
  return { address, clusterId, from: nameOf(snapshot()), timeoutMs: TIMEOUT_MS };
}

async function orNothing<T>(call: Promise<T[]>): Promise<T[]> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof NodeCallError) return [];
    throw error;
  }
}
