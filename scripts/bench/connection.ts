/** One keep-alive connection: a request is sent, its response awaited, then the next. */
import { connect, type Socket } from 'node:net';
import { type Response, ResponseReader } from './response-reader.ts';

const READ_BYTES = 256 * 1024;

interface Waiting {
  readonly request: Buffer;
  /** On a connection that was open before: the server may have closed it meanwhile. */
  readonly mayRepeat: boolean;
  resolve(response: Response): void;
  reject(error: Error): void;
}

export class Connection {
  readonly #port: number;
  #socket: Socket | null = null;
  #waiting: Waiting | null = null;

  constructor(port: number) {
    this.#port = port;
  }

  /** A request that found its connection closed by the server, before any byte came back, is sent once more. */
  exchange(request: Buffer): Promise<Response> {
    return new Promise((resolve, reject) => {
      const mayRepeat = this.#socket !== null;
      this.#waiting = { request, mayRepeat, resolve, reject };
      this.#socket ??= this.#open();
      this.#socket.write(request);
    });
  }

  get(path: string): Promise<Response> {
    return this.exchange(Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`));
  }

  post(path: string): Promise<Response> {
    return this.exchange(Buffer.from(`POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n`));
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.destroy();
  }

  #open(): Socket {
    const reader = new ResponseReader((response) => {
      const waiting = this.#waiting;
      this.#waiting = null;
      waiting?.resolve(response);
    });
    const end = (error: Error) => {
      socket.destroy();
      if (this.#socket !== socket) return;
      this.#socket = null;
      const waiting = this.#waiting;
      this.#waiting = null;
      if (waiting === null) return;
      if (waiting.mayRepeat && reader.atStart) this.exchange(waiting.request).then(waiting.resolve, waiting.reject);
      else waiting.reject(error);
    };
    const socket = connect({
      host: '127.0.0.1',
      port: this.#port,
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(READ_BYTES),
        callback: (size, bytes) => {
          try {
            reader.feed(Buffer.from(bytes.buffer, bytes.byteOffset, size));
          } catch (error) {
            end(error as Error);
          }
          return true;
        },
      },
    });
    socket.on('error', end);
    socket.on('close', () => end(new Error('the server closed the connection before it answered')));
    return socket;
  }
}
