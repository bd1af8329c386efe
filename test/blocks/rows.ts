/** Rows as plain objects: the obvious model that row sets are checked against, and a seeded generator of them. */
import type { Column, FieldType } from '../../shards/column.ts';
import { BOOLEAN, FLOAT, INTEGER, makeValues, STRING, UNSIGNED } from '../../shards/column.ts';
import type { RowSet } from '../../shards/row-set.ts';
import type { Version } from '../../shards/version.ts';
import { makeStamp, makeVersion } from '../../shards/version.ts';
import { sortRows } from '../support/sort-rows.ts';

export type Cell = number | bigint | boolean | string;

export interface ModelRow {
  series: number;
  time: number;
  version: Version;
  /** By `type:field`. Floats are their bits, so that equality is equality to the bit. */
  cells: Map<string, Cell>;
}

const bits = new DataView(new ArrayBuffer(8));

export function floatBits(value: number): bigint {
  bits.setFloat64(0, value);
  return bits.getBigUint64(0);
}

export function floatOf(pattern: bigint): number {
  bits.setBigUint64(0, pattern);
  return bits.getFloat64(0);
}

/** mulberry32 */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function versionOf(ms: number, counter = 0, node = 'a1b2c3d4e5f60718'): Version {
  return makeVersion(makeStamp(ms, counter), node);
}

function bitsAt(values: Float64Array, i: number): bigint {
  return new BigUint64Array(values.buffer, values.byteOffset, values.length)[i]!;
}

function setBits(values: Float64Array, i: number, pattern: bigint): void {
  new BigUint64Array(values.buffer, values.byteOffset, values.length)[i] = pattern;
}

export function modelOf(rows: RowSet): ModelRow[] {
  const model: ModelRow[] = [];
  for (let s = 0; s < rows.series.length; s++) {
    for (let i = rows.seriesStart[s]!; i < rows.seriesStart[s + 1]!; i++) {
      const cells = new Map<string, Cell>();
      for (const { field, type, present, values } of rows.columns) {
        if (present !== null && present[i] !== 1) continue;
        const name = `${type}:${field}`;
        if (values instanceof Float64Array) cells.set(name, bitsAt(values, i));
        else if (values instanceof Uint8Array) cells.set(name, values[i] === 1);
        else cells.set(name, values[i]!);
      }
      model.push({
        series: rows.series[s]!,
        time: rows.times[i]!,
        version: rows.versionTable[rows.versions[i]!]!,
        cells,
      });
    }
  }
  return model;
}

/** Series are ranked by `rankOf`; rows in any order. */
export function rowSetOf(model: readonly ModelRow[], rankOf: (series: number) => number): RowSet {
  const names = [...new Set(model.flatMap((row) => [...row.cells.keys()]))];
  const versionTable = [...new Set(model.map((row) => row.version))];
  const columns = names.map((name): Column => {
    const type = Number(name[0]) as FieldType;
    const values = makeValues(type, model.length);
    const present = new Uint8Array(model.length);
    model.forEach((row, i) => {
      const cell = row.cells.get(name);
      if (cell === undefined) return;
      present[i] = 1;
      if (values instanceof Float64Array) setBits(values, i, cell as bigint);
      else if (values instanceof Uint8Array) values[i] = cell === true ? 1 : 0;
      else if (values instanceof BigInt64Array || values instanceof BigUint64Array) values[i] = cell as bigint;
      else values[i] = cell as string;
    });
    return { field: name.slice(2), type, present: present.includes(0) ? present : null, values };
  });
  return sortRows(
    {
      rowSeries: Uint32Array.from(model, (row) => row.series),
      times: Float64Array.from(model, (row) => row.time),
      versions: Uint32Array.from(model, (row) => versionTable.indexOf(row.version)),
      versionTable,
      columns,
    },
    rankOf,
  );
}

const SPECIAL = [
  0,
  -0,
  Number.NaN,
  Infinity,
  -Infinity,
  5e-324,
  -5e-324,
  1.7976931348623157e308,
  2 ** 53,
  0.1,
  1e22,
  1e23,
];
const NAN_PAYLOADS = [0x7ff8000000000001n, 0xfff8dead0000beefn, 0x7ff0000000000001n];
const WORDS = ['', 'ok', 'warning', 'Größe', '日本', '\ud800', '\udc00', '😀', 'a'.repeat(300)];

