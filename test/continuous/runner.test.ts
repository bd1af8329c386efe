/** Continuous queries as statements, and nodes that run them: who does, restarts, failures, clocks. */
import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { ContinuousQueries, type QueryRegisters } from '../../server/continuous/registry.ts';
import { ContinuousRunner } from '../../server/continuous/runner.ts';
import { DEFAULT_QUERY_LIMITS } from '../../server/query/limits.ts';
import type { QueryService } from '../../server/query/result.ts';
import { createQueryService } from '../../server/query/service.ts';
import { ask } from '../query/ask.ts';
import { MemoryBackend, memoryRegisters } from '../query/memory-backend.ts';

const MINUTE_MS = 60_000;
const START_MS = Date.UTC(2024, 4, 1, 12);

let memory: MemoryBackend;
let queries: ContinuousQueries;
let live: string[];
let warnings: string[];
let failing: string | null;
/** Ranges of the SELECTs that were run. */
let asked: string[];
let registers: QueryRegisters;

/** The node as it is after a start: it knows what is in the registers. */
function node(name: string): ContinuousRunner {
  const inner = createQueryService(memory.backend, DEFAULT_QUERY_LIMITS, memory.running);
  const service: QueryService = {
    async *execute(text, options) {
      const [from, to] = [...text.matchAll(/time [<>]=? (\d+)/g)].map(([, ns]) => Number(BigInt(ns!) / 1_000_000n));
      asked.push(`${name} ${(from! - START_MS) / 1000}-${(to! - START_MS) / 1000}`);
      if (failing === null) yield* inner.execute(text, options);
      else yield { statementId: 0, error: failing };
    },
  };
  const log = { warn: (details: object) => void warnings.push((details as { error: string }).error) };
  return new ContinuousRunner(queries, { selfName: name, liveMemberNames: () => live }, service, log);
}

const minutes = (n: number): number => START_MS + n * MINUTE_MS;
const writeAt = (ms: number, value: number): number =>
  memory.write('t', `cpu,host=a v=${value} ${BigInt(ms) * 1_000_000n}`);
const rows = async (measurement: string): Promise<unknown> => {
  const [result] = await ask(memory, `SELECT * FROM ${measurement} GROUP BY *`, { database: 't', epoch: 's' });
  return result!.series?.map(({ tags, values }) => [
    tags?.host,
    ...values!.map(([time, value]) => [((time as number) * 1000 - START_MS) / 1000, value]),
  ]);
};

beforeEach(async () => {
  memory = new MemoryBackend();
  registers = memoryRegisters();
  queries = new ContinuousQueries(
    registers,
    () => memory.snapshot(),
    () => 1,
  );
  Object.assign(memory.backend.metadata, { continuousQueries: queries });
  [live, warnings, failing, asked] = [['n1'], [], null, []];
  await ask(memory, 'CREATE DATABASE t; CREATE DATABASE u');
});

const create = (text: string, database?: string): Promise<unknown> =>
  ask(memory, `CREATE CONTINUOUS QUERY ${text}`, { ...(database !== undefined && { database }) }).then(
    ([result]) => result!.error ?? 'created',
  );
const MEANS = 'means ON t BEGIN SELECT mean(v) INTO means FROM cpu GROUP BY time(1m), * END';

