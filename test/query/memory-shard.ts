/** A shard as plain maps: slow, obvious, without blocks. Stands in for shards/shard.ts in tests of queries. */

import type { DeletePredicate } from '../../shards/batch.ts';
import { type Column, type FieldType, makeValues } from '../../shards/column.ts';
import { compileGoRegex } from '../../shards/go-regex.ts';
import { aggregateByScan } from '../../shards/query/aggregate-by-scan.ts';
import type {
  AggregateRequest,
  AggregateRuns,
  QueryableShard,
  RowsAhead,
  ScanRequest,
  SeriesSlice,
  TagColumn,
} from '../../shards/queryable.ts';
import { hashSeriesKey, parseSeriesKey, type Tag } from '../../shards/series-key.ts';
import type { ShardKey } from '../../shards/shard-key.ts';
import type { Steps } from '../../shards/steps.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import { matchTags } from '../../shards/tag-matcher.ts';
import { tagColumnByTags } from './tag-column.ts';

export type Stored = number | bigint | string | boolean;
export interface Cell {
  readonly type: FieldType;
  readonly value: Stored;
}

interface MemorySeries {
  readonly key: string;
  readonly measurement: string;
  readonly tags: readonly Tag[];
  readonly hash: string;
  readonly rows: Map<number, Map<string, Cell>>;
}

const WINDOW_MIN_NS = 3_600_000_000_000;

export class MemoryShard implements QueryableShard {
  readonly key: ShardKey;
  readonly #all: MemorySeries[] = [];
  readonly #byKey = new Map<string, number>();
  readonly #seed: string;
  #changes = 0;
  readonly windowNs: number;

  constructor(key: ShardKey, seed = 'test') {
    this.key = key;
    this.#seed = seed;
    this.windowNs = Math.max(WINDOW_MIN_NS, Math.ceil(Number(key.endNs - key.startNs) / 84));
  }

