/**
 * The limit of series that a shard group of a database may have.
 *
 * Far from it a stage is compared once for each shard group: with all its rows as new series the limit would not be passed.
 * Near it, requests with series that this node has not sealed for the shard group yet are held: their series are asked for at
 * full replicas, and those that are not there, and for which there is no room, are barred. The other points go on.
 *
 * Held requests are looked at in rounds. A round begins when no keys of its groups are on their way, and ends when its requests
 * are answered, so that what is counted is what is there. Requests of which all series were sealed before are not held.
 *
 * It is the view of one node: what others let in at the same moment comes on top, and what they have acknowledged is
 * stored, whatever the limit. A shard that nobody can answer for has all the series that are asked for.
 */

import type { IngestStage, StageTarget } from '../shards/kernel/ingest-stage.ts';
import type { BarredSeries } from '../shards/row-rules.ts';
import { hashBytesOf } from '../shards/series-census.ts';
import { SERIES_HASH_BYTES, type SeriesHash } from '../shards/series-key.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import type { PlacedSeries } from './general-route.ts';
import type { KnownGroup } from './schema-cache.ts';
import type { SeriesCount } from './series-count.ts';
import type { KnownShard } from './shard-places.ts';
import type { CensusAnswer } from './shard-questions.ts';
import type { Waiting } from './waiting-write.ts';
import { takeUpTo } from './write-gathering.ts';

export interface CensusShard extends KnownShard {
  readonly hashes: Uint8Array;
}

/** Leaves out shards that nobody can answer for. */
export type CensusSource = (shards: readonly CensusShard[]) => Promise<readonly CensusAnswer[]>;

export interface SeriesLimitPorts {
  census: CensusSource;
  /** The request has been looked at. */
  again(waiting: Waiting): void;
}

/** By the start of their shard groups, in the order in which they come. */
export type SeriesByGroup = ReadonlyMap<bigint, readonly PlacedSeries[]>;

interface HeldGroup {
  readonly startNs: bigint;
  readonly group: KnownGroup;
}

interface Held {
  readonly waiting: Waiting;
  readonly groups: readonly HeldGroup[];
  /** Reads the body: series take several times its memory, so only those of a round are there. */
  readonly read: () => SeriesByGroup;
}

interface JudgedGroup extends HeldGroup {
  readonly series: readonly PlacedSeries[];
}

interface Judged {
  readonly waiting: Waiting;
  readonly groups: readonly JudgedGroup[];
}

/** A round takes requests up to so much: their bodies are read and judged in one turn of the main thread. */
const ROUND_BYTES_MAX = 4 * 1024 * 1024;

/** What a round knows of its shards: series that are not there, and have not been let in. */
type Absent = ReadonlyMap<ShardId, Set<SeriesHash>>;

export class SeriesLimit {
  readonly #max: number;
  readonly #ports: SeriesLimitPorts;
  readonly #held = new Set<Held>();
  /** Of the round: requests that are not answered. */
  readonly #judged = new Set<Waiting>();
  #round: readonly Held[] | null = null;

  /** `max` 0: there is none. */
  constructor(max: number, ports: SeriesLimitPorts) {
    this.#max = max;
    this.#ports = ports;
  }

