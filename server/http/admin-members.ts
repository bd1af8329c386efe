/**
 * The admin API about who belongs to the cluster (JSON):
 *
 *   POST /api/cluster/leave                  this node hands everything over, and goes
 *   POST /api/cluster/members/:name/leave    the same for another member
 *   POST /api/cluster/members/:name/remove   {"force": true}: gives up a member that is dead
 *   POST /api/cluster/members/:name/acknowledge-loss
 *     what may be lost with members of that name that were given up or replaced is known: 200 {acknowledged: [{number, name, acknowledgedMs}]}
 *
 * `:name` is a member's name or number. Answers of the others are 202 with the member as `GET /api/cluster` shows it, which shows the
 * progress as well; what the member's state does not allow is 409 with the reason.
 */
import express, { type Express, type Response } from 'express';
import { z } from 'zod';
import { isGivenUp } from '../../repair/losses.ts';
import type { MemberDescription } from '../../repair/member-description.ts';
import { MembershipError } from '../../repair/membership-error.ts';
import type { NodeCore } from '../../repair/node-core.ts';
import { sendError } from './server.ts';

const BODY_BYTES_MAX = 64 * 1024;
const removeSchema = z.object({ force: z.boolean().default(false) }).strict();

export interface MemberPorts {
  readonly core: NodeCore;
  nowMs(): number;
}

export function addMemberRoutes(app: Express, { core, nowMs }: MemberPorts): void {
  const change = (response: Response, name: string | null, run: (number: string) => void): void => {
    const member = find(core.describeMembers(nowMs()), name ?? core.identity.number);
    if (member === null) {
      sendError(response, 404, 'not found', `no member is called ${name}`);
      return;
    }
    refusing(response, () => {
      run(member.number);
      response.status(202).json(find(core.describeMembers(nowMs()), member.number));
    });
  };
  const body = express.json({ limit: BODY_BYTES_MAX, type: () => true });
  app.post('/api/cluster/leave', (_request, response) => {
    change(response, null, (number) => core.departures.leave(number, nowMs()));
  });
  app.post('/api/cluster/members/:name/leave', (request, response) => {
    change(response, request.params.name, (number) => core.departures.leave(number, nowMs()));
  });
  app.post('/api/cluster/members/:name/remove', body, (request, response) => {
    const parsed = removeSchema.safeParse(request.body ?? {});
    if (!parsed.success) {
      sendError(response, 400, 'invalid', parsed.error.issues[0]?.message ?? 'invalid body');
      return;
    }
    change(response, String(request.params.name), (number) =>
      core.departures.giveUp(number, parsed.data.force, nowMs()),
    );
  });
  app.post('/api/cluster/members/:name/acknowledge-loss', (request, response) => {
    const { name } = request.params;
    const gone = () =>
      core.snapshot().members.filter((each) => isGivenUp(each) && (each.name === name || each.number === name));
    if (gone().length === 0)
      return sendError(response, 404, 'not found', `no member called ${name} was given up or replaced`);
    refusing(response, () => {
      for (const { number } of gone()) core.departures.acknowledgeLoss(number, nowMs());
      const acknowledged = gone().map(({ number, name, lossAcknowledgedMs }) => {
        return { number, name, acknowledgedMs: lossAcknowledgedMs };
      });
      response.json({ acknowledged });
    });
  });
}

/** What the members' states do not allow is answered as such. */
function refusing(response: Response, run: () => void): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof MembershipError)) throw error;
    sendError(response, error.status, error.code, error.message);
  }
}

/** A name that was taken over belongs to the member that is there. */
function find(members: readonly MemberDescription[], name: string): MemberDescription | null {
  const named = members.filter((member) => member.name === name || member.number === name);
  return named.find(({ state }) => state !== 'removed') ?? named.at(-1) ?? null;
}
