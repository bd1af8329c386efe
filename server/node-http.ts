/** The HTTP routes' view of a node whose parts appear one after the other while it starts. */
import type { Coordinator } from './coordinator.ts';
import type { HttpPorts } from './http/server.ts';
import type { Metrics } from './metrics.ts';
import { createNodeApi } from './node-api.ts';
import type { Peers } from './peers.ts';
import type { QueryService } from './query/result.ts';
import { readBytes, serveNodeCall } from './query-rpc.ts';
import type { WorkerPool } from './threads.ts';

const CALL_BYTES_MAX = 16 * 1024 * 1024;

export interface NodeParts {
  readonly version: string;
  readonly bodyBytesMax: number;
  readonly log: HttpPorts['log'];
  notReady(): string | null;
  coordinator(): Coordinator;
  queryService(): QueryService;
  /** null before the workers have recovered. */
  pool(): WorkerPool | null;
  clusterId(): string | null;
  /** null while the node stops. */
  peers(): Peers | null;
  metrics(): Metrics;
  receiveCall(address: string, message: Uint8Array): Uint8Array | null;
}

export function createHttpPorts(parts: NodeParts): HttpPorts {
  const nowNs = () => BigInt(Date.now()) * 1_000_000n;
  const { bodyBytesMax } = parts;
  return {
    version: parts.version,
    log: parts.log,
    writeLimits: { bodyBytesMax, defaultConsistency: 'one', nowNs },
    queryLimits: { bodyBytesMax, rowsMax: 0, nowNs },
    notReady: parts.notReady,
    coordinator: parts.coordinator,
    queryService: parts.queryService,
    async internalCall(request, response) {
      let body: Uint8Array;
      try {
        body = new Uint8Array(await readBytes(request, CALL_BYTES_MAX));
      } catch {
        // Cut off in the middle, or too long: there is nobody to answer, or nothing worth reading.
        response.destroy();
        return;
      }
      const address = String(request.headers['starling-address'] ?? '');
      const answer = parts.pool() === null ? null : parts.receiveCall(address, body);
      if (answer === null) response.writeHead(204).end();
      else response.writeHead(200, { 'Content-Length': answer.byteLength }).end(answer);
    },
    async internalQuery(request, response) {
      const pool = parts.pool();
      if (pool === null) {
        request.resume();
        response.writeHead(503).end();
        return;
      }
      await serveNodeCall(request, response, parts.clusterId(), createNodeApi(pool));
    },
    upgrade(request, socket, head) {
      const peers = parts.pool() === null ? null : parts.peers();
      if (peers === null) socket.destroy();
      else peers.accept(request, socket, head);
    },
    observe: (route, seconds, status) => parts.metrics().observeRequest(route, seconds, status),
  };
}
