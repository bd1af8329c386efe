/**
 * What simulated clients write, and what must be visible of it: batches of a few series with many overwrites, deletes,
 * fields whose writers disagree on the type (as two sides of a cut would), and a naive model that applies the rules (a
 * delete kills rows of lower versions, of those left the last write wins per cell, or the first; the strongest type of a
 * series' visible cells in a window).
 */
import type { Batch, DeletePredicate, SeriesKeyRecord } from '../../shards/batch.ts';
import { BOOLEAN, type Column, type FieldType, FLOAT, INTEGER, STRING } from '../../shards/column.ts';
import { predicateIn } from '../../shards/delete-shard.ts';
import type { QueryableShard } from '../../shards/queryable.ts';
import type { ConflictRule } from '../../shards/row-settle.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { type ShardKey, TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import type { Version } from '../../shards/version.ts';
import type { Chance } from './virtual-time.ts';

const HOSTS = 6;
const MINUTE_NS = 60e9;
const DAY_NS = 86_400e9;
const DELETE_SHARE = 0.06;
/** Of the batches; each field has another usual type. */
const OTHER_TYPE_SHARE = 0.15;

export interface Written {
  readonly batch: Batch;
  readonly keys: SeriesKeyRecord[];
  readonly shard: string;
}

export function makeBatch(chance: Chance, shard: ShardKey, version: Version, seed: string): Omit<Written, 'shard'> {
  if (chance.of(DELETE_SHARE)) {
    return { batch: { kind: 'delete', shard, version, predicate: randomPredicate(chance) }, keys: [] };
  }
  const keys: string[] = [];
  const groups = ['cpu', 'log']
    .filter((_, i) => i === 0 || chance.of(0.3))
    .map((measurement) => {
      const rows: [number, number][] = [];
      for (let host = 0; host < HOSTS; host++) {
        if (!chance.of(0.4) && (host < HOSTS - 1 || rows.length > 0)) continue;
        keys.push(`${measurement},host=h${host}`);
        const first = chance.between(0, 2) * DAY_NS + chance.between(0, 15) * MINUTE_NS;
        for (let n = chance.between(0, 2); n >= 0; n--) rows.push([keys.length - 1, first + n * MINUTE_NS]);
      }
      return {
        measurement,
        rowSeries: Uint32Array.from(rows, ([series]) => series),
        times: Float64Array.from(rows, ([, time]) => time),
        columns: measurement === 'cpu' ? cpuColumns(chance, rows.length) : logColumns(chance, rows.length),
      };
    });
  const records = keys.map((key) => ({ hash: hashSeriesKey(seed, key), key }));
  return { batch: { kind: 'write', shard, version, series: records.map(({ hash }) => hash), groups }, keys: records };
}

function randomPredicate(chance: Chance): DeletePredicate {
  const minTime = chance.between(0, 2) * DAY_NS;
  return {
    measurement: chance.of(0.5) ? { name: chance.pick(['cpu', 'log']) } : null,
    condition: chance.of(0.5)
      ? { op: '=' as const, key: 'host', value: `h${chance.between(0, HOSTS - 1)}` }
      : { op: '!=' as const, key: 'host', value: `h${chance.between(0, HOSTS - 1)}` },
    minTime,
    maxTime: minTime + chance.between(0, 30) * MINUTE_NS,
  };
}

/** For the delete shard of a policy whose shards begin at `startNs`: some rows of them, or a whole measurement. */
export function makePolicyDelete(chance: Chance, shard: ShardKey, startNs: bigint, version: Version): Batch {
  if (chance.of(0.3)) {
    const times = { minNs: TIME_MIN_NS, maxNs: TIME_MAX_NS };
    const measurement = { name: chance.pick(['cpu', 'log', 'log']) };
    return {
      kind: 'delete',
      shard,
      version,
      predicate: { measurement, condition: null, minTime: 0, maxTime: 0, times },
    };
  }
  const predicate = randomPredicate(chance);
  const times = { minNs: startNs + BigInt(predicate.minTime), maxNs: startNs + BigInt(predicate.maxTime) };
  return { kind: 'delete', shard, version, predicate: { ...predicate, minTime: 0, maxTime: 0, times } };
}

