/** Three nodes whose passes run when they are asked for, and what they say of repair. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { PassRecord } from '../../repair/records.ts';
import { ask } from './asking.ts';
import { Connection } from './connection.ts';
import { until, untilReplicated } from './measure.ts';
import { findPrograms } from './programs.ts';
import { DATABASE } from './requests.ts';
import { RunningSystem } from './system.ts';

const NODES = 3;
const POLL_MS = 20;
const COPIES_TIMEOUT_MS = 300_000;
const ATTEMPTS_MAX = 60;
const ATTEMPT_PAUSE_MS = 500;

export interface RepairFigures {
  readonly questions: number;
  readonly hops: number;
  readonly shards: number;
  /** Of messages for repair, without mail. */
  readonly bytes: number;
  readonly rows: number;
  readonly seconds: number;
}

interface Summary {
  readonly id: string;
  readonly state: string;
  readonly startedMs: number;
  readonly finishedMs: number | null;
  readonly message: string;
  readonly shards: readonly { readonly state: string; readonly pass: PassRecord | null }[];
}

export class RepairCluster {
  readonly system: RunningSystem;

  constructor(serve: readonly string[]) {
    const [program] = findPrograms({}, ['starling']).programs;
    this.system = new RunningSystem(program!, { nodes: NODES, serve });
  }

  async get<T>(index: number, path: string): Promise<T> {
    const connection = new Connection(this.system.ports[index]!);
    try {
      return JSON.parse((await ask(connection, path)).body.toString()) as T;
    } finally {
      connection.close();
    }
  }

  async post(index: number, path: string, body: string): Promise<string> {
    const connection = new Connection(this.system.ports[index]!);
    const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
    try {
      const response = await connection.exchange(Buffer.from(head + body));
      const text = response.body.toString();
      if (response.status >= 300) throw new Error(`${path} answered ${response.status}: ${text.slice(0, 300)}`);
      return text;
    } finally {
      connection.close();
    }
  }

  /** A row of its own batch: each is acknowledged before the next is sent. */
  async writeRows(index: number, lines: readonly string[]): Promise<void> {
    for (const line of lines) await this.post(index, `/write?db=${DATABASE}&precision=s&consistency=quorum`, line);
  }

  /** Members that are live, as each node sees it, are all. */
  async untilTogether(): Promise<void> {
    await until('all members are live', async () => {
      const views = await Promise.all(
        this.system.ports.map((_, index) =>
          this.get<{ members: { live: boolean; state: string }[] }>(index, '/api/cluster'),
        ),
      );
      return views.every(({ members }) => members.filter(({ live, state }) => live && state === 'up').length === NODES);
    });
  }

  /** What waited in outboxes is known to nobody any more. */
  async loseOutboxes(): Promise<void> {
    await this.system.stop();
    for (let index = 0; index < NODES; index++) {
      const data = this.system.dataOf(index);
      for (const worker of readdirSync(data).filter((name) => /^worker-\d+$/.test(name)))
        rmSync(join(data, worker, 'outbox'), { recursive: true, force: true });
    }
    await this.system.start();
    await this.untilTogether();
  }

  async counter(name: string, ports: readonly number[] = this.system.ports): Promise<number> {
    let sum = 0;
    for (const port of ports) {
      const connection = new Connection(port);
      const text = (await ask(connection, '/metrics')).body.toString();
      connection.close();
      sum += Number(new RegExp(`^starling_events\\{event="${name}"\\} (\\d+)`, 'm').exec(text)?.[1] ?? 0);
    }
    return sum;
  }

  /**
   * From when the first replica of a node is fenced until as many as there are shards have been filled. Its counters begin
   * at nothing.
   */
  async copying(index: number, shards: number): Promise<{ bytes: number; seconds: number }> {
    const port = this.system.ports[index]!;
    const deadline = performance.now() + COPIES_TIMEOUT_MS;
    let began: number | null = null;
    while (performance.now() < deadline) {
      const connection = new Connection(port);
      const text = (await ask(connection, '/metrics')).body.toString();
      connection.close();
      const event = (name: string) =>
        Number(new RegExp(`^starling_events\\{event="${name}"\\} (\\d+)`, 'm').exec(text)?.[1] ?? 0);
      if (event('replicas_fenced') > 0) began ??= performance.now();
      if (began !== null && event('replicas_filled') >= shards)
        return { bytes: event('fill_bytes'), seconds: (performance.now() - began) / 1000 };
      await wait(POLL_MS);
    }
    throw new Error(`not all ${shards} replicas were copied within ${COPIES_TIMEOUT_MS / 1000} s`);
  }

