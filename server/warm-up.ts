/**
 * When a node starts it writes made-up rows: over connections to itself, through a door, a coordinator (scratch-node.ts) and
 * a scratch replica in each worker (scratch-replica.ts) that are as its own ones, but are thrown away.
 *
 * The first writes of a process otherwise pay for what happens once: native code is loaded, kernels are compiled, functions
 * are parsed, compiled and, when V8 has seen them often enough, compiled again. What V8 makes then serves the node's own
 * objects as far as they are made by the same functions, and as V8 has seen several of a kind: it counts on what was the same
 * so far, a function that was called or the shape of an object, and throws code away where that ends. So all this lives
 * several times: in the first lives V8 only looks (eager-compiler.ts), in the next one it compiles, and in the last one it
 * forgets what it would have compiled next.
 *
 * Nothing of it is visible: no database, shard, series, version or metric of the node has to do with it. Its cost is
 * bounded, by rows and by time, and other work goes on in between: each step takes a few milliseconds. It ends when the first
 * rows come, of clients or of other nodes: they would wait for what it takes. When it fails (a full disk, say) the node serves
 * cold.
 */
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Logger } from 'pino';
import type { Coordinator } from './coordinator.ts';
import { EagerCompiler } from './eager-compiler.ts';
import { collectYoungGarbage } from './garbage.ts';
import { makeScratchNode, type ScratchNode, type ScratchParts } from './scratch-node.ts';
import { WarmUpClient, WarmUpRequest } from './warm-up-clients.ts';

const LOOPBACK = '127.0.0.1';
const LIVES = ['look', 'look', 'compile', 'forget'] as const;
/** A machine that is busy with other things is not kept from serving for longer. */
const AWAITED_MS_MAX = 2_400;
/** Of all lives, each of which may take its share. */
const MS_MAX = 9_000;
/** Whoever has not been answered by then is not waited for. */
const ANSWER_MS_MAX = 5_000;
/** A scratch replica that has not settled by then is left to the next start. */
const END_MS_MAX = 5_000;

/** Many at a time write a few rows again and again, and two then many, as servers of many agents and as relays do. */
const CLIENTS = 8;
const SMALL = { rounds: 20, roundsOfTurn: 2, hosts: 4 };
const TURNS = 24;
const LARGE = { clients: 2, rounds: 2, hosts: 2_000 };
const METRICS = { rounds: 1, series: 2_000 };
/** All threads together take less of a core: there is nothing left to compile. */
const IDLE_SHARE = 0.25;
const IDLE_WINDOW_MS = 4;
/** At most: so many of them are a body that the node takes. */
const LINE_BYTES = 512;

export interface WarmUpParts extends ScratchParts {
  readonly log: Logger;
  /** Of clients, since the start. */
  readonly requests: { readonly writtenBytes: number };
  /** Makes what the first of them would make. */
  readonly ready: () => unknown;
}

export class WarmUp {
  /** Never rejects. */
  readonly ended: Promise<void>;
  readonly #parts: WarmUpParts;
  readonly #heldBefore: number;
  #node: ScratchNode | null = null;
  #clients: WarmUpClient[] = [];
  #server: Server | null = null;
  #isStopped = false;
  #isAwaited: boolean;
  readonly #beganMs = performance.now();

  /** Begins at once. */
  constructor(parts: WarmUpParts) {
    this.#parts = parts;
    this.#heldBefore = parts.pool.held().length;
    this.#isAwaited = this.#heldBefore === 0;
    this.ended = this.#run();
  }

  /** Nobody waits for a node without data; one that has some serves meanwhile. */
  get isAwaited(): boolean {
    return this.#isAwaited && performance.now() - this.#beganMs < AWAITED_MS_MAX;
  }

  /** What the workers' answers about scratch replicas are for. */
  get coordinator(): Coordinator | undefined {
    return this.#node?.writer.coordinator;
  }

  async #run(): Promise<void> {
    const compiler = new EagerCompiler();
    try {
      const port = await this.#listen();
      for (let life = 0; life < LIVES.length && !this.#isOver; life++) {
        compiler[LIVES[life]!]();
        await this.#live(life, port, this.#beganMs + ((life + 1) * MS_MAX) / LIVES.length);
      }
      this.#node = null;
      if (!this.#isOver) {
        this.#parts.ready();
        collectYoungGarbage();
        await this.#parts.pool.callAll('collectYoungGarbage');
      }
    } catch (error) {
      if (!this.#isStopped) this.#parts.log.warn({ problem: (error as Error).message }, 'no warm-up');
    }
    compiler.end();
    this.#node = null;
    this.#isAwaited = false;
    this.#server?.close();
  }

