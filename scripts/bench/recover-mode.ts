/**
 * `npm run bench -- recover`: a log of 1 GiB that nothing of was flushed, a process that is killed, and the time until
 * its successor has read the log and gives the right count.
 *
 * Flushing is held off by the limits: log and memtable may grow beyond what is written, idle shards wait for a day.
 */
import { availableParallelism } from 'node:os';
import { defaultWorkers } from '../../server/config.ts';
import { ask, influxPath } from './asking.ts';
import { Connection } from './connection.ts';
import { Generator } from './generator.ts';
import { createDatabase } from './measure.ts';
import type { BenchOptions } from './options.ts';
import { findPrograms } from './programs.ts';
import { printTable } from './report.ts';
import { RunningSystem } from './system.ts';
import { cpuOptions, INTERVAL_SECONDS } from './workloads.ts';

const MIB = 1024 * 1024;
const ROUNDS = 300;
const STRETCHES_MAX = 1000;
/** Of all workers together; each may have as much. */
const MEMTABLES_GIB = defaultWorkers(availableParallelism());
const HELD_OFF = ['--log-bytes-max', '16GiB', '--memtable-bytes-max', `${MEMTABLES_GIB}GiB`, '--flush-idle', '24h'];

export async function runRecover(options: BenchOptions): Promise<void> {
  const [program] = findPrograms({}, ['starling']).programs;
  const generator = new Generator();
  const system = new RunningSystem(program!, { serve: HELD_OFF });
  try {
    // Full-precision doubles: 8 bytes of log each, so that a log of this size has the fewest values and is soon written.
    const stretch = await generator.prepare(
      cpuOptions(options.seed, 1, { rounds: ROUNDS, kinds: Array.from({ length: 10 }, () => 'double') }),
    );
    const emptyMs = await system.start();
    await createDatabase(system, 1);
    let rows = 0;
    for (let turn = 0; system.logBytes() < options.logMib * MIB; turn++) {
      if (turn === STRETCHES_MAX) throw new Error(`the log does not grow beyond ${system.logBytes()} bytes`);
      if (turn > 0) await generator.advance(ROUNDS * INTERVAL_SECONDS);
      await generator.send(system.ports);
      rows += stretch.rows;
      console.error(`log: ${(system.logBytes() / MIB).toFixed(0)} MiB`);
    }
    const bytes = system.logBytes();
    await system.kill();
    const started = performance.now();
    await system.start();
    const connection = new Connection(system.ports[0]!);
    const { body } = await ask(connection, influxPath('SELECT count(usage_user) FROM cpu'));
    const seconds = (performance.now() - started) / 1000;
    connection.close();
    const found = /"values":\[\[0,(\d+)\]\]/.exec(body.toString())?.[1];
    if (Number(found) !== rows)
      throw new Error(`${found} of ${rows} rows were recovered: ${body.toString('utf8', 0, 200)}`);
    const table = [
      ['log, MiB', '', (bytes / MIB).toFixed(0)],
      ['values', '', `${((rows * 10) / 1e6).toFixed(1)} M`],
      ['start to the right count, s', '', seconds.toFixed(2)],
      ['start of an empty node, which waits for its warm-up, s', '', (emptyMs / 1000).toFixed(2)],
      ['MB/s, start and query included', '>= 500', (bytes / 1e6 / seconds).toFixed(0)],
      ['resident MB after, all of the log being in memtables', '', (system.usage().residentBytes / 1e6).toFixed(0)],
    ];
    const title = 'Recovering a log after kill -9';
    console.log(printTable({ title, columns: ['', 'goal', 'Starling'], rows: table }, options.isMarkdown));
  } finally {
    await generator.end();
    await system.remove();
  }
}
