/**
 * Sending prepared requests over a few connections: each takes the next body when its last one is acknowledged, so the
 * load is what the server takes and not more.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Connection } from './connection.ts';

export interface LoadOptions {
  /** Connections go round these. */
  readonly ports: readonly number[];
  readonly connections: number;
  /** A body waits until all that are so many places before it are acknowledged. */
  readonly windowBodies: number;
  /** Bodies to send, [from, to). */
  readonly from: number;
  readonly to: number;
  /** Upper bound of the rate; Infinity for as fast as they are taken. */
  readonly bodiesPerSecond: number;
}

export interface LoadResult {
  readonly seconds: number;
  /** Milliseconds from sending a body to its acknowledgement, sorted. */
  readonly latenciesMs: Float64Array;
  /** Bodies that were refused for the moment (503) and sent again, as the answer asks. */
  readonly repeated: number;
  /** What the load itself spent. */
  readonly generatorCpuSeconds: number;
}

const REPEAT_MS = 100;
const REPEATS_MAX = 600;

export async function sendAll(requests: readonly Buffer[], options: LoadOptions): Promise<LoadResult> {
  const latenciesMs = new Float64Array(options.to - options.from);
  const acknowledged = new Uint8Array(options.to - options.from);
  let oldest = options.from;
  let next = options.from;
  let repeated = 0;
  let failed = false;
  const held: (() => void)[] = [];
  const cpuBefore = process.cpuUsage();
  const started = performance.now();

  const send = async (connection: Connection) => {
    while (next < options.to && !failed) {
      const index = next++;
      while (index - oldest >= options.windowBodies && !failed) await new Promise<void>((done) => held.push(done));
      if (options.bodiesPerSecond !== Number.POSITIVE_INFINITY) {
        const dueMs = started + ((index - options.from) / options.bodiesPerSecond) * 1000;
        if (dueMs > performance.now()) await wait(dueMs - performance.now());
      }
      const at = performance.now();
      for (let attempt = 0; ; attempt++) {
        const { status, body } = await connection.exchange(requests[index]!);
        if (status === 204) break;
        if (status !== 503 || attempt === REPEATS_MAX)
          throw new Error(`write answered ${status}: ${body.toString('utf8', 0, 300)}`);
        repeated++;
        await wait(REPEAT_MS);
      }
      latenciesMs[index - options.from] = performance.now() - at;
      acknowledged[index - options.from] = 1;
      while (oldest < next && acknowledged[oldest - options.from] === 1) oldest++;
      for (const go of held.splice(0)) go();
    }
  };
  const connections = Array.from(
    { length: options.connections },
    (_, index) => new Connection(options.ports[index % options.ports.length]!),
  );
  try {
    await Promise.all(
      connections.map((connection) =>
        send(connection).catch((error: Error) => {
          failed = true;
          for (const go of held.splice(0)) go();
          throw error;
        }),
      ),
    );
  } finally {
    for (const connection of connections) connection.close();
  }
  const seconds = (performance.now() - started) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  return {
    seconds,
    latenciesMs: latenciesMs.sort(),
    repeated,
    generatorCpuSeconds: (cpu.user + cpu.system) / 1e6,
  };
}
