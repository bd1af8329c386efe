/**
 * Repairs that an operator has asked for: a pass now (`ring`), a comparison that changes nothing (`preview`), a
 * recomputation of what is stored against the ledger (`scrub`). They outlive restarts (repairs-file.ts): what ran begins
 * anew, what was paused stays paused.
 */
import { type ShardId, shardKeyToJson } from '../shards/shard-key.ts';
import { epochOf, type NodeNumber, type Version } from '../shards/version.ts';
import { rootToJson } from './ledger.ts';
import { decodeIdentities } from './ledger-codec.ts';
import type { MendProgress } from './mend.ts';
import type { PassRecord, RepairDifference, RepairMode, RepairStatus } from './records.ts';
import { recordOfOrder } from './repair-records.ts';
import { freshRepair, type RepairsFile } from './repairs-file.ts';
import type { MessageOf } from './replica-messages.ts';
import type { Replica, ReplicaTable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import type { Ring } from './ring.ts';
import type { PassProgress } from './ring-token.ts';
import type { ScrubObserver, Scrubs } from './scrubs.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
interface Running {
  status: Mutable<RepairStatus>;
  pass: string | null;
  scrub: ScrubObserver | null;
  mend: MendProgress | null;
  /** Preview: what each replica lists above the floor. */
  lists: Map<NodeNumber, Map<Version, number>>;
  todo: NodeNumber[];
  /** When this process began it, or began it anew. */
  sinceMs: number;
  /** It ran, or was paused, when the process before this one ended. */
  isOfBefore: boolean;
}

/** What has changed is saved at most this often: a repair of all shards is hundreds of changes. */
const SAVE_EVERY_MS = 1_000;

export class Repairs {
  private readonly all = new Map<string, Running>();
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
    for (const status of options.file.load()) {
      const running = this.track({ ...status, pass: status.pass ?? null });
      running.isOfBefore = status.finishedMs === null;
    }
    this.unsaved = false;
  }

  tick(): void {
    const { around, file } = this.o;
    // What ran goes on once there is a cluster to run in.
    if (around.snapshot !== null)
      for (const running of this.all.values()) if (running.isOfBefore) this.beginAnew(running);
    if (!this.unsaved || around.nowMs - this.savedMs < SAVE_EVERY_MS) return;
    this.savedMs = around.nowMs;
    this.unsaved = !file.save(this.list());
  }

  list(): RepairStatus[] {
    return [...this.all.values()].map(({ status, mend }) => {
      if (mend !== null && status.finishedMs === null) showMend(status, mend);
      return { ...status };
    });
  }

  private add(id: string, shard: ShardId, mode: RepairMode): Running {
    const running = this.track(freshRepair(id, shard, mode, this.o.around.nowMs));
    this.forgetOld();
    return running;
  }

  private track(status: Mutable<RepairStatus>): Running {
    const { nowMs: sinceMs } = this.o.around;
    const none = { pass: null, scrub: null, mend: null, lists: new Map(), todo: [] };
    const running: Running = { status, ...none, sinceMs, isOfBefore: false };
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
  private begin(running: Running): string | null {
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
      this.preview(running, replica);
      return null;
    }
    const result = ring.start(replica, true);
    if ('refused' in result) return result.refused;
    running.pass = result.pass;
    if (status.state === 'running') status.message = `pass ${result.pass}`;
    const ended = replica.notes.lastPass;
    if (ended?.id === result.pass) this.passEnded(ended);
    return null;
  }

  private beginAnew(running: Running): void {
    const { around, replicas } = this.o;
    const { status } = running;
    if (status.finishedMs !== null) running.isOfBefore = false;
    if (!running.isOfBefore || status.state === 'paused') return;
    const refused = this.begin(running);
    if (refused !== null) {
      // Members have not been heard yet, say. What is given up stays visible.
      const isHopeless = status.mode === 'mend' || replicas.get(status.shard) === null;
      const givenUp = isHopeless || around.nowMs - running.sinceMs > around.limits.passMsMax;
      if (givenUp) this.finish(running, 'failed', refused);
      else status.message = `begins anew after a restart: ${refused}`;
      return;
    }
    running.isOfBefore = false;
    running.sinceMs = around.nowMs;
    this.unsaved = true;
  }

  control(id: string, action: 'pause' | 'resume' | 'cancel'): void {
    const running = this.all.get(id);
    if (running === undefined || running.status.finishedMs !== null) return;
    const { around, ring, replicas } = this.o;
    const { status } = running;
    if (running.pass !== null) {
      const replica = replicas.get(status.shard);
      const message = { t: 'pass-control' as const, shard: status.shard, pass: running.pass, action };
      for (const { number } of around.snapshot?.members ?? []) {
        if (number !== around.self && replica !== null) around.send(number, replica.key.number, message);
      }
      ring.control(running.pass, action);
    }
    if (running.mend !== null) return;
    if (action === 'cancel' && running.scrub !== null) this.o.scrubs.cancel(running.scrub);
    if (action === 'cancel') this.finish(running, 'cancelled', 'cancelled by the operator');
    else status.state = action === 'pause' ? 'paused' : 'running';
    this.unsaved = true;
    if (action === 'resume' && status.mode === 'preview' && !running.isOfBefore) this.previewNext(running);
  }

  progressed(pass: string, progress: PassProgress): void {
    for (const { status, sinceMs, pass: own } of this.all.values()) {
      if (own !== pass || status.finishedMs !== null) continue;
      status.hop = Math.max(status.hop, progress.hop);
      status.hops = progress.hops;
      status.percentage = Math.min(99, Math.round((100 * status.hop) / status.hops));
      status.batchesMoved = Math.max(status.batchesMoved, progress.batches);
      status.rowsMoved = Math.max(status.rowsMoved, progress.rows);
      status.bytesMoved = Math.max(status.bytesMoved, progress.bytes);
      const perHop = (this.o.around.nowMs - sinceMs) / Math.max(1, status.hop);
      status.etaMs = Math.round(perHop * (status.hops - status.hop));
    }
  }

  passEnded(record: PassRecord): void {
    for (const running of this.all.values()) {
      const { status } = running;
      if (running.pass !== record.id || status.finishedMs !== null) continue;
      status.pass = record;
      status.batchesMoved = record.batchesMoved;
      status.rowsMoved = record.rowsMoved;
      status.bytesMoved = record.bytesMoved;
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

  private scrub(running: Running, id: ShardId): void {
    const { scrubs, around } = this.o;
    const { status } = running;
    const observer: ScrubObserver = {
      progressed: (bytesRead, bytesTotal) => {
        status.bytesMoved = bytesRead;
        status.percentage = bytesTotal === 0 ? 0 : Math.min(99, Math.floor((100 * bytesRead) / bytesTotal));
        const elapsedMs = around.nowMs - status.startedMs;
        status.etaMs = bytesRead === 0 ? null : Math.round((elapsedMs * (bytesTotal - bytesRead)) / bytesRead);
      },
      ended: (problem, batchesMissing) => {
        const note = problem ?? 'what is stored is what the ledger says';
        const name = nameOf(around.snapshot, around.self);
        const differs = { member: around.self, name, batchesMissing, rowsMissing: null, epochsDiffering: 0, note };
        status.differences = [differs];
        status.hop = 1;
        this.finish(running, problem === null ? 'done' : 'failed', note);
      },
    };
    running.scrub = observer;
    scrubs.startOne(id, observer);
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
      showMend(running.status, progress);
      const lost = progress.rowsLost + progress.batchesLost;
      const note =
        lost === 0 ? 'mended' : `mended; lost: ${progress.rowsLost} rows, parts of ${progress.batchesLost} batches`;
      this.finish(running, problem === null ? 'done' : 'failed', problem ?? `${note} (${progress.reason})`);
    }
  }

  private preview(running: Running, replica: Replica): void {
    const { around } = this.o;
    const owners = around.owners(replica.key).filter((owner) => owner !== around.self);
    running.todo = [...owners];
    running.status.hops = Math.max(1, owners.length);
    const own = new Map<Version, number>();
    const { ledger } = replica;
    const through = this.through(replica);
    for (const { epoch } of ledger.epochSums(ledger.floor, through, 0, Number.MAX_SAFE_INTEGER).sums) {
      for (const { version, rows } of ledger.identities(epoch, ledger.floor, through, '', Number.MAX_SAFE_INTEGER)) {
        own.set(version, rows);
      }
    }
    running.lists.set(around.self, own);
    this.previewNext(running);
  }

  /** Up to where a preview looks: what has been closed, so that writes in flight are no differences. */
  private through(replica: Replica): string {
    const through = this.o.ring.plan(replica)?.through ?? replica.ledger.floor;
    return through > replica.ledger.floor ? through : replica.ledger.floor;
  }

  private previewNext(running: Running): void {
    const { around, replicas } = this.o;
    const { status } = running;
    if (status.state !== 'running') return;
    const replica = replicas.get(status.shard);
    if (replica === null) {
      this.finish(running, 'failed', 'the shard is gone from this node');
      return;
    }
    const member = running.todo.shift();
    status.hop = status.hops - running.todo.length - (member === undefined ? 0 : 1);
    status.percentage = Math.round((100 * status.hop) / status.hops);
    if (member === undefined) {
      this.previewDone(running);
      return;
    }
    if (!around.isLive(member)) {
      this.differ(running, member, 0, null, 0, 'not live: not compared');
      this.previewNext(running);
      return;
    }
    this.previewCompare(running, replica, member, 0, []);
  }

  private previewCompare(running: Running, replica: Replica, member: NodeNumber, from: number, epochs: number[]): void {
    const { requests } = this.o;
    const { ledger, key } = replica;
    const through = this.through(replica);
    const after = ledger.floor;
    const claim = { floor: after, floorRoot: rootToJson(ledger.floorRoot()) };
    const json = shardKeyToJson(key);
    requests.ask(member, key.number, { t: 'compare', key: json, through, from, preview: true, ...claim }, (answer) => {
      const m = answer?.message as MessageOf<'compare-answer'> | undefined;
      if (m?.status !== 'ok' || m.floor > after) {
        const note = m === undefined ? 'no answer' : m.status === 'ok' ? 'its floor is above ours' : m.status;
        this.differ(running, member, 0, null, 0, note);
        return this.previewNext(running);
      }
      // Everything that it lists is asked for, so that what we lack is seen as well as what it lacks.
      const listed = [...epochs, ...m.sums.map(([epoch]) => epoch)];
      if (m.next !== null) return this.previewCompare(running, replica, member, m.next, listed);
      running.lists.set(member, new Map());
      this.previewList(running, replica, member, listed, '', { after, through });
    });
  }

  private previewList(
    running: Running,
    replica: Replica,
    member: NodeNumber,
    epochs: number[],
    above: Version | '',
    range: { after: string; through: string },
  ): void {
    if (epochs.length === 0) {
      this.previewNext(running);
      return;
    }
    const page = epochs.slice(0, this.o.around.limits.epochsPerPage);
    const key = shardKeyToJson(replica.key);
    this.o.requests.ask(
      member,
      replica.key.number,
      { t: 'identities', key, ...range, epochs: page, above },
      (answer) => {
        const m = answer?.message as MessageOf<'identities-answer'> | undefined;
        if (m?.status !== 'ok') {
          running.lists.delete(member);
          this.differ(running, member, 0, null, 0, m?.status ?? 'no answer');
          return this.previewNext(running);
        }
        const list = running.lists.get(member)!;
        let last: Version | '' = above;
        try {
          for (const { version, rows } of decodeIdentities(answer!.attachments[0] ?? new Uint8Array(0))) {
            list.set(version, rows);
            last = version;
          }
        } catch (error) {
          if (!(error instanceof Error && 'code' in error)) throw error;
          return this.previewNext(running);
        }
        if (m.more && last !== above) this.previewList(running, replica, member, page, last, range);
        else this.previewList(running, replica, member, epochs.slice(page.length), '', range);
      },
    );
  }

  private previewDone(running: Running): void {
    const union = new Map<Version, number>();
    for (const list of running.lists.values()) for (const [version, rows] of list) union.set(version, rows);
    let total = 0;
    for (const [member, list] of running.lists) {
      let [batches, rows] = [0, 0];
      const epochs = new Set<number>();
      for (const [version, count] of union) {
        if (list.has(version)) continue;
        batches++;
        rows += count;
        epochs.add(epochOf(version));
      }
      total += batches;
      this.differ(
        running,
        member,
        batches,
        rows,
        epochs.size,
        batches === 0 ? 'lacks nothing' : 'lacks what others have',
      );
    }
    running.status.hop = running.status.hops;
    running.lists.clear();
    this.finish(
      running,
      'done',
      total === 0 ? 'no differences among the compared replicas' : `${total} batches are missing`,
    );
  }

  private differ(
    r: Running,
    member: NodeNumber,
    batches: number,
    rows: number | null,
    epochs: number,
    note: string,
  ): void {
    const name = nameOf(this.o.around.snapshot, member);
    const difference: RepairDifference = {
      member,
      name,
      batchesMissing: batches,
      rowsMissing: rows,
      epochsDiffering: epochs,
      note,
    };
    r.status.differences = [...r.status.differences.filter((d) => d.member !== member), difference];
  }

  private finish(running: Running, state: 'done' | 'failed' | 'cancelled', message: string): void {
    const { status } = running;
    if (status.finishedMs !== null) return;
    this.unsaved = true;
    status.state = state;
    status.finishedMs = this.o.around.nowMs;
    status.message = message;
    status.etaMs = null;
    if (state === 'done') status.percentage = 100;
    if (status.mode !== 'ring') this.o.around.repaired(recordOfOrder(status, running.mend, this.o.around.self));
  }

  private forgetOld(): void {
    if (this.all.size <= this.o.around.limits.repairsKeptMax) return;
    for (const [id, { status }] of this.all) {
      if (status.finishedMs === null) continue;
      this.all.delete(id);
      this.unsaved = true;
      return;
    }
  }
}

function showMend(
  status: Mutable<RepairStatus>,
  { stage, rows, batches, bytes, bytesRead, bytesTotal }: MendProgress,
): void {
  status.rowsMoved = rows;
  status.batchesMoved = batches;
  status.bytesMoved = bytes;
  status.percentage = bytesTotal === 0 ? 0 : Math.min(99, Math.floor((100 * bytesRead) / bytesTotal));
  status.message = stage;
}
