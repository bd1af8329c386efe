/**
 * Line protocol in datagrams: one socket, whose datagrams are gathered and handed to the writer in bulk.
 *
 * Nobody is answered, so what cannot be taken is counted and, now and then, logged; nothing that a datagram holds and
 * nothing that the writer says ends the node. Each datagram is a write of its own for the writer, which puts those that come
 * together into one batch per shard: an unfinished string in one swallows nothing of the next. Batches wait while the node is
 * not ready and while as many as may wait are with the writer; what comes on top of these is dropped, and so memory is bounded.
 */
import { createSocket, type Socket } from 'node:dgram';
import { hostText } from './config-values.ts';
import type { WriteCoordinator, WriteResult } from './http/influx-write.ts';
import { listenError } from './listen-error.ts';
import type { UdpSettings } from './udp-settings.ts';

/** A batch is closed above this, however few lines it has. */
const BATCH_BYTES_MAX = 1024 * 1024;
const LOGGED_MS_MIN = 60_000;
/** How often it is tried to make the database, until it is there. */
const PREPARE_MS = 250;
const LINE_END = 10;
const REFUSED_FOR_GOOD = 400;

export interface UdpPorts {
  notReady(): string | null;
  coordinator(): WriteCoordinator;
  hasDatabase(name: string): boolean;
  /** Throws where it cannot be made now. */
  createDatabase(name: string): void;
  nowMs(): number;
  readonly log: {
    info(fields: object, text: string): void;
    warn(fields: object, text: string): void;
  };
}

/** Since the start. Lines are counted as they come, comments included. */
export interface UdpCounts {
  datagrams: number;
  bytes: number;
  lines: number;
  /** Of datagrams that were taken whole. */
  linesWritten: number;
  /** Some or all lines were refused, for what they say; the others of the same datagram are stored. */
  datagramsRefused: number;
  /** Lost because too much waited, or because they could not be written. */
  linesDropped: number;
  batches: number;
  batchesFailed: number;
  socketErrors: number;
}

interface Datagram {
  readonly bytes: Buffer;
  readonly lines: number;
  readonly nowNs: bigint;
}

interface Batch {
  readonly datagrams: Datagram[];
  lines: number;
  bytes: number;
}

export class UdpListener {
  readonly counts: UdpCounts = {
    datagrams: 0,
    bytes: 0,
    lines: 0,
    linesWritten: 0,
    datagramsRefused: 0,
    linesDropped: 0,
    batches: 0,
    batchesFailed: 0,
    socketErrors: 0,
  };
  readonly #settings: UdpSettings;
  readonly #ports: UdpPorts;
  readonly #socket: Socket;
  #open: Batch = emptyBatch();
  /** Closed, and not with the writer yet. */
  #waiting: Batch[] = [];
  #withWriter = 0;
  #timer: NodeJS.Timeout | null = null;
  #preparing: NodeJS.Timeout | null = null;
  #isPrepared = false;
  #isClosed = false;
  #loggedMs = Number.NEGATIVE_INFINITY;
  #bind = '';

  private constructor(settings: UdpSettings, ports: UdpPorts) {
    this.#settings = settings;
    this.#ports = ports;
    const { host } = settings.bindAddress;
    const size = settings.readBufferBytes === 0 ? {} : { recvBufferSize: settings.readBufferBytes };
    this.#socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', ...size });
  }

  /** Throws StartError when the address cannot be had. */
  static async start(settings: UdpSettings, ports: UdpPorts): Promise<UdpListener> {
    const listener = new UdpListener(settings, ports);
    await listener.#listen();
    return listener;
  }

  /** As InfluxDB names it in its statistics: HOST:PORT. */
  get bind(): string {
    return this.#bind;
  }