  /** Whether requests of the stage have to be held. */
  holdsStage(
    stage: IngestStage,
    targets: readonly StageTarget[],
    groupOf: (startNs: bigint) => KnownGroup | null,
  ): boolean {
    if (this.#max === 0) return false;
    for (let first = 0, end = 0; first < targets.length; first = end) {
      const { startNs } = targets[first]!.shard;
      let rows = 0;
      for (; end < targets.length && targets[end]!.shard.startNs === startNs; end++) rows += targets[end]!.rows;
      const series = groupOf(startNs)?.series;
      if (series === undefined || !this.#mayPass(series, rows)) continue;
      let unsent = 0;
      for (let i = first; i < end; i++) unsent += stage.unsent(targets[i]!);
      if (unsent > 0 && this.#mayPass(series, unsent)) return true;
    }
    return false;
  }

  /** The same of so many points, of which nothing else is known. */
  holds(group: KnownGroup, points: number): boolean {
    return this.#max > 0 && this.#mayPass(group.series, points);
  }

  #mayPass(series: SeriesCount, more: number): boolean {
    return series.isHeld || series.atMost + more > this.#max;
  }

  /** `again` is called for it, with `barred` set. `read` may be called later. */
  hold(
    waiting: Waiting,
    startsNs: readonly bigint[],
    groupOf: (startNs: bigint) => KnownGroup | null,
    read: () => SeriesByGroup,
  ): void {
    const groups: HeldGroup[] = [];
    for (const startNs of startsNs) {
      const group = groupOf(startNs);
      if (group === null) continue;
      group.series.isHeld = true;
      groups.push({ startNs, group });
    }
    this.#held.add({ waiting, groups, read });
    this.#begin();
  }

  /** The request is answered. */
  finished(waiting: Waiting): void {
    if (!this.#judged.delete(waiting) || this.#judged.size > 0) return;
    for (const { group } of groupsOf(this.#round!)) group.series.isHeld = false;
    for (const { group } of groupsOf(this.#held)) group.series.isHeld = true;
    this.#round = null;
    this.#begin();
  }

  #begin(): void {
    if (this.#round !== null || this.#held.size === 0) return;
    const round = takeUpTo(this.#held, ROUND_BYTES_MAX, ({ waiting }) => waiting.bytes);
    this.#round = round;
    for (const { waiting } of round) this.#judged.add(waiting);
    void this.#judge(round);
  }

  async #judge(held: readonly Held[]): Promise<void> {
    const groups = new Set(groupsOf(held).map(({ group }) => group));
    await Promise.all([...groups].map(({ series }) => series.quiet()));
    const marks = [...groups].map(({ series }) => series.mark);
    const round = held.map(judgedOf);
    const asked = shardsOf(round);
    const answers = new Map((await this.#ports.census(asked)).map((each) => [each.id, each]));
    const room = new Map<KnownGroup, number>();
    for (const [i, group] of [...groups].entries()) {
      const counts = group.shards.flatMap(({ id }): [ShardId, number][] => {
        const count = answers.get(id)?.count;
        return count === undefined ? [] : [[id, count]];
      });
      group.series.answered(marks[i]!, counts);
      room.set(group, this.#max - group.series.atMost);
    }
    const absent = absentOf(asked, answers);
    for (const judged of round) judged.waiting.barred = this.#barredOf(judged, absent, room);
    for (const { waiting } of round) this.#ports.again(waiting);
  }

  /** Lets in what there is room for, in order. */
  #barredOf({ groups }: Judged, absent: Absent, room: Map<KnownGroup, number>): BarredSeries {
    const byGroup = new Map<bigint, ReadonlySet<SeriesHash>>();
    for (const { startNs, group, series } of groups) {
      const barred = new Set<SeriesHash>();
      for (const { hash, number } of series) {
        const unknown = absent.get(group.shards[number]!.id)!;
        if (!unknown.has(hash)) continue;
        const left = room.get(group)!;
        if (left <= 0) barred.add(hash);
        else {
          unknown.delete(hash);
          room.set(group, left - 1);
        }
      }
      if (barred.size > 0) byGroup.set(startNs, barred);
    }
    return { byGroup, reason: `max-series-per-database limit exceeded: (${this.#max})` };
  }
}

function groupsOf<T>(round: Iterable<{ readonly groups: readonly T[] }>): T[] {
  return [...round].flatMap(({ groups }) => groups);
}

function judgedOf({ waiting, groups, read }: Held): Judged {
  const series = read();
  return { waiting, groups: groups.map((held) => ({ ...held, series: series.get(held.startNs) ?? [] })) };
}

/** All shards of the groups, since all are to say how many series they have, with what is asked of each. */
function shardsOf(round: readonly Judged[]): CensusShard[] {
  const found = new Map<ShardId, { readonly key: ShardKey; readonly hashes: Set<SeriesHash> }>();
  for (const { group, series } of groupsOf(round)) {
    for (const { id, key } of group.shards) if (!found.has(id)) found.set(id, { key, hashes: new Set() });
    for (const { hash, number } of series) found.get(group.shards[number]!.id)!.hashes.add(hash);
  }
  return [...found].map(([id, { key, hashes }]) => ({ id, key, hashes: hashBytesOf([...hashes]) }));
}

/** By shard, the series asked for that it does not have. */
function absentOf(shards: readonly CensusShard[], answers: ReadonlyMap<ShardId, CensusAnswer>): Absent {
  const absent = new Map<ShardId, Set<SeriesHash>>();
  for (const { id, hashes } of shards) {
    const bytes = Buffer.from(hashes.buffer, hashes.byteOffset, hashes.byteLength);
    const hashAt = (i: number) => bytes.toString('hex', i * SERIES_HASH_BYTES, (i + 1) * SERIES_HASH_BYTES);
    absent.set(id, new Set(Array.from(answers.get(id)?.unknown ?? [], hashAt)));
  }
  return absent;
}
