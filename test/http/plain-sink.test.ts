/** Memory of answers on their way out. */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { PlainAnswers } from '../../server/http/plain-answers.ts';
import { PlainSink } from '../../server/http/plain-sink.ts';

/** Large enough to be given back by itself. */
const PIECE_BYTES = 2 << 20;

/** `outcome`: of writes of large pieces. */
function sinkOf(outcome: Error | null): { sink: PlainSink; socket: Duplex; sent: Buffer[] } {
  const sent: Buffer[] = [];
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _, done) {
      sent.push(Buffer.from(chunk));
      done(chunk.length < PIECE_BYTES ? null : outcome);
    },
  });
  socket.on('error', () => {});
  const sink = new PlainSink(socket as Socket, new PlainAnswers('0.1.0', 1000), false, () => false);
  return { sink, socket, sent };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test.each([
  ['whole', (sink: PlainSink, piece: Buffer) => sink.end(piece)],
  ['in chunks', (sink: PlainSink, piece: Buffer) => sink.write(piece)],
])('an answer that has left %s gives its memory back, and was sent as it was', async (_, send) => {
  const { sink, sent } = sinkOf(null);
  const piece = Buffer.alloc(PIECE_BYTES, 'x');
  send(sink, piece);
  await turn();
  expect(piece.length).toBe(0);
  expect(Buffer.concat(sent).includes('x'.repeat(PIECE_BYTES))).toBe(true);
});

test('what the system may still hold stays', async () => {
  const { sink, socket } = sinkOf(new Error('reset'));
  const piece = Buffer.alloc(PIECE_BYTES, 'x');
  sink.end(piece);
  await turn();
  expect([socket.destroyed, piece.length]).toEqual([true, PIECE_BYTES]);
});
