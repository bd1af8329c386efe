/** Sends lines to one destination of a subscription: POST /write over HTTP, or datagrams. */
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { Agent, request } from 'undici';
import { type DestinationUrl, parseDestination, withoutPassword } from './destination-url.ts';

export interface Target {
  readonly database: string;
  readonly policy: string;
}

export interface Destination {
  /** As it may be shown. */
  readonly name: string;
  /** How many lines were left out, which are longer than a datagram. Rejects when nothing was taken; over UDP nobody knows. */
  readonly send: (lines: readonly string[]) => Promise<number>;
  close(): void;
}

const SEND_MS_MAX = 30_000;
/** InfluxDB's: nothing on the way has to cut a datagram into pieces. */
const DATAGRAM_BYTES = 512;

/** `url` is one that parseDestination reads. */
export function openDestination(url: string, target: Target): Destination {
  const parsed = parseDestination(url);
  if (parsed === null) throw new Error(`not a destination: ${withoutPassword(url)}`);
  const name = withoutPassword(url);
  return parsed.protocol === 'udp' ? { name, ...datagrams(parsed) } : { name, ...posts(parsed, target) };
}

function posts({ base, authorization }: DestinationUrl, { database, policy }: Target): Omit<Destination, 'name'> {
  const agent = new Agent({ connections: 1, headersTimeout: SEND_MS_MAX, bodyTimeout: SEND_MS_MAX });
  const url = `${base}/write?${new URLSearchParams({ db: database, rp: policy, precision: 'ns', consistency: '' })}`;
  const headers = { 'Content-Type': 'text/plain', ...(authorization !== null && { Authorization: authorization }) };
  return {
    send: async (lines) => {
      const { statusCode, body } = await request(url, {
        method: 'POST',
        headers,
        body: lines.join('\n'),
        dispatcher: agent,
        signal: AbortSignal.timeout(SEND_MS_MAX),
      });
      await body.dump();
      if (statusCode >= 300) throw new Error(`status ${statusCode}`);
      return 0;
    },
    close: () => void agent.destroy().catch(() => {}),
  };
}

function datagrams({ host, port }: DestinationUrl): Omit<Destination, 'name'> {
  const sockets = new Map<number, Socket>();
  let isClosed = false;
  const socketOf = (family: number): Socket => {
    let socket = sockets.get(family);
    if (socket === undefined) {
      socket = createSocket(family === 6 ? 'udp6' : 'udp4').unref();
      // Each send says for itself that it failed.
      socket.on('error', () => {});
      sockets.set(family, socket);
    }
    return socket;
  };
  return {
    send: async (lines) => {
      const { address, family } = await lookup(host);
      let leftOut = 0;
      for (const text of packed(lines)) {
        // A socket that is opened now would stay.
        if (isClosed) throw new Error('the subscription is gone');
        const error = await new Promise<NodeJS.ErrnoException | null>((resolve) => {
          socketOf(family).send(text, port, address, resolve);
        });
        // The network's limit, be it less than that of the protocol; what is so long is one line.
        if (error?.code === 'EMSGSIZE') leftOut++;
        else if (error !== null) throw error;
      }
      return leftOut;
    },
    close() {
      isClosed = true;
      for (const socket of sockets.values()) socket.close();
      sockets.clear();
    },
  };
}

/** As many lines as fit into a datagram; a longer one has its own. */
export function packed(lines: readonly string[]): string[] {
  const texts: string[] = [];
  let open: string[] = [];
  let bytes = 0;
  for (const line of lines) {
    const size = Buffer.byteLength(line) + 1;
    if (bytes + size > DATAGRAM_BYTES && open.length > 0) {
      texts.push(`${open.join('\n')}\n`);
      open = [];
      bytes = 0;
    }
    open.push(line);
    bytes += size;
  }
  if (open.length > 0) texts.push(`${open.join('\n')}\n`);
  return texts;
}
