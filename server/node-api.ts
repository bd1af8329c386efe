/** What this node answers to other nodes about its own shards (query-rpc.ts), from its workers. */
import type { FoundWrite, SoughtWrite } from '../repair/found-writes.ts';
import {
  type Check,
  key,
  listOf,
  node,
  objectOf,
  oneOf,
  orAbsent,
  orNull,
  size,
  stamp,
  text,
  tupleOf,
  version as versionCheck,
} from '../repair/message-checks.ts';
import { EMPTY_TALLY, NO_STATES } from '../repair/repair-order.ts';
import { type ShardId, shardKeyFromJson } from '../shards/shard-key.ts';
import type { LevellingDesk } from './levelling-desk.ts';
import { newestVersion } from './policy-deletes.ts';
import type { RunningQueries } from './query/running-queries.ts';
import { runLocal } from './query-backend.ts';
import { partialRequest, shardAsked, shardsAsked, shardsWithFields, shardsWithHashes } from './query-checks.ts';
import type { NodeApi } from './query-rpc.ts';
import type { RepairJournal } from './repair-journal.ts';
import { repairQuery } from './repair-query.ts';
import type { RepairRatesStore } from './repair-rates.ts';
import { localCensus, localSchemas } from './schema-source.ts';
import type { WorkerPool } from './threads.ts';

export interface NodeApiPorts {
  readonly pool: WorkerPool;
  readonly rates: RepairRatesStore;
  readonly levelling: LevellingDesk;
  readonly journal: RepairJournal;
  readonly running: RunningQueries;
  /** Tells this process's lists of shards from those of one before it. */
  readonly startedMs: number;
  viewHash(): string;
}

const levelCalls = listOf(
  objectOf({
    shard: key,
    level: oneOf('quorum', 'all'),
    viewHash: text,
    holders: listOf(node),
    without: listOf(objectOf({ member: node, reason: text })),
    timeoutMs: size,
  }),
);
const number: Check = (value) => typeof value === 'number';
const tally = objectOf({
  ...Object.fromEntries(Object.keys(EMPTY_TALLY).map((name) => [name, number])),
  states: objectOf(Object.fromEntries(Object.keys(NO_STATES).map((state) => [state, number]))),
  etaMs: orNull(number),
  failure: (value) => value === null || typeof value === 'string',
});
const repairOrder = objectOf({
  id: text,
  mode: oneOf('ring', 'scrub', 'preview'),
  scope: text,
  startedMs: size,
  members: listOf(objectOf({ member: node, shards: size })),
  unreachable: listOf(text),
  without: listOf(text),
  revision: size,
  ended: orAbsent(tally),
});
const repairStart = objectOf({ order: repairOrder, shards: listOf(objectOf({ id: text, key })) });
const soughtWrites = listOf(objectOf({ shard: key, version: versionCheck, foundWith: orAbsent(node) }));

export function createNodeApi(ports: NodeApiPorts): NodeApi {
  const { pool, rates, levelling, journal, running, startedMs, viewHash } = ports;
  return {
    async whereabouts(known) {
      const unplaced = (await pool.callAll('unplaced')).flat();
      const revision = `${startedMs}-${pool.heldRevision}`;
      return { viewHash: viewHash(), revision, held: known === revision ? null : pool.held(), unplaced };
    },
    async level(calls) {
      check(levelCalls, calls);
      return Promise.all(calls.map((call) => levelling.level({ ...call, shard: shardKeyFromJson(call.shard) })));
    },
    async findWrites(writes) {
      check(soughtWrites, writes);
      return findLocalWrites(
        pool,
        writes.map((write) => ({ ...write, shard: shardKeyFromJson(write.shard) })),
      );
    },
    async partial(shards, request, ending) {
      check(shardsAsked, shards);
      check(partialRequest, request);
      return runLocal(pool, shards, request, ending);
    },
    async schemas(shards) {
      check(shardsWithFields, shards);
      return localSchemas(pool, shards);
    },
    async census(shards) {
      check(shardsWithHashes, shards);
      return localCensus(pool, shards);
    },
    async describeShard(shard, throughStamp) {
      check(tupleOf(shardAsked, orNull(stamp)), [shard, throughStamp]);
      return pool.call(pool.workerOf(shard.number), 'describeShard', shard.id, throughStamp);
    },
    async startRepair({ order, shards }) {
      check(repairStart, { order, shards });
      const held = new Set(pool.held().map((each) => each.id));
      const here = shards.filter((shard) => held.has(shard.id));
      const byWorker = Array.from({ length: pool.count }, (): ShardId[] => []);
      for (const { id, key: json } of here) byWorker[pool.workerOf(shardKeyFromJson(json).number)]!.push(id);
      await Promise.all(byWorker.map((ids, worker) => pool.call(worker, 'startRepair', order, ids)));
      return here.map((shard) => shard.id);
    },
    async controlRepair(id, action) {
      check(objectOf({ id: text, action: oneOf('pause', 'resume', 'cancel') }), { id, action });
      await pool.callAll('controlRepair', id, action);
    },
    async pauseRepair(paused) {
      rates.set({ paused: paused === true });
    },
    async repairHistory(query) {
      return { records: journal.list(repairQuery.parse(query)), rates: rates.status };
    },
    repairRecord: async (id) => journal.get(String(id)),
    newestVersion: () => newestVersion(pool),
    runningQueries: async () => running.list(),
    async killQuery(id) {
      try {
        running.kill(BigInt(String(id)));
        return null;
      } catch (error) {
        return (error as Error).message;
      }
    },
    async repairs(id, withParts) {
      const [orders, parts] = await Promise.all([
        pool.callAll('repairOrders', String(id)),
        withParts === true ? pool.callAll('repairs', String(id)) : [],
      ]);
      return { orders: orders.flat(), parts: parts.flat() };
    },
  };
}

/** In the order of the writes. */
export async function findLocalWrites(pool: WorkerPool, writes: readonly SoughtWrite[]): Promise<FoundWrite[]> {
  const found: FoundWrite[] = [];
  const byWorker = new Map<number, number[]>();
  for (const [at, { shard }] of writes.entries()) {
    const worker = pool.workerOf(shard.number);
    const places = byWorker.get(worker);
    if (places === undefined) byWorker.set(worker, [at]);
    else places.push(at);
  }
  await Promise.all(
    [...byWorker].map(async ([worker, places]) => {
      const answers = await pool.call(
        worker,
        'findWrites',
        places.map((at) => writes[at]!),
      );
      for (const [i, at] of places.entries()) found[at] = answers[i]!;
    }),
  );
  return found;
}

function check(form: Check, value: unknown): void {
  if (!form(value)) throw new Error('malformed request');
}
