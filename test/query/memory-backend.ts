/** A cluster's data in memory for tests of queries: shards as plain maps, run at several places in any order. */
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import {
  alterPolicyChanges,
  type Change,
  createDatabaseChanges,
  createPolicyChanges,
  databasesOf,
  dropDatabaseChanges,
  dropPolicyChanges,
} from '../../repair/databases.ts';
import { Metadata } from '../../repair/metadata.ts';
import { UserRegisters } from '../../repair/user-registers.ts';
import { ContinuousQueries, type QueryRegisters } from '../../server/continuous/registry.ts';
import type { Diagnostic } from '../../server/diagnostics.ts';
import type { QueryBackend, ShardTarget } from '../../server/query/backend.ts';
import { QueryError } from '../../server/query/query-error.ts';
import { RunningQueries } from '../../server/query/running-queries.ts';
import type { Statistic } from '../../server/statistics.ts';
import { Subscriptions } from '../../server/subscriptions/registry.ts';
import { userMetadata } from '../../server/user-metadata.ts';
import { BOOLEAN, type FieldType } from '../../shards/column.ts';
import { LineParser, type Precision } from '../../shards/line-protocol.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { runPartial } from '../../shards/query/run-partial.ts';
import type { QueryableShard } from '../../shards/queryable.ts';
import { SeriesCache } from '../../shards/series-cache.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { type ShardKey, shardId, shardRange } from '../../shards/shard-key.ts';
import { MemoryShard } from './memory-shard.ts';

const SEED = 'test';
const STATISTICS: readonly Statistic[] = [
  { name: 'write', tags: {}, values: { writeOk: 3, req: 4 } },
  { name: 'httpd', tags: { bind: 'host:1' }, values: { req: 7 } },
];
const DIAGNOSTICS: readonly Diagnostic[] = [
  { name: 'build', values: { Version: '1', Branch: '' } },
  { name: 'system', values: { PID: 5 } },
];
/** Real ones take a third of a second each. */
const QUICK_PASSWORDS = {
  hash: async (password: string) => `hash of ${password}`,
  fits: async (password: string, hash: string) => hash === `hash of ${password}`,
};

/** Registers of a cluster of one. */
export function memoryRegisters(): QueryRegisters {
  const kept = new Map<string, unknown>();
  return {
    register: (key) => kept.get(key),
    registers: (prefix) => [...kept].flatMap(([key, value]) => (key.startsWith(prefix) ? [{ key, value }] : [])),
    putRegister: (key, value) => void kept.set(key, value),
    deleteRegister: (key) => void kept.delete(key),
  };
}

export interface MemoryOptions {
  readonly shardsPerGroup?: number;
  /** Which place runs a shard; places answer in this order. */
  readonly placeOf?: (index: number) => number;
  readonly shardDurationNs?: bigint;
  /** What answers in place of a shard as plain maps. */
  readonly stored?: (id: string) => QueryableShard;
}

export class MemoryBackend {
  readonly shards = new Map<string, MemoryShard>();
  readonly down = new Set<string>();
  /** What SHOW QUERIES and KILL QUERY see, where a service is made with it. */
  readonly running = new RunningQueries('0', 0);
  readonly unasked: string[] = [];
  readonly backend: QueryBackend;
  readonly #metadata = new Metadata({ load: () => [], save: () => {}, clear: () => {} });
  readonly #options: MemoryOptions;
  readonly #parser: LineParser;
  readonly #series: SeriesCache;
  #stamp = 0;
  #made = 0;