  /** What has come is handed to the writer, as far as it is taken. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
    if (this.#preparing !== null) clearInterval(this.#preparing);
    this.#closeBatch();
    for (const { lines } of this.#waiting.splice(0)) this.counts.linesDropped += lines;
  }

  async #listen(): Promise<void> {
    const { host, port } = this.#settings.bindAddress;
    const socket = this.#socket;
    await new Promise<void>((resolve, reject) => {
      const refused = (error: Error): void => {
        socket.close();
        reject(listenError(error, { host, port }, 'UDP '));
      };
      socket.once('error', refused);
      socket.bind({ address: host, port }, () => {
        socket.off('error', refused);
        resolve();
      });
    });
    this.#bind = `${hostText(host)}:${socket.address().port}`;
    socket.on('message', (bytes) => this.#receive(bytes));
    socket.on('error', (error) => {
      this.counts.socketErrors++;
      this.#tell('the socket of a UDP listener has an error', error.message);
    });
    this.#preparing = setInterval(() => this.#prepare(), PREPARE_MS);
    this.#prepare();
    const { database, precision } = this.#settings;
    this.#ports.log.info({ bind: this.#bind, database, precision }, 'listening for line protocol over UDP');
  }

  #receive(bytes: Buffer): void {
    const lines = linesIn(bytes);
    const { counts } = this;
    counts.datagrams++;
    counts.bytes += bytes.length;
    counts.lines += lines;
    if (lines === 0) return;
    const open = this.#open;
    open.datagrams.push({ bytes, lines, nowNs: BigInt(this.#ports.nowMs()) * 1_000_000n });
    open.lines += lines;
    open.bytes += bytes.length;
    if (open.lines >= this.#settings.batchSize || open.bytes >= BATCH_BYTES_MAX) this.#closeBatch();
    else this.#timer ??= setTimeout(() => this.#closeBatch(), this.#settings.batchTimeoutMs);
  }

  #closeBatch(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const batch = this.#open;
    if (batch.lines > 0) {
      this.#open = emptyBatch();
      this.#waiting.push(batch);
    }
    this.#send();
  }

  #send(): void {
    const { batchPending } = this.#settings;
    while (this.#waiting.length > 0 && this.#withWriter < batchPending && this.#mayWrite())
      this.#write(this.#waiting.shift()!);
    while (this.#waiting.length > batchPending) {
      this.#drop(this.#waiting.shift()!.lines);
      this.#tell('datagrams were dropped: too many batches wait', this.#ports.notReady() ?? 'the writer is slow');
    }
    // Nobody may come by later.
    if (this.#waiting.length > 0 && this.#withWriter === 0 && !this.#isClosed)
      this.#timer ??= setTimeout(() => this.#closeBatch(), this.#settings.batchTimeoutMs);
  }

  #mayWrite(): boolean {
    return this.#ports.notReady() === null && this.#prepare();
  }

  /** Makes the database, once; as in InfluxDB one that is dropped later stays dropped. */
  #prepare(): boolean {
    if (this.#isPrepared) return true;
    if (this.#ports.notReady() !== null) return false;
    const { database } = this.#settings;
    try {
      if (!this.#ports.hasDatabase(database)) this.#ports.createDatabase(database);
    } catch (error) {
      this.#tell('the database of a UDP listener could not be made', (error as Error).message);
      return false;
    }
    this.#isPrepared = true;
    if (this.#preparing !== null) clearInterval(this.#preparing);
    return true;
  }

  #write(batch: Batch): void {
    const { database, retentionPolicy, precision } = this.#settings;
    this.counts.batches++;
    this.#withWriter++;
    let outstanding = batch.datagrams.length;
    let isFailed = false;
    const answered = (datagram: Datagram, result: WriteResult): void => {
      if (!this.#take(datagram, result)) isFailed = true;
      if (--outstanding > 0) return;
      this.#withWriter--;
      if (isFailed) this.counts.batchesFailed++;
      if (!this.#isClosed) this.#send();
    };
    for (const datagram of batch.datagrams) {
      const { bytes, nowNs } = datagram;
      const request = { database, retentionPolicy, precision, consistency: 'any', body: [bytes], nowNs } as const;
      try {
        this.#ports.coordinator().write(request, (result) => answered(datagram, result));
      } catch (error) {
        answered(datagram, { status: 500, error: (error as Error).message });
      }
    }
  }

  /** False: it is lost. */
  #take({ lines }: Datagram, result: WriteResult): boolean {
    if (!('error' in result)) {
      this.counts.linesWritten += lines;
      return true;
    }
    const isRefused = result.status === REFUSED_FOR_GOOD;
    if (isRefused) this.counts.datagramsRefused++;
    else this.#drop(lines);
    this.#tell(isRefused ? 'lines of a datagram were refused' : 'a datagram could not be written', result.error);
    return isRefused;
  }

  #drop(lines: number): void {
    this.counts.linesDropped += lines;
  }

  /** Whoever sends nonsense a thousand times a second is not to fill the log. */
  #tell(text: string, problem: string): void {
    const nowMs = this.#ports.nowMs();
    if (nowMs - this.#loggedMs < LOGGED_MS_MIN) return;
    this.#loggedMs = nowMs;
    this.#ports.log.warn({ bind: this.#bind, problem: problem.slice(0, 1_000), ...this.counts }, text);
  }
}

function emptyBatch(): Batch {
  return { datagrams: [], lines: 0, bytes: 0 };
}

function linesIn(bytes: Buffer): number {
  let lines = 0;
  let from = 0;
  for (let at = bytes.indexOf(LINE_END); at >= 0; at = bytes.indexOf(LINE_END, from)) {
    if (at > from) lines++;
    from = at + 1;
  }
  return from < bytes.length ? lines + 1 : lines;
}
