/** Writing the bodies of a workload over a few connections, and asking queries one after the other. */
import { Agent, request } from 'undici';
import type { SystemName } from './system.ts';
import type { Workload } from './workload.ts';

export interface LoadResult {
  readonly seconds: number;
  /** Milliseconds per request, sorted. */
  readonly latenciesMs: readonly number[];
}

export const DATABASE = 'bench';

export async function createDatabase(url: string, name: SystemName): Promise<void> {
  if (name === 'victoria-metrics') return;
  const { statusCode, body } = await request(`${url}/query?q=${encodeURIComponent(`CREATE DATABASE ${DATABASE}`)}`, {
    method: 'POST',
  });
  const text = await body.text();
  if (statusCode !== 200 || text.includes('"error"')) throw new Error(`CREATE DATABASE: ${statusCode} ${text}`);
}

/** Each connection takes the next body when its last one was acknowledged: no more load than is taken. */
export async function write(url: string, workload: Workload, connections: number): Promise<LoadResult> {
  const agent = new Agent({ connections, pipelining: 1 });
  const latenciesMs: number[] = [];
  let next = 0;
  const started = performance.now();
  const worker = async () => {
    while (next < workload.bodies.length) {
      const body = workload.bodies[next++]!;
      const at = performance.now();
      const response = await request(`${url}/write?db=${DATABASE}`, { method: 'POST', body, dispatcher: agent });
      const text = await response.body.text();
      if (response.statusCode !== 204) throw new Error(`write answered ${response.statusCode}: ${text.slice(0, 300)}`);
      latenciesMs.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  const seconds = (performance.now() - started) / 1000;
  await agent.close();
  return { seconds, latenciesMs: latenciesMs.sort((a, b) => a - b) };
}

export async function ask(url: string, path: string, agent: Agent): Promise<{ ms: number; text: string }> {
  const at = performance.now();
  const response = await request(`${url}${path}`, { dispatcher: agent });
  const text = await response.body.text();
  const ms = performance.now() - at;
  if (response.statusCode !== 200 || text.includes('"error"'))
    throw new Error(`${path} answered ${response.statusCode}: ${text.slice(0, 300)}`);
  return { ms, text };
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}
