import type { ClusterSnapshot } from '../../repair/cluster.ts';
import type { WriteOutcome } from '../../repair/replica-host.ts';
import { Coordinator } from '../../server/coordinator.ts';
import type { WriteRequest } from '../../server/http/influx-write.ts';
import { SchemaCache, type SchemaSource } from '../../server/schema-cache.ts';
import type { CensusShard } from '../../server/series-limit.ts';
import { ShardPlaces } from '../../server/shard-places.ts';
import type { CensusAnswer } from '../../server/shard-questions.ts';
import type { PostedWrite } from '../../server/threads.ts';
import { decodeBatch } from '../../shards/batch-codec.ts';
import { type SeriesHash, shardNumberOf } from '../../shards/series-key.ts';
import { makeStamp, makeVersion } from '../../shards/version.ts';

export const SELF = '1'.repeat(16);
export const NOW_MS = 1_700_000_000_000;
const WEEK_NS = 604_800_000_000_000n;
const snapshot: ClusterSnapshot = {
  viewHash: 'v',
  self: SELF,
  members: [{ number: SELF, name: 'n1', address: 'http://x', state: 'up' }],
  live: [SELF],
  databases: [
    {
      name: 't',
      generation: 0,
      durability: 'fsync',
      conflict: 'last-write-wins',
      defaultRetentionPolicy: 'autogen',
      retentionPolicies: [
        { name: 'autogen', generation: 0, durationNs: 0n, shardDurationNs: WEEK_NS, replication: 1, hasDeletes: false },
        {
          name: 'day',
          generation: 0,
          durationNs: WEEK_NS / 7n,
          shardDurationNs: WEEK_NS / 7n,
          replication: 1,
          hasDeletes: false,
        },
      ],
    },
  ],
  droppedThrough: {},
  statements: [],
  heldBy: {},
  heldSequence: {},
};

export class Bench {
  posted: PostedWrite[] = [];
  posts = 0;
  faults: Error[] = [];
  /** Points and body of each write that was. */
  accepted: [number, string][] = [];
  ready = true;
  mintError: Error | null = null;
  fields: Awaited<ReturnType<SchemaSource['ask']>>[number]['fields'] = [];
  /** Nobody has any of the shards that are written to. */
  isNewGroup = false;
  #later: (() => void)[] = [];
  #after: (() => void)[] = [];
  #minted = 0;
  readonly coordinator: Coordinator;
  /** Series that were settled as written; null: nobody can answer. */
  stored: Set<SeriesHash> | null = new Set();
  censuses = 0;

  constructor(seriesMax = 0, writeInFlightBytesMax = 10_000) {
    const places = new ShardPlaces({ self: SELF, snapshot: () => snapshot, owners: () => [SELF], nowMs: () => NOW_MS });
    const schemas = new SchemaCache({
      ask: async (shards) => [{ id: shards[0]!.id, fields: this.fields }],
      isNew: () => this.isNewGroup,
    });
    this.coordinator = new Coordinator(
      {
        seed: 'seed',
        isReady: () => this.ready,
        snapshot: () => snapshot,
        owners: () => [SELF],
        mint: () => {
          if (this.mintError !== null) throw this.mintError;
          return makeVersion(makeStamp(NOW_MS, this.#minted++), SELF);
        },
        nowMs: () => NOW_MS,
        workerOf: (number) => number % 2,
        census: async (shards) => this.#census(shards),
        submit: (_worker, writes) => {
          this.posts++;
          this.posted.push(...writes);
        },
        later: (work) => this.#later.push(work),
        after: (_ms, work) => this.#after.push(work),
        faulty: (error) => this.faults.push(error),
        accepted: ({ body }, points) => this.accepted.push([points, Buffer.concat(body).toString()]),
        observe: () => {},
      },
      {
        writeInFlightBytesMax,
        writeTimeoutMs: 1_000,
        seriesCacheMax: 1_000,
        lineBytesMax: 1000,
        fieldsMax: 100,
        keyBytesMax: 1000,
        stringBytesMax: 1000,
        bodySeriesMax: 1000,
        seriesMax,
      },
      schemas,
      places,
    );
  }

  write(lines: string, more: Partial<WriteRequest> = {}): Promise<{ status: number; error?: string }> {
    const request: WriteRequest = {
      database: 't',
      retentionPolicy: '',
      precision: 'ms',
      consistency: 'one',
      body: [new TextEncoder().encode(lines)],
      nowNs: BigInt(NOW_MS) * 1_000_000n,
      ...more,
    };
    return new Promise((answered) => this.coordinator.write(request, answered));
  }

  /** Runs what was put off, and lets loads of schemas finish. */
  async turn(): Promise<void> {
    for (let round = 0; round < 4; round++) {
      this.runTurn();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** What was put off until after the present turn. */
  runTurn(): void {
    for (const work of this.#later.splice(0)) work();
  }

  /** Time passes. */
  wait(): void {
    for (const work of this.#after.splice(0)) work();
  }

  #census(shards: readonly CensusShard[]): CensusAnswer[] {
    this.censuses++;
    if (this.stored === null) return [];
    const all = [...this.stored];
    return shards.map(({ id, key, hashes }) => {
      const asked = (Buffer.from(hashes).toString('hex').match(/.{32}/g) ?? []) as SeriesHash[];
      const unknown = Uint32Array.from(asked.flatMap((hash, i) => (this.stored!.has(hash) ? [] : [i])));
      return { id, count: all.filter((hash) => shardNumberOf(hash, 4) === key.number).length, unknown };
    });
  }

  settle(outcome: WriteOutcome): void {
    for (const { frame } of this.posted) {
      const batch = decodeBatch(frame);
      if (outcome.ok && batch.kind === 'write') for (const hash of batch.series) this.stored?.add(hash);
    }
    this.coordinator.settle(this.posted.map(({ request }) => ({ request, outcome })));
    this.posted = [];
  }
}