describe('statements', () => {
  it('are shown with their databases and policies, one table for each database', async () => {
    expect(await create(MEANS)).toBe('created');
    expect(await create('"a/b" ON t BEGIN SELECT max(v) INTO u..:MEASUREMENT FROM /./ GROUP BY time(1m, 5s) END')).toBe(
      'created',
    );
    const columns = ['name', 'query'];
    expect(await ask(memory, 'SHOW CONTINUOUS QUERIES')).toEqual([
      {
        statement_id: 0,
        series: [
          {
            name: 't',
            columns,
            values: [
              [
                'a/b',
                'CREATE CONTINUOUS QUERY "a/b" ON t BEGIN SELECT max(v) INTO u.autogen.:MEASUREMENT FROM t.autogen././ GROUP BY time(1m, 5s) END',
              ],
              [
                'means',
                'CREATE CONTINUOUS QUERY means ON t BEGIN SELECT mean(v) INTO t.autogen.means FROM t.autogen.cpu GROUP BY time(1m), * END',
              ],
            ],
          },
          { name: 'u', columns },
        ],
      },
    ]);
  });

  it('are refused with the texts of InfluxDB', async () => {
    const select = (into: string): string => `SELECT mean(v) INTO ${into} FROM cpu GROUP BY time(1m)`;
    expect(await create(MEANS)).toBe('created');
    expect(await create(MEANS)).toBe('created');
    expect(await create(`means ON t BEGIN ${select('other')} END`)).toBe('continuous query already exists');
    expect(await create(`x ON t BEGIN ${select('norp.m')} END`)).toBe('retention policy not found: t.norp');
    expect(await create(`x ON t BEGIN ${select('nodb.rp.m')} END`)).toBe('database not found: nodb');
    expect(await create(`x ON nodb BEGIN ${select('m')} END`)).toBe('database not found: nodb');
    expect(await create(`x ON nodb BEGIN ${select('m')} END`, 't')).toBe('database not found: nodb');
    expect(await ask(memory, 'DROP CONTINUOUS QUERY nope ON t; DROP CONTINUOUS QUERY nope ON nodb')).toEqual([
      { statement_id: 0 },
      { statement_id: 1 },
    ]);
  });

  it('have names that are no text, also from peers', async () => {
    queries.create('t', 'half \ud800', 'CREATE CONTINUOUS QUERY');
    registers.putRegister(`continuous-query/${queries.all()[0]!.key}%E0`, { text: 'of a peer', createdMs: 2 });
    expect(queries.all().map(({ name }) => name)).toEqual(['half \ufffd', 'half%20%EF%BF%BD%E0']);
    queries.drop('t', 'half \ud800');
    expect(queries.all().map(({ text }) => text)).toEqual(['of a peer']);
  });

  it('are refused where a run would have more than ten thousand windows', async () => {
    const select = 'BEGIN SELECT mean(v) INTO means FROM cpu GROUP BY time(1s) END';
    expect(await create(`a ON t RESAMPLE FOR 3650d ${select}`)).toBe(
      'FOR duration must be <= 10000 times the GROUP BY time duration: must be a maximum of 10000s, got 3650d',
    );
    expect(await create(`a ON t RESAMPLE EVERY 10001s ${select}`)).toBe(
      'EVERY duration must be <= 10000 times the GROUP BY time duration: must be a maximum of 10000s, got 10001s',
    );
    expect(queries.all()).toEqual([]);
    expect(await create(`a ON t RESAMPLE FOR 10000s ${select}`)).toBe('created');
    // A peer that knows no such limit may have taken it.
    queries.create('t', 'b', `CREATE CONTINUOUS QUERY b ON t RESAMPLE FOR 10001s ${select}`);
    await node('n1').tick(minutes(1));
    expect(warnings).toEqual([
      'FOR duration must be <= 10000 times the GROUP BY time duration: must be a maximum of 10000s, got 10001s',
    ]);
    expect(asked).toHaveLength(20);
  });

  it('go with their database', async () => {
    await create(MEANS);
    await ask(memory, 'DROP DATABASE t; CREATE DATABASE t');
    expect(queries.all()).toEqual([]);
  });
});

