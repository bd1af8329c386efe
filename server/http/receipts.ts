/**
 * `GET /api/receipts/:token?wait=5s`: where the batches of a write are (receipt-status.ts); with `wait` answered when they
 * are proven, or when the time is over.
 */
import type { Express } from 'express';
import { parseDurationMs } from '../duration.ts';
import { decodeReceipt } from '../receipt.ts';
import { type ReceiptPorts, receiptStatus } from '../receipt-status.ts';
import { sendError } from './server.ts';

const WAIT_MS_MAX = 60_000;
const POLL_MS = 200;
/** Requests that wait at the same time. */
const WAITING_MAX = 100;

export function addReceiptRoutes(app: Express, ports: ReceiptPorts & { notReady(): string | null }): void {
  let waiting = 0;
  app.get('/api/receipts/:token', async (request, response) => {
    // A node that has left, or not joined yet, knows of nobody's writes.
    const problem = ports.notReady();
    if (problem !== null) return sendError(response, 503, 'unavailable', problem);
    const clusterId = ports.clusterId();
    const batches = clusterId === null ? null : decodeReceipt(clusterId, request.params.token);
    if (batches === null) return sendError(response, 400, 'invalid', 'not a receipt of this cluster');
    const { wait } = request.query;
    const waitMs = wait === undefined ? 0 : parseDurationMs(String(wait));
    if (waitMs === null || waitMs > WAIT_MS_MAX)
      return sendError(response, 400, 'invalid', `wait: a duration of at most ${WAIT_MS_MAX / 1000}s, as in 5s`);
    if (waitMs > 0 && waiting >= WAITING_MAX)
      return sendError(response, 503, 'unavailable', `more than ${WAITING_MAX} requests wait for receipts`);
    const beganMs = ports.nowMs();
    const isOver = () => response.destroyed || ports.nowMs() - beganMs >= waitMs;
    waiting++;
    try {
      let status = await receiptStatus(ports, batches);
      while (!status.proven && !isOver()) {
        await new Promise((resolve) => setTimeout(resolve, Math.min(POLL_MS, waitMs)));
        status = await receiptStatus(ports, batches);
      }
      response.json({ ...status, waited_ms: ports.nowMs() - beganMs });
    } finally {
      waiting--;
    }
  });
}
