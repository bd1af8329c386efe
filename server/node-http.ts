/** The HTTP routes' view of a node whose parts appear one after the other while it starts. */
import type { Config } from './config.ts';
import type { Coordinator } from './coordinator.ts';
import { DEFAULT_CONSISTENCY } from './http/influx-write.ts';
import type { HttpPorts } from './http/server.ts';
import type { Peers } from './peers.ts';
import type { QueryService } from './query/result.ts';
import { type NodeApi, readBytes, serveNodeCall } from './query-rpc.ts';
import { encodeReceipt } from './receipt.ts';
import type { RequestMetrics } from './request-metrics.ts';

const CALL_BYTES_MAX = 16 * 1024 * 1024;

export interface NodeParts {
  readonly version: string;
  readonly config: Pick<Config, 'bodyBytesMax' | 'maxRowLimit'>;
  readonly log: HttpPorts['log'] & { warn(fields: object, text: string): void };
  notReady(): string | null;
  coordinator(): Coordinator;
  queryService(): QueryService;
  /** null before the workers have recovered. */
  nodeApi(): NodeApi | null;
  clusterId(): string | null;
  /** null while the node stops. */
  peers(): Peers | null;
  readonly metrics: RequestMetrics;
  receiveCall(address: string, message: Uint8Array): Uint8Array | null;
}

export function createHttpPorts(parts: NodeParts): HttpPorts {
  const nowNs = () => BigInt(Date.now()) * 1_000_000n;
  const { config, metrics } = parts;
  const { bodyBytesMax, maxRowLimit } = config;
  return {
    version: parts.version,
    log: parts.log,
    writeLimits: {
      bodyBytesMax,
      defaultConsistency: DEFAULT_CONSISTENCY,
      nowNs,
      receiptOf: (batches) => encodeReceipt(parts.clusterId() ?? '', batches),
    },
    queryLimits: {
      bodyBytesMax,
      rowsMax: maxRowLimit,
      nowNs,
      failedUnheard: (problem) => parts.log.warn({ problem }, 'a query with async=true failed'),
    },
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
      const answer = parts.nodeApi() === null ? null : parts.receiveCall(address, body);
      if (answer === null) response.writeHead(204).end();
      else response.writeHead(200, { 'Content-Length': answer.byteLength }).end(answer);
    },
    async internalQuery(request, response) {
      const api = parts.nodeApi();
      if (api === null) {
        request.resume();
        response.writeHead(503).end();
        return;
      }
      await serveNodeCall(request, response, parts.clusterId(), api);
    },
    upgrade(request, socket, head) {
      const peers = parts.nodeApi() === null ? null : parts.peers();
      if (peers === null) socket.destroy();
      else peers.accept(request, socket, head);
    },
    observe: (route, seconds, status) => metrics.observeRequest(route, seconds, status),
  };
}
