/**
 * A system under test: how it is started fresh on loopback, written to and asked; and what the operating system says of
 * its processes (Linux only: /proc).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 120_000;
const TICKS_PER_SECOND = 100;

export const SYSTEM_NAMES = ['starling', 'influxdb', 'victoria-metrics'] as const;
export type SystemName = (typeof SYSTEM_NAMES)[number];

export interface Program {
  readonly name: SystemName;
  readonly path: string;
  readonly version: string;
}

export function findOnPath(command: string): string | null {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder !== '' && existsSync(join(folder, command))) return join(folder, command);
  }
  return null;
}

export function versionOf(path: string, flag: string): string {
  const { stdout, stderr } = spawnSync(path, [flag], { encoding: 'utf8' });
  const text = `${stdout ?? ''}${stderr ?? ''}`;
  return /v?(\d+\.\d+\.\d+\S*)/.exec(text)?.[1] ?? (text.trim().split('\n')[0]!.slice(0, 60) || '(version unknown)');
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done));
  const { port } = probe.address() as { port: number };
  await new Promise((done) => probe.close(done));
  return port;
}

export interface Usage {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

export class RunningSystem {
  readonly program: Program;
  readonly directory: string;
  url = '';
  #child: ChildProcess | null = null;
  #spentCpuSeconds = 0;

  constructor(program: Program) {
    this.program = program;
    this.directory = mkdtempSync(join(tmpdir(), `starling-bench-${program.name}-`));
  }

  async start(): Promise<void> {
    const port = await freePort();
    this.url = `http://127.0.0.1:${port}`;
    const { command, args, environment } = await this.#commandLine(port);
    const log = openSync(join(this.directory, 'log.txt'), 'a');
    this.#child = spawn(command, args, { stdio: ['ignore', log, log], env: { ...process.env, ...environment } });
    closeSync(log);
    const path = this.program.name === 'influxdb' ? '/ping' : '/health';
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await answers(`${this.url}${path}`))) {
      if (this.#child.exitCode !== null || Date.now() > deadline)
        throw new Error(`${this.program.name} did not start: ${this.logTail()}`);
      await wait(50);
    }
  }

  logTail(): string {
    return readFileSync(join(this.directory, 'log.txt'), 'utf8').trim().split('\n').slice(-5).join('\n');
  }

  async #commandLine(port: number): Promise<{ command: string; args: string[]; environment: Record<string, string> }> {
    const data = join(this.directory, 'data');
    const listen = `127.0.0.1:${port}`;
    switch (this.program.name) {
      case 'starling':
        return {
          command: process.execPath,
          args: [
            this.program.path,
            'serve',
            '--node',
            'bench',
            '--listen',
            listen,
            '--data',
            data,
            '--log-level',
            'warn',
          ],
          // As for InfluxDB below: what is left for idle times is done within the benchmark.
          environment: { STARLING_FLUSH_IDLE: '2s', STARLING_MERGE_IDLE: '2s' },
        };
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
            '-loggerLevel=WARN',
          ],
          environment: {},
        };
    }
  }

  /** CPU time of all runs so far and the memory of the present one. */
  usage(): Usage {
    const pid = this.#child?.pid;
    if (pid === undefined) return { cpuSeconds: this.#spentCpuSeconds, residentBytes: 0 };
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    const resident = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    const now = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    return { cpuSeconds: this.#spentCpuSeconds + now, residentBytes: Number(resident ?? 0) * 1024 };
  }

  /** Asks it to end and waits; what it spends while ending counts too. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    let last = this.usage().cpuSeconds;
    const ended = new Promise<void>((done) => child.once('exit', () => done()));
    let isOver = child.exitCode !== null;
    void ended.then(() => {
      isOver = true;
    });
    child.kill('SIGTERM');
    const deadline = Date.now() + STOP_TIMEOUT_MS;
    while (!isOver) {
      try {
        last = Math.max(last, this.usage().cpuSeconds);
      } catch {
        // It ended between the check and the reading.
      }
      if (Date.now() > deadline) child.kill('SIGKILL');
      await wait(5);
    }
    this.#spentCpuSeconds = last;
    this.#child = null;
  }

  diskBytes(): number {
    return sizeOf(join(this.directory, 'data'));
  }

  /** Waits until compaction leaves the size alone for a while. */
  async settle(): Promise<void> {
    let previous = -1;
    let quiet = 0;
    for (let round = 0; round < 120 && quiet < 12; round++) {
      const size = this.diskBytes();
      quiet = size === previous ? quiet + 1 : 0;
      previous = size;
      await wait(500);
    }
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.status < 300;
  } catch {
    return false;
  }
}

function sizeOf(path: string): number {
  try {
    const stat = statSync(path);
    if (!stat.isDirectory()) return stat.size;
    return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
  } catch {
    return 0; // removed by a compaction in between
  }
}

export const STARLING_PROGRAM = fileURLToPath(new URL('../../server/cli/main.js', import.meta.url));