describe('runs', () => {
  it('write each window once it has ended', async () => {
    await create(MEANS);
    const n1 = node('n1');
    writeAt(minutes(0), 1);
    writeAt(minutes(0) + 30_000, 3);
    writeAt(minutes(1), 7);
    await n1.tick(minutes(1) + 500);
    await n1.tick(minutes(1) + 30_000);
    expect(await rows('means')).toEqual([['a', [0, 2]]]);
    await n1.tick(minutes(2));
    expect(await rows('means')).toEqual([['a', [0, 2], [60, 7]]]);
    expect(asked).toEqual(['n1 0-60', 'n1 60-120']);
  });

  it('come to all queries in turn', async () => {
    const made = Array.from({ length: 10 }, (_, i) => i);
    for (const i of made) await create(`c${i} ON t BEGIN SELECT mean(v) INTO m${i} FROM cpu GROUP BY time(1m) END`);
    writeAt(minutes(0), 1);
    const n1 = node('n1');
    for (let second = 0; second < 3; second++) await n1.tick(minutes(1) + second * 1000);
    for (const i of made) expect(await rows(`m${i}`)).toEqual([[undefined, [0, 1]]]);
    expect(asked).toHaveLength(10);
  });

  it('come to those behind the ones that are always due', async () => {
    for (let i = 0; i < 6; i++)
      await create(`c${i} ON t BEGIN SELECT mean(v) INTO m${i} FROM cpu GROUP BY time(1s) END`);
    writeAt(minutes(1) + 1000, 1);
    const n1 = node('n1');
    await n1.tick(minutes(1) + 1000);
    await n1.tick(minutes(1) + 2000);
    expect(asked).toHaveLength(8);
    expect(await Promise.all(['m4', 'm5', 'm0', 'm1'].map(rows))).toEqual(Array(4).fill([[undefined, [61, 1]]]));
  });

  describe('of many parts', () => {
    let n1: ContinuousRunner;
    let done: Promise<void>;
    beforeEach(async () => {
      await create('long ON t RESAMPLE FOR 10000s BEGIN SELECT mean(v) INTO means FROM cpu GROUP BY time(1s) END');
      n1 = node('n1');
      done = n1.tick(minutes(1));
    });

    it('leave the process its other work', async () => {
      for (let turns = 0; turns < 3; turns++) await turn();
      expect(asked.length).toBeLessThan(20);
      await done;
      expect(asked).toHaveLength(20);
    });

    it.each<[string, () => unknown]>([
      ['dropped', () => queries.drop('t', 'long')],
      ['dropped with their database', () => ask(memory, 'DROP DATABASE t; CREATE DATABASE t')],
      ["another member's", () => live.splice(0, 1, 'n2')],
      ['stopped', () => n1.stop()],
    ])('end when they are %s', async (_, change) => {
      await change();
      await done;
      expect(asked.length).toBeLessThan(5);
      expect(queries.all().map((query) => queries.lastRun(query))).not.toContainEqual(expect.anything());
    });
  });

  it('keep a condition, without its times', async () => {
    await create(
      "few ON t BEGIN SELECT count(v) INTO few FROM cpu WHERE time > now() - 1s AND (host = 'a' OR host = 'b') GROUP BY time(1m) END",
    );
    memory.write('t', `cpu,host=c v=1 ${BigInt(minutes(0)) * 1_000_000n}`);
    writeAt(minutes(0), 1);
    await node('n1').tick(minutes(1));
    expect(await rows('few')).toEqual([[undefined, [0, 1]]]);
  });

  it('are made by one live member, and go on where it died', async () => {
    await create(MEANS);
    live = ['n1', 'n2', 'n3'];
    const nodes = new Map(live.map((name) => [name, node(name)]));
    const tickAll = async (ms: number): Promise<void> => {
      for (const name of live) await nodes.get(name)!.tick(ms);
    };
    await tickAll(minutes(1));
    expect(asked).toHaveLength(1);
    const runner = asked[0]!.slice(0, 2);
    live = live.filter((name) => name !== runner);
    writeAt(minutes(2) + 1000, 5);
    await tickAll(minutes(4) + 1000);
    expect(asked).toHaveLength(2);
    // From where the other one stopped.
    expect(asked[1]!.slice(3)).toBe('60-240');
    expect(await rows('means')).toEqual([['a', [120, 5]]]);
    // It is back, and its own memory is an old one.
    live = ['n1', 'n2', 'n3'];
    await tickAll(minutes(5));
    expect(asked.at(-1)).toBe(`${runner} 240-300`);
  });

  it('go on after a restart, without a window lost', async () => {
    await create(MEANS);
    await node('n1').tick(minutes(1));
    await node('n1').tick(minutes(8) + 100);
    expect(asked).toEqual(['n1 0-60', 'n1 60-480']);
  });

  it('begin anew for a query that was dropped and made again', async () => {
    await create(MEANS);
    const n1 = node('n1');
    await n1.tick(minutes(10));
    await ask(memory, 'DROP CONTINUOUS QUERY means ON t');
    await n1.tick(minutes(11));
    await create(MEANS);
    await n1.tick(minutes(20));
    expect(asked).toEqual(['n1 540-600', 'n1 1140-1200']);
  });

  it('do not wait for a time that a clock was at before it was set back, nor run what it jumped over but for a day', async () => {
    await create(MEANS);
    const n1 = node('n1');
    await n1.tick(minutes(1));
    asked = [];
    await n1.tick(minutes(60 * 24 * 365));
    const spans = asked.map((each) => each.slice(3).split('-').map(Number) as [number, number]);
    expect(spans.reduce((sum, [from, to]) => sum + to - from, 0)).toBe(86_400);
    expect(Math.max(...spans.map(([from, to]) => to - from))).toBeLessThanOrEqual(500 * 60);
    asked = [];
    await n1.tick(minutes(3));
    expect(asked).toEqual(['n1 120-180']);
  });

  it('compute a window again that a clock had gone ahead into', async () => {
    await create(MEANS);
    const n1 = node('n1');
    await n1.tick(minutes(1) + 30_000);
    await n1.tick(minutes(2) + 5_000);
    await n1.tick(minutes(1) + 31_000);
    writeAt(minutes(1) + 40_000, 4);
    await n1.tick(minutes(2));
    expect(asked.at(-1)).toBe('n1 60-120');
    expect(await rows('means')).toEqual([['a', [60, 4]]]);
  });
});

