/** The kernel's codecs against the plain ones in reference/, both ways, and against made-up bytes. */
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decodeBlock, decodeBlockHead, encodeBlock } from '../../shards/block.ts';
import { BlockError } from '../../shards/block-error.ts';
import type { Column, ColumnValues } from '../../shards/column.ts';
import type { RowSet } from '../../shards/row-set.ts';
import { decodeBody, encodeBlock as encodePlainly } from './reference/block.ts';
import { statisticsOf } from './reference/statistics.ts';
import { randomFrom, versionOf } from './rows.ts';

const ALL = { series: null, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER };

type Random = () => number;
type Next = () => number;

/** Columns as agents send them, and as nobody would. */
const FLOATS: Record<string, (random: Random) => Next> = {
  'walk of two decimals': (random) => {
    let at = 50;
    return () => {
      at = Math.min(100, Math.max(0, at + (random() - 0.5) * 2));
      return Number(at.toFixed(2));
    };
  },
  'walk with a jump now and then': (random) => {
    let at = 500;
    return () => {
      at += Math.floor(random() * 25) - 12;
      return (random() < 0.01 ? at + 100_000 : at) / 10;
    };
  },
  'small numbers of an odd bound': (random) => {
    const bound = 3 + Math.floor(random() * 3000);
    return () => Math.floor(random() * bound);
  },
  'bell-shaped steps': (random) => {
    let at = 0;
    return () => {
      at += Math.round((random() + random() + random() + random() - 2) * 300);
      return at / 100;
    };
  },
  'a counter with resets': (random) => {
    let at = 0;
    return () => {
      at = random() < 0.003 ? 0 : at + 1000 + Math.floor(random() * 3);
      return at;
    };
  },
  'full precision': (random) => () => random() * 100 + random() * 1e-8,
  'full precision that moves little': (random) => {
    let at = 97.43589743589743;
    return () => {
      at += (random() - 0.5) * 0.01;
      return at;
    };
  },
  'short and long mixed': (random) => () =>
    random() < 0.4 ? Math.floor(random() * 200) / 2 : random() * 100 + random() * 1e-8,
  'mostly one long number': (random) => () => (random() < 0.05 ? random() : Math.PI),
  'every kind of float': (random) => {
    const odd = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, 5e-324, 1e300, 0.1, 123456789012345];
    return () =>
      random() < 0.5 ? odd[Math.floor(random() * odd.length)]! : random() * 10 ** Math.floor(random() * 30);
  },
};

function rowsOf(random: Random, series: number, rowsMax: number, make: (random: Random) => Next): RowSet {
  const lengths = Array.from({ length: series }, () => 1 + Math.floor(random() * rowsMax));
  const seriesStart = new Uint32Array(series + 1);
  lengths.forEach((length, s) => {
    seriesStart[s + 1] = seriesStart[s]! + length;
  });
  const count = seriesStart[series]!;
  const times = new Float64Array(count);
  for (let s = 0; s < series; s++) for (let i = 0; i < lengths[s]!; i++) times[seriesStart[s]! + i] = 1e10 * i;
  const next = make(random);
  const floats = Float64Array.from({ length: count }, next);
  // Bits that are no number anywhere, to be kept as they are.
  if (random() < 0.3) new BigUint64Array(floats.buffer)[Math.floor(random() * count)] = 0x7ff0dead0000beefn;
  const whole = make(random);
  const integers = BigInt64Array.from({ length: count }, () => BigInt(Math.trunc(Math.min(whole(), 2 ** 62)) || 0));
  const sparse = random() < 0.5 ? null : Uint8Array.from({ length: count }, () => (random() < 0.8 ? 1 : 0));
  const column = (field: string, type: Column['type'], values: ColumnValues): Column => {
    return { field, type, present: sparse, values };
  };
  return {
    series: Uint32Array.from({ length: series }, (_, s) => s * 3),
    seriesStart,
    times,
    versions: Uint32Array.from({ length: count }, (_, i) => i % 3),
    versionTable: [versionOf(1e12), versionOf(1e12 + 5), versionOf(1e12 + 9)],
    columns: [
      column('a', 0, floats),
      column('b', 1, integers),
      column('c', 2, new BigUint64Array(integers.buffer.slice(0))),
      column(
        'd',
        4,
        Uint8Array.from({ length: count }, () => (random() < 0.7 ? 1 : 0)),
      ),
      column(
        'e',
        3,
        Array.from({ length: count }, () => `host-${Math.floor(random() * 9)}`),
      ),
    ],
  };
}

