/** Copies that break off and go on: what is there in the end is what one copy in one go would have brought, row by row. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, describe, expect, test } from 'vitest';
import { pageHash } from '../../shards/fill-page.ts';
import type { FillSource, FillTarget } from '../../shards/storage.ts';
import { Bench, HOUR_NS, KEY, type PlainRow, SHARD, versionAt } from './helpers.ts';
import { type Random, randomOf } from './random-batches.ts';

const PAGE_BYTES = 2_000;
const benches: Bench[] = [];
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove();
});

function open(): Bench {
  const bench = new Bench({ blockBytesTarget: 500, transactionBytesMax: 3_000, compactionRunsMin: 2 });
  benches.push(bench);
  return bench;
}

const fillPath = (bench: Bench) => join(bench.directory, 'shards', `${SHARD}.sqlite.fill`);

/** What a page was given for, or that it was kept. Ends before page `end`. */
function give(source: FillSource, target: FillTarget, end = Number.POSITIVE_INFINITY): { sent: number; kept: number } {
  const bytes = { sent: 0, kept: 0 };
  for (let index = 0; index < end; index++) {
    const page = source.page(index);
    if (page === null) break;
    const kept = target.kept(index);
    if (kept !== null && kept === pageHash(page)) bytes.kept += target.keep(index);
    else {
      target.accept(page);
      bytes.sent += page.byteLength;
    }
  }
  return bytes;
}

/** All rows of the shard's file, but for what is this node's alone and the numbers of blocks. */
function dump(bench: Bench): string[] {
  const database = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`));
  const lines: string[] = [];
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").pluck().all();
  for (const table of tables as string[]) {
    lines.push(table);
    const rows = database.prepare(`SELECT * FROM "${table}"`).all() as Record<string, unknown>[];
    const shown = rows.map(({ id, ...row }) =>
      JSON.stringify(row, (_, value) => (value?.type === 'Buffer' ? Buffer.from(value).toString('hex') : value)),
    );
    lines.push(...shown.filter((line) => !line.startsWith('{"name":"flushed"')).sort());
  }
  database.close();
  return lines;
}

/** Rows over all windows; each source meets the series in an order of its own. */
function rowsOf(random: Random, count: number): PlainRow[] {
  return Array.from({ length: count }, () => ({
    key: `m,host=h${random(60)}`,
    time: random(24) * HOUR_NS + random(1e6),
    fields: { f: random(1 << 30) / 7 },
  }));
}

describe('a copy that broke off', () => {
  test.each(Array.from({ length: 6 }, (_, i) => i + 1))('ends as if it had not, seed %i', (seed) => {
    const random = randomOf(seed);
    const sources = [open(), open()];
    let version = 0;
    const grow = () => {
      for (const source of sources) {
        source.writeRows(versionAt(++version), rowsOf(random, 30));
        if (random(10) < 7) source.shard().flush();
        if (random(10) < 2) {
          source.nowMs += 10_000_000;
          while (source.step());
        }
      }
    };
    for (let i = 0; i < 8; i++) grow();
    const bench = open();
    bench.awaitsCopy = true;
    bench.shard().flush();
    bench.reopen();
    let kept = 0;
    let origin = 0;
    for (let tries = 0; tries < 12; tries++) {
      if (random(10) < 3) origin = 1 - origin;
      const source = sources[origin]!.shard().snapshot(PAGE_BYTES);
      const target = bench.engine.beginFill(KEY, `source ${origin}`);
      kept += give(source, target, 1 + random(40)).kept;
      source.close();
      if (random(10) < 1) target.abort();
      else if (random(10) < 5) target.suspend();
      else bench.reopen();
      expect([null, `source ${origin}`]).toContain(bench.engine.copyOrigin(SHARD));
      if (random(10) < 5) grow();
    }
    expect(kept).toBeGreaterThan(0);
    const source = sources[origin]!.shard().snapshot(PAGE_BYTES);
    const target = bench.engine.beginFill(KEY, 'the last');
    give(source, target);
    target.finish();
    const fresh = open();
    const whole = fresh.engine.beginFill(KEY, 'one go');
    give(source, whole);
    whole.finish();
    source.close();
    expect(dump(bench)).toEqual(dump(fresh));
    expect(existsSync(fillPath(bench))).toBe(false);
  });

  test('is gone when the shard awaits no copy any more, is dropped, or what was kept cannot be read', () => {
    const [from, bench] = [open(), open()];
    from.writeRows(versionAt(1), rowsOf(randomOf(1), 300));
    bench.shard().flush();
    bench.awaitsCopy = true;
    const begin = () => {
      const source = from.shard().snapshot(PAGE_BYTES);
      const target = bench.engine.beginFill(KEY, 'source');
      return { source, target, ...give(source, target, 5) };
    };
    begin();
    bench.reopen();
    expect(existsSync(fillPath(bench))).toBe(true);
    bench.awaitsCopy = false;
    bench.reopen();
    expect(existsSync(fillPath(bench))).toBe(false);
    expect(bench.engine.copyOrigin(SHARD)).toBe(null);
    expect(begin().kept).toBe(0);
    bench.engine.drop(SHARD);
    expect(existsSync(fillPath(bench))).toBe(false);
    bench.shard();
    begin().target.suspend();
    const bytes = readFileSync(fillPath(bench));
    writeFileSync(fillPath(bench), bytes.fill(0xaa, 0, bytes.length >> 1));
    expect(bench.engine.copyOrigin(SHARD)).toBe(null);
    const { source, target, kept } = begin();
    expect(kept).toBe(0);
    give(source, target);
  });
});
