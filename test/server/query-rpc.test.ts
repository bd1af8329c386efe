/** Whoever asks another node may leave at any moment. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { serialize } from 'node:v8';
import { expect, test } from 'vitest';
import type { Ending } from '../../server/query/ending.ts';
import { type NodeApi, serveNodeCall } from '../../server/query-rpc.ts';

test('nothing is worked for one who left while the request was read', async () => {
  const response = { destroyed: false, once: () => {} };
  const request = {
    method: 'POST',
    headers: { 'starling-cluster': 'c' },
    async *[Symbol.asyncIterator]() {
      yield serialize({ method: 'partial', args: [[], {}] });
      response.destroyed = true;
    },
  };
  let given: Ending | undefined;
  const partial: NodeApi['partial'] = async (_shards, _request, ending) => {
    given = ending;
    throw new Error('not needed');
  };
  await serveNodeCall(request as unknown as IncomingMessage, response as unknown as ServerResponse, 'c', {
    partial,
  } as NodeApi);
  expect(given!.reason).toMatchObject({ code: 'node-call', message: 'the connection was closed' });
});
