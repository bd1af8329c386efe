/** Why which value won, told by real engines: of a pass, of read repair, of a copy; of a mend and of unequal batches. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Ledger } from '../../repair/ledger.ts';
import { joined, recordOfPass } from '../../repair/repair-records.ts';
import { nodeFiles } from '../../server/node-files.ts';
import { Engine } from '../../shards/engine.ts';
import { STORAGE_LIMITS } from '../../shards/storage-limits.ts';
import { stampMs } from '../../shards/version.ts';
import { MemoryFiles } from '../support/memory-files.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const [FIRST, , THIRD] = NUMBERS as [string, string, string];

let directory = '';
let engines: Engine[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'starling-explained-'));
  engines = [];
});
afterEach(() => {
  for (const engine of engines) engine.close();
  rmSync(directory, { recursive: true, force: true });
});

function trioOfEngines(): Trio {
  return new Trio(3, {}, (number, later) => {
    const files = new MemoryFiles('/memory', nodeFiles());
    const engine: Engine = Engine.open({
      shardsDirectory: join(directory, number),
      directory: '/memory',
      owns: () => true,
      files,
      companion: () => new Ledger(),
      limits: STORAGE_LIMITS,
      openDatabase: (path) => new Database(path),
      nowMs: () => 0,
      setAside: () => {},
    });
    engines.push(engine);
    const sync = engine.sync.bind(engine);
    engine.sync = (done) => {
      sync(done);
      later(() => files.runSyncs());
    };
    return { storage: engine, ledgerOf: (id) => engine.companionOf(id) as Ledger };
  });
}

/** A write that only `at` gets: `a` has another value each time, `b` always the same. Returns its version. */
function lonely(trio: Trio, at: number): string {
  for (const number of NUMBERS) if (number !== NUMBERS[at]) trio.cut.add(number);
  trio.hear();
  const write = trio.prepare(at);
  trio.hosts[at]!.submit([write], trio.now);
  trio.settle();
  trio.cut.clear();
  trio.hear();
  return write.version;
}

/** The field of `a` as each replica shows it. */
function seen(): (number | null)[] {
  return engines.map((engine) => {
    const shard = engine.queryable(ID);
    if (shard === null) return null;
    const series = shard.series('cpu', null);
    let value: number | null = null;
    shard.scan({ measurement: 'cpu', series, fields: ['usage'], minTime: 1, maxTime: 1 }, (slice) => {
      value = slice.columns[0]!.values[0] as number;
      return true;
    });
    return value;
  });
}

