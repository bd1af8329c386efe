/** Continuous queries as statements, and nodes that run them: who does, restarts, failures, clocks. */
import { beforeEach, describe, expect, it } from 'vitest';
import { ContinuousQueries } from '../../server/continuous/registry.ts';
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

/** The node as it is after a start: it knows what is in the registers. */
function node(name: string): ContinuousRunner {
  const inner = createQueryService(memory.backend, DEFAULT_QUERY_LIMITS);
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
  queries = new ContinuousQueries(
    memoryRegisters(),
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
});

describe('failures', () => {
  it('are tried again later and later, some times, and hold nothing up for ever', async () => {
    await create(MEANS);
    const n1 = node('n1');
    await n1.tick(minutes(1));
    failing = 'timeout';
    for (let second = 0; second < 100; second++) await n1.tick(minutes(4) + second * 1000);
    // After 5, 10, 20 and 40 seconds, with the window that has ended meanwhile; then all of it is given up.
    expect(asked.slice(1)).toEqual(['n1 60-240', 'n1 60-240', 'n1 60-240', 'n1 60-240', 'n1 60-300']);
    expect(warnings).toEqual(Array.from({ length: 5 }, () => 'timeout'));
    failing = null;
    await n1.tick(minutes(6));
    expect(asked.at(-1)).toBe('n1 300-360');
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
