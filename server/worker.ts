/**
 * Entry of a worker thread: one `ReplicaHost` on one `Engine`, driven by messages and a timer, and nothing else.
 *
 * What a turn of the event loop produces leaves in one message at its end. Flushing and compaction run in short steps
 * between messages. Errors that are not expected are not caught: they end the thread, the main thread reports them and
 * the process stops, because a node without part of its shards would answer wrongly. Only a read that fails for one is
 * answered as failed: it has changed nothing, and whoever asks again would end one node after the other with it.
 */
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { summaryAt } from '../repair/descriptions.ts';
import { DECODED_LISTS } from '../repair/ledger.ts';
import { partId } from '../repair/repair-order.ts';
import { StorageError } from '../shards/errors.ts';
import type { Files } from '../shards/files.ts';
import { storageKernel } from '../shards/kernel/storage-kernel.ts';
import { censusOf, emptyCensus, seriesCountOf } from '../shards/series-census.ts';
import type { ShardId } from '../shards/shard-key.ts';
import { stampMs, type Version } from '../shards/version.ts';
import { withKept } from './cluster-news.ts';
import { collectYoungGarbage } from './garbage.ts';
import { nodeFiles } from './node-files.ts';
import { PartialRuns } from './partial-runs.ts';
import { RepairTraffic } from './repair-traffic.ts';
import { SaidNothing } from './said-nothing.ts';
import { ScratchReplica } from './scratch-replica.ts';
import { schemaMark } from './shard-questions.ts';
import { threadMemory } from './thread-memory.ts';
import type { FromWorker, ToWorker, WorkerApi, WorkerSettings } from './threads.ts';
import { Ticking } from './ticking.ts';
import { Timings } from './timings.ts';
import { TurnResults } from './turn-results.ts';
import { READ_FAULT, type WorkerErrorReport } from './worker-errors.ts';
import { openReplica } from './worker-replica.ts';

const STEP_BUDGET_MS = 5;
/** While statements are under way, which take 5 ms a turn (partial-runs.ts): as long as these, it would double the time of long ones. */
const STEP_BUDGET_MS_BESIDE = 1;
/** After a full disk, background work is tried again only this much later. */
const STEP_BACKOFF_MS = 1_000;
/** A step looks at every shard: when it found nothing to do, the next one waits for so long or for so many bytes. */
const STEP_REST_MS = 250;
/** Looking through many shards for work takes at most this share of the time; the rest is bounded all the same. */
const LOOK_SHARE = 1 / 200;
const STEP_REST_MS_MAX = 1_000;
const STEP_BYTES = 1 << 20;

const settings = workerData as WorkerSettings;
const port = parentPort!;
const now = () => Date.now();

let snapshot = settings.snapshot;
let stepping = false;
let stepNotBeforeMs = 0;
let restUntilMs = 0;
let bytesSinceStep = 0;
let stopped = false;
const syncTimings = new Timings();
const stepTimings = new Timings();

// A program that was not built whole fails here and not at its first write.
storageKernel();
const files = timedFiles(nodeFiles(), syncTimings);
const directory = join(settings.dataDirectory, `worker-${settings.index}`);
ScratchReplica.discard(directory);
const places = { shardsDirectory: join(settings.dataDirectory, 'shards'), directory, files };
const traffic = new RepairTraffic();
const results = new TurnResults({
  isScratch: false,
  heldShards: () => host.heldShards(),
  heldChanged: () => said.revoke(),
  sent: (message) => traffic.note(message),
  isStopped: () => stopped,
  post: postTurn,
});
const { engine, host, ledgerOf, submit } = openReplica(settings, places, results);
const said = new SaidNothing(settings.changes, engine.shards);
const partials = new PartialRuns({
  ledgerOf,
  queryable: (id) => engine.queryable(id),
  sayNothing: (ids) => said.say(ids, now()),
  answered: (id, value, moved) => postAnswer(id, value, moved),
  failed: (id, error) => post({ kind: 'failed', id, error: reportOf(error, true) }),
  nowMs: () => performance.now(),
  later: (turn) => void setImmediate(turn),
});
let scratch: ScratchReplica | null = null;

function post(message: FromWorker, moved: ArrayBuffer[] = []): void {
  if (!stopped) said.check(now());
  port.postMessage(message, moved);
}

function postTurn(message: FromWorker, moved: ArrayBuffer[]): void {
  ticking.stirred();
  post(message, moved);
}