function cpuColumns(chance: Chance, rows: number): Column[] {
  const usage = Float64Array.from({ length: rows }, () => Math.round(chance.next() * 1e6) / 7);
  const present = Uint8Array.from({ length: rows }, () => (chance.of(0.6) ? 1 : 0));
  const count: Column = chance.of(OTHER_TYPE_SHARE)
    ? { field: 'count', type: FLOAT, present: null, values: Float64Array.from(usage, (value) => -value) }
    : {
        field: 'count',
        type: INTEGER,
        present: null,
        values: BigInt64Array.from({ length: rows }, () => BigInt(chance.between(-1e9, 1e9)) * 1_000_003n),
      };
  return [
    { field: 'usage', type: FLOAT, present: null, values: usage },
    ...(present.includes(1) ? [{ ...count, present: present.includes(0) ? present : null } as Column] : []),
  ];
}

function logColumns(chance: Chance, rows: number): Column[] {
  const values = Array.from({ length: rows }, () => `text ${chance.between(0, 99)} é`);
  const fatal = Uint8Array.from({ length: rows }, () => chance.between(0, 1));
  return [
    { field: 'text', type: STRING, present: null, values },
    { field: 'fatal', type: BOOLEAN, present: null, values: fatal },
  ];
}

/** `series time field -> value` by the rules alone; `all`: of one shard, and of its policy's delete shard. */
export function expectedCells(
  all: readonly Written[],
  conflict: ConflictRule = 'last-write-wins',
): Map<string, string> {
  const winners = new Map<string, { version: Version; value: string; type: FieldType; slice: string }>();
  const deletes = all.flatMap(({ batch }) => (batch.kind === 'delete' ? [batch] : []));
  for (const { batch, keys } of all) {
    if (batch.kind !== 'write') continue;
    for (const { measurement, rowSeries, times, columns } of batch.groups) {
      for (let row = 0; row < times.length; row++) {
        const { key } = keys[rowSeries[row]!]!;
        const host = key.slice(key.indexOf('=') + 1);
        const time = times[row]!;
        const dead = deletes.some(({ version, predicate }) => {
          const here = predicate.times === undefined ? predicate : predicateIn(predicate, batch.shard);
          if (here === null) return false;
          const { condition, minTime, maxTime } = here;
          if (version < batch.version || time < minTime || time > maxTime) return false;
          const named = predicate.measurement;
          if (named !== null && 'name' in named && named.name !== measurement) return false;
          if (condition === null || (condition.op !== '=' && condition.op !== '!=')) return true;
          return (condition.value === host) === (condition.op === '=');
        });
        if (dead) continue;
        for (const { field, type, present, values } of columns) {
          if (present !== null && present[row] === 0) continue;
          const name = `${key} ${time} ${field}`;
          const winner = winners.get(name);
          const isLater = winner !== undefined && winner.version < batch.version;
          if (winner === undefined || isLater === (conflict === 'last-write-wins'))
            winners.set(name, {
              version: batch.version,
              value: String(values[row]),
              type,
              slice: `${key} ${Math.floor(time / DAY_NS)} ${field}`,
            });
        }
      }
    }
  }
  // Times lie within one window of storage each day.
  const strongest = new Map<string, FieldType>();
  for (const { slice, type } of winners.values())
    strongest.set(slice, Math.min(type, strongest.get(slice) ?? type) as FieldType);
  const visible = [...winners].filter(([, { slice, type }]) => strongest.get(slice) === type);
  return new Map(visible.map(([name, { value }]) => [name, value]));
}

/** The same, read through the scan that queries use; in the order in which it gives the rows. */
export function scannedCells(shard: QueryableShard): Map<string, string> {
  const cells = new Map<string, string>();
  for (const measurement of shard.measurements()) {
    const fields = shard.fields(measurement).map(({ name }) => name);
    const series = shard.series(measurement, null);
    const span = Number(shard.key.endNs - shard.key.startNs) - 1;
    shard.scan({ measurement, series, fields, minTime: 0, maxTime: span }, (slice) => {
      for (let row = 0; row < slice.times.length; row++) {
        slice.columns.forEach((column, i) => {
          if (column === null || (column.present !== null && column.present[row] === 0)) return;
          const name = `${shard.keyOf(slice.series)} ${slice.times[row]} ${fields[i]}`;
          if (cells.has(name)) throw new Error(`${name} came twice from a scan of ${measurement}`);
          cells.set(name, String(column.values[row]));
        });
      }
      return true;
    });
  }
  return cells;
}

/** The first difference of two maps; null when there is none. */
export function firstDifference(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): string | null {
  for (const [name, value] of a) if (b.get(name) !== value) return `${name}: ${value} against ${b.get(name) ?? 'none'}`;
  for (const [name, value] of b) if (!a.has(name)) return `${name}: none against ${value}`;
  return null;
}
