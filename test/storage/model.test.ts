/** Storage against a naive map: random writes, deletes, flushes, compactions and crashes from a seed. */
import { afterEach, expect, test } from 'vitest';
import type { Batch } from '../../shards/batch.ts';
import { decodeBatch, encodeBatch } from '../../shards/batch-codec.ts';
import { addSums } from '../../shards/checksum.ts';
import { STAMP_ZERO, stampOf } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import { Bench, cellsOf, deleteBatch, HOUR_NS, keysOf, type PlainRow, versionAt, writeBatch } from './helpers.ts';

let bench: Bench;
afterEach(() => bench.remove());

function randomOf(seed: number): (below: number) => number {
  let state = seed * 2654435761;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) % below;
  };
}

/** What is visible after these batches, by the rules alone. */
function expectedCells(batches: readonly Batch[]): Map<string, number> {
  const keys = new Map(ALL_KEYS.map(({ hash, key }) => [hash, key]));
  const winners = new Map<string, { version: string; value: number }>();
  const deletes = batches.filter((batch) => batch.kind === 'delete');
  for (const batch of batches) {
    if (batch.kind !== 'write') continue;
    for (const group of batch.groups) {
      for (const column of group.columns) {
        for (let row = 0; row < group.times.length; row++) {
          if (column.present !== null && column.present[row] === 0) continue;
          const key = keys.get(batch.series[group.rowSeries[row]!]!)!;
          const time = group.times[row]!;
          const dead = deletes.some(
            ({ version, predicate: { condition, minTime, maxTime } }) =>
              version > batch.version &&
              time >= minTime &&
              time <= maxTime &&
              (condition === null || (condition.op === '=' && key.endsWith(`=${condition.value}`))),
          );
          const name = `${key} ${time} ${column.field}`;
          const winner = winners.get(name);
          if (!dead && (winner === undefined || winner.version < batch.version)) {
            winners.set(name, { version: batch.version, value: column.values[row] as number });
          }
        }
      }
    }
  }
  return new Map([...winners].map(([name, { value }]) => [name, value]));
}

const ALL_KEYS = keysOf(Array.from({ length: 12 }, (_, n) => ({ key: `m,host=h${n}`, time: 0, fields: {} })));

test.each(Array.from({ length: 12 }, (_, i) => i + 1))(
  'random writes, deletes, flushes, compactions and crashes give what a plain map gives (seed %i)',
  (seed) => {
    const random = randomOf(seed);
    bench = new Bench({
      blockBytesTarget: 600,
      compactionRowsMax: 40,
      transactionBytesMax: 3000,
      segmentBytesMax: 8000,
    });
    const durable: Batch[] = [];
    // Versions arrive in any order.
    const versions = Array.from({ length: 400 }, (_, n) => n);
    for (let step = 0; step < 120; step++) {
      const version = versionAt(versions.splice(random(Math.min(20, versions.length)), 1)[0]!);
      const action = random(100);
      if (action < 70) {
        const rows = new Map<string, PlainRow>();
        for (let n = random(20) + 1; n > 0; n--) {
          const key = `m,host=h${random(12)}`;
          const time = random(3) * HOUR_NS + random(15) * 1000;
          const fields: Record<string, number> = { [`f${random(3)}`]: random(1000) / 10 };
          if (random(2) === 0) fields.always = random(10);
          rows.set(`${key} ${time}`, { key, time, fields });
        }
        const batch = writeBatch(version, [...rows.values()]);
        if (action < 5) {
          // Never acknowledged: a crash may keep it whole or lose it.
          const keys = keysOf([...rows.values()]);
          bench.engine.append([{ shard: bench.shard().id, keys, frame: encodeBatch(batch) }]);
          bench.crash(() => random(3000), random(4) === 0);
          if (bench.shard().companion.has(version)) durable.push(batch);
          continue;
        }
        expect(bench.write(batch, keysOf([...rows.values()]))).toBeNull();
        durable.push(batch);
      } else if (action < 75) {
        const batch = deleteBatch(version, {
          condition: random(2) === 0 ? null : { op: '=', key: 'host', value: `h${random(12)}` },
          minTime: random(2) * HOUR_NS,
          maxTime: random(3) * HOUR_NS + 8000,
        });
        expect(bench.write(batch)).toBeNull();
        durable.push(batch);
      } else if (action < 80) bench.shard().flush();
      else if (action < 84) {
        bench.shard().beginFlush();
        for (let steps = random(8); steps > 0; steps--) bench.shard().flushStep();
      } else if (action < 90) {
        bench.nowMs += 700_000;
        while (bench.step());
      } else if (action < 96) bench.crash(() => random(500), random(2) === 0);
      else bench.reopen();
      if (step % 20 === 19) expect(cellsOf(bench)).toEqual(expectedCells(durable));
    }
    expect(cellsOf(bench)).toEqual(expectedCells(durable));
    const sums = bench.shard().recomputeContent(STAMP_ZERO);
    expect(sums).toEqual(new Map(durable.map((batch) => [batch.version, contentSum(batch)])));
    const middle = durable.map(({ version }) => stampOf(version)).sort()[durable.length >> 1]!;
    const through = durable.filter(({ version }) => stampOf(version) <= middle).map(contentSum);
    expect(bench.shard().recomputeContentThrough(middle)).toBe(through.reduce(addSums, 0n));
    const wanted = durable.filter((_, n) => n % 3 === 0);
    const rebuilt = bench.shard().rebuild(new Set(wanted.map(({ version }) => version)));
    expect(new Map(rebuilt.map(({ version, frame }) => [version, contentSum(decodeBatch(frame))]))).toEqual(
      new Map(wanted.map((batch) => [batch.version, contentSum(batch)])),
    );
  },
);