/** Background work in short steps, as long as there is some; answers that are ready leave before it. */
function step(): void {
  stepping = false;
  if (stopped) return;
  results.end();
  bytesSinceStep = 0;
  let more = false;
  const began = performance.now();
  try {
    more = engine.step(partials.count > 0 ? STEP_BUDGET_MS_BESIDE : STEP_BUDGET_MS, () => performance.now());
    if (scratch?.step(STEP_BUDGET_MS) === true) more = true;
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    stepNotBeforeMs = began + STEP_BACKOFF_MS;
  }
  const ended = performance.now();
  if (ended - began > 0.5) stepTimings.keep((ended - began) / 1000);
  if (more) scheduleStep();
  else restUntilMs = ended + Math.min(STEP_REST_MS_MAX, Math.max(STEP_REST_MS, (ended - began) / LOOK_SHARE));
}

function scheduleStep(): void {
  const at = performance.now();
  if (stepping || stopped || at < stepNotBeforeMs || (at < restUntilMs && bytesSinceStep < STEP_BYTES)) return;
  stepping = true;
  setImmediate(step);
}

const api: Omit<WorkerApi, 'partial'> = {
  openVersions: () => host.openVersions(),
  handover: () => host.handover(),
  describeShards: () => host.describeShards(),
  describeShard(id, throughStamp) {
    const description = host.describeShard(id);
    const ledger = ledgerOf(id);
    if (description === null || throughStamp === null || ledger === null || throughStamp < ledger.floor)
      return description;
    return { ...description, ledgerAtWatermark: summaryAt(ledger, throughStamp) };
  },
  level: (orders) => host.level(orders, now()),
  unplaced: () => host.unplaced(),
  findWrites: (writes) => host.findWrites(writes),
  startRepair(order, shards) {
    host.noteOrder(order);
    for (const shard of shards) host.startRepair({ id: partId(order.id, shard), shard, mode: order.mode }, now());
    host.keepRepairs();
  },
  controlRepair: (id, action) => host.controlRepair(id, action),
  repairs: (order) => host.repairs(order),
  repairOrders: (id) => host.orders(id),
  startScrub: () => host.startScrub(now()),
  scrub: () => host.scrub(),
  setRepairRates: (rates) => host.setRepairRates(rates),
  progress: () => host.heldShards().map(({ id, key, state }) => ({ id, key, state, ...progressOf(id) })),
  newestVersion() {
    let newest: Version | null = null;
    for (const id of engine.shards.keys()) {
      const version = ledgerOf(id)?.newest ?? null;
      if (version !== null && (newest === null || version > newest)) newest = version;
    }
    return newest;
  },
  outboxStatus: () => host.outboxStatus(),
  counters: () => ({ ...host.counters(), ...traffic.counters() }),
  timings() {
    const { logBytes, memtableBytes } = engine.pressure();
    let ledgerBytes = DECODED_LISTS.bytes;
    for (const id of engine.shards.keys()) ledgerBytes += ledgerOf(id)?.bytes ?? 0;
    const sizes = { logBytes, memtableBytes, blockCacheBytes: engine.blockCache.bytes, ledgerBytes };
    return {
      fsyncSeconds: syncTimings.take(),
      flushSeconds: stepTimings.take(),
      ...sizes,
      memory: threadMemory(),
    };
  },
  schemas: (shards) =>
    shards.flatMap(({ id, known, series }) => {
      const shard = engine.shards.get(id);
      if (shard === undefined) return [];
      const fields = engine.schema(id);
      const counted = series === undefined ? undefined : (seriesCountOf(shard) ?? series);
      const mark = schemaMark(fields.length, shard.tombstones.coverFields);
      if (mark === known) return counted === series ? [] : [{ id, series: counted }];
      return [{ id, fields, mark, series: counted }];
    }),
  measurements() {
    const found = new Map<string, Set<string>>();
    for (const { id, key } of engine.shards.values()) {
      const names = found.get(key.database) ?? new Set();
      found.set(key.database, names);
      for (const { measurement } of engine.schema(id)) names.add(measurement);
    }
    return found;
  },
  census: (shards) =>
    shards.flatMap(({ id, hashes, isListed }) => {
      const shard = engine.shards.get(id);
      if (shard === undefined) return isListed ? [] : [{ id, ...emptyCensus(hashes) }];
      const census = ledgerOf(id)?.replica === 'full' ? censusOf(shard, hashes) : null;
      return census === null ? [] : [{ id, ...census }];
    }),
  beginScratch(cluster) {
    scratch = new ScratchReplica(
      settings,
      directory,
      cluster,
      (inner) => timedFiles(inner, new Timings()),
      scratchResults(),
    );
  },
  endScratch(flushed) {
    let hasMore = false;
    try {
      hasMore = scratch?.endStep(flushed, STEP_BUDGET_MS) ?? false;
    } finally {
      if (!hasMore) scratch = null;
    }
    return hasMore;
  },
  collectYoungGarbage,
  stop() {
    stopped = true;
    partials.cancelAll();
    if (scratch !== null) ScratchReplica.discard(directory);
    ticking.stop();
    try {
      // Of a shard without new rows floor and watermarks may have moved on, and a finding of damage may wait: as after a
      // crash the older ones are true, and repair finds the newer ones again.
      for (const shard of engine.shards.values()) if (shard.isDirty) shard.flush();
    } catch (error) {
      // What is not flushed is in the log and will be replayed.
      if (!(error instanceof StorageError)) throw error;
    }
    engine.close();
  },
};

