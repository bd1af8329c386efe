/**
 * What repair may take of this worker: bytes a second, and a share of one core. Both can be changed while it runs, and it
 * can be paused.
 *
 * Two buckets that fill with time, as told by `tick`. Whoever wants to move something waits until neither is empty, and
 * takes its estimate of bytes at once; what it took really is settled afterwards, so a bucket may be overdrawn by what a
 * few requests bring, and the rate holds over a second. Where several kinds want more than there is they take turns. Held back is what a replica asks for: the batches of a pull, the
 * pages of a copy, and what the outbox sends. What comparing costs, and giving to others, is charged and not held back:
 * the watermark moves on, and a request that is put off would be asked again.
 */
export type RepairKind = 'copies' | 'reads' | 'pulls';

export interface RepairRates {
  /** null: as fast as it goes. */
  readonly bytesPerSecond: number | null;
  /** 0 .. 1 of a core, of each worker; null: no limit. */
  readonly cpuShare: number | null;
  /** Nothing is compared or copied by this node; direct mail, its outbox, and what queries ask for by their consistency go on. */
  readonly paused: boolean;
}

/**
 * Of a node. A copy's page must come before its source gives the snapshot up (30 s), also when all workers fill several
 * shards at once: below this it would begin anew for ever.
 */
export const REPAIR_RATE_MIN = 2 << 20;
export const CPU_SHARE_MIN = 0.02;

export const UNLIMITED: RepairRates = { bytesPerSecond: null, cpuShare: null, paused: false };

/**
 * Who is next where several wait. A copy asks for its next page before there is room for it: without turns one that runs would leave nothing to
 * all others. It has half, since its source keeps a snapshot for it, and gives that up when no page is asked for.
 */
const TURNS: readonly (RepairKind | 'sends')[] = ['copies', 'sends', 'copies', 'reads', 'copies', 'pulls'];
/** Of all that repair may take, as far as they want it. */
export const SHARE_OF_COPIES = TURNS.filter((kind) => kind === 'copies').length / TURNS.length;

/** What may be saved up: bursts are no longer than that. */
const BUCKET_MS = 200;

/** Giving to others is not held back: a node that has given for minutes may repair itself again soon after. */
const OVERDRAFT_MS_MAX = 1_000;

interface Waiting {
  readonly bytes: number;
  readonly run: () => void;
}

export class RepairBudget {
  private current: RepairRates = UNLIMITED;
  private bytes = 0;
  private cpuMs = 0;
  private filledMs: number | null = null;
  private metering = false;
  /** `reads`: what a query waits for (levelling.ts), also while repair is paused. */
  private readonly waiting: Record<RepairKind, Waiting[]> = { copies: [], reads: [], pulls: [] };
  private turn = 0;
  /** The outbox has found no room since its last turn. */
  private isToSend = false;
  private readonly now: () => number;
  private readonly count: (name: string, by: number) => void;

  /** `now`: a clock in milliseconds that measures how long work takes. */
  constructor(now: () => number, count: (name: string, by: number) => void) {
    this.now = now;
    this.count = count;
  }

  get rates(): RepairRates {
    return this.current;
  }

  set(rates: RepairRates): void {
    this.current = rates;
    // What was taken while there was no limit is nobody's debt.
    this.bytes = this.bytesMax;
    this.cpuMs = this.cpuMsMax;
  }

  /** Neither bucket is empty. */
  get hasRoom(): boolean {
    const { bytesPerSecond, cpuShare } = this.current;
    return (bytesPerSecond === null || this.bytes > 0) && (cpuShare === null || this.cpuMs > 0);
  }

  /** For the outbox, which looks with each tick: where others wait it has its turn, in which room is left to it until the next tick. */
  roomToSend(): boolean {
    this.isToSend ||= !this.hasRoom;
    return this.hasRoom;
  }

  /** Requests that wait for their turn. */
  get waits(): number {
    return this.waiting.copies.length + this.waiting.reads.length + this.waiting.pulls.length;
  }

  /** Runs when there is room: at once, or from a later tick. `bytes` are taken then; to be settled by `settle`. */
  whenOpen(kind: RepairKind, bytes: number, run: () => void): void {
    if (this.hasRoom && this.areNoneBefore(kind)) {
      this.bytes -= bytes;
      run();
      return;
    }
    this.count('repair_requests_held_back', 1);
    this.waiting[kind].push({ bytes, run });
  }

  settle(estimate: number, bytes: number): void {
    this.bytes += estimate - bytes;
    this.count('repair_bytes', bytes);
  }

  charge(bytes: number): void {
    this.settle(0, bytes);
  }

  /** Of nested ones the outermost counts. `share`: of the work that was repair. */
  metered(work: () => void, share = 1): void {
    if (this.metering || share === 0) {
      work();
      return;
    }
    const began = this.now();
    this.metering = true;
    try {
      work();
    } finally {
      this.metering = false;
      const ms = (this.now() - began) * share;
      this.cpuMs = Math.max(-OVERDRAFT_MS_MAX, this.cpuMs - ms);
      this.count('repair_cpu_ms', ms);
    }
  }

  tick(nowMs: number): void {
    const { bytesPerSecond, cpuShare } = this.current;
    const spanMs = Math.min(1_000, Math.max(0, nowMs - (this.filledMs ?? nowMs)));
    this.filledMs = nowMs;
    this.bytes = Math.min(this.bytesMax, this.bytes + (spanMs * (bytesPerSecond ?? 0)) / 1000);
    this.cpuMs = Math.min(this.cpuMsMax, this.cpuMs + spanMs * (cpuShare ?? 0));
    while (this.hasRoom) {
      const next = this.next();
      if (next === undefined) return;
      this.bytes -= next.bytes;
      next.run();
    }
  }

  private areNoneBefore(kind: RepairKind): boolean {
    if (this.current.paused) return kind === 'reads' && this.waiting.reads.length === 0;
    return this.waits === 0;
  }

  /** A turn that nobody wants is the next one's; undefined: room is left to whoever looks for it (`roomToSend`). */
  private next(): Waiting | undefined {
    if (this.current.paused) return this.waiting.reads.shift();
    while (this.waits > 0) {
      const kind = TURNS[this.turn]!;
      this.turn = (this.turn + 1) % TURNS.length;
      if (kind !== 'sends') {
        const next = this.waiting[kind].shift();
        if (next !== undefined) return next;
      } else if (this.isToSend) {
        this.isToSend = false;
        return undefined;
      }
    }
    return undefined;
  }

  private get bytesMax(): number {
    return ((this.current.bytesPerSecond ?? 0) * BUCKET_MS) / 1000;
  }

  private get cpuMsMax(): number {
    return (this.current.cpuShare ?? 0) * BUCKET_MS;
  }
}
