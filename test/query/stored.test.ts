/**
 * Answers from real storage are those of shards as plain maps, whatever was flushed, merged, settled, deleted or replayed after
 * a crash in between.
 */
import { expect, test } from 'vitest';
import type { DeletePredicate, WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { type FieldType, FLOAT, INTEGER, makeValues, STRING } from '../../shards/column.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';
import { stampOf } from '../../shards/version.ts';
import { Bench, type VersionSet, versionAt } from '../storage/helpers.ts';
import { randomOf } from '../storage/random-batches.ts';
import { type AskOptions, ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';
import { HOUR, NOW, QUERIES, START } from './statements.ts';

const SEEDS = 4;
const OPTIONS: AskOptions = { database: 't', nowNs: NOW, epoch: 'ns' };
const TYPES: Readonly<Record<string, FieldType>> = { f: FLOAT, i: INTEGER, s: STRING };

interface Row {
  readonly key: string;
  readonly timeNs: bigint;
  readonly fields: Readonly<Record<string, number | bigint | string>>;
}

function lineOf({ key, timeNs, fields }: Row): string {
  const text = (value: number | bigint | string): string =>
    typeof value === 'string' ? `"${value}"` : typeof value === 'bigint' ? `${value}i` : `${value}`;
  const values = Object.entries(fields).map(([name, value]) => `${name}=${text(value)}`);
  return `${key} ${values.join(',')} ${timeNs}`;
}

function batchOf(shard: ShardKey, version: string, rows: readonly Row[]): WriteBatch {
  const keys = [...new Set(rows.map(({ key }) => key))];
  const columns = Object.entries(TYPES).flatMap(([field, type]) => {
    const present = Uint8Array.from(rows, ({ fields }) => (fields[field] === undefined ? 0 : 1));
    if (!present.includes(1)) return [];
    const values = makeValues(type, rows.length);
    rows.forEach(({ fields }, row) => {
      if (fields[field] !== undefined) values[row] = fields[field] as never;
    });
    return [{ field, type, present: present.includes(0) ? present : null, values }];
  });
  const rowSeries = Uint32Array.from(rows, ({ key }) => keys.indexOf(key));
  const times = Float64Array.from(rows, ({ timeNs }) => Number(timeNs - shard.startNs));
  const series = keys.map((key) => hashSeriesKey('test', key));
  return { kind: 'write', shard, version, series, groups: [{ measurement: 'm', rowSeries, times, columns }] };
}

/** The same rows as plain maps and in an engine. */
class Both {
  readonly bench = new Bench({ blockBytesTarget: 600, compactionRowsMax: 120, transactionBytesMax: 4000 });
  readonly maps: MemoryBackend;
  readonly stored: MemoryBackend;
  #versions = 0;

  constructor(shardDurationNs: bigint) {
    const layout = { shardsPerGroup: 1, shardDurationNs };
    this.maps = new MemoryBackend(layout);
    this.stored = new MemoryBackend({ ...layout, stored: (id) => this.bench.engine.queryable(id)! });
    // A delete of the one is a batch for each shard of the other.
    Object.assign(this.stored.backend, {
      deleteRows: async (
        _database: unknown,
        _policy: unknown,
        predicate: DeletePredicate,
        min: bigint,
        max: bigint,
      ) => {
        for (const { key } of this.stored.shards.values()) {
          const minTime = Math.max(0, Number(min - key.startNs));
          const maxTime = Number((max < key.endNs ? max : key.endNs - 1n) - key.startNs);
          if (maxTime < minTime || min >= key.endNs) continue;
          const version = versionAt(++this.#versions);
          this.#apply(
            encodeBatch({ kind: 'delete', shard: key, version, predicate: { ...predicate, minTime, maxTime } }),
            key,
            [],
          );
        }
      },
    });
  }

  async create(): Promise<void> {
    for (const memory of [this.maps, this.stored]) await ask(memory, 'CREATE DATABASE t');
  }

  write(rows: readonly Row[]): void {
    const text = rows.map(lineOf).join('\n');
    for (const memory of [this.maps, this.stored]) expect(memory.write('t', text)).toBe(0);
    for (const { key } of this.stored.shards.values()) {
      const own = rows.filter(({ timeNs }) => timeNs >= key.startNs && timeNs < key.endNs);
      if (own.length > 0) this.#apply(encodeBatch(batchOf(key, versionAt(++this.#versions), own)), key, own);
    }
  }

  #apply(frame: ReturnType<typeof encodeBatch>, key: ShardKey, rows: readonly Row[]): void {
    const { engine } = this.bench;
    engine.create(key);
    const shard = engine.shards.get(shardId(key))!;
    const keys = [...new Set(rows.map((row) => row.key))].map((text) => ({
      hash: hashSeriesKey('test', text),
      key: text,
    }));
    const position = engine.append([{ shard: shard.id, keys, frame }]);
    expect(this.bench.sync()).toBeNull();
    const held = holdFrame(frame);
    (shard.companion as VersionSet).replayed(held);
    shard.apply(held, keys, position);
  }

  /** What happens to storage between writes. */
  disturb(random: (below: number) => number): void {
    const kind = random(5);
    if (kind === 0) this.bench.crash();
    if (kind === 1) for (const shard of this.bench.engine.shards.values()) shard.flush();
    if (kind < 2) return;
    const floor = stampOf(versionAt(this.#versions - random(3)));
    for (const { companion } of this.bench.engine.shards.values()) {
      const versions = companion as VersionSet;
      if (versions.floor < floor) versions.floor = floor;
    }
    this.bench.nowMs += [1, 1_000_000_000][random(2)]!;
    while (this.bench.step());
  }

  async compare(query: string): Promise<void> {
    const answer = await ask(this.stored, query, OPTIONS);
    expect({ query, answer }).toEqual({ query, answer: await ask(this.maps, query, OPTIONS) });
  }
}

test.each(Array.from({ length: SEEDS }, (_, n) => n + 1))(
  'seed %i: real storage answers as plain maps do',
  async (seed) => {
    const random = randomOf(seed);
    const both = new Both([6n, 24n, 168n][random(3)]! * HOUR);
    await both.create();
    let deletes = 0;
    for (let step = 0; step < 25; step++) {
      const rows = new Map<string, Row>();
      // Dense series now and then, so that blocks have runs and a series is cut.
      const dense = random(3) === 0;
      const host = random(6);
      const minute = random(3600);
      for (let n = dense ? 200 : 1 + random(40); n > 0; n--) {
        const key = `m,host=h${dense ? host : random(6)},region=r${random(2)}`;
        const at = dense ? Math.min(3599, minute + n) : random(3600);
        const timeNs = START + BigInt(at) * 60_000_000_000n;
        // Quarters: sums of them are exact.
        const fields = {
          ...(random(4) === 0 ? {} : { f: (random(800) - 400) / 4 }),
          ...(random(3) === 0 ? { i: BigInt(random(11) - 5) } : {}),
          ...(random(3) === 0 ? { s: `s${random(3)}` } : {}),
        };
        if (Object.keys(fields).length > 0) rows.set(`${key} ${timeNs}`, { key, timeNs, fields });
      }
      if (rows.size > 0) both.write([...rows.values()]);
      if (random(5) === 0) {
        const from = START + BigInt(random(3600)) * 60_000_000_000n;
        const statement = `DELETE FROM m WHERE host = 'h${random(6)}' AND time >= ${from} AND time < ${from + 10n * HOUR}`;
        for (const memory of [both.maps, both.stored])
          expect(await ask(memory, statement, OPTIONS)).toEqual([{ statement_id: 0 }]);
        deletes++;
      }
      both.disturb(random);
      for (let n = 0; n < 3; n++) await both.compare(QUERIES[random(QUERIES.length)]!);
    }
    for (const query of QUERIES) await both.compare(query);
    expect(deletes).toBeGreaterThan(0);
    both.bench.remove();
  },
);
