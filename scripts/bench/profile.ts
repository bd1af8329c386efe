/** CPU profiles of Starling's threads, as `node --cpu-prof` writes them: where the time went, by function. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { formatTable } from '../../server/cli/table.ts';

export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  readonly ms: number;
}

/** By function, greatest first; what the thread spent waiting is left out. */
export function selfTimes({ nodes, samples, timeDeltas }: CpuProfile): SelfTime[] {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      url === '' ? functionName : `${functionName || '(anonymous)'} ${basename(url)}:${lineNumber + 1}`,
    ]),
  );
  const totals = new Map<string, number>();
  for (let index = 0; index < samples.length; index++) {
    const name = names.get(samples[index]!) ?? '(unknown)';
    totals.set(name, (totals.get(name) ?? 0) + timeDeltas[index]! / 1000);
  }
  totals.delete('(idle)');
  return [...totals].map(([name, ms]) => ({ name, ms })).sort((a, b) => b.ms - a.ms);
}

/** A table for each thread, main thread first; file names end in process, thread and a running number. */
export function describeProfiles(folder: string, functionsMax: number): string {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.cpuprofile'))
    .sort()
    .map((name) => {
      const times = selfTimes(JSON.parse(readFileSync(join(folder, name), 'utf8')) as CpuProfile);
      const total = times.reduce((sum, { ms }) => sum + ms, 0);
      const rows = times
        .slice(0, functionsMax)
        .map((one) => [one.name, Number(one.ms.toFixed(1)), Number(((one.ms / total) * 100).toFixed(1))]);
      return `${name}: ${total.toFixed(0)} ms busy\n${formatTable(['function', 'self ms', '%'], rows)}`;
    })
    .join('\n\n');
}
