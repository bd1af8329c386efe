/**
 * `npm run differential`: the same random data and queries for Starling and for an installed InfluxDB 1.6, and what they
 * answer differently. Exits with 1 when there is something that scripts/differential/accepted.ts does not list.
 */
import { parseArgs } from 'node:util';
import { findPrograms } from './bench/programs.ts';
import { cleanUpOnSignals, RunningSystem } from './bench/system.ts';
import { Server } from './differential/answers.ts';
import { reproduction, tryWorld } from './differential/trial.ts';

const USAGE = `npm run differential -- [options]
  --queries N      (default: 10000)
  --seed N         of the first database (default: 1)
  --each N         queries on one database (default: 200)
  --shrink N       differences of a database that are made smaller (default: 3)
  --subqueries N   share of sources that are subqueries (default: 0.18)
  --influxd PATH   (default: influxd on the PATH)
  --stop-after N   end when so many differences were found (default: 20)`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      queries: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      each: { type: 'string', default: '200' },
      shrink: { type: 'string', default: '3' },
      subqueries: { type: 'string', default: '0.18' },
      influxd: { type: 'string' },
      'stop-after': { type: 'string', default: '20' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const [queries, first, each] = [Number(values.queries), Number(values.seed), Number(values.each)];
  const { programs, absent } = findPrograms(values.influxd === undefined ? {} : { influxdb: values.influxd }, [
    'starling',
    'influxdb',
  ]);
  if (absent.length > 0) {
    console.error('influxd is not installed (Debian: apt-get install influxdb); --influxd says where it is');
    return 1;
  }
  cleanUpOnSignals();
  const systems = programs.map((program) => new RunningSystem(program, { serve: ['--warm-up', 'off'] }));
  try {
    for (const system of systems) await system.start();
    const of = (name: string): Server => new Server(systems.find(({ program }) => program.name === name)!.ports[0]!);
    const servers = { influxdb: of('influxdb'), starling: of('starling') };
    let [asked, failed, found] = [0, 0, 0];
    const accepted = new Map<string, number>();
    for (let seed = first; asked < queries && found < Number(values['stop-after']); seed++) {
      const result = await tryWorld(servers, seed, {
        queries: Math.min(each, queries - asked),
        shrinkMax: Number(values.shrink),
        subqueryShare: Number(values.subqueries),
      });
      asked += result.queries;
      failed += result.failedQueries;
      for (const [name, count] of result.accepted) accepted.set(name, (accepted.get(name) ?? 0) + count);
      for (const one of result.differences) {
        found++;
        console.log(`\n# seed ${seed}: ${one.what}\n${one.isShrunk ? reproduction(one) : `# ${one.query}`}`);
        console.log(`# InfluxDB: ${JSON.stringify(one.expected)}\n# Starling: ${JSON.stringify(one.given)}`);
      }
    }
    console.log(`\n${asked} queries, of which InfluxDB refuses ${failed}; ${found} differences`);
    for (const [name, count] of accepted) console.log(`${count} of ${name}`);
    return found === 0 ? 0 : 1;
  } finally {
    for (const system of systems) await system.remove();
  }
}

process.exitCode = await main();
