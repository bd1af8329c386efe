import { connect, createServer, type Server } from 'node:net';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { loadConfig } from '../../server/config.ts';
import { makeScratchNode } from '../../server/scratch-node.ts';
import type { WorkerPool } from '../../server/threads.ts';

let server: Server | null = null;
afterEach(() => server?.close());

test('a query at the door of a warm-up, to which any local process may connect, is an error and no more', async () => {
  const logged: string[] = [];
  const log = pino({ level: 'error' }, { write: (line: string) => logged.push(line) });
  const config = loadConfig({ flags: { data: '/nonexistent', workers: '1' } });
  const pool = { count: 1, workerOf: () => 0, held: () => [] } as unknown as WorkerPool;
  const { door } = makeScratchNode({ config, self: '1'.repeat(16), pool, log }, 0);
  server = createServer((socket) => door.take(socket));
  await new Promise<void>((listening) => server!.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as { port: number };
  const socket = connect(port, '127.0.0.1');
  socket.write('GET /query?q=SHOW+DATABASES HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const answer = await new Promise<string>((given, refused) => {
    socket.once('data', (bytes) => given(String(bytes)));
    socket.once('error', refused);
    socket.once('close', () => refused(new Error('closed')));
  });
  expect(answer).toMatch(/^HTTP\/1\.1 500 .*\{"error":"internal error"\}/s);
  expect(logged.join()).toContain('a query at a door for writes');
  socket.destroy();
});