/** One kind of values per column, as real columns are; `mixed` throws everything together. */
function cellSource(type: FieldType, random: () => number): () => Cell {
  const kind = Math.floor(random() * 7);
  const digits = Math.floor(random() * 6);
  let walk = Math.floor(random() * 1000);
  const step = () => {
    walk += Math.floor(random() * 21) - 10;
    return walk;
  };
  if (type === FLOAT) {
    return () => {
      if (kind === 0 || (kind === 1 && random() < 0.1)) {
        const pick = Math.floor(random() * (SPECIAL.length + NAN_PAYLOADS.length));
        return pick < SPECIAL.length ? floatBits(SPECIAL[pick]!) : NAN_PAYLOADS[pick - SPECIAL.length]!;
      }
      if (kind === 2) return floatBits(random() * 2 ** Math.floor(random() * 40));
      if (kind === 3) return (BigInt(Math.floor(random() * 2 ** 32)) << 32n) | BigInt(Math.floor(random() * 2 ** 32));
      if (kind === 4) return floatBits(42.5 + Math.floor(random() * 1.1));
      if (kind === 5) return floatBits(Math.floor(random() * 1e15) / 1e4);
      return floatBits(step() / 10 ** digits);
    };
  }
  if (type === BOOLEAN) return () => random() < (kind < 3 ? 0.5 : 0.99);
  if (type === STRING) return () => WORDS[Math.floor(random() * (kind < 3 ? 3 : WORDS.length))]!;
  const signed = type === INTEGER;
  return () => {
    let value: bigint;
    if (kind === 0) value = (BigInt(Math.floor(random() * 2 ** 32)) << 32n) | BigInt(Math.floor(random() * 2 ** 32));
    else if (kind === 1)
      value = [0n, 1n << 63n, (1n << 63n) - 1n, (1n << 64n) - 1n, 1n << 53n][Math.floor(random() * 5)]!;
    else if (kind === 2) value = BigInt(Math.floor(random() * 2 ** 53));
    else if (kind === 3) value = (1n << 62n) + BigInt(step());
    else value = BigInt(step() * 1000);
    return signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value);
  };
}

export interface Shape {
  series: number;
  rowsMax: number;
  versions: number;
  fields: number;
}

/** Rows with distinct (series, time, version) in random order; some columns full, some sparse. */
export function randomRows(random: () => number, shape: Shape): ModelRow[] {
  const types: FieldType[] = [FLOAT, INTEGER, UNSIGNED, STRING, BOOLEAN];
  const columns = Array.from({ length: 1 + Math.floor(random() * shape.fields) }, (_, c) => {
    const type = types[Math.floor(random() * types.length)]!;
    // Field names repeat with other types now and then.
    return {
      name: `${type}:f${Math.floor(c / 1.3)}`,
      density: random() < 0.5 ? 1 : random(),
      cell: cellSource(type, random),
    };
  });
  const versions = Array.from({ length: shape.versions }, (_, i) =>
    versionOf(
      1.7e12 + i * 1000 + Math.floor(random() * 500),
      Math.floor(random() * 3),
      random() < 0.5 ? undefined : 'ffeeddccbbaa9988',
    ),
  );
  const regular = random() < 0.5;
  const seen = new Set<string>();
  const model: ModelRow[] = [];
  for (let s = 0; s < shape.series; s++) {
    const count = regular ? shape.rowsMax : 1 + Math.floor(random() * shape.rowsMax);
    for (let i = 0; i < count; i++) {
      const time = regular ? 5e9 + i * 1e10 : Math.floor(random() * (random() < 0.5 ? 20 : 6e15));
      const version = regular
        ? versions[Math.floor((i * versions.length) / count)]!
        : versions[Math.floor(random() * versions.length)]!;
      const id = `${s} ${time} ${version}`;
      if (seen.has(id)) continue;
      seen.add(id);
      const cells = new Map<string, Cell>();
      for (const column of columns) if (random() <= column.density) cells.set(column.name, column.cell());
      model.push({ series: s * 7, time, version, cells });
    }
  }
  return model;
}

/** Rows as JSON: floats as the 16 hexadecimal digits of their bits, integers as decimal text. */
export function describeRows(rows: RowSet): [number, number, Version, Record<string, string | boolean>][] {
  return modelOf(rows).map((row) => [
    row.series,
    row.time,
    row.version,
    Object.fromEntries([...row.cells].map(([name, cell]) => [name, describeCell(name, cell)])),
  ]);
}

function describeCell(name: string, cell: Cell): string | boolean {
  if (typeof cell === 'boolean') return cell;
  return name.startsWith('0:') ? (cell as bigint).toString(16).padStart(16, '0') : String(cell);
}
