/** Some random queries, answered by a real node and by an installed InfluxDB 1.6; `npm run differential` asks many. */
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findPrograms } from '../../scripts/bench/programs.ts';
import { RunningSystem } from '../../scripts/bench/system.ts';
import { Server } from '../../scripts/differential/answers.ts';
import { reproduction, tryWorld } from '../../scripts/differential/trial.ts';

const [influxd] = findPrograms({}, ['influxdb']).programs;
const path = resolve(import.meta.dirname, '../../dist/server/cli/main.js');
const starling = { name: 'starling', path, version: '' } as const;
if (influxd === undefined) console.info('differential: influxd is not installed, its tests are skipped');

describe.skipIf(influxd === undefined)('beside influxd', () => {
  const systems: RunningSystem[] = [];

  beforeAll(async () => {
    systems.push(new RunningSystem(influxd!), new RunningSystem(starling, { serve: ['--warm-up', 'off'] }));
    for (const system of systems) await system.start();
  });

  afterAll(async () => {
    for (const system of systems) await system.remove();
  });

  test('random queries over random data have equal answers', async () => {
    const [first, second] = systems.map(({ ports }) => new Server(ports[0]!));
    let refused = 0;
    const options = { queries: 40, shrinkMax: 1, subqueryShare: 0.18 };
    // As they come: the same ones each time, so that a test run fails for what was changed. `npm run differential` draws more.
    for (const seed of [1, 2, 3, 4]) {
      const result = await tryWorld({ influxdb: first!, starling: second! }, seed, options);
      expect(result.differences.map(reproduction)).toEqual([]);
      refused += result.failedQueries;
    }
    // Most of what is asked has an answer, or this compares nothing.
    expect(refused).toBeLessThan(80);
  });
});
