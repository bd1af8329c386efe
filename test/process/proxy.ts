/**
 * A TCP relay on loopback in front of one node, which it advertises to the others: so a test can take cluster traffic
 * away while clients still reach the node directly. Requests between nodes name their sender in the header
 * `starling-name`; the relay refuses everybody (`cut`), or what one node sends (`refuse`).
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class Relay {
  readonly #server: Server;
  /** Open connections, with the name of the node behind them once it is known. */
  readonly #sockets = new Map<Socket, string | null>();
  readonly #refused = new Set<string>();
  #target: { host: string; port: number } | null = null;
  #cut = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Relay> {
    const server = createServer();
    const relay = new Relay(server);
    server.on('connection', (socket) => relay.#relay(socket));
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return relay;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  /** Where connections go; may be set after the relay's own address was handed out. */
  set target(url: string) {
    const { hostname, port } = new URL(url);
    this.#target = { host: hostname, port: Number(port) };
  }

  /** Refuses new connections and ends those that stand. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  /** Refuses what the node of this name sends, and ends what it has open here. */
  refuse(name: string): void {
    this.#refused.add(name);
    for (const [socket, sender] of this.#sockets) if (sender === name) socket.destroy();
  }

  mend(): void {
    this.#cut = false;
    this.#refused.clear();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((done) => this.#server.close(done));
  }

  #relay(incoming: Socket): void {
    if (this.#cut || this.#target === null) {
      incoming.destroy();
      return;
    }
    const outgoing = connect(this.#target);
    for (const [socket, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      this.#sockets.set(socket, null);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    // The sender's name stands in the first packet: request line and headers of a node fit into one.
    incoming.once('data', (head: Buffer) => {
      const name = /^starling-name: *(\S+)/im.exec(head.toString('latin1'))?.[1] ?? null;
      if (name !== null && this.#refused.has(name)) {
        incoming.destroy();
        return;
      }
      this.#sockets.set(incoming, name);
      outgoing.write(head);
      incoming.pipe(outgoing);
    });
    outgoing.pipe(incoming);
  }
}
