/**
 * When a node starts it writes made-up rows: through a coordinator of its own, frames, and a scratch replica in each
 * worker (scratch-replica.ts), which is flushed and thrown away.
 *
 * The first writes of a process otherwise pay for what happens once: native code is loaded, kernels are compiled, functions
 * are parsed, compiled and, when V8 has seen them often enough, compiled again. That was 130 ms for the first body of
 * 5,000 lines on a machine that had nothing else to do. Nothing of the warm-up is visible: no database, shard, series,
 * version or metric of the node has to do with it.
 *
 * Its cost is bounded, by rows and by time, and other work goes on in between: each step takes a few milliseconds. When
 * it fails (a full disk, say) the node serves cold.
 */
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { NO_KEYS_ENCODED } from '../shards/series-keys.ts';
import { makeStamp, makeVersion, type NodeNumber } from '../shards/version.ts';
import { Coordinator, type CoordinatorLimits } from './coordinator.ts';
import type { WriteRequest } from './http/influx-write.ts';
import { SchemaCache } from './schema-cache.ts';
import { ShardPlaces } from './shard-places.ts';
import type { PostedWrite, WorkerPool, WriteOnTheWay } from './threads.ts';

const DATABASE = 'warm-up';
const WEEK_NS = 604_800_000_000_000n;
/** Enough for V8 to compile what is called for each batch. */
const ROUNDS = 64;
/** A machine that is busy with other things is not kept from serving for longer. */
const MS_MAX = 1_000;
/** A scratch replica that has not settled by then is left to the next start. */
const END_MS_MAX = 5_000;
const HOSTS = 100;
const FLOATS = 10;
const TAGS = ',region=r1,datacenter=r1a,rack=7,os=linux,arch=x64,team=a,service=4,version=1,environment=test';

export type WarmUpPool = Pick<WorkerPool, 'call' | 'count' | 'workerOf'>;

/** Rejects when a worker refuses; what was made is then removed with the next start. */
export async function warmUp(self: NodeNumber, pool: WarmUpPool, limits: CoordinatorLimits): Promise<void> {
  const snapshot = snapshotOf(self);
  const owners = () => [self];
  let problem: Error | null = null;
  let minted = 0;
  const coordinator: Coordinator = new Coordinator(
    {
      seed: DATABASE,
      isReady: () => true,
      snapshot: () => snapshot,
      owners,
      mint: () => makeVersion(makeStamp(Date.now(), minted++), self),
      nowMs: Date.now,
      workerOf: (number) => pool.workerOf(number),
      submit: (worker, writes) => {
        const settle = () => coordinator.settle(writes.map(({ request }) => ({ request, outcome: { ok: true } })));
        pool.call(worker, 'warmUp', snapshot, writes.map(onTheWay)).then(settle, (error: Error) => {
          problem = error;
          settle();
        });
      },
      later: setImmediate,
      after: (ms, work) => setTimeout(work, ms),
      faulty: (error) => {
        problem = error;
      },
      observe: () => {},
    },
    limits,
    new SchemaCache(async (shards) => shards.map(({ id }) => ({ id, fields: [] }))),
    new ShardPlaces({ self, snapshot: () => snapshot, owners, nowMs: Date.now }),
  );
  const began = performance.now();
  for (let round = 0; round < ROUNDS && problem === null; round++) {
    if (performance.now() - began > MS_MAX) break;
    const request: WriteRequest = {
      database: DATABASE,
      retentionPolicy: '',
      precision: 'ms',
      consistency: 'one',
      body: [Buffer.from(bodyOf(round))],
      nowNs: BigInt(Date.now()) * 1_000_000n,
    };
    await new Promise((answered) => coordinator.write(request, answered));
  }
  const end = async (worker: number): Promise<void> => {
    const until = performance.now() + END_MS_MAX;
    while (await pool.call(worker, 'endWarmUp'))
      if (performance.now() > until) throw new Error(`worker ${worker} does not settle its warm-up`);
  };
  const ends = await Promise.allSettled(Array.from({ length: pool.count }, (_, worker) => end(worker)));
  problem ??= ends.find((each) => each.status === 'rejected')?.reason ?? null;
  if (problem !== null) throw problem;
}

/** What an agent sends: floats of two decimals, and now and then the other types. */
function bodyOf(round: number): string {
  const now = Date.now() + round;
  const lines: string[] = [];
  for (let host = 0; host < HOSTS; host++) {
    let line = `cpu,hostname=host_${host}${TAGS} `;
    for (let field = 0; field < FLOATS; field++) {
      const hundredths = (round * 37 + host * 101 + field * 1_009) % 10_000;
      line += `${field === 0 ? '' : ','}f${field}=${(hundredths / 100).toFixed(2)}`;
    }
    lines.push(`${line} ${now}`);
  }
  lines.push(`system,hostname=host_0 uptime=${round}i,load=${round / 7},up=true,state="running" ${now}`);
  return lines.join('\n');
}

function onTheWay(write: PostedWrite): WriteOnTheWay {
  const { request, frame, keys, allKeys, consistency, durability, timeoutMs } = write;
  // As on the way of a client's writes: frames without keys share the bytes that say so.
  return [request, frame, keys === NO_KEYS_ENCODED ? null : keys, allKeys, { consistency, durability, timeoutMs }];
}

function snapshotOf(self: NodeNumber): ClusterSnapshot {
  const policy = {
    name: DATABASE,
    generation: 0,
    durationNs: 0n,
    shardDurationNs: WEEK_NS,
    replication: 1,
    hasDeletes: false,
  };
  return {
    viewHash: DATABASE,
    self,
    members: [{ number: self, name: DATABASE, address: '', state: 'up' }],
    live: [self],
    databases: [
      {
        name: DATABASE,
        generation: 0,
        durability: 'fsync',
        conflict: 'last-write-wins',
        defaultRetentionPolicy: DATABASE,
        retentionPolicies: [policy],
      },
    ],
    droppedThrough: {},
    statements: [],
    heldBy: {},
    heldSequence: {},
  };
}
