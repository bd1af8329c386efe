/** The handle of the load generator's process (generator-process.ts). */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadOptions, LoadResult } from './load-run.ts';
import type { WorkloadOptions, WorkloadSummary } from './workloads.ts';

export type GeneratorOrder =
  | { readonly kind: 'prepare'; readonly options: WorkloadOptions }
  | { readonly kind: 'advance'; readonly seconds: number }
  | { readonly kind: 'send'; readonly options: LoadOptions };

export type GeneratorAnswer =
  | { readonly kind: 'prepared'; readonly summary: WorkloadSummary }
  | { readonly kind: 'advanced' }
  | { readonly kind: 'sent'; readonly result: LoadResult }
  | { readonly kind: 'failed'; readonly problem: string };

export class Generator {
  readonly #child: ChildProcess;
  #summary: WorkloadSummary | null = null;

  constructor() {
    this.#child = fork(fileURLToPath(new URL('./generator-process.js', import.meta.url)), {
      serialization: 'advanced',
    });
  }

  async prepare(options: WorkloadOptions): Promise<WorkloadSummary> {
    const answer = await this.#order({ kind: 'prepare', options });
    if (answer.kind !== 'prepared') throw new Error(`the load generator answered ${answer.kind}`);
    this.#summary = answer.summary;
    return answer.summary;
  }

  async advance(seconds: number): Promise<void> {
    await this.#order({ kind: 'advance', seconds });
  }

  /** Sends all bodies, or some of them, as fast as they are taken or at a bounded rate. */
  async send(ports: readonly number[], some: Partial<LoadOptions> = {}): Promise<LoadResult> {
    const { bodies, windowBodies, options } = this.#summary!;
    const answer = await this.#order({
      kind: 'send',
      options: {
        ports,
        connections: options.connections,
        windowBodies,
        from: 0,
        to: bodies,
        bodiesPerSecond: Number.POSITIVE_INFINITY,
        ...some,
      },
    });
    if (answer.kind !== 'sent') throw new Error(`the load generator answered ${answer.kind}`);
    return answer.result;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise<void>((done) => this.#child.once('exit', () => done()));
    this.#child.disconnect();
    await ended;
  }

  #order(order: GeneratorOrder): Promise<GeneratorAnswer> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null) => reject(new Error(`the load generator ended (${code})`));
      this.#child.once('exit', onExit);
      this.#child.once('message', (answer: GeneratorAnswer) => {
        this.#child.off('exit', onExit);
        if (answer.kind === 'failed') reject(new Error(answer.problem));
        else resolve(answer);
      });
      this.#child.send(order);
    });
  }
}