  /** A shard that was not here before: another node has written to it. */
  get #isOver(): boolean {
    const { pool, requests } = this.#parts;
    return this.#isStopped || requests.writtenBytes > 0 || pool.held().length > this.#heldBefore;
  }

  /** What is on its way is given up. */
  stop(): void {
    this.#isStopped = true;
    this.#hangUp();
  }

  #hangUp(): void {
    for (const client of this.#clients.splice(0)) client.close();
    this.#node?.door.closeAllConnections();
  }

  /** Where V8 looks more is done than a write takes. */
  async #live(life: number, port: number, until: number): Promise<void> {
    const { pool } = this.#parts;
    const node = makeScratchNode(this.#parts, life);
    this.#node = node;
    const kind = LIVES[life]!;
    const late = setTimeout(() => this.#hangUp(), until + ANSWER_MS_MAX - performance.now());
    try {
      await pool.callAll('beginScratch', node.core.snapshot());
      await this.#write(port, until, kind);
    } finally {
      clearTimeout(late);
      this.#hangUp();
      if (!this.#isStopped) {
        const isFlushed = kind === 'look' && !this.#isOver;
        await Promise.all(Array.from({ length: pool.count }, (_, worker) => this.#end(worker, isFlushed)));
      }
      // Whoever else has come meanwhile.
      node.door.closeAllConnections();
    }
  }

  async #write(port: number, until: number, kind: (typeof LIVES)[number]): Promise<void> {
    const [asking, ...writing] = Array.from({ length: 1 + CLIENTS }, () => new WarmUpClient(port, LOOPBACK));
    this.#clients = [asking!, ...writing];
    await Promise.all([asking!.query(), this.#rounds(writing, until, kind)]);
    await Promise.all(this.#clients.map((client) => client.leave()));
  }

  async #rounds(clients: readonly WarmUpClient[], until: number, kind: (typeof LIVES)[number]): Promise<void> {
    const fromMs = Date.now();
    let stamps = 0;
    const each = async (writing: readonly WarmUpClient[], rounds: number, make: (i: number) => WarmUpRequest) => {
      const firstMs = fromMs + stamps;
      stamps += rounds;
      await Promise.all(
        writing.map(async (client, i) => {
          const request = make(i);
          for (let round = 0; round < rounds && !this.#isOver; round++) {
            if (performance.now() > until) return;
            await client.send(request.at(firstMs + round));
          }
        }),
      );
    };
    const few = clients.slice(0, LARGE.clients);
    const most = Math.floor(this.#parts.config.bodyBytesMax / LINE_BYTES);
    const [small, large] = [Math.min(SMALL.hosts, most), Math.min(LARGE.hosts, most)];
    const series = Math.min(METRICS.series, most);
    const smallRounds = (rounds: number) => each(clients, rounds, (i) => WarmUpRequest.ofHosts(i * small, small));
    const largeRounds = (rounds: number) => each(few, rounds, (i) => WarmUpRequest.ofHosts(i * large, large));
    // What is asked for while V8's queue is full it forgets: it gets time for what a few rounds have made hot.
    for (let turn = 0; kind === 'compile' && turn < TURNS; turn++) {
      await smallRounds(SMALL.roundsOfTurn);
      await this.#untilCompiled(until);
    }
    if (kind !== 'compile') await smallRounds(SMALL.rounds);
    await largeRounds(LARGE.rounds);
    if (kind === 'look') await each(few, METRICS.rounds, (i) => WarmUpRequest.ofMetrics(i, series));
  }

  /** Until the process does next to nothing, V8's own threads included. */
  async #untilCompiled(until: number): Promise<void> {
    for (;;) {
      const [before, beganMs] = [process.cpuUsage(), performance.now()];
      await new Promise((resolve) => setTimeout(resolve, IDLE_WINDOW_MS));
      const { user, system } = process.cpuUsage(before);
      const nowMs = performance.now();
      if ((user + system) / 1e3 < IDLE_SHARE * (nowMs - beganMs) || nowMs > until || this.#isOver) return;
    }
  }

  async #listen(): Promise<number> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      if (this.#node === null) socket.destroy();
      else this.#node.door.take(socket);
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      // Also later: a connection that cannot be taken is one of ours, which is then cut off by its time.
      server.on('error', reject);
      server.listen(0, LOOPBACK, resolve);
    });
    return (server.address() as AddressInfo).port;
  }

  async #end(worker: number, flushed: boolean): Promise<void> {
    const until = performance.now() + END_MS_MAX;
    while (await this.#parts.pool.call(worker, 'endScratch', flushed))
      if (performance.now() > until) throw new Error(`worker ${worker} does not settle its warm-up`);
  }
}
