/** Clients that the door of plain requests must get rid of: silent ones, slow ones, and those that read nothing. */
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { WriteResult } from '../../server/http/influx-write.ts';
import { answersIn, KEEP_ALIVE_MS, POINT, query, Side, write } from './side.ts';

let side: Side;
beforeEach(async () => {
  side = new Side(true);
  await side.open();
});
afterEach(() => side.close());

describe('silent and rude clients', () => {
  const closed = (socket: Socket): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });
  /** Sends, and resolves when the door holds the connection and `isSo`. */
  const sent = async (socket: Socket, bytes: Buffer | string, isSo: () => boolean): Promise<void> => {
    await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
    while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
  };
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const { headersTimeout, requestTimeout } = createServer();

  test('who sends nothing at all gets 408 when node:http would say it', async () => {
    const socket = side.connect();
    const end = closed(socket);
    while (side.door!.connectionCount < 1) await new Promise((resolve) => setImmediate(resolve));
    side.door!.sweep(performance.now() + headersTimeout - 1_000);
    await settled();
    expect(socket.destroyed).toBe(false);
    side.door!.sweep(performance.now() + headersTimeout + 1);
    expect(await end).toMatch(/^HTTP\/1\.1 408 /);
  });

  test('a body that does not end gets 408, and is stored nowhere', async () => {
    const socket = side.connect();
    const end = closed(socket);
    await sent(socket, write(POINT).subarray(0, -3), () => side.door!.connectionCount > 0);
    await settled();
    side.door!.sweep(performance.now() + requestTimeout + 1);
    expect(await end).toMatch(/^HTTP\/1\.1 408 /);
    expect([side.arrived, side.observed]).toEqual([[], [400]]);
  });

  test('an idle connection is closed after the time of keep-alive, and not before', async () => {
    const socket = side.connect();
    const end = closed(socket);
    await sent(socket, write(POINT), () => side.observed.length === 1);
    side.door!.sweep(performance.now() + KEEP_ALIVE_MS - 1_000);
    await settled();
    expect(socket.destroyed).toBe(false);
    side.door!.sweep(performance.now() + KEEP_ALIVE_MS + 1);
    expect(await end).toMatch(/^HTTP\/1\.1 204 /);
  });

  test('a body that is cut off is 400 and stored nowhere; a half-closed connection still gets its answer', async () => {
    const cut = side.connect();
    const cutEnd = closed(cut);
    cut.end(write(POINT).subarray(0, -3));
    expect(await cutEnd).toMatch(/^HTTP\/1\.1 400 /);
    expect([side.arrived, side.observed]).toEqual([[], [400]]);
    const half = side.connect();
    const halfEnd = closed(half);
    half.end(write(POINT));
    expect(await halfEnd).toMatch(/^HTTP\/1\.1 204 /);
    expect(side.arrived).toHaveLength(1);
  });

  test.each(['end', 'destroy'] as const)(
    'a client that leaves ends its query (%s), which is observed once',
    async (how) => {
      let ended: Error | null = null;
      side.results = async function* (_text, { ending }) {
        await new Promise<void>((resolve) => ending!.onEnd(resolve));
        ended = ending!.reason;
        ending!.throwIfEnded();
        yield { statementId: 0 };
      };
      const socket = side.connect();
      const end = closed(socket);
      await sent(socket, query('db=t&q=slow'), () => side.arrived.length === 1);
      expect([ended, side.observed, side.slow]).toEqual([null, [], 0]);
      socket[how]();
      expect(await end).toBe('');
      while (side.door!.connectionCount > 0) await settled();
      expect(ended).toMatchObject({ message: 'query interrupted' });
      expect(side.observed).toEqual([200]);
    },
  );

  test('a long answer waits for a client that reads slowly, and the next request for it', async () => {
    side.results = async function* (text) {
      const values = Array.from({ length: 1_000 }, (_, row) => [BigInt(row), 'x'.repeat(1_000)]);
      for (let statementId = 0; statementId < 20; statementId++) {
        yielded++;
        yield { statementId, series: [{ name: text, columns: ['time', 's'], timeColumn: 0, values }] };
      }
    };
    let yielded = 0;
    const socket = side.connect();
    socket.pause();
    socket.write(Buffer.concat([query('db=t&chunked=true&q=a'), query('db=t&q=b')]));
    // Until nothing more fits on the way.
    for (let before = -1; before !== yielded || yielded === 0; ) {
      before = yielded;
      for (let turn = 0; turn < 200; turn++) await settled();
    }
    expect(yielded).toBeLessThan(20);
    expect(side.arrived).toHaveLength(1);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    socket.resume();
    while (answersIn(text) < 2) await settled();
    expect([side.arrived.length, side.observed]).toEqual([2, [200, 200]]);
    socket.destroy();
  }, 30_000);

  test('who never reads answers is not read from any more, and is closed in the end', async () => {
    const socket = side.connect();
    socket.pause();
    socket.on('error', () => {});
    const flood = Buffer.concat(Array.from({ length: 200 }, () => write('bad')));
    let before = -1;
    // Until the buffers on both ways are full: then nothing is served any more.
    for (let quiet = 0; quiet < 50; ) {
      if (socket.writableLength < 1_000_000) socket.write(flood);
      await new Promise((resolve) => setImmediate(resolve));
      quiet = before === side.arrived.length ? quiet + 1 : 0;
      before = side.arrived.length;
    }
    const closing = new Promise((resolve) => socket.on('close', resolve));
    side.door!.sweep(performance.now() + requestTimeout + 1);
    socket.resume();
    await closing;
  }, 30_000);

  /** A connection whose other side reads nothing until `read`. */
  function clogged(): { socket: Duplex; read: () => void; sent: () => string } {
    let text = '';
    let go: (() => void) | null = null;
    let isRead = false;
    const socket = new Duplex({
      allowHalfOpen: true,
      writableHighWaterMark: 1_000,
      read() {},
      write(chunk: Buffer, _encoding, done) {
        text += chunk.toString('latin1');
        if (isRead) done();
        else go = done;
      },
    });
    const sent = () => text;
    const read = () => {
      isRead = true;
      go?.();
    };
    Object.assign(socket, { destroySoon: () => socket.once('finish', () => socket.destroy()) });
    side.door!.take(socket as Socket);
    return { socket, read, sent };
  }

  test('who sends no more and does not read the last answer is closed in the end', async () => {
    const { socket } = clogged();
    socket.push(write(POINT));
    socket.push(null);
    while (side.observed.length < 1) await settled();
    side.door!.sweep(performance.now() + requestTimeout - 1_000);
    expect(socket.destroyed).toBe(false);
    side.door!.sweep(performance.now() + requestTimeout + 1);
    expect(socket.destroyed).toBe(true);
  });

  test('who does not read its 408 is closed in the end, and the rest of its body counts for nothing', async () => {
    const { socket } = clogged();
    socket.push(write(POINT).subarray(0, -3));
    await settled();
    side.door!.sweep(performance.now() + requestTimeout + 1);
    socket.push(write(POINT).subarray(-3));
    await settled();
    expect([side.arrived, side.observed, socket.destroyed]).toEqual([[], [400], false]);
    side.door!.sweep(performance.now() + requestTimeout + 1);
    expect(socket.destroyed).toBe(true);
  });

  test('who sends no more while answers are unread gets them all, and the end', async () => {
    const { socket, read, sent } = clogged();
    const ended = new Promise((resolve) => socket.once('finish', resolve));
    const bad = `bad ${'x'.repeat(2_000)}`;
    socket.push(write(bad));
    while (side.observed.length < 1) await settled();
    socket.push(null);
    await settled();
    read();
    await ended;
    expect(answersIn(sent())).toBe(1);
  });

  test('closing: idle connections are closed, and one that is served gets its answer first', async () => {
    let release = (_: WriteResult): void => {};
    side.answer = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const idle = side.connect();
    const busy = side.connect();
    const ends = [closed(idle), closed(busy)];
    await sent(busy, write(POINT), () => side.arrived.length === 1 && side.door!.connectionCount === 2);
    side.door!.close();
    expect(await ends[0]).toBe('');
    release({ status: 204 });
    expect(await ends[1]).toMatch(/^HTTP\/1\.1 204 .*\r\nConnection: close\r\n/s);
  });
});
