/**
 * Repairs that an operator has asked for: a pass now (`ring`), a comparison that changes nothing (`preview`), a
 * recomputation of what is stored against the ledger (`scrub`); each is a part of an order (repair-order.ts). They outlive
 * restarts (repairs-file.ts): what ran begins anew, what was paused stays paused.
 *
 * What is paused stops: a token that waits at some member, or a reading that keeps a shard's old blocks, would have to be
 * given up some time. Resumed it begins anew, which moves only what is still missing.
 */
import type { ShardId } from '../shards/shard-key.ts';
import type { MendProgress } from './mend.ts';
import { Preview, type PreviewObserver } from './preview.ts';
import type { PassRecord, RepairMode, RepairStatus } from './records.ts';
import {
  addTally,
  EMPTY_TALLY,
  isOver,
  type OrderStatus,
  orderOf,
  orderOfMend,
  type RepairOrder,
  type RepairTally,
  tallyOf,
} from './repair-order.ts';
import {
  etaByCount,
  type Mutable,
  newPart,
  type RepairPart,
  setAside,
  showMend,
  shown,
  workedMs,
} from './repair-part.ts';
import { recordOfOrder } from './repair-records.ts';
import { freshRepair, type KeptOrder, type RepairsFile } from './repairs-file.ts';
import type { ReplicaTable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import type { Ring } from './ring.ts';
import type { PassProgress } from './ring-token.ts';
import type { ScrubObserver, Scrubs } from './scrubs.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

/** What has changed is saved at most this often: a repair of all shards is hundreds of changes. */
const SAVE_EVERY_MS = 1_000;

export class Repairs {
  private readonly all = new Map<string, RepairPart>();
  /** With what is left of their parts that were forgotten. */
  private readonly orders = new Map<string, KeptOrder>();
  private unsaved = false;
  private savedMs = Number.NEGATIVE_INFINITY;
  private readonly o: {
    replicas: ReplicaTable;
    requests: Requests;
    ring: Ring;
    scrubs: Scrubs;
    around: Surroundings;
    file: RepairsFile;
  };

  constructor(options: Repairs['o']) {
    this.o = options;
    const { repairs, orders } = options.file.load();
    for (const kept of orders) this.orders.set(kept.order.id, kept);
    for (const status of repairs) {
      const running = this.track({ ...status, pass: status.pass ?? null }, null);
      running.isDue = status.state === 'running' || status.state === 'queued';
    }
    this.unsaved = false;
  }

  tick(): void {
    const { around } = this.o;
    // What ran goes on once there is a cluster to run in.
    if (around.snapshot !== null) for (const running of this.all.values()) if (running.isDue) this.beginAnew(running);
    for (const running of this.all.values()) if (running.pass !== null) this.listen(running, running.pass);
    if (around.nowMs - this.savedMs >= SAVE_EVERY_MS) this.save();
  }

  /** At once: whoever is told that it is done counts on it. A disk that refuses is tried again. */
  save(): void {
    if (!this.unsaved) return;
    this.forgetOld();
    const { around, file } = this.o;
    this.savedMs = around.nowMs;
    this.unsaved = !file.save({ repairs: this.list(''), orders: [...this.orders.values()] });
  }

  /** The parts of one order, or a mend; '': all of all. */
  list(order: string): RepairStatus[] {
    const found: RepairStatus[] = [];
    for (const running of this.all.values())
      if (order === '' || orderOf(running.status) === order) found.push(shown(running, this.o.around.nowMs));
    return found;
  }

  /** Orders that were told to this worker, as far as it runs them; and mends that run, as if they had been ordered. */
  orderStatus(id: string): OrderStatus[] {
    const tallies = new Map<string, RepairTally>();
    const mends: OrderStatus[] = [];
    for (const running of this.all.values()) {
      const order = orderOf(running.status);
      if (id !== '' && order !== id) continue;
      const tally = tallyOf(shown(running, this.o.around.nowMs));
      tallies.set(order, addTally(tallies.get(order) ?? EMPTY_TALLY, tally));
      if (running.mend === null || running.status.finishedMs !== null) continue;
      mends.push({ order: orderOfMend(running.status, this.o.around.self), tally });
    }
    const orders = [...this.orders.values()].filter(({ order }) => id === '' || order.id === id);
    const told = orders.map(({ order, forgotten, isPaused, steeredMs }) => ({
      order,
      isPaused,
      steeredMs,
      tally: addTally(forgotten, tallies.get(order.id) ?? EMPTY_TALLY),
    }));
    return [...told, ...mends];
  }

  noteOrder(order: RepairOrder): void {
    const known = this.orders.get(order.id);
    if (known !== undefined && known.order.revision >= order.revision) return;
    this.orders.set(order.id, { forgotten: EMPTY_TALLY, ...known, order });
    this.unsaved = true;
    this.forgetOld();
  }

  private add(id: string, shard: ShardId, mode: RepairMode): RepairPart {
    const { nowMs } = this.o.around;
    return this.track(freshRepair(id, shard, mode, nowMs), nowMs);
  }

  private track(status: Mutable<RepairStatus>, sinceMs: number | null): RepairPart {
    const running = newPart(status, sinceMs);
    this.all.set(status.id, running);
    this.unsaved = true;
    return running;
  }

  start(id: string, shard: ShardId, mode: RepairMode): void {
    if (this.all.has(id)) return;
    const running = this.add(id, shard, mode);
    const refused = this.begin(running);
    if (refused !== null) this.finish(running, 'failed', refused);
  }

  /** Why it cannot be started; null when all is well. */
  private begin(running: RepairPart): string | null {
    const { replicas, ring } = this.o;
    const { status } = running;
    const replica = replicas.get(status.shard);
    if (replica === null) return 'this node holds no replica of the shard';
    if (status.mode === 'mend') return 'a damaged replica is mended by itself';
    if (status.mode === 'scrub') {
      this.scrub(running, status.shard);
      return null;
    }
    if (status.mode === 'preview') {
      const closedThrough: Preview['o']['closedThrough'] = (each) => ring.plan(each)?.through ?? null;
      const preview = new Preview({ ...this.o, closedThrough }, replica, this.previewObserver(running));
      running.stop = () => preview.stop();
      preview.start();
      return null;
    }
    const result = ring.start(replica, true);
    if ('refused' in result) return result.refused;
    running.pass = { id: result.pass, heardMs: this.o.around.nowMs };
    status.message = `pass ${result.pass}`;
    const ended = replica.notes.lastPass;
    if (ended?.id === result.pass) this.passEnded(ended);
    return null;
  }

  private beginAnew(running: RepairPart): void {
    const { around, replicas } = this.o;
    const { status } = running;
    running.dueMs ??= around.nowMs;
    running.sinceMs = around.nowMs;
    const refused = this.begin(running);
    if (refused !== null) {
      running.sinceMs = null;
      // Members have not been heard yet, say. What is given up stays visible.
      const isHopeless = status.mode === 'mend' || replicas.get(status.shard) === null;
      const givenUp = isHopeless || around.nowMs - running.dueMs > around.limits.passMsMax;
      if (givenUp) this.finish(running, 'failed', refused);
      else status.message = `to be begun anew: ${refused}`;
      return;
    }
    running.isDue = false;
    this.unsaved = true;
  }

  /**
   * Its end is one message, and a token may die with those who had it. Whoever has it lets it go after `passMsMax`; and a hop that
   * takes long is told of when it is over. So a pass of which nothing is heard for longer than that is over, whatever became of it.
   */
  private listen(running: RepairPart, pass: { readonly id: string; heardMs: number }): void {
    const { ring, around } = this.o;
    const { nowMs, limits } = around;
    if (ring.held.of(pass.id).length > 0) pass.heardMs = nowMs;
    if (nowMs - pass.heardMs <= limits.passMsMax + 2 * limits.hopTimeoutMs) return;
    around.count('passes_unheard');
    running.unheard++;
    if (running.unheard >= limits.passTriesMax) {
      const what = `the end of pass ${pass.id} was not heard, nor of those before it (${running.unheard} passes)`;
      this.finish(running, 'failed', `${what}: a member may have died, or its messages be lost`);
      return;
    }
    setAside(running, nowMs);
    running.pass = null;
    running.sinceMs = null;
    running.dueMs = null;
    running.isDue = true;
    running.status.message = `the end of pass ${pass.id} was not heard: to be begun anew`;
  }

  /** All parts of an order. Mends go on: they are no order. */
  control(order: string, action: 'pause' | 'resume' | 'cancel'): void {
    const kept = this.orders.get(order);
    if (kept !== undefined) {
      this.orders.set(order, { ...kept, isPaused: action === 'pause', steeredMs: this.o.around.wallMs });
      this.unsaved = true;
    }
    for (const running of this.all.values()) {
      const { status } = running;
      if (orderOf(status) !== order || isOver(status.state) || running.mend !== null) continue;
      if (action === 'resume' ? status.state !== 'paused' : status.state === 'paused' && action === 'pause') continue;
      if (action === 'resume') this.resume(running);
      else {
        this.halt(running, action);
        if (action === 'cancel') this.finish(running, 'cancelled', 'cancelled by the operator');
      }
      this.unsaved = true;
    }
    this.save();
  }

  /** Whatever runs of it here or elsewhere ends. */
  private halt(running: RepairPart, action: 'pause' | 'cancel'): void {
    const { around, ring, replicas } = this.o;
    const { status, pass } = running;
    setAside(running, around.nowMs);
    running.isDue = false;
    running.pass = null;
    running.stop?.();
    running.stop = null;
    status.state = 'paused';
    status.message = 'paused by the operator';
    status.etaMs = null;
    if (pass === null) return;
    const replica = replicas.get(status.shard);
    const message = { t: 'pass-control' as const, shard: status.shard, pass: pass.id, action };
    for (const { number } of around.snapshot?.members ?? [])
      if (number !== around.self && replica !== null) around.send(number, replica.key.number, message);
    ring.callOff(pass.id, action);
  }

  private resume(running: RepairPart): void {
    const { status } = running;
    status.state = 'running';
    status.message = 'resumed';
    status.hop = 0;
    status.percentage = 0;
    running.sinceMs = null;
    running.dueMs = null;
    running.isDue = true;
    if (this.o.around.snapshot !== null) this.beginAnew(running);
  }

  progressed(pass: string, progress: PassProgress): void {
    for (const { status, before, sinceMs, pass: own } of this.all.values()) {
      if (own?.id !== pass) continue;
      own.heardMs = this.o.around.nowMs;
      status.hop = Math.max(status.hop, progress.hop);
      status.hops = progress.hops;
      status.percentage = Math.min(99, Math.round((100 * status.hop) / status.hops));
      status.batchesMoved = Math.max(status.batchesMoved, before.batchesMoved + progress.batches);
      status.rowsMoved = Math.max(status.rowsMoved, before.rowsMoved + progress.rows);
      status.bytesMoved = Math.max(status.bytesMoved, before.bytesMoved + progress.bytes);
      status.etaMs = etaByCount(this.o.around.nowMs - (sinceMs ?? 0), status.hop, status.hops);
    }
  }

  passEnded(record: PassRecord): void {
    for (const running of this.all.values()) {
      const { status, before } = running;
      if (running.pass?.id !== record.id) continue;
      status.pass = record;
      status.batchesMoved = before.batchesMoved + record.batchesMoved;
      status.rowsMoved = before.rowsMoved + record.rowsMoved;
      status.bytesMoved = before.bytesMoved + record.bytesMoved;
      if (record.outcome === 'proven') {
        const names = record.skipped.map(
          ({ member, reason }) => `${nameOf(this.o.around.snapshot, member)} (${reason})`,
        );
        status.hop = record.hops.length;
        status.hops = Math.max(record.hops.length, 1);
        this.finish(
          running,
          'done',
          names.length === 0 ? 'all replicas proven equal' : `proven without ${names.join(', ')}`,
        );
      } else if (record.outcome === 'overtaken' && this.o.replicas.get(record.shard)?.ledger.replica === 'full') {
        // Floors are raised by full proofs, and this one was above the cutoff of what was asked for.
        this.finish(running, 'done', 'all replicas proven equal by a newer pass');
      } else
        this.finish(running, record.outcome === 'cancelled' ? 'cancelled' : 'failed', record.reason ?? record.outcome);
    }
  }

  private scrub(running: RepairPart, id: ShardId): void {
    const { scrubs, around } = this.o;
    const { status, before } = running;
    // Those before it in the queue come first.
    let readSinceMs: number | null = null;
    const observer: ScrubObserver = {
      progressed: (bytesRead, bytesTotal) => {
        readSinceMs ??= around.nowMs;
        status.bytesMoved = before.bytesMoved + bytesRead;
        status.percentage = bytesTotal === 0 ? 0 : Math.min(99, Math.floor((100 * bytesRead) / bytesTotal));
        status.etaMs = etaByCount(around.nowMs - readSinceMs, bytesRead, bytesTotal);
      },
      ended: (problem, batchesMissing) => {
        const note = problem ?? 'what is stored is what the ledger says';
        const name = nameOf(around.snapshot, around.self);
        const result = problem === null ? 'equal' : 'differs';
        const counts = { batchesMissing, batchesUnequal: 0, rowsMissing: null, epochsDiffering: 0 };
        status.differences = [{ member: around.self, name, result, ...counts, note }];
        status.hop = 1;
        this.finish(running, problem === null ? 'done' : 'failed', note);
      },
    };
    running.stop = () => scrubs.cancel(observer);
    scrubs.startOne(id, observer);
  }

  private previewObserver(running: RepairPart): PreviewObserver {
    const { around } = this.o;
    const { status } = running;
    return {
      progressed: (compared, members) => {
        status.hops = Math.max(1, members);
        status.hop = compared;
        status.percentage = Math.min(99, Math.round((100 * compared) / status.hops));
        status.etaMs = etaByCount(around.nowMs - (running.sinceMs ?? 0), compared, status.hops);
      },
      ended: (problem, message, differences) => {
        status.differences = differences;
        if (problem === null) status.hop = status.hops;
        this.finish(running, problem === null ? 'done' : 'failed', message);
      },
    };
  }

  /** A damaged replica is mended: shown like what an operator has asked for. */
  mendBegun(shard: ShardId, progress: MendProgress): void {
    const { self, wallMs } = this.o.around;
    const id = `mend-${self}-${shard}-${wallMs.toString(36)}`;
    const running = this.add(id, shard, 'mend');
    running.mend = progress;
    running.status.message = progress.reason;
  }

  mendEnded(shard: ShardId, progress: MendProgress, problem: string | null): void {
    for (const running of this.all.values()) {
      if (running.mend !== progress || running.status.shard !== shard) continue;
      showMend(running.status, progress, this.o.around.nowMs);
      const lost = progress.rowsLost + progress.batchesLost;
      const note =
        lost === 0 ? 'mended' : `mended; lost: ${progress.rowsLost} rows, parts of ${progress.batchesLost} batches`;
      this.finish(running, problem === null ? 'done' : 'failed', problem ?? `${note} (${progress.reason})`);
    }
  }

  private finish(running: RepairPart, state: 'done' | 'failed' | 'cancelled', message: string): void {
    const { status } = running;
    if (status.finishedMs !== null) return;
    this.unsaved = true;
    status.workedMs = workedMs(running, this.o.around.nowMs);
    status.state = state;
    status.finishedMs = this.o.around.nowMs;
    status.message = message;
    status.etaMs = null;
    running.isDue = false;
    running.pass = null;
    running.stop = null;
    if (state === 'done') status.percentage = 100;
    if (status.mode !== 'ring') this.o.around.repaired(recordOfOrder(status, running.mend, this.o.around.self));
  }

  /**
   * Of too many that have ended the oldest: parts of an order together, and not those of the newest one. The order stays, with their
   * sums, until there are too many of those.
   */
  private forgetOld(): void {
    const { all, orders } = this;
    const max = this.o.around.limits.repairsKeptMax;
    if (all.size <= max && orders.size <= max) return;
    const newest = [...orders.keys()].at(-1);
    const byOrder = new Map<string, RepairPart[]>();
    for (const part of all.values()) {
      const order = orderOf(part.status);
      const parts = byOrder.get(order);
      if (parts === undefined) byOrder.set(order, [part]);
      else parts.push(part);
    }
    for (const [id, parts] of byOrder) {
      if (all.size <= max) break;
      if (id === newest || parts.some(({ status }) => status.finishedMs === null)) continue;
      const kept = orders.get(id);
      if (kept !== undefined) {
        const forgotten = parts.map(({ status }) => tallyOf(status)).reduce(addTally, kept.forgotten);
        orders.set(id, { ...kept, forgotten });
      }
      for (const { status } of parts) all.delete(status.id);
      byOrder.delete(id);
    }
    for (const id of orders.keys()) {
      if (orders.size <= max) break;
      if (id !== newest && !byOrder.has(id)) orders.delete(id);
    }
  }
}
