/**
 * The careful way of a write to its batches: for bodies in which rows have to be judged one by one, and for bodies that
 * together have two rows of one series and time. The ingest stage (shards/kernel/ingest-stage.ts) takes all others.
 *
 * Rows of several requests share one batch per shard here as well. All keys go with each batch: these writes are few.
 */

import type { GroupSchema, RoutingPolicy } from '../shards/batch-builder.ts';
import { BatchBuilder, groupStartsOf, routePoints, seriesOfGroups } from '../shards/batch-builder.ts';
import { encodeBatch } from '../shards/batch-codec.ts';
import type { ParsedPoints, Precision } from '../shards/line-protocol.ts';
import { LineParser } from '../shards/line-protocol.ts';
import type { LineLimits } from '../shards/line-protocol-errors.ts';
import type { BarredSeries, Rejected } from '../shards/row-rules.ts';
import type { ConflictRule } from '../shards/row-settle.ts';
import { SeriesCache } from '../shards/series-cache.ts';
import type { SeriesHash } from '../shards/series-key.ts';
import { encodeKeys } from '../shards/series-keys.ts';
import { SHARDS_PER_GROUP, type ShardKey } from '../shards/shard-key.ts';
import type { Version } from '../shards/version.ts';

/** A batch is closed above this; the rows of one more request still fit. */
const BATCH_BYTES_TARGET = 8 * 1024 * 1024;

/** A batch that is being filled, with the requests that have rows in it. */
export interface OpenBatch<Request> {
  readonly builder: BatchBuilder;
  readonly requests: Set<Request>;
}

/** A series and the number of its shard. */
export interface PlacedSeries {
  readonly hash: SeriesHash;
  readonly number: number;
}

export class GeneralRoute<Request> {
  readonly #series: SeriesCache;
  readonly #parser: LineParser;
  readonly #lines: LineLimits;
  #open = new Map<string, OpenBatch<Request>>();
  #closed: OpenBatch<Request>[] = [];

  constructor(hashOf: (key: string) => SeriesHash, seriesCacheMax: number, lines: LineLimits) {
    this.#series = new SeriesCache(hashOf, seriesCacheMax, SHARDS_PER_GROUP);
    this.#lines = lines;
    this.#parser = new LineParser(this.#series, lines);
  }

  /** Route before parsing on. */
  parse(pieces: readonly Uint8Array[], precision: Precision, nowNs: bigint): ParsedPoints {
    return this.#parser.parse(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces), precision, nowNs);
  }

  startsOf(points: ParsedPoints, policy: RoutingPolicy): bigint[] {
    return groupStartsOf(points, policy);
  }

  /** The series of the points by shard group, in the order in which they come. */
  seriesOf(points: ParsedPoints, policy: RoutingPolicy): Map<bigint, PlacedSeries[]> {
    const place = (id: number) => ({ hash: this.#series.hash(id), number: this.#series.shardNumber(id) });
    const groups = [...seriesOfGroups(points, policy)];
    return new Map(groups.map(([startNs, series]) => [startNs, Array.from(series, place)]));
  }

  /** Puts the rows into open batches. `schemaOf` must know all groups. Returns in how many batches the request is. */
  route(
    points: ParsedPoints,
    request: Request,
    policy: RoutingPolicy,
    schemaOf: (startNs: bigint) => GroupSchema,
    barred: BarredSeries | null,
  ): { readonly rejected: Rejected; readonly batches: number } {
    const touched = new Set<OpenBatch<Request>>();
    const builderOf = (shard: ShardKey): BatchBuilder => {
      const batch = this.#batchOf(shard, touched);
      touched.add(batch);
      return batch.builder;
    };
    const excess = points.rows > this.#lines.seriesMax ? this.#excessOf(points, policy) : null;
    const rejected = routePoints(points, policy, this.#series, schemaOf, builderOf, {
      barred: [barred, excess].filter((each) => each !== null),
      stringBytesMax: this.#lines.stringBytesMax,
    });
    for (const batch of touched) batch.requests.add(request);
    return { rejected, batches: touched.size };
  }

  /** Series beyond those that a body may have. */
  #excessOf(points: ParsedPoints, policy: RoutingPolicy): BarredSeries {
    const { seriesMax } = this.#lines;
    const taken = new Set<SeriesHash>();
    const byGroup = new Map<bigint, Set<SeriesHash>>();
    for (const [startNs, series] of this.seriesOf(points, policy)) {
      const excess = new Set<SeriesHash>();
      for (const { hash } of series) {
        if (taken.size < seriesMax) taken.add(hash);
        else if (!taken.has(hash)) excess.add(hash);
      }
      byGroup.set(startNs, excess);
    }
    return { byGroup, reason: `max-series-per-request limit exceeded: (${seriesMax})` };
  }

  /** The batches filled since the last call. */
  take(): OpenBatch<Request>[] {
    const all = [...this.#closed, ...this.#open.values()];
    this.#open = new Map();
    this.#closed = [];
    return all;
  }

  #batchOf(shard: ShardKey, touched: ReadonlySet<OpenBatch<Request>>): OpenBatch<Request> {
    const name = `${shard.startNs} ${shard.number}`;
    const batch = this.#open.get(name);
    if (batch !== undefined) {
      if (touched.has(batch) || batch.builder.bytes < BATCH_BYTES_TARGET) return batch;
      this.#closed.push(batch);
    }
    const fresh: OpenBatch<Request> = { builder: new BatchBuilder(shard), requests: new Set() };
    this.#open.set(name, fresh);
    return fresh;
  }
}

export function encodeBuilt(
  builder: BatchBuilder,
  version: Version,
  conflict: ConflictRule,
): { frame: Uint8Array; keys: Uint8Array; fresh: number } {
  const { batch, keys } = builder.build(version, conflict);
  const records = batch.series.map((hash, i) => ({ hash, key: keys[i]! }));
  return { frame: encodeBatch(batch), keys: encodeKeys(records), fresh: records.length };
}