  constructor(options: MemoryOptions = {}) {
    this.#options = options;
    this.#series = new SeriesCache((key) => hashSeriesKey(SEED, key), 100_000, options.shardsPerGroup ?? 4);
    this.#parser = new LineParser(this.#series, LINE_LIMITS);
    const stamp = (): string => (++this.#stamp).toString(16).padStart(16, '0');
    const change = (changes: readonly Change[]): void => {
      for (const { key, rank, value } of changes)
        this.#metadata.merge([{ key, rank, version: stamp().padStart(32, '0'), value: JSON.stringify(value) ?? null }]);
    };
    const meta = this.#metadata;
    const memory = this;
    this.backend = {
      snapshot: () => this.snapshot(),
      targets: (database, policy, minNs, maxNs) =>
        this.#targets(
          (key) =>
            key.database === database.name &&
            key.databaseGeneration === database.generation &&
            key.retentionPolicy === policy.name &&
            key.retentionPolicyGeneration === policy.generation &&
            key.startNs <= maxNs &&
            key.endNs > minNs,
        ),
      run: async (targets, request) => {
        const places = new Map<number, ShardTarget[]>();
        targets.forEach((target, i) => {
          if (this.down.has(target.id)) return;
          const place = options.placeOf?.(i) ?? 0;
          places.set(place, [...(places.get(place) ?? []), target]);
        });
        const ordered = [...places].sort((a, b) => b[0] - a[0]);
        return {
          // Through a clone, as between threads.
          results: ordered.map(([, list]) =>
            structuredClone(
              runPartial(
                list.map((target) => options.stored?.(target.id) ?? this.shards.get(target.id)!),
                structuredClone(request),
                [],
              ),
            ),
          ),
          missing: targets.filter((target) => this.down.has(target.id)),
          damaged: [],
          convergedThroughMs: 1000,
          liveConvergedThroughMs: 2000,
        };
      },
      runHere(targets, request, answered, failed) {
        if (targets.length === 0 || targets.some(({ id }) => memory.down.has(id))) return false;
        void this.run(targets, request).then(answered, failed);
        return true;
      },
      placesOf: (targets) => (targets.length === 0 ? [] : [{ member: 'n1', shards: targets.length }]),
      unheard: () => [],
      levelled: () => Promise.reject(new Error('not in memory')),
      server: {
        owners: () => ['a1', 'b2'],
        statistics: async () => STATISTICS,
        diagnostics: () => DIAGNOSTICS,
        queries: {
          list: async () => ({ queries: this.running.list(), unasked: this.unasked }),
          kill: async (id) => this.running.kill(id),
        },
      },
      deleteRows: async (database, policy, predicate, minNs, maxNs, number) => {
        for (const { id, key } of this.backend.targets(database, policy, minNs, maxNs)) {
          if (number !== undefined && key.number !== number) continue;
          const minTime = minNs > key.startNs ? Number(minNs - key.startNs) : 0;
          const maxTime = Number((maxNs < key.endNs ? maxNs : key.endNs - 1n) - key.startNs);
          this.shards.get(id)!.delete({ ...predicate, minTime, maxTime });
        }
      },
      writeLines: async (database, policy, lines) => {
        const refused = this.write(database, new TextDecoder().decode(lines), policy);
        if (refused > 0) throw new QueryError(`partial write: field type conflict dropped=${refused}`);
      },
      metadata: {
        continuousQueries: new ContinuousQueries(
          memoryRegisters(),
          () => this.snapshot(),
          () => ++this.#made,
        ),
        subscriptions: new Subscriptions(
          memoryRegisters(),
          () => this.snapshot(),
          () => ++this.#made,
        ),
        createDatabase: (name, policy, conflict) =>
          change(createDatabaseChanges(meta, name, policy, stamp(), conflict)),
        dropDatabase: (name) => change(dropDatabaseChanges(meta, name)),
        createRetentionPolicy: (db, name, policy) => change(createPolicyChanges(meta, db, name, policy, stamp())),
        alterRetentionPolicy: (db, name, policy) => change(alterPolicyChanges(meta, db, name, policy, Date.now())),
        dropRetentionPolicy: (db, name) => change(dropPolicyChanges(meta, db, name)),
        users: userMetadata(new UserRegisters(meta, { createdAt: stamp, write: change }), QUICK_PASSWORDS),
      },
    };
  }

  snapshot(): ClusterSnapshot {
    return {
      viewHash: '',
      self: 'n1' as never,
      members: [],
      live: [],
      databases: databasesOf(this.#metadata),
      droppedThrough: {},
      statements: [],
      heldBy: {},
      heldSequence: {},
    } as unknown as ClusterSnapshot;
  }

  #targets(wanted: (key: ShardKey) => boolean): ShardTarget[] {
    return [...this.shards]
      .filter(([, shard]) => wanted(shard.key))
      .map(([id, shard]) => ({ id, key: shard.key }))
      .sort((a, b) =>
        a.key.startNs < b.key.startNs ? -1 : a.key.startNs > b.key.startNs ? 1 : a.key.number - b.key.number,
      );
  }

  /** Line protocol; values of another type than the field has are refused, as the coordinator does. Returns how many. */
  write(databaseName: string, text: string, policyName = '', precision: Precision = 'n', nowNs = 0n): number {
    const database = this.snapshot().databases.find((candidate) => candidate.name === databaseName)!;
    const policy = database.retentionPolicies.find(
      (each) => each.name === (policyName || database.defaultRetentionPolicy),
    )!;
    const parsed = this.#parser.parse(new TextEncoder().encode(text), precision, nowNs);
    let refused = parsed.failed;
    for (const group of parsed.groups) {
      for (let row = 0; row < group.rows; row++) {
        const fields: Record<string, { type: FieldType; value: number | bigint | string | boolean }> = {};
        for (const column of group.columns) {
          if (column.present !== null && column.present[row] === 0) continue;
          const value = column.values[row]!;
          fields[column.field] = { type: column.type, value: column.type === BOOLEAN ? value === 1 : value };
        }
        const id = group.rowSeries[row]!;
        const timeNs = group.timesNs[row]!;
        const range = shardRange(
          timeNs,
          this.#options.shardDurationNs === undefined ? policy : { shardDurationNs: this.#options.shardDurationNs },
        );
        const key: ShardKey = {
          database: database.name,
          databaseGeneration: database.generation,
          retentionPolicy: policy.name,
          retentionPolicyGeneration: policy.generation,
          ...range,
          number: this.#series.shardNumber(id),
        };
        const name = shardId(key);
        let shard = this.shards.get(name);
        if (shard === undefined) {
          shard = new MemoryShard(key, SEED);
          this.shards.set(name, shard);
        }
        const clash = this.#typeClash(key, group.measurement, fields);
        if (clash) refused++;
        else shard.write(this.#series.key(id), timeNs, fields);
      }
    }
    return refused;
  }

  readonly #types = new Map<string, FieldType>();

  #typeClash(key: ShardKey, measurement: string, fields: Readonly<Record<string, { type: FieldType }>>): boolean {
    const at = (field: string): string =>
      JSON.stringify([
        key.database,
        key.databaseGeneration,
        key.retentionPolicy,
        key.startNs.toString(),
        measurement,
        field,
      ]);
    for (const [field, { type }] of Object.entries(fields)) {
      const held = this.#types.get(at(field));
      if (held !== undefined && held !== type) return true;
    }
    for (const [field, { type }] of Object.entries(fields)) this.#types.set(at(field), type);
    return false;
  }
}
