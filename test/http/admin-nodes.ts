/** Support: nodes that answer the admin API about repairs, and each other. */
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import pino from 'pino';
import type { AdminPorts } from '../../server/http/admin.ts';
import { addRepairRoutes } from '../../server/http/admin-repairs.ts';
import type { RepairSummary } from '../../server/http/repair-orders.ts';
import type { RepairPage } from '../../server/http/repair-records.ts';
import { addErrorHandling } from '../../server/http/server.ts';
import { createNodeApi, type NodeApiPorts } from '../../server/node-api.ts';
import { RunningQueries } from '../../server/query/running-queries.ts';
import { serveNodeCall } from '../../server/query-rpc.ts';
import { RepairJournal } from '../../server/repair-journal.ts';
import { RepairRatesStore } from '../../server/repair-rates.ts';

const CLUSTER = 'c1';
export const START = 1_700_000_000_000;

export interface Answer extends RepairPage {
  readonly paused: boolean;
  readonly repairs: readonly RepairSummary[];
}

/** One node of a cluster, as far as its repairs go: they are told over HTTP, from one to the other and to a client. */
export class AdminNode {
  readonly directory = mkdtempSync(join(tmpdir(), 'starling-node-'));
  readonly lines: { level: number; msg: string; repair: Record<string, unknown> }[] = [];
  readonly journal: RepairJournal;
  readonly rates = new RepairRatesStore({
    dataDirectory: this.directory,
    repairBytesPerSecond: 5 << 20,
    repairCpuShare: null,
  });
  readonly server: Server;
  readonly number: string;
  readonly nodes: readonly AdminNode[];
  /** What the others take it for. */
  live = true;
  lastHeardMsAgo = 0;
  silentMs = 0;
  heardBy: string | null = null;
  state = 'up';
  nowMs = START;
  readonly ports: AdminPorts;
  url = '';

  /** `workers`: of a node that holds shards; `more`: what its routes have to know besides. */
  constructor(
    number: string,
    nodes: readonly AdminNode[],
    workers: object = { callAll: async () => [], held: () => [] },
    more: { places?: object; heldBy?: () => object } = {},
  ) {
    this.number = number;
    this.nodes = nodes;
    const snapshot = () => ({ self: number, members: this.members(), heldBy: more.heldBy?.() ?? {} });
    const stream = { write: (line: string) => this.lines.push(JSON.parse(line)) };
    this.journal = new RepairJournal({
      directory: this.directory,
      keptMs: 30 * 86_400_000,
      bytesMax: 1 << 20,
      nowMs: () => START,
      log: pino({ level: 'debug' }, stream),
      snapshot: () => snapshot() as unknown as ReturnType<AdminPorts['snapshot']>,
      databaseOf: () => 'db',
    });
    const pool = workers;
    const { journal, rates } = this;
    const viewHash = () => 'v';
    const levelling = {} as NodeApiPorts['levelling'];
    const nodeApi = createNodeApi({
      pool: pool as unknown as NodeApiPorts['pool'],
      rates,
      levelling,
      journal,
      running: new RunningQueries('0', 0),
      startedMs: START,
      viewHash,
    });
    const ports = {
      pool,
      nodeApi,
      journal,
      snapshot,
      clusterId: () => CLUSTER,
      members: () => this.members(),
      silentMs: (member: string) => this.nodes.find(({ number }) => number === member)!.silentMs,
      startedMs: START,
      nowMs: () => this.nowMs,
      places: more.places,
    } as unknown as AdminPorts;
    this.ports = ports;
    const app = express();
    app.post('/internal/query', (request, response) => serveNodeCall(request, response, CLUSTER, nodeApi));
    addRepairRoutes(app, ports, rates);
    addErrorHandling(app, pino({ level: 'debug' }, stream));
    this.server = app.listen(0, '127.0.0.1');
  }

  async listening(): Promise<void> {
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  private members() {
    return this.nodes.map(({ number, url: address, state, live, lastHeardMsAgo, heardBy }, i) => {
      return { number, name: `n${i + 1}`, address, state, live, lastHeardMsAgo, heardBy };
    });
  }

  async get(path: string): Promise<{ status: number; body: Answer & Record<string, unknown> }> {
    const response = await fetch(`${this.url}${path}`);
    return { status: response.status, body: (await response.json()) as Answer & Record<string, unknown> };
  }

  async post(path: string, body: object = {}): Promise<{ status: number; body: Record<string, unknown> }> {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${this.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  /** A member that is gone. */
  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
