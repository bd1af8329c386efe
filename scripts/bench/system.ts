/**
 * A system under test: processes of one program, fresh on loopback, in a temporary directory of their own. One process
 * as a rule; three for a cluster of Starling nodes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Connection } from './connection.ts';
import type { Program } from './programs.ts';
import { bytesBelow, endedChildrenCpuSeconds, type Usage, usageOf } from './usage.ts';

const START_TIMEOUT_MS = 300_000;
const STOP_TIMEOUT_MS = 120_000;
const POLL_MS = 20;
const SETTLE_POLL_MS = 500;
const SETTLE_TIMEOUT_MS = 120_000;
/** A system that takes less of a core, all its processes together, has nothing left to do of its start. */
const IDLE_CORE_SHARE = 0.15;
const IDLE_WINDOW_MS = 500;
const IDLE_TIMEOUT_MS = 20_000;

export interface SystemOptions {
  /** Processes; more than one only of Starling. */
  readonly nodes: number;
  /** More options of `starling serve`. */
  readonly serve: readonly string[];
  /** Folder for CPU profiles of Starling's threads, one in it for each start; or null. */
  readonly profileFolder: string | null;
}

const ALONE: SystemOptions = { nodes: 1, serve: [], profileFolder: null };

interface Member {
  readonly name: string;
  readonly directory: string;
  port: number;
  child: ChildProcess | null;
}

interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export class RunningSystem {
  readonly program: Program;
  readonly directory: string;
  readonly #options: SystemOptions;
  readonly #members: readonly Member[];
  #endedCpuSeconds = 0;
  #starts = 0;
  #isRemoved = false;

  constructor(program: Program, options: Partial<SystemOptions> = {}) {
    this.program = program;
    this.#options = { ...ALONE, ...options };
    this.directory = mkdtempSync(join(tmpdir(), `starling-bench-${program.name}-`));
    this.#members = Array.from({ length: this.#options.nodes }, (_, index) => {
      const name = `bench-${index + 1}`;
      const directory = join(this.directory, name);
      mkdirSync(directory);
      return { name, directory, port: 0, child: null };
    });
    leftBehind.add(this);
  }

  get ports(): number[] {
    return this.#members.map(({ port }) => port);
  }

  get #data(): string[] {
    return this.#members.map(({ directory }) => join(directory, 'data'));
  }

  /** Returns the milliseconds from starting the processes until all answer. */
  async start(): Promise<number> {
    for (const member of this.#members) member.port = member.port || (await freePort());
    this.#starts++;
    const started = performance.now();
    for (const member of this.#members) await this.#spawn(member);
    const path = this.program.name === 'influxdb' ? '/ping' : '/health';
    for (const member of this.#members) await this.#untilHealthy(member, path);
    return performance.now() - started;
  }

  async #spawn(member: Member): Promise<void> {
    const { command, args, environment } = await this.#commandLine(member);
    const log = openSync(join(member.directory, 'log.txt'), 'a');
    member.child = spawn(command, args, { stdio: ['ignore', log, log], env: { ...process.env, ...environment } });
    closeSync(log);
  }

  async #untilHealthy(member: Member, path: string): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await isHealthy(member.port, path))) {
      const { exitCode, signalCode } = member.child!;
      if (exitCode !== null || signalCode !== null || performance.now() > deadline)
        throw new Error(`${this.program.name} did not start: ${this.logTail()}`);
      await wait(POLL_MS);
    }
  }

  logTail(): string {
    return this.#members
      .map(({ directory }) => {
        try {
          return readFileSync(join(directory, 'log.txt'), 'utf8').trim().split('\n').slice(-5).join('\n');
        } catch {
          return '';
        }
      })
      .join('\n');
  }

  /** Where one of several nodes has its data. */
  dataOf(index: number): string {
    return join(this.#members[index]!.directory, 'data');
  }

  async endMember(index: number, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const before = endedChildrenCpuSeconds();
    await endProcess(this.#members[index]!, signal);
    this.#endedCpuSeconds += endedChildrenCpuSeconds() - before;
  }

  /** Returns when it answers. */
  async startMember(index: number): Promise<void> {
    const member = this.#members[index]!;
    await this.#spawn(member);
    await this.#untilHealthy(member, '/health');
  }

  /** CPU time of all processes so far, ended ones included; memory of the present ones. */
  usage(): Usage {
    const present = this.#members.flatMap(({ child }) => (child?.pid === undefined ? [] : [usageOf(child.pid)]));
    const sum = (pick: (usage: Usage) => number) => present.reduce((total, usage) => total + pick(usage), 0);
    return {
      cpuSeconds: this.#endedCpuSeconds + sum(({ cpuSeconds }) => cpuSeconds),
      residentBytes: sum(({ residentBytes }) => residentBytes),
      residentBytesPeak: sum(({ residentBytesPeak }) => residentBytesPeak),
    };
  }

  /** Asks all to end and waits; what they spend while ending counts too. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Ends all as a power cut would, but for what the kernel holds. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const before = endedChildrenCpuSeconds();
    await Promise.all(this.#members.map((member) => endProcess(member, signal)));
    this.#endedCpuSeconds += endedChildrenCpuSeconds() - before;
  }

  /** VictoriaMetrics' caches, written when it ends, are no data: they can be deleted. */
  diskBytes(): number {
    const but = this.program.name === 'victoria-metrics' ? 'cache' : '';
    return this.#data.reduce((sum, path) => sum + bytesBelow(path, but), 0);
  }

  /** Of Starling's write-ahead logs. */
  logBytes(): number {
    return this.#data.reduce((sum, path) => {
      const workers = readdirSync(path).filter((name) => /^worker-\d+$/.test(name));
      return sum + workers.reduce((part, worker) => part + bytesBelow(join(path, worker, 'log')), 0);
    }, 0);
  }

  /**
   * Waits until the system has brought what it stores to its smallest form. VictoriaMetrics is asked for that; the others
   * were started with short idle times.
   */
  async settle(quietMs: number): Promise<void> {
    if (this.program.name === 'victoria-metrics') {
      await this.#order('/internal/force_flush');
      await this.#untilQuiet(quietMs);
      await this.#order('/internal/force_merge');
    }
    await this.#untilQuiet(quietMs);
  }

  /**
   * Waits until what a start leaves for later has been done (Starling compiles its code, and three nodes on two cores take
   * longer than they keep clients waiting), so that it is not counted as a write's.
   */
  async untilIdle(): Promise<void> {
    const deadline = performance.now() + IDLE_TIMEOUT_MS;
    let previous = this.usage().cpuSeconds;
    while (performance.now() < deadline) {
      const began = performance.now();
      await wait(IDLE_WINDOW_MS);
      const { cpuSeconds } = this.usage();
      if ((cpuSeconds - previous) / ((performance.now() - began) / 1e3) < IDLE_CORE_SHARE) return;
      previous = cpuSeconds;
    }
  }

  async #order(path: string): Promise<void> {
    const connection = new Connection(this.#members[0]!.port);
    const { status } = await connection.get(path);
    connection.close();
    if (status >= 300) throw new Error(`${path} answered ${status}`);
  }

  async #untilQuiet(quietMs: number): Promise<void> {
    let previous = -1;
    let quietSince = performance.now();
    const deadline = performance.now() + SETTLE_TIMEOUT_MS;
    while (performance.now() - quietSince < quietMs && performance.now() < deadline) {
      const size = this.diskBytes();
      if (size !== previous) quietSince = performance.now();
      previous = size;
      await wait(SETTLE_POLL_MS);
    }
  }

  /** Ends what still runs, and deletes the directory. */
  async remove(): Promise<void> {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
    leftBehind.delete(this);
  }

  async #commandLine({ name, directory, port }: Member): Promise<CommandLine> {
    const data = join(directory, 'data');
    const listen = `127.0.0.1:${port}`;
    switch (this.program.name) {
      case 'starling': {
        const { profileFolder, serve } = this.#options;
        const profiling =
          profileFolder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}/start-${this.#starts}`];
        const others = this.#members.filter((member) => member.name !== name);
        const join = others.length === 0 ? [] : ['--join', others.map((o) => `http://127.0.0.1:${o.port}`).join(',')];
        const own = ['--node', name, '--listen', listen, '--data', data, '--log-level', 'warn', ...join];
        return {
          command: process.execPath,
          args: [...profiling, this.program.path, 'serve', ...own, ...serve],
          // As for InfluxDB below: what is left for idle times is done within the benchmark.
          environment: { STARLING_FLUSH_IDLE: '2s', STARLING_MERGE_IDLE: '2s', STARLING_PASS_INTERVAL: '2s' },
        };
      }
      case 'influxdb':
        return {
          command: this.program.path,
          args: ['run'],
          environment: {
            INFLUXDB_META_DIR: join(data, 'meta'),
            INFLUXDB_DATA_DIR: join(data, 'data'),
            INFLUXDB_DATA_WAL_DIR: join(data, 'wal'),
            INFLUXDB_HTTP_BIND_ADDRESS: listen,
            INFLUXDB_BIND_ADDRESS: `127.0.0.1:${await freePort()}`,
            INFLUXDB_REPORTING_DISABLED: 'true',
            INFLUXDB_MONITOR_STORE_ENABLED: 'false',
            INFLUXDB_HTTP_LOG_ENABLED: 'false',
            INFLUXDB_DATA_QUERY_LOG_ENABLED: 'false',
            INFLUXDB_DATA_MAX_SERIES_PER_DATABASE: '0',
            // Lets the cache and the compactor settle within the benchmark instead of after ten minutes and four hours.
            INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION: '2s',
            INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION: '2s',
          },
        };
      case 'victoria-metrics':
        return {
          command: this.program.path,
          args: [
            `-storageDataPath=${data}`,
            `-httpListenAddr=${listen}`,
            '-retentionPeriod=100y',
            '-search.disableCache',
            // The checks count whole workloads in one query.
            '-search.maxUniqueTimeseries=5000000',
            '-search.maxQueryDuration=5m',
            '-loggerLevel=WARN',
          ],
          environment: {},
        };
    }
  }
}

async function endProcess(member: Member, signal: NodeJS.Signals): Promise<void> {
  const { child } = member;
  if (child === null) return;
  if (child.exitCode === null && child.signalCode === null) {
    const ended = new Promise<void>((done) => child.once('exit', () => done()));
    child.kill(signal);
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(late);
  }
  member.child = null;
}

/** Systems whose directories still exist: for a benchmark that is interrupted. */
const leftBehind = new Set<RunningSystem>();

/** Removes what runs when the benchmark is told to end. */
export function cleanUpOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      void Promise.all([...leftBehind].map((system) => system.remove())).then(() => process.exit(130));
    });
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done));
  const { port } = probe.address() as { port: number };
  await new Promise((done) => probe.close(done));
  return port;
}

async function isHealthy(port: number, path: string): Promise<boolean> {
  const connection = new Connection(port);
  try {
    return (await connection.get(path)).status < 300;
  } catch {
    return false;
  } finally {
    connection.close();
  }
}
