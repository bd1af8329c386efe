/** Parts of the ingest kernel against published vectors and against JavaScript's own numbers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WriteBatch } from '../../shards/batch.ts';
import { decodeBatch } from '../../shards/batch-codec.ts';
import { newIngestKernel } from '../../shards/kernel/ingest-kernel.ts';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { sipHash128 } from '../../shards/siphash.ts';
import { bits } from './reference-parser.ts';
import { POLICY, VERSION } from './support.ts';

/** From `vectors.h` of the authors' reference code: key 00 01 .. 0f, message 00 01 .. of that length. */
const SIPHASH_128: readonly (readonly [number, string])[] = [
  [0, 'a3817f04ba25a8e66df67214c7550293'],
  [1, 'da87c1d86b99af44347659119b22fc45'],
  [2, '8177228da4a45dc7fca38bdef60affe4'],
  [3, '9c70b60c5267a94e5f33b6b02985ed51'],
  [4, 'f88164c12d9c8faf7d0f6e7c7bcd5579'],
  [5, '1368875980776f8854527a07690e9627'],
  [6, '14eeca338b208613485ea0308fd7a15e'],
  [7, 'a1f1ebbed8dbc153c0b84aa61ff08239'],
  [8, '3b62a9ba6258f5610f83e264f31497b4'],
  [15, '5493e99933b0a8117e08ec0f97cfc3d9'],
];
const COUNTING = Uint8Array.from({ length: 16 }, (_, i) => i);

describe('SipHash-2-4 with 128 bits', () => {
  it('gives the vectors of its authors, in TypeScript and in the kernel', () => {
    const kernel = newIngestKernel('seed', 4, LINE_LIMITS);
    const key = new DataView(COUNTING.buffer);
    kernel.keySipHash(key.getBigUint64(0, true), key.getBigUint64(8, true));
    const at = kernel.alloc(64);
    new Uint8Array(kernel.memory.buffer, at, 64).fill(0xff).set(COUNTING);
    for (const [length, vector] of SIPHASH_128) {
      expect(Buffer.from(sipHash128(COUNTING, COUNTING.subarray(0, length))).toString('hex')).toBe(vector);
      kernel.sipHash(at, length, at + 32);
      expect(Buffer.from(kernel.memory.buffer, at + 32, 16).toString('hex')).toBe(vector);
    }
  });

  it('of keys of all lengths is the same in both', () => {
    const stage = new IngestStage('seed', 1000, 4, LINE_LIMITS);
    for (let length = 0; length < 300; length++) {
      const key = 'cpu,host=é'.repeat(30).slice(0, length);
      expect(stage.hashOf(key)).toBe(hashSeriesKey('seed', key));
    }
  });

  it('of keys that begin as the ones before is the same in both', () => {
    const stage = new IngestStage('seed', 1000, 4, LINE_LIMITS);
    const steps = fc.array(fc.tuple(fc.nat(400), fc.string({ maxLength: 40 }), fc.nat(400)), { maxLength: 30 });
    fc.assert(
      fc.property(steps, (changes) => {
        let key = 'cpu,host=é'.repeat(30);
        for (const [kept, put, rest] of changes) {
          key = key.slice(0, kept) + put + key.slice(kept + put.length, kept + put.length + rest);
          expect(stage.hashOf(key)).toBe(hashSeriesKey('seed', key));
        }
      }),
      { numRuns: 200 },
    );
  });
});

/** The floats that the stage makes of these texts, as bits. */
function parsed(texts: readonly string[]): string[] {
  const stage = new IngestStage('seed', 1000, 4, LINE_LIMITS);
  stage.begin(POLICY, 0n);
  const lines = texts.map((text, i) => `m v=${text} ${i}`);
  const schema = { typeOf: () => 0 as const, learn: () => {}, revision: 0 };
  const result = stage.add([Buffer.from(lines.join('\n'))], 'n', 0n, () => schema);
  if (result.kind !== 'taken' || result.failed > 0) throw new Error(JSON.stringify(result));
  const [target] = stage.targets();
  const batch = decodeBatch(stage.seal(target!, VERSION, 1, false, false).frame) as WriteBatch;
  return [...(batch.groups[0]!.columns[0]!.values as Float64Array)].map(bits);
}

/** xorshift: the same numbers in every run. */
function random64(seed: bigint): () => bigint {
  let state = seed;
  return () => {
    state ^= (state << 13n) & 0xffff_ffff_ffff_ffffn;
    state ^= state >> 7n;
    state ^= (state << 17n) & 0xffff_ffff_ffff_ffffn;
    return state;
  };
}

function expectExact(texts: readonly string[]): void {
  const found = parsed(texts);
  const wrong = texts.filter((text, i) => found[i] !== bits(Number(text)));
  expect(wrong.slice(0, 5)).toEqual([]);
}

describe('decimals to doubles', () => {
  it('random doubles, printed in full, come back to the bit', () => {
    const next = random64(88172645463325252n);
    const view = new DataView(new ArrayBuffer(8));
    const texts: string[] = [];
    while (texts.length < 60_000) {
      view.setBigUint64(0, next());
      const value = view.getFloat64(0);
      if (Number.isFinite(value)) texts.push(String(value), value.toExponential(16));
    }
    expectExact(texts);
  });

  it('up to nineteen random digits with any exponent and any point', () => {
    const next = random64(1234567n);
    const texts = Array.from({ length: 80_000 }, () => {
      const digits = (next() % 10n ** ((next() % 19n) + 1n)).toString();
      const point = Number(next() % BigInt(digits.length + 1));
      const exponent = Number(next() % 330n);
      const plain = `${digits.slice(0, point)}.${digits.slice(point)}`;
      return exponent > 290 ? plain : `${plain}e${exponent - 145}`;
    });
    expectExact(texts.map((text) => (text.startsWith('.e') ? `0${text}` : text)));
  });

  it('decimals close to the middle between two doubles round as they should', () => {
    const next = random64(42n);
    const texts: string[] = [];
    while (texts.length < 40_000) {
      // m + 1/2 units in the last place, exactly or cut off, and its neighbours.
      const m = 2n ** 52n + (next() % 2n ** 52n);
      const shift = next() % 40n;
      const middle = ((2n * m + 1n) << shift) / 2n;
      for (const near of [middle - 1n, middle, middle + 1n]) texts.push(near.toString().slice(0, 19));
      const decimals = Number(next() % 22n);
      const text = (middle % 10n ** 19n).toString();
      texts.push(`${text}e-${decimals}`, `${text}e${decimals}`);
    }
    expectExact(texts);
  });

  it('short decimals, in every order of lengths, share a column without losing a bit', () => {
    const next = random64(99n);
    for (let round = 0; round < 60; round++) {
      const longest = 1 + Number(next() % 16n);
      expectExact(
        Array.from({ length: 200 }, () => {
          const sign = next() % 7n === 0n ? '-' : '';
          const digits = (next() % 10n ** (1n + (next() % 9n))).toString();
          const decimals = Number(next() % BigInt(longest));
          return decimals === 0 ? `${sign}${digits}` : `${sign}${digits}.${next().toString().slice(0, decimals)}`;
        }),
      );
    }
    expectExact([
      '0',
      '-0',
      '0.0',
      '-0.0',
      '1',
      '1e2',
      '1.5e3',
      '2.50e-3',
      '9007199254740991',
      '9007199254740992',
      '1e22',
    ]);
  });
});
