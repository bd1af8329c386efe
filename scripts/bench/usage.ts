/** What the operating system says of processes and files (Linux: /proc). */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** USER_HZ: the unit of /proc's times, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
/** The unit of `stat.blocks`, whatever the file system's own is. */
const BLOCK_BYTES = 512;

export interface Usage {
  /** User and system time since the process began. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly residentBytesPeak: number;
}

function statFields(pid: number | 'self'): string[] {
  return readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
}

export function usageOf(pid: number): Usage {
  const fields = statFields(pid);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kilobytes = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0);
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    residentBytes: kilobytes('VmRSS') * 1024,
    residentBytesPeak: kilobytes('VmHWM') * 1024,
  };
}

/** CPU time of all children that have ended: exact for a child once its end was seen, to its last instruction. */
export function endedChildrenCpuSeconds(): number {
  const fields = statFields('self');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

/**
 * Bytes of the files below a path, holes in them left out (InfluxDB makes its series files 4 MiB long in advance), but for
 * one folder of that name; what vanishes meanwhile counts nothing.
 */
export function bytesBelow(path: string, but = ''): number {
  try {
    const stat = statSync(path);
    if (!stat.isDirectory()) return Math.min(stat.size, stat.blocks * BLOCK_BYTES);
    const names = readdirSync(path).filter((name) => name !== but);
    return names.reduce((sum, name) => sum + bytesBelow(join(path, name)), 0);
  } catch {
    return 0;
  }
}