  async shardCount(index: number): Promise<number> {
    return (await this.get<{ shards: unknown[] }>(index, '/api/shards')).shards.length;
  }

  /** Bytes that all nodes have sent to each other, whatever for. */
  async sentBytes(): Promise<number> {
    let sum = 0;
    for (let index = 0; index < NODES; index++) {
      const { members } = await this.get<{ members: { link: { sentBytes: number } | null }[] }>(index, '/api/cluster');
      sum += members.reduce((total, { link }) => total + (link?.sentBytes ?? 0), 0);
    }
    return sum;
  }

  /** Of the nodes that have stayed, when what waits for an owner waits there. */
  async outboxBytes(): Promise<number> {
    const ports = this.system.ports.slice(0, NODES - 1);
    await until('what an owner lacks is in an outbox', async () => (await this.counter('writes_waiting', ports)) === 0);
    let sum = 0;
    for (let index = 0; index < NODES - 1; index++) {
      const { outbox } = await this.get<{ outbox: { bytes: number }[] }>(index, '/api/cluster');
      sum += outbox.reduce((total, { bytes }) => total + bytes, 0);
    }
    return sum;
  }

  /** Passes that have ended with this outcome: each is counted by the node that started it. */
  async passes(outcome: string): Promise<number> {
    let sum = 0;
    for (const port of this.system.ports) {
      const connection = new Connection(port);
      const text = (await ask(connection, '/metrics')).body.toString();
      connection.close();
      const found = text.matchAll(
        new RegExp(`^starling_repair_passes_total\\{.*outcome="${outcome}".*\\} (\\d+)`, 'gm'),
      );
      for (const [, count] of found) sum += Number(count);
    }
    return sum;
  }

  async fileBytes(index: number): Promise<number> {
    const { shards } = await this.get<{ shards: { fileBytes: number }[] }>(index, '/api/shards');
    return shards.reduce((total, { fileBytes }) => total + fileBytes, 0);
  }

  /** No write waits for an owner any more, neither in memory nor in an outbox. */
  async delivered(): Promise<void> {
    await until('all writes are with their owners', async () => {
      const [waiting, bytes] = [await this.counter('writes_waiting'), await this.counter('outbox_bytes')];
      return waiting === 0 && bytes === 0;
    });
  }

  replicated(): Promise<number> {
    return untilReplicated(this.system);
  }

  /** A pass over every shard, again until all are proven by full ones; the figures are those of all attempts. */
  async repair(): Promise<RepairFigures> {
    const [questions, bytes] = [await this.counter('repair_questions'), await this.counter('repair_bytes_sent')];
    const passes: PassRecord[] = [];
    let ms = 0;
    for (let attempt = 0; ; attempt++) {
      const { id } = JSON.parse(await this.post(0, '/api/repairs', '{"all":true,"mode":"ring"}')) as { id: string };
      let summary = await this.get<Summary>(0, `/api/repairs/${id}`);
      while (summary.finishedMs === null) {
        await wait(POLL_MS);
        summary = await this.get<Summary>(0, `/api/repairs/${id}`);
      }
      const all = summary.shards.map(({ pass }) => pass).filter((pass) => pass !== null);
      if (all.length > 0) {
        passes.push(...all);
        ms += Math.max(...all.map((pass) => pass.finishedMs)) - Math.min(...all.map((pass) => pass.startedMs));
      }
      const isProven =
        all.length === summary.shards.length && all.every((p) => p.outcome === 'proven' && p.kind === 'full');
      if (isProven && all.length > 0) break;
      if (attempt === ATTEMPTS_MAX) throw new Error(`the shards are not proven: ${summary.message}`);
      await wait(ATTEMPT_PAUSE_MS);
    }
    return {
      questions: (await this.counter('repair_questions')) - questions,
      hops: passes.reduce((sum, { hops }) => sum + hops.length, 0),
      shards: new Set(passes.map(({ shard }) => shard)).size,
      bytes: (await this.counter('repair_bytes_sent')) - bytes,
      rows: passes.reduce((sum, { rowsMoved }) => sum + rowsMoved, 0),
      seconds: ms / 1000,
    };
  }
}
