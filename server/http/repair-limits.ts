/**
 * What repair may take, while it runs: `GET /api/repairs/limits`, `PUT` or `PATCH` to change some of it, `DELETE` to go back to the
 * configuration; of this node alone. `POST /api/repairs/pause` and `/resume` stop and start repair on every member that
 * answers: one node that goes on alone would prove nothing.
 */
import express, { type Express, type Request, type Response } from 'express';
import { nameOf } from '../query-backend.ts';
import { callNode } from '../query-rpc.ts';
import { type RatesStatus, type RepairRatesStore, ratesSchema } from '../repair-rates.ts';
import type { AdminPorts } from './admin.ts';
import { sendError } from './server.ts';

const BODY_BYTES_MAX = 4 * 1024;

export function addRepairLimitRoutes(app: Express, ports: AdminPorts, rates: RepairRatesStore): void {
  const body = express.json({ limit: BODY_BYTES_MAX, type: () => true });
  const change = (request: Request, response: Response) => {
    const parsed = ratesSchema.omit({ paused: true }).safeParse(request.body ?? {});
    if (parsed.success) answer(response, () => rates.set(parsed.data));
    else sendError(response, 400, 'invalid', describeIssue(parsed.error.issues[0]));
  };
  app.get('/api/repairs/limits', (_request, response) => {
    response.json(rates.status);
  });
  app.put('/api/repairs/limits', body, change);
  app.patch('/api/repairs/limits', body, change);
  app.delete('/api/repairs/limits', (_request, response) => answer(response, () => rates.reset()));
  for (const action of ['pause', 'resume'] as const) {
    app.post(`/api/repairs/${action}`, async (_request, response) => {
      const paused = action === 'pause';
      if (!answer(response, () => rates.set({ paused }), false)) return;
      const unreachable = await tellOthers(ports, paused);
      response.status(202).json({ paused, unreachable });
    });
  }
}

/** Names of those that did not answer: they go on as they were. */
async function tellOthers(ports: AdminPorts, paused: boolean): Promise<string[]> {
  const snapshot = ports.snapshot();
  const clusterId = ports.clusterId();
  if (clusterId === null) return [];
  const others = snapshot.members.filter(({ number, state }) => number !== snapshot.self && state !== 'removed');
  const told = await Promise.all(
    others.map(async ({ address, name }) => {
      try {
        await callNode({ address, clusterId, from: nameOf(snapshot) }, 'pauseRepair', paused);
        return null;
      } catch (error) {
        if ((error as { code?: string }).code !== 'node-call') throw error;
        return name;
      }
    }),
  );
  return told.filter((name) => name !== null);
}

export function describeIssue(
  issue: { readonly path: readonly PropertyKey[]; readonly message: string } | undefined,
): string {
  return issue === undefined ? 'invalid body' : `${issue.path.join('.')}: ${issue.message}`;
}

/** False: the disk did not take it, and that has been said. */
function answer(response: Response, work: () => RatesStatus, says = true): boolean {
  let status: RatesStatus;
  try {
    status = work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    sendError(response, 503, 'unavailable', `the disk does not take it: ${(error as Error).message}`);
    return false;
  }
  if (says) response.json(status);
  return true;
}