function progressOf(id: ShardId): { isOwner: boolean; liveThroughMs: number } {
  const through = ledgerOf(id)?.liveConverged?.through;
  return { isOwner: host.owns(id), liveThroughMs: through === undefined ? 0 : stampMs(through) };
}

/** Of what a scratch replica has to tell only what became of writes concerns anybody. */
function scratchResults(): TurnResults {
  const nothing = () => {};
  return new TurnResults({
    isScratch: true,
    heldShards: () => null,
    heldChanged: nothing,
    sent: nothing,
    isStopped: () => stopped,
    post: postTurn,
  });
}

const READS: ReadonlySet<keyof typeof api> = new Set(['schemas', 'census', 'describeShard']);

/** An error without a code of ours is a bug. Those of JavaScript leave everything as it was; a kernel's may not. */
function reportOf(error: unknown, isRead: boolean): WorkerErrorReport {
  const { code, message, status, stack } = error as Error & { code?: unknown; status?: unknown };
  if (typeof code === 'string' && typeof status === 'number') return { code, message, status };
  const isOfValues = error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
  if (!isRead || !isOfValues) throw error;
  return { ...READ_FAULT, message, ...(stack !== undefined && { stack }) };
}

function answer(id: number, method: keyof typeof api, args: readonly unknown[]): void {
  let value: unknown;
  try {
    value = (api[method] as (...args: readonly unknown[]) => unknown)(...args);
  } catch (error) {
    post({ kind: 'failed', id, error: reportOf(error, READS.has(method)) });
    return;
  }
  postAnswer(id, value, []);
  if (method === 'stop') port.close();
}

function postAnswer(id: number, value: unknown, moved: ArrayBuffer[]): void {
  // What was produced before the answer leaves before it: a heartbeat that says what is open must not name an older
  // list of shards.
  results.end();
  post({ kind: 'answer', id, value }, moved);
}

function timedFiles(inner: Files, timings: Timings): Files {
  return {
    ...inner,
    open(path) {
      const file = inner.open(path);
      const sync = file.sync.bind(file);
      file.sync = (done) => {
        const began = performance.now();
        sync((error) => {
          timings.keep((performance.now() - began) / 1000);
          done(error);
        });
      };
      return file;
    },
  };
}

port.on('message', (message: ToWorker) => {
  if (stopped) return;
  if (message.kind === 'submit' || message.kind === 'deliver') ticking.stirred();
  switch (message.kind) {
    case 'cluster':
      snapshot = withKept(message, snapshot);
      host.setCluster(snapshot, now());
      break;
    case 'submit':
      for (const [, frame] of message.writes) bytesSinceStep += frame.byteLength;
      if (message.isScratch) scratch?.submit(message.writes);
      else submit(message.writes);
      break;
    case 'deliver':
      for (const { byteLength } of message.messages) bytesSinceStep += byteLength;
      host.receive(message.from, message.messages, now());
      break;
    case 'call':
      if (message.method === 'partial')
        partials.begin(message.id, ...(message.args as Parameters<WorkerApi['partial']>));
      else answer(message.id, message.method, message.args);
      break;
    case 'cancel':
      partials.cancel(message.id);
      break;
  }
  scheduleStep();
});

host.setCluster(snapshot, now());
for (const id of engine.recovery.setAside) host.shardWasLost(id);
for (const { id, code } of engine.recovery.unopened) if (code !== 'future-format') host.shardLost(id);
const ticking = new Ticking({
  tick() {
    host.tick(now());
    scratch?.tick(now());
    scheduleStep();
  },
  tickMs: settings.tickMs,
  nowMs: () => performance.now(),
});
post({ kind: 'ready', held: host.heldShards(), recovery: engine.recovery });