/** Values of absent rows are not looked at. */
function expectEqual(found: RowSet, expected: RowSet, what: string): void {
  expect(found.series, what).toEqual(expected.series);
  expect(found.seriesStart, what).toEqual(expected.seriesStart);
  expect(found.times, what).toEqual(expected.times);
  expect(found.versions, what).toEqual(expected.versions);
  expected.columns.forEach((column, c) => {
    const other = found.columns[c]!;
    const bits = (values: ColumnValues) =>
      values instanceof Float64Array ? new BigUint64Array(values.buffer, values.byteOffset, values.length) : values;
    const [a, b] = [bits(other.values), bits(column.values)];
    expect(a.length).toBe(b.length);
    for (let i = 0; i < b.length; i++) {
      const has = column.present === null || column.present[i] === 1;
      if ((other.present === null || other.present[i] === 1) !== has) expect.fail(`${what}: ${column.field} ${i}`);
      if (has && a[i] !== b[i]) expect.fail(`${what}: ${column.field} row ${i} is ${a[i]}, not ${b[i]}`);
    }
  });
}

describe.each(Object.entries(FLOATS))('columns of %s', (_, make) => {
  it('are the same to the kernel and to the reference, written by either', () => {
    for (let seed = 1; seed <= 24; seed++) {
      const random = randomFrom(seed);
      const rows = rowsOf(random, 1 + (seed % 7), seed % 4 === 0 ? 6 : 400 * (1 + (seed % 3)), make);
      const kernel = encodeBlock(rows);
      const head = decodeBlockHead(kernel.head);
      expectEqual(decodeBody(head, kernel.body), rows, `seed ${seed}: kernel, then reference`);
      expectEqual(decodeBlock(head, kernel.body, ALL), rows, `seed ${seed}: kernel, then kernel`);
      const plain = encodePlainly(rows);
      expectEqual(
        decodeBlock(decodeBlockHead(plain.head), plain.body, ALL),
        rows,
        `seed ${seed}: reference, then kernel`,
      );
      expect(kernel.body.length).toBeLessThanOrEqual(plain.body.length * 1.01 + 16);
      rows.columns.forEach((column, c) => {
        const { min, max, sum } = head.columns[c]!;
        const expected = statisticsOf(column, rows.times.length);
        expect(min === expected.min && max === expected.max && sum === expected.sum, `seed ${seed} ${c}`).toBe(true);
      });
      const from = Math.floor(random() * rows.series.length);
      const to = from + 1 + Math.floor(random() * (rows.series.length - from));
      const part = decodeBlock(head, kernel.body, { ...ALL, series: rows.series.slice(from, to) });
      expectEqual(part, decodeBody(head, kernel.body, from, to), `seed ${seed}: series ${from} to ${to}`);
    }
  });

  it('with bytes changed by somebody who knows CRC-32 give rows or a BlockError', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = randomFrom(seed);
      const rows = rowsOf(random, 3, 300, make);
      const { head, body } = encodeBlock(rows);
      const { versionTable, ...known } = decodeBlockHead(head);
      for (let change = 0; change < 12; change++) {
        const forged = body.slice();
        // Most of the fronts of sections, where counts and widths stand.
        const column = rows.columns[change % 4]!;
        const { offset, length } = known.columns.find(({ field }) => field === column.field)!;
        const reach = change % 3 === 0 ? length : Math.min(length, 60);
        forged[offset + Math.floor(random() * reach)] = Math.floor(random() * 256);
        const bodyCrc = crc32(forged.subarray(0, -4));
        new DataView(forged.buffer).setUint32(forged.length - 4, bodyCrc, true);
        try {
          decodeBlock({ ...known, versionTable, bodyCrc }, forged, ALL);
        } catch (error) {
          if (!(error instanceof BlockError)) throw error;
        }
      }
    }
  });
});

