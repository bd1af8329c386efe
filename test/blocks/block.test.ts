import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decodeBlock, decodeBlockHead, encodeBlock } from '../../shards/block.ts';
import { BlockError } from '../../shards/block-error.ts';
import { type ModelRow, modelOf, randomFrom, randomRows, rowSetOf, type Shape } from './rows.ts';

const ALL = { series: null, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER };
/** Hash order is any order; here it is not that of the ids. */
const rankOf = (series: number): number => (series * 37) % 101;

const SHAPES: Shape[] = [
  { series: 1, rowsMax: 1, versions: 1, fields: 3 },
  { series: 1, rowsMax: 700, versions: 5, fields: 4 },
  { series: 8, rowsMax: 150, versions: 40, fields: 8 },
  { series: 14, rowsMax: 1, versions: 2, fields: 5 },
  { series: 14, rowsMax: 3, versions: 3, fields: 5 },
];

function expectSame(found: ModelRow[], expected: ModelRow[], what: string): void {
  // One comparison by text is far quicker than a deep one, which then explains a failure.
  const text = (rows: ModelRow[]) =>
    rows.map(
      (r) =>
        `${r.series} ${r.time} ${r.version} ${[...r.cells].map(([k, v]) => `${k}=${typeof v}${String(v)}`).join('|')}`,
    );
  const [a, b] = [text(found), text(expected)];
  if (a.length !== b.length || a.some((line, i) => line !== b[i])) expect(a, what).toEqual(b);
}

describe('blocks', () => {
  it('give back every bit of random rows of all types', () => {
    for (let seed = 1; seed <= 400; seed++) {
      const rows = rowSetOf(randomRows(randomFrom(seed), SHAPES[seed % SHAPES.length]!), rankOf);
      const { head, body } = encodeBlock(rows);
      expectSame(modelOf(decodeBlock(decodeBlockHead(head), body, ALL)), modelOf(rows), `seed ${seed}`);
    }
  });

  it('give the wanted series, fields and times only', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = randomFrom(seed);
      const rows = rowSetOf(randomRows(random, SHAPES[seed % SHAPES.length]!), rankOf);
      const { head, body } = encodeBlock(rows);
      const series = rows.series.filter(() => random() < 0.4);
      const [a, b] = [random(), random()].map((r) => rows.times[Math.floor(r * rows.times.length)]!);
      const [minTime, maxTime] = [Math.min(a!, b!), Math.max(a!, b!)];
      const fields = rows.columns.map((c) => c.field).filter(() => random() < 0.5);
      const found = decodeBlock(decodeBlockHead(head), body, { series, fields, minTime, maxTime });
      const expected = modelOf(rows).filter((r) => series.includes(r.series) && r.time >= minTime && r.time <= maxTime);
      for (const row of expected) {
        for (const name of row.cells.keys()) if (!fields.includes(name.slice(2))) row.cells.delete(name);
      }
      expectSame(modelOf(found), expected, `seed ${seed}`);
    }
  });

  it('at an odd address in a larger buffer decode all the same', () => {
    const rows = rowSetOf(randomRows(randomFrom(3), SHAPES[2]!), rankOf);
    const { head, body } = encodeBlock(rows);
    const shifted = (bytes: Uint8Array) => {
      const larger = new Uint8Array(bytes.length + 3);
      larger.set(bytes, 3);
      return larger.subarray(3);
    };
    expectSame(modelOf(decodeBlock(decodeBlockHead(shifted(head)), shifted(body), ALL)), modelOf(rows), 'odd');
  });

  it('say count, least, greatest and sum of every column in the head', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const rows = rowSetOf(randomRows(randomFrom(seed), SHAPES[2]!), rankOf);
      const head = decodeBlockHead(encodeBlock(rows).head);
      rows.columns.forEach((column, c) => {
        const has = [...column.values].filter((_, i) => column.present === null || column.present[i] === 1);
        const found = head.columns[c]!;
        expect(found.count).toBe(has.length);
        if (column.type === 1 || column.type === 2) {
          const integers = has as bigint[];
          const sorted = [...integers].sort((x, y) => (x < y ? -1 : x > y ? 1 : 0));
          expect(found.min).toBe(sorted[0] ?? null);
          expect(found.max).toBe(sorted.at(-1) ?? null);
          expect(found.sum).toBe(integers.length === 0 ? null : integers.reduce((x, y) => x + y, 0n));
        } else if (column.type === 0 && has.length > 0 && !(has as number[]).some(Number.isNaN)) {
          expect(found.min === Math.min(...(has as number[])), `seed ${seed}`).toBe(true);
          expect(found.max === Math.max(...(has as number[]))).toBe(true);
        } else if (column.type === 4) expect(found.sum).toBe(BigInt((has as number[]).reduce((x, y) => x + y, 0)));
      });
    }
  });

  it('of equal rows are equal bytes', () => {
    const make = () => encodeBlock(rowSetOf(randomRows(randomFrom(9), SHAPES[2]!), rankOf));
    expect(make()).toEqual(make());
  });
});