describe('failures', () => {
  /** Seconds after the fourth minute at which it ran. */
  async function runsIn(n1: ContinuousRunner, from: number, to: number): Promise<number[]> {
    const at: number[] = [];
    for (let second = from; second < to; second++) {
      const before = asked.length;
      await n1.tick(minutes(4) + second * 1000);
      if (asked.length > before) at.push(second);
    }
    return at;
  }

  it('that may pass are tried again later and later, and lose no window', async () => {
    await create(MEANS);
    const n1 = node('n1');
    await n1.tick(minutes(1));
    failing = 'not to be had now';
    expect(await runsIn(n1, 0, 200)).toEqual([0, 5, 15, 35, 75, 115, 155, 195]);
    expect(asked.at(-1)).toBe('n1 60-420');
    expect(warnings).toEqual(Array.from({ length: 8 }, () => failing));
    failing = null;
    expect(await runsIn(n1, 200, 241)).toEqual([235, 240]);
    expect(asked.slice(-2)).toEqual(['n1 60-420', 'n1 420-480']);
  });

  it('of owners that are away may pass', async () => {
    await create(MEANS);
    const n1 = node('n1');
    writeAt(minutes(3), 5);
    for (const id of memory.shards.keys()) memory.down.add(id);
    await n1.tick(minutes(1));
    expect(await runsIn(n1, 0, 200)).toEqual([0, 10, 30, 70, 110, 150, 190]);
    expect(warnings[0]).toMatch(/unavailable: no owner is up/);
    memory.down.clear();
    await n1.tick(minutes(20));
    expect(await rows('means')).toEqual([['a', [180, 5]]]);
  });

  it('that would come again give the windows up', async () => {
    await create('means ON t BEGIN SELECT mean(v) INTO u..means FROM cpu GROUP BY time(1m) END');
    const n1 = node('n1');
    writeAt(minutes(0), 5);
    await ask(memory, 'DROP DATABASE u');
    await n1.tick(minutes(1));
    expect(await runsIn(n1, 0, 59)).toEqual([0]);
    expect(warnings).toEqual(['database not found: u', 'database not found: u']);
    expect(asked).toEqual(['n1 0-60', 'n1 60-240']);
  });

  it('are no more tried when the query was killed', async () => {
    await create('long ON t RESAMPLE FOR 10000s BEGIN SELECT mean(v) INTO means FROM cpu GROUP BY time(1000s) END');
    const n1 = node('n1');
    writeAt(minutes(0), 5);
    const { writeLines } = memory.backend;
    memory.backend.writeLines = async (...args) => {
      for (const { id } of memory.running.list()) memory.running.kill(BigInt(id));
      await writeLines(...args);
    };
    await n1.tick(minutes(20));
    await n1.tick(minutes(20) + 30_000);
    expect(warnings).toEqual(['query interrupted']);
    expect(asked).toHaveLength(1);
  });

  it('of single points are told, and not tried again', async () => {
    await create(MEANS);
    const n1 = node('n1');
    failing = 'partial write: field type conflict dropped=1';
    await n1.tick(minutes(1));
    await n1.tick(minutes(1) + 20_000);
    expect(asked).toHaveLength(1);
    expect(warnings).toEqual([failing]);
  });

  it('what cannot be run at all is told once', async () => {
    await create('raw ON t BEGIN SELECT v INTO x FROM cpu END');
    const n1 = node('n1');
    await n1.tick(minutes(1));
    await n1.tick(minutes(2));
    expect(warnings).toEqual(['continuous queries must be aggregate queries']);
  });
});