describe('a conflict is explained where it is found', () => {
  test('a pass that meets a damaged block takes what it was missing all the same, and says that it did not look into it', () => {
    const trio = trioOfEngines();
    trio.write(0);
    trio.settle();
    lonely(trio, 2);
    trio.write(0);
    trio.settle();
    engines[0]!.shards.get(ID)!.flush();
    const file = new Database(join(directory, FIRST, `${ID}.sqlite`));
    for (const { id, head } of file.prepare('SELECT id, head FROM blocks').all() as { id: number; head: Buffer }[]) {
      head[head.length >> 1]! ^= 4;
      file.prepare('UPDATE blocks SET head = ? WHERE id = ?').run(head, id);
    }
    file.close();
    // It ends, whatever can be given with the damage there; what was missing has come.
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'failed', batchesMoved: 1 });
    expect((engines[0]!.companionOf(ID) as Ledger).listed).toBe(3);
    const found = trio.repairs.flatMap(({ steps }) => steps.filter(({ to }) => to === FIRST));
    expect(found.map(({ decided }) => decided)).toContainEqual({ unexamined: 2 });
  });

  test('a pass: the later write wins, with both values, their versions, whose they are and which rule decided', () => {
    const trio = trioOfEngines();
    const lost = lonely(trio, 0);
    const won = lonely(trio, 2);
    expect(seen()).toEqual([stampMs(lost), null, stampMs(won)]);
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done' });
    expect(new Set(seen())).toEqual(new Set([stampMs(won)]));
    const pass = trio.passes.find(({ outcome }) => outcome === 'proven')!;
    const parts = trio.repairs.filter(({ id }) => id === pass.id);
    const whole = parts.reduce(joined, recordOfPass(pass));
    expect(whole).toMatchObject({ kind: 'pass', outcome: 'done', shard: ID, steps: pass.hops });
    const met = whole.steps.filter(({ decided }) => decided !== undefined);
    expect(met.map(({ decided }) => decided)).toContainEqual({ later: 1, same: 1 });
    for (const { bytes, batches, ms } of met) {
      expect(bytes).toBeGreaterThan(100);
      expect([batches, ms >= 0]).toEqual([1, true]);
    }
    const { contests, member, from } = whole.samples[0]!;
    expect(met.some((step) => step.from === from && step.to === member)).toBe(true);
    expect(contests).toHaveLength(1);
    expect(contests[0]).toMatchObject({
      rule: 'later',
      series: 'cpu,host=a',
      field: 'usage',
      time: '1',
      winner: { version: won, value: String(stampMs(won)) },
      loser: { version: lost, value: String(stampMs(lost)) },
    });
    const { winner, loser } = contests[0]!;
    expect('came' in winner && winner.came).not.toBe(loser.came);
  });

  test('counts travel with the pass: who found nothing itself knows them, too', () => {
    const trio = trioOfEngines();
    lonely(trio, 0);
    lonely(trio, 2);
    trio.repair(0, 'ring');
    const met = { later: 1, same: 1 };
    const counted = trio.passes.map(({ hops }) => hops.map(({ decided }) => decided ?? null));
    expect(counted).toEqual(Array.from({ length: 3 }, () => [null, met, met, met]));
  });

  test('batches that meet nothing explain nothing, and equal passes tell nothing at all', () => {
    const trio = trioOfEngines();
    lonely(trio, 0);
    trio.repair(0, 'ring');
    expect(trio.repairs.map(({ samples, steps }) => [samples, steps[0]!.decided])).toEqual([
      [[], undefined],
      [[], undefined],
    ]);
    trio.hear();
    trio.repairs.length = 0;
    trio.passes.length = 0;
    trio.repair(0, 'ring');
    expect([trio.passes.length, trio.repairs]).toEqual([3, []]);
  });

  test('read repair: what was fetched for a query, from whom, and what it overruled', () => {
    const trio = trioOfEngines();
    const lost = lonely(trio, 0);
    const won = lonely(trio, 2);
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'level', batches: 1 });
    expect(trio.repairs).toMatchObject([
      {
        kind: 'read-repair',
        outcome: 'done',
        reason: 'for a query with consistency=all',
        steps: [{ from: THIRD, to: FIRST, batches: 1, rows: 2, decided: { later: 1, same: 1 } }],
        samples: [
          {
            member: FIRST,
            from: THIRD,
            contests: [{ winner: { version: won, came: true }, loser: { version: lost } }],
          },
        ],
      },
    ]);
    trio.repairs.length = 0;
    trio.level(0, 'all');
    expect(trio.repairs).toEqual([]);
  });

  test('outboxes: an acknowledged value that a later one overrules, told once for all that came from one peer', () => {
    const trio = trioOfEngines();
    // What is mailed is nothing to tell of.
    trio.write(1, 'all');
    const lost = lonely(trio, 0);
    lonely(trio, 2);
    const won = lonely(trio, 2);
    trio.pass(500);
    expect(new Set(seen()).size).toBe(1);
    expect(trio.repairs).toEqual([]);
    trio.pass(6_000);
    expect(
      trio.repairs.every(({ kind, outcome, shard }) => `${kind} ${outcome} ${shard}` === `outbox done ${ID}`),
    ).toBe(true);
    const steps = trio.repairs.flatMap((record) => record.steps);
    const moved = steps.map(({ from, to, batches, rows }) => `${from[0]}>${to[0]} ${batches} ${rows}`);
    expect(moved.toSorted()).toEqual(['1>2 1 2', '1>3 1 2', '3>1 2 4', '3>2 2 4']);
    for (const { bytes } of steps) expect(bytes).toBeGreaterThan(100);
    const toFirst = trio.repairs.find(({ steps: [step] }) => step!.to === FIRST)!;
    const contests = toFirst.samples.flatMap((sample) => sample.contests);
    expect(contests).toContainEqual(
      expect.objectContaining({
        rule: 'later',
        winner: expect.objectContaining({ version: won, value: String(stampMs(won)), came: true }),
        loser: expect.objectContaining({ version: lost, value: String(stampMs(lost)), came: false }),
      }),
    );
    trio.repairs.length = 0;
    trio.pass(70_000);
    expect(trio.repairs).toEqual([]);
  });

  test('outboxes: what an owner has already got in another way is told of no more, and long catching up minute by minute', () => {
    const trio = trioOfEngines();
    lonely(trio, 0);
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done' });
    trio.repairs.length = 0;
    trio.pass(10_000);
    expect(trio.repairs).toEqual([]);
    for (let second = 0; second < 80; second++) {
      lonely(trio, 0);
      trio.pass(1_000);
    }
    trio.pass(6_000);
    const batches = trio.repairs
      .flatMap(({ steps }) => steps.filter(({ to }) => to === THIRD))
      .map((step) => step.batches);
    expect(batches).toHaveLength(2);
    expect(batches[0]! + batches[1]!).toBe(80);
    expect(Math.abs(batches[0]! - 60)).toBeLessThan(3);
  });
});