  write(seriesKey: string, timeNs: bigint, fields: Readonly<Record<string, Cell>>): void {
    this.#changes++;
    let id = this.#byKey.get(seriesKey);
    if (id === undefined) {
      id = this.#all.length;
      this.#byKey.set(seriesKey, id);
      const hash = hashSeriesKey(this.#seed, seriesKey);
      this.#all.push({ key: seriesKey, ...parseSeriesKey(seriesKey), hash, rows: new Map() });
    }
    const time = Number(timeNs - this.key.startNs);
    const { rows } = this.#all[id]!;
    const row = rows.get(time) ?? new Map<string, Cell>();
    rows.set(time, row);
    for (const [name, cell] of Object.entries(fields)) row.set(name, cell);
  }

  delete(predicate: DeletePredicate): void {
    this.#changes++;
    const regex =
      predicate.measurement !== null && 'regex' in predicate.measurement
        ? compileGoRegex(predicate.measurement.regex)
        : null;
    for (const series of this.#all) {
      if (predicate.measurement !== null) {
        const named =
          regex === null
            ? series.measurement === (predicate.measurement as { name: string }).name
            : regex.test(series.measurement);
        if (!named) continue;
      }
      if (predicate.condition !== null && !matchTags(predicate.condition, series.measurement, series.tags)) continue;
      for (const time of [...series.rows.keys()])
        if (time >= predicate.minTime && time <= predicate.maxTime) series.rows.delete(time);
    }
  }

  measurements(): string[] {
    return [...new Set(this.#all.filter((series) => series.rows.size > 0).map((series) => series.measurement))].sort();
  }

  fields(measurement: string): { name: string; types: FieldType[] }[] {
    const found = new Map<string, Set<FieldType>>();
    for (const series of this.#all) {
      if (series.measurement !== measurement) continue;
      for (const row of series.rows.values())
        for (const [name, cell] of row) found.set(name, (found.get(name) ?? new Set()).add(cell.type));
    }
    return [...found]
      .sort((a, b) => (a[0] < b[0] ? -1 : 1))
      .map(([name, types]) => ({ name, types: [...types].sort() }));
  }

  tagKeys(measurement: string): string[] {
    const own = this.#all.filter((series) => series.measurement === measurement && series.rows.size > 0);
    return [...new Set(own.flatMap(({ tags }) => tags.map(({ key }) => key)))].sort();
  }

  *judgeSteps(_measurement: string, _condition: TagCondition): Steps {}

  series(measurement: string, condition: TagCondition | null): Uint32Array {
    const ids: number[] = [];
    this.#all.forEach((series, id) => {
      if (series.measurement !== measurement || series.rows.size === 0) return;
      if (condition === null || matchTags(condition, measurement, series.tags)) ids.push(id);
    });
    return Uint32Array.from(ids.sort((a, b) => (this.#all[a]!.hash < this.#all[b]!.hash ? -1 : 1)));
  }

  keyOf(series: number): string {
    return this.#all[series]!.key;
  }

  tagsOf(series: number): readonly Tag[] {
    return this.#all[series]!.tags;
  }

  tagColumn(_measurement: string, tagKey: string, series: Uint32Array): TagColumn {
    return tagColumnByTags(this, tagKey, series);
  }

  get schemaStamp(): string {
    return String(this.#changes);
  }

  hashOf(series: number): string {
    return this.#all[series]!.hash;
  }

  scan(request: ScanRequest, visit: (slice: SeriesSlice) => boolean): void {
    const span = Number(this.key.endNs - this.key.startNs);
    const windows = Math.ceil(span / this.windowNs);
    for (let i = 0; i < windows; i++) {
      const window = request.descending === true ? windows - 1 - i : i;
      const from = Math.max(request.minTime, window * this.windowNs);
      const to = Math.min(request.maxTime, (window + 1) * this.windowNs - 1);
      for (const id of request.series) {
        const slice = this.#slice(id, request, from, to);
        if (slice !== null && !visit(slice)) return;
      }
    }
  }

  *scanSteps(request: ScanRequest, visit: (slice: SeriesSlice) => boolean): Generator<void> {
    this.scan(request, visit);
    yield;
  }

  rowsAhead(request: Omit<ScanRequest, 'fields'>): RowsAhead | null {
    const { series, minTime, maxTime, descending } = request;
    const within = [...series].flatMap((id) =>
      [...this.#all[id]!.rows.keys()].filter((time) => time >= minTime && time <= maxTime),
    );
    const windows = within.map((time) => Math.floor(time / this.windowNs));
    const window = descending === true ? Math.max(...windows) : Math.min(...windows);
    const times = within.filter((_, i) => windows[i] === window);
    return times.length === 0 ? null : { minTime: Math.min(...times), maxTime: Math.max(...times), rows: times.length };
  }

  aggregate(request: AggregateRequest, visit: (runs: AggregateRuns) => void): void {
    aggregateByScan(this, request, visit);
  }

  *aggregateSteps(request: AggregateRequest, visit: (runs: AggregateRuns) => void): Generator<void> {
    this.aggregate(request, visit);
    yield;
  }

  #slice(id: number, request: ScanRequest, from: number, to: number): SeriesSlice | null {
    const series = this.#all[id]!;
    if (series.measurement !== request.measurement) throw new Error(`series ${id} is not of ${request.measurement}`);
    const rows = [...series.rows]
      .filter(([time, row]) => time >= from && time <= to && request.fields.some((field) => row.has(field)))
      .sort((a, b) => a[0] - b[0]);
    if (rows.length === 0) return null;
    const columns = request.fields.map((field): Column | null => {
      const cells = rows.map(([, row]) => row.get(field));
      const types = cells.flatMap((cell) => (cell === undefined ? [] : [cell.type]));
      if (types.length === 0) return null;
      const type = Math.min(...types) as FieldType;
      const values = makeValues(type, rows.length);
      const present = new Uint8Array(rows.length);
      cells.forEach((cell, row) => {
        if (cell?.type !== type) return;
        present[row] = 1;
        values[row] = (type === 4 ? Number(cell.value) : cell.value) as never;
      });
      return { field, type, present: present.every((one) => one === 1) ? null : present, values };
    });
    return { series: id, times: Float64Array.from(rows, ([time]) => time), columns };
  }
}