describe('damaged blocks', () => {
  const rows = rowSetOf(randomRows(randomFrom(5), { series: 6, rowsMax: 20, versions: 6, fields: 6 }), rankOf);
  const { head, body } = encodeBlock(rows);
  const read = (h: Uint8Array, b: Uint8Array) => decodeBlock(decodeBlockHead(h), b, ALL).versionTable;
  const flipped = (bytes: Uint8Array, bit: number) => {
    const copy = bytes.slice();
    copy[bit >>> 3]! ^= 1 << (bit & 7);
    return copy;
  };

  it('with any one bit flipped are found', () => {
    for (let bit = 0; bit < head.length * 8; bit++) {
      expect(() => read(flipped(head, bit), body)).toThrow(expect.objectContaining({ code: 'damaged-block' }));
    }
    for (let bit = 0; bit < body.length * 8; bit += 3) {
      expect(() => read(head, flipped(body, bit))).toThrow(expect.objectContaining({ code: 'damaged-block' }));
    }
  });

  it('cut at any length, or under the head of another block, are found', () => {
    for (let n = 0; n < head.length; n++) expect(() => read(head.subarray(0, n), body)).toThrow(BlockError);
    for (let n = 0; n < body.length; n++) expect(() => read(head, body.subarray(0, n))).toThrow(BlockError);
    const other = rowSetOf(randomRows(randomFrom(6), { series: 6, rowsMax: 20, versions: 6, fields: 6 }), rankOf);
    expect(() => read(encodeBlock(other).head, body)).toThrow(BlockError);
  });

  it('of a later format are told from damaged ones', () => {
    const later = head.slice();
    later[0] = later[0]! + 1;
    new DataView(later.buffer).setUint32(later.length - 4, crc32(later.subarray(0, later.length - 4)), true);
    expect(() => decodeBlockHead(later)).toThrow(expect.objectContaining({ code: 'future-block' }));
  });

  it('made up by somebody who knows CRC-32 give rows or a BlockError, nothing else', () => {
    let refused = 0;
    for (let seed = 1; seed <= 6000; seed++) {
      const random = randomFrom(seed);
      const forge = (bytes: Uint8Array, changes: number) => {
        const copy = bytes.slice();
        for (let i = 0; i < changes; i++) copy[Math.floor(random() * (copy.length - 4))] = Math.floor(random() * 256);
        new DataView(copy.buffer).setUint32(copy.length - 4, crc32(copy.subarray(0, copy.length - 4)), true);
        return copy;
      };
      try {
        if (seed % 2 === 0) read(forge(head, 1 + (seed % 3)), body);
        else {
          const forged = forge(body, 1 + (seed % 3));
          const bodyCrc = crc32(forged.subarray(0, forged.length - 4));
          const known = decodeBlockHead(head);
          const { versionTable, ...rest } = known;
          decodeBlock({ ...rest, versionTable, bodyCrc }, forged, ALL);
        }
      } catch (error) {
        if (!(error instanceof BlockError)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});
