/**
 * A small agent: reads this machine's CPU, memory, load, disks and network from /proc and pushes them as line protocol
 * over HTTP, every second, to whichever of the given nodes answers. Names follow Telegraf's.
 *
 *   node dist/scripts/agent.js --url http://127.0.0.1:8086,http://127.0.0.1:8087 --db machine [--interval-ms 1000]
 *
 * Points that no node takes are kept (bounded, oldest dropped and counted) and sent when one is back.
 */
import { readFileSync, statfsSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const KEPT_BATCHES_MAX = 3600;
const REQUEST_TIMEOUT_MS = 5000;
const SECTOR_BYTES = 512;

const { values: flags } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:8086' },
    db: { type: 'string', default: 'machine' },
    'interval-ms': { type: 'string', default: '1000' },
  },
});
const urls = flags.url.split(',');
const intervalMs = Number(flags['interval-ms']);
const host = hostname().replace(/([,= ])/g, '\\$1');

type Counters = Record<string, number>;

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // not Linux, or not permitted: that measurement is left out
  }
}

/** Jiffies per state, for the whole machine and each core. */
function cpuCounters(): Map<string, Counters> {
  const names = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'];
  const found = new Map<string, Counters>();
  for (const [, cpu, rest] of read('/proc/stat').matchAll(/^(cpu\d*)\s+(.*)$/gm)) {
    const numbers = rest!.split(/\s+/).map(Number);
    found.set(
      cpu === 'cpu' ? 'cpu-total' : cpu!,
      Object.fromEntries(names.map((name, index) => [name, numbers[index] ?? 0])),
    );
  }
  return found;
}

function cpuLines(before: Map<string, Counters>, now: Map<string, Counters>): string[] {
  const lines: string[] = [];
  for (const [cpu, counters] of now) {
    const previous = before.get(cpu);
    if (previous === undefined) continue;
    const deltas = Object.entries(counters).map(([name, value]) => [name, value - previous[name]!] as const);
    const total = deltas.reduce((sum, [, delta]) => sum + delta, 0);
    if (total <= 0) continue;
    const fields = deltas.map(([name, delta]) => `usage_${name}=${((100 * delta) / total).toFixed(2)}`);
    lines.push(`cpu,cpu=${cpu},host=${host} ${fields.join(',')}`);
  }
  return lines;
}

function memoryLines(): string[] {
  const kib = Object.fromEntries(
    [...read('/proc/meminfo').matchAll(/^(\w+):\s+(\d+) kB$/gm)].map(([, name, value]) => [name!, Number(value)]),
  );
  if (kib.MemTotal === undefined) return [];
  const available = kib.MemAvailable ?? kib.MemFree ?? 0;
  const used = kib.MemTotal - available;
  return [
    `mem,host=${host} total=${kib.MemTotal * 1024}i,available=${available * 1024}i,used=${used * 1024}i,` +
      `cached=${(kib.Cached ?? 0) * 1024}i,buffered=${(kib.Buffers ?? 0) * 1024}i,used_percent=${((100 * used) / kib.MemTotal).toFixed(2)}`,
  ];
}

function loadLines(): string[] {
  const match = /^(\S+) (\S+) (\S+) (\d+)\/(\d+)/.exec(read('/proc/loadavg'));
  if (match === null) return [];
  const uptime = Math.floor(Number(read('/proc/uptime').split(' ')[0] ?? 0));
  return [
    `system,host=${host} load1=${match[1]},load5=${match[2]},load15=${match[3]},running=${match[4]}i,processes=${match[5]}i,uptime=${uptime}i`,
  ];
}

function diskLines(): string[] {
  const lines: string[] = [];
  const { blocks, bavail, bsize } = statfsSync('/');
  const total = blocks * bsize;
  const free = bavail * bsize;
  lines.push(
    `disk,host=${host},path=/ total=${total}i,free=${free}i,used=${total - free}i,used_percent=${((100 * (total - free)) / total).toFixed(2)}`,
  );
  for (const line of read('/proc/diskstats').split('\n')) {
    const parts = line.trim().split(/\s+/);
    const name = parts[2];
    if (name === undefined || /^(loop|ram)/.test(name)) continue;
    const [reads, , sectorsRead, , writes, , sectorsWritten, , , ioMs] = parts.slice(3).map(Number);
    lines.push(
      `diskio,host=${host},name=${name} reads=${reads}i,writes=${writes}i,read_bytes=${sectorsRead! * SECTOR_BYTES}i,` +
        `write_bytes=${sectorsWritten! * SECTOR_BYTES}i,io_time=${ioMs}i`,
    );
  }
  return lines;
}

function networkLines(): string[] {
  const lines: string[] = [];
  for (const [, name, rest] of read('/proc/net/dev').matchAll(/^\s*([^:\s]+):\s*(.*)$/gm)) {
    const n = rest!.trim().split(/\s+/).map(Number);
    lines.push(
      `net,host=${host},interface=${name} bytes_recv=${n[0]}i,packets_recv=${n[1]}i,err_in=${n[2]}i,drop_in=${n[3]}i,` +
        `bytes_sent=${n[8]}i,packets_sent=${n[9]}i,err_out=${n[10]}i,drop_out=${n[11]}i`,
    );
  }
  return lines;
}

let stopping = false;
let at = 0;
const kept: string[] = [];

/** True when a node has taken the body; nodes are tried in turn, beginning with the one that answered last. */
async function push(body: string): Promise<boolean> {
  for (let tries = 0; tries < urls.length; tries++) {
    const url = `${urls[at]}/write?db=${encodeURIComponent(flags.db)}`;
    try {
      const response = await fetch(url, { method: 'POST', body, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
      const text = await response.text();
      if (response.status === 204) return true;
      if (response.status >= 400 && response.status < 500) {
        console.error(`agent: ${url} refused points: ${text.trim()}`);
        return true; // sending the same lines again would not help
      }
    } catch {
      // That node is down: the next one takes it.
    }
    at = (at + 1) % urls.length;
  }
  return false;
}

process.on('SIGTERM', () => {
  stopping = true;
});
process.on('SIGINT', () => {
  stopping = true;
});

let before = cpuCounters();
let next = Date.now();
while (!stopping) {
  next = Math.max(next + intervalMs, Date.now() - intervalMs);
  await wait(Math.max(0, next - Date.now()));
  const now = cpuCounters();
  const timeNs = `${Date.now()}000000`;
  const lines = [...cpuLines(before, now), ...memoryLines(), ...loadLines(), ...diskLines(), ...networkLines()];
  before = now;
  kept.push(`${lines.map((line) => `${line} ${timeNs}`).join('\n')}\n`);
  if (kept.length > KEPT_BATCHES_MAX) {
    kept.shift();
    console.error('agent: no node answers; the oldest points are dropped');
  }
  while (kept.length > 0 && !stopping && (await push(kept[0]!))) kept.shift();
}
