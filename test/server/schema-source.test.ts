/** What a coordinator asks of other members about shards that it writes to. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import { type NodeApi, serveNodeCall } from '../../server/query-rpc.ts';
import { fetchCensus, type SchemaPlaces } from '../../server/schema-source.ts';
import type { CensusShard } from '../../server/series-limit.ts';
import { shardId } from '../../shards/shard-key.ts';

const OTHER = '2'.repeat(16);
const HASH_BYTES = 16;
const CALL_BYTES_MAX = 16_384;
/** A call with a hash that begins so fails. */
const FAILING = 9;
let calls: number[];
const server = createServer((request, response) => {
  const api = {
    census: async (shards) => {
      calls.push(shards.reduce((sum, { hashes }) => sum + hashes.byteLength, 0));
      if (shards.some(({ hashes }) => hashes.includes(FAILING))) throw new Error('not now');
      // Hashes that begin with 1 are those of series that are not there.
      return shards.map(({ id, hashes }) => {
        const places = Array.from({ length: hashes.byteLength / HASH_BYTES }, (_, i) => i);
        return { id, count: 7, unknown: Uint32Array.from(places.filter((i) => hashes[i * HASH_BYTES] === 1)) };
      });
    },
  } satisfies Partial<NodeApi>;
  void serveNodeCall(request, response, 'c', api as unknown as NodeApi);
});

beforeEach(async () => {
  calls = [];
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => new Promise((resolve) => server.close(resolve)));

function places(): SchemaPlaces {
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const members = [{ number: OTHER, name: 'n2', address, state: 'up' }];
  return {
    pool: {},
    places: { isLocal: () => false, isKnown: () => true, remoteHolders: () => [OTHER] },
    clusterId: 'c',
    snapshot: () => ({ self: '1'.repeat(16), members, heldBy: {} }) as unknown as ClusterSnapshot,
  } as unknown as SchemaPlaces;
}

function shard(number: number, series: number, absent: readonly number[]): CensusShard {
  const generations = { databaseGeneration: 0, retentionPolicyGeneration: 0 };
  const key = { database: 'd', retentionPolicy: 'p', ...generations, startNs: 0n, endNs: 9n, number };
  const hashes = new Uint8Array(series * HASH_BYTES);
  for (const place of absent) hashes[place * HASH_BYTES] = 1;
  return { id: shardId(key), key, hashes };
}

test('more series of a shard than one call may bring are asked for in several', async () => {
  const shards = [shard(0, 3, [1]), shard(1, 2_700, [0, 1_024, 2_699]), shard(2, 0, [])];
  const answers = await fetchCensus(places(), shards, CALL_BYTES_MAX);
  expect(calls.length).toBeGreaterThan(2);
  expect(Math.max(...calls)).toBeLessThanOrEqual(CALL_BYTES_MAX);
  expect(answers.map(({ id, count, unknown }) => [id, count, [...unknown]])).toEqual([
    [shards[0]!.id, 7, [1]],
    [shards[1]!.id, 7, [0, 1_024, 2_699]],
    [shards[2]!.id, 7, []],
  ]);
});

test('a shard of which a part was not answered has no answer, the others have theirs', async () => {
  const shards = [shard(0, 3, [1]), shard(1, 2_400, [5]), shard(2, 2, [0])];
  shards[1]!.hashes[1_200 * HASH_BYTES] = FAILING;
  const answers = await fetchCensus(places(), shards, CALL_BYTES_MAX);
  expect(answers.map(({ id }) => id)).not.toContain(shards[1]!.id);
  expect(answers.map(({ id }) => id)).toContain(shards[0]!.id);
});