describe('a walk of bounded steps', () => {
  const walks = (jumpChance: number) => {
    const random = randomFrom(11);
    const jump = randomFrom(12);
    const jumps = { count: 0 };
    const rows = rowsOf(random, 40, 720, () => {
      let at = 5000;
      return () => {
        at = Math.min(10_000, Math.max(0, at + Math.floor(random() * 201) - 100));
        if (jump() >= jumpChance) return at / 100;
        jumps.count++;
        return Math.floor(jump() * 10_001) / 100;
      };
    });
    const head = decodeBlockHead(encodeBlock(rows).head);
    return { bytes: head.columns.find(({ field }) => field === 'a')!.length, jumps: jumps.count };
  };

  it.each([0.001, 0.01])('pays for values that jump out of it (%d of all) and for nothing else', (share) => {
    const without = walks(0);
    const { bytes, jumps } = walks(share);
    expect(jumps).toBeGreaterThan(10);
    // There and back, each some 3 bytes for where and how far.
    expect(bytes - without.bytes).toBeLessThan(jumps * 2 * 3.2 + 64);
  });
});

/** What a block of one column, `a`, gives back that was written with these values. */
function broughtBack(values: Float64Array): ColumnValues {
  const { head, body } = encodeBlock({
    series: Uint32Array.of(0),
    seriesStart: Uint32Array.of(0, values.length),
    times: Float64Array.from(values, (_, i) => i),
    versions: new Uint32Array(values.length),
    versionTable: [versionOf(1)],
    columns: [{ field: 'a', type: 0, present: null, values }],
  });
  return decodeBlock(decodeBlockHead(head), body, ALL).columns[0]!.values;
}

describe('values at the ends of what a shorter way is exact for', () => {
  it('come back from tuples of every bound', () => {
    const random = randomFrom(21);
    for (let bound = 3; bound < 5800; bound += bound < 400 ? 1 : 37) {
      // Every other digit is the greatest or the least.
      const values = Float64Array.from({ length: 300 }, () =>
        random() < 0.5 ? Math.floor(random() * bound) : random() < 0.5 ? bound - 1 : 0,
      );
      expect(broughtBack(values), `below ${bound}`).toEqual(values);
    }
  });

  it.each([1, 2, 3, 4, 5, 6])('come back with %d decimals from any offset', (decimals) => {
    const random = randomFrom(decimals);
    for (const offset of [0, -1, 1e9, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 31 + 1, -(2 ** 32), 1e13]) {
      for (const reach of [100, 1e6, 2 ** 31 - 2]) {
        const values = Float64Array.from(
          { length: 2000 },
          () => (offset + Math.floor(random() * reach)) / 10 ** decimals,
        );
        expect(broughtBack(values), `from ${offset} on, below ${reach}`).toEqual(values);
      }
    }
  });

  it('come back where fronts are few, many, or wide', () => {
    const random = randomFrom(31);
    for (let octaves = 1; octaves < 60; octaves += 1) {
      for (const width of [1, 1 / 64, 1 / 4096]) {
        const values = Float64Array.from(
          { length: 1203 },
          () => (1 + random() * width) * 2 ** Math.floor(random() * octaves),
        );
        expect(broughtBack(values), `${octaves} octaves of ${width}`).toEqual(values);
      }
    }
  });
});
