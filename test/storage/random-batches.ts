/** Random write batches of all types, from a seed: several measurements, absent cells, strings that repeat or do not. */
import type { BatchGroup, WriteBatch } from '../../shards/batch.ts';
import { BOOLEAN, type Column, type FieldType, FLOAT, INTEGER, makeValues, STRING } from '../../shards/column.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import type { Version } from '../../shards/version.ts';
import { HOUR_NS, KEY } from './helpers.ts';

export type Random = (below: number) => number;

export function randomOf(seed: number): Random {
  let state = Math.imul(seed + 1, 2654435761) | 0;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) % below;
  };
}

const FLOATS = [0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 5e-324, 1e300, 97.43589743589743];
const STRINGS = ['', 'a', 'ok', 'wè', '\u{1f600}', 'a longer text, of more than four bytes', 'abcd'];

function cellOf(type: FieldType, kind: number, random: Random): unknown {
  if (type === BOOLEAN) return random(2);
  if (type === STRING) return kind < 2 ? STRINGS[random(STRINGS.length)]! : `text ${random(1e6)}`;
  if (type === FLOAT) {
    if (kind === 0) return FLOATS[random(FLOATS.length)]!;
    return kind === 1 ? random(20_000) / 100 - 50 : kind === 2 ? 7.25 : random(1 << 30) / 10;
  }
  if (kind === 0) return BigInt.asUintN(63, BigInt(random(1 << 30)) ** 3n);
  const base = type === INTEGER ? -5n : 1n << 63n;
  return kind === 2 ? base : base + BigInt(random(kind === 1 ? 200 : 1 << 20));
}

function randomColumn(field: string, type: FieldType, rows: number, random: Random): Column {
  const values = makeValues(type, rows);
  const kind = random(4);
  const share = random(3);
  const present = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) {
    if (share === 0 || random(share === 1 ? 2 : 40) > 0) present[row] = 1;
    if (present[row] === 1) (values as unknown[])[row] = cellOf(type, kind, random);
  }
  if (values instanceof Float64Array && kind === 0) placeNans(values, present, random);
  return { field, type, present: present.includes(0) ? present : null, values };
}

/** Quiet ones with a payload of their own, of either sign: as bits, since numbers do not keep them apart. */
function placeNans(values: Float64Array, present: Uint8Array, random: Random): void {
  const bits = new BigUint64Array(values.buffer, values.byteOffset, values.length);
  for (let row = 0; row < bits.length; row++) {
    if (present[row] === 0 || random(6) > 0) continue;
    bits[row] = (random(2) === 0 ? 0x7ff8n : 0xfff8n) * (1n << 48n) + BigInt(random(1 << 20));
  }
}

export interface BatchOptions {
  readonly rowsMax: number;
  readonly series: number;
  readonly measurements: number;
  readonly fields: number;
}

/** Series of a measurement are `<measurement>,host=h<n>`. At most one row per series and time. */
export function randomBatch(version: Version, random: Random, options: BatchOptions): WriteBatch {
  const keys: string[] = [];
  const groups: BatchGroup[] = [];
  for (let m = 0; m < options.measurements; m++) {
    if (random(4) === 0) continue;
    const measurement = `m${m}`;
    const taken = new Set<string>();
    const rowSeries: number[] = [];
    const times: number[] = [];
    const unit = [1, 1000, 10_000_000_000][random(3)]!;
    for (let n = random(options.rowsMax + 1); n > 0; n--) {
      const key = `${measurement},host=h${random(options.series)}`;
      const time = random(3) * HOUR_NS + random(200) * unit;
      if (taken.has(`${key} ${time}`)) continue;
      taken.add(`${key} ${time}`);
      if (!keys.includes(key)) keys.push(key);
      rowSeries.push(keys.indexOf(key));
      times.push(time);
    }
    const columns: Column[] = [];
    for (let f = 0; f < options.fields; f++) {
      const types = ([0, 1, 2, 3, 4] as const).filter(() => random(4) === 0);
      for (const type of types) columns.push(randomColumn(`f${f}`, type, times.length, random));
    }
    const group = { measurement, rowSeries: Uint32Array.from(rowSeries), times: Float64Array.from(times), columns };
    groups.push(group);
  }
  return { kind: 'write', shard: KEY, version, series: keys.map((key) => hashSeriesKey('seed', key)), groups };
}

export function keysOfBatches(options: BatchOptions): { hash: string; key: string }[] {
  const keys = Array.from({ length: options.measurements }, (_, m) =>
    Array.from({ length: options.series }, (_, n) => `m${m},host=h${n}`),
  ).flat();
  return keys.map((key) => ({ hash: hashSeriesKey('seed', key), key }));
}
