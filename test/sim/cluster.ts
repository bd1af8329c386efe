/**
 * A whole cluster in one process under virtual time: the real ReplicaHost, ledgers, outbox and messages of every node,
 * on disks in memory, a network that loses, repeats, delays, reorders and cuts one way, nodes that crash (unsynced bytes
 * are gone) or come back with an empty disk, clocks that are wrong.
 *
 * Phase 1: faults and writes. Phase 2: the faults stop, and what was promised is timed against the published bound.
 * Checked all the time: a published watermark is true (every acknowledged write at or below it is on every member of
 * the proof), and stays true for later acknowledgements and crashes; no version is used twice.
 * Checked at the end: within the bound every acknowledged write is on every owner, replicas hold the same batches, and
 * converged_through has passed the last write.
 */

import { convergenceBound } from '../../repair/bound.ts';
import type { ClusterSnapshot, HeldShard, Member, Statement } from '../../repair/cluster.ts';
import { Ledger } from '../../repair/ledger.ts';
import { ownersOf } from '../../repair/owners.ts';
import type { PassRecord } from '../../repair/records.ts';
import { type HostEffect, ReplicaHost } from '../../repair/replica-host.ts';
import { DEFAULT_REPLICA_LIMITS, type ReplicaLimits } from '../../repair/replica-limits.ts';
import { decodeMessage, encodeMessage } from '../../repair/replica-messages.ts';
import type { SeriesKeyRecord, WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { FLOAT } from '../../shards/column.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';
import { makeStamp, type NodeNumber, stampCounter, stampMs, type Version } from '../../shards/version.ts';
import { MemoryDisk, MemoryStorage } from '../support/memory-storage.ts';
import { SimFiles } from './sim-files.ts';

/** Deliberate faults of one node's surroundings: the checkers must notice each. */
export type Mutation =
  | 'closed-ignores-open'
  | 'sync-lies'
  | 'version-reused'
  | 'outbox-forgotten'
  | 'below-floor-applied'
  | 'counted-twice'
  | 'floor-without-root'
  | 'filling-counted'
  | 'stray-acknowledged'
  | 'views-combined'
  | 'hop-skipped';

export interface SimOptions {
  readonly seed: number;
  readonly mutation?: Mutation;
  readonly wide?: boolean;
  readonly trace?: (line: string) => void;
}

export interface SimResult {
  readonly failure: string | null;
  readonly acknowledged: number;
  readonly proofs: number;
  readonly filled: number;
  readonly convergedMs: number;
  readonly boundMs: number;
  readonly counters: Record<string, number>;
}

const HEARTBEAT_MS = 400;
const TICK_MS = 40;
const DELAY_MS_MAX = 60;
const LIVE_MS = 2_000;
const START_MS = 1_700_000_000_000;

const LIMITS: ReplicaLimits = {
  ...DEFAULT_REPLICA_LIMITS,
  passIntervalMs: 1_500,
  staggerMs: 300,
  hopTimeoutMs: 900,
  requestTimeoutMs: 250,
  passMsMax: 20_000,
  mailTimeoutMs: 500,
  syncIntervalMs: 300,
  backoffMsMin: 100,
  backoffMsMax: 1_000,
  snapshotIdleMs: 3_000,
  fetchBatchesMax: 7,
  identitiesPerPage: 11,
  epochsPerPage: 2,
  fillPageBytes: 4_096,
};

class Violation extends Error {}

interface SimNode {
  number: NodeNumber;
  readonly name: string;
  up: boolean;
  offsetMs: number;
  hlcMs: number;
  hlcCounter: number;
  /** Durable: nothing is minted or closed beyond it before it has been raised. */
  reservedMs: number;
  disk: MemoryDisk;
  files: SimFiles;
  storage: MemoryStorage;
  host: ReplicaHost;
  members: Map<NodeNumber, Member>;
  statements: Map<NodeNumber, Statement>;
  held: Map<NodeNumber, readonly HeldShard[]>;
  heard: Map<NodeNumber, number>;
  sequence: number;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export function simulate(options: SimOptions): SimResult {
  const random = generator(options.seed);
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const chance = (p: number) => random() < p;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const { mutation } = options;
  let now = START_MS;
  let order = 0;
  const events = new Queue();
  const nodes: SimNode[] = [];
  const written = new Map<Version, { shard: string; request: number }>();
  const requests = new Map<number, Version>();
  const acked = new Set<Version>();
  const proofs: { shard: string; through: string; members: readonly NodeNumber[]; ids: Set<Version> }[] = [];
  const counters: Record<string, number> = {};
  const blocked = new Set<string>();
  const seenPasses = new Set<string>();
  let nextRequest = 1;
  let faults = true;
  const loss = pick([0, 0.02, 0.1]);
  const duplication = pick([0, 0.05]);
  const lateness = pick([0, 0.1]);
  // Wide: most coordinators own nothing, so that more rests on outboxes.
  const nodeCount = options.wide ? 5 : pick([3, 4, 5]);
  const replication = options.wide ? 2 : pick([2, 3, 3]);
  const troubleMs = pick([600, 1_500, 3_000]);
  const durability = pick(['fsync', 'fsync', 'interval'] as const);
  const trace = (text: string) => options.trace?.(`${now - START_MS} ${text}`);
  const fail = (text: string): never => {
    throw new Violation(`at ${now - START_MS} ms: ${text}`);
  };
  const at = (delay: number, run: () => void) => events.push({ at: now + delay, order: order++, run });

  const shards: ShardKey[] = [0, 1].map((number) => ({
    database: 'd',
    databaseGeneration: 0,
    retentionPolicy: 'autogen',
    retentionPolicyGeneration: 0,
    startNs: 1_699_920_000_000_000_000n,
    endNs: 1_700_524_800_000_000_000n,
    number,
  }));
  const ids = shards.map((key) => shardId(key));

  const holds = (node: SimNode, shard: string, version: Version) =>
    node.storage.shards.get(shard)?.batches.has(version) ?? false;
  const nodeOf = (number: NodeNumber) => nodes.find((node) => node.number === number);

  function snapshotOf(node: SimNode): ClusterSnapshot {
    const members = [...node.members.values()].sort((a, b) => (a.number < b.number ? -1 : 1));
    const views = mutation === 'views-combined' ? 'same' : members.map((m) => `${m.number}:${m.state}`).join();
    return {
      viewHash: views,
      self: node.number,
      members,
      live: members
        .filter(
          (m) => m.state === 'up' && (m.number === node.number || now - (node.heard.get(m.number) ?? 0) < LIVE_MS),
        )
        .map((m) => m.number),
      databases: [
        {
          name: 'd',
          generation: 0,
          durability,
          defaultRetentionPolicy: 'autogen',
          retentionPolicies: [
            { name: 'autogen', generation: 0, durationNs: 0n, shardDurationNs: 604_800_000_000_000n, replication },
          ],
        },
      ],
      droppedThrough: {},
      statements: [...node.statements.values()],
      heldBy: Object.fromEntries(node.held),
    };
  }

  const clockOf = (node: SimNode) => now + node.offsetMs;
  function lift(node: SimNode, ms: number, counter: number): void {
    if (ms > node.hlcMs || (ms === node.hlcMs && counter > node.hlcCounter)) {
      node.hlcMs = ms;
      node.hlcCounter = counter;
    }
    if (node.hlcMs >= node.reservedMs) node.reservedMs = node.hlcMs + 500;
  }
  function advanceClock(node: SimNode): string {
    if (clockOf(node) > node.hlcMs) lift(node, clockOf(node), 0);
    else lift(node, node.hlcMs, node.hlcCounter + 1);
    return makeStamp(node.hlcMs, node.hlcCounter);
  }

  function transmit(from: SimNode, to: NodeNumber, deliver: (node: SimNode) => void): void {
    const stamp = [from.hlcMs, from.hlcCounter] as const;
    const sender = from.number;
    const copies = faults && chance(duplication) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (faults && chance(loss)) continue;
      const delay = faults && chance(lateness) ? between(100, 3_000) : between(1, DELAY_MS_MAX);
      at(delay, () => {
        const node = nodeOf(to);
        if (node === undefined || !node.up || blocked.has(`${sender}>${to}`)) return;
        lift(node, ...stamp);
        deliver(node);
      });
    }
  }

  function effect(node: SimNode, what: HostEffect): void {
    if (what.kind === 'send') {
      let bytes = what.message;
      if (mutation === 'filling-counted' || mutation === 'stray-acknowledged') bytes = corruptAnswers(bytes, mutation);
      const from = node.number;
      transmit(node, what.to, (target) => target.host.receive(from, bytes, clockOf(target)));
    } else if (what.kind === 'written') {
      const version = requests.get(what.request)!;
      if (!what.outcome.ok) return;
      acked.add(version);
      const { shard } = written.get(version)!;
      if (durability !== 'fsync') return;
      for (const proof of proofs) {
        if (proof.shard === shard && version.slice(0, 16) <= proof.through && !proof.ids.has(version)) {
          fail(`${version} acknowledged after converged_through ${proof.through} was published without it`);
        }
      }
    } else if (what.kind === 'pass') checkPass(node, what.record);
  }

  function checkPass(publisher: SimNode, record: PassRecord): void {
    if (record.outcome !== 'proven' || record.kind !== 'full' || seenPasses.has(record.id)) return;
    seenPasses.add(record.id);
    const present = new Set(publisher.storage.shards.get(record.shard)!.batches.keys());
    trace(
      `proven ${record.shard} through ${record.cutoff} on ${record.order.join()} by ${publisher.name}: ${record.root!.batches}`,
    );
    for (const version of durability === 'fsync' ? acked : present) {
      if (written.get(version)?.shard !== record.shard || version.slice(0, 16) > record.cutoff) continue;
      for (const member of record.order) {
        const node = nodeOf(member);
        if (node !== undefined && !holds(node, record.shard, version)) {
          fail(
            `converged_through ${record.cutoff} of pass ${record.id} published, but ${version} is not on ${node.name}`,
          );
        }
      }
    }
    const through = [...present].filter((version) => version.slice(0, 16) <= record.cutoff);
    proofs.push({ shard: record.shard, through: record.cutoff, members: record.order, ids: new Set(through) });
  }

  function boot(node: SimNode): void {
    const later = (run: () => void) => at(between(1, 8), run);
    const makeLedger = () => mutated(new Ledger(), mutation);
    const host: { current: ReplicaHost | null } = { current: null };
    node.storage = new MemoryStorage(node.disk, later, makeLedger);
    if (mutation === 'sync-lies') {
      const { storage } = node;
      storage.sync = (done) => later(() => done(null));
      let n = 0;
      const real = MemoryStorage.prototype.sync;
      storage.sync = (done) => (n++ % 4 === 3 ? real.call(storage, done) : later(() => done(null)));
    }
    node.files.later = later;
    if (mutation === 'outbox-forgotten') node.files.files.clear();
    node.host = new ReplicaHost({
      self: node.number,
      storage: node.storage,
      ledgerOf: (id) => node.storage.ledgers.get(id)!,
      outboxDirectory: 'outbox',
      files: node.files,
      random,
      limits: LIMITS,
      emit: (what) => {
        if (node.host === host.current || host.current === null) effect(node, what);
      },
    });
    host.current = node.host;
    const current = node.host;
    node.host.setCluster(snapshotOf(node), clockOf(node));
    const tick = () => {
      if (!node.up || node.host !== current) return;
      current.tick(clockOf(node));
      at(TICK_MS, tick);
    };
    const beat = () => {
      if (!node.up || node.host !== current) return;
      heartbeat(node);
      at(HEARTBEAT_MS, beat);
    };
    at(between(0, TICK_MS), tick);
    at(between(0, HEARTBEAT_MS), beat);
  }

  function heartbeat(node: SimNode): void {
    const closed = advanceClock(node);
    const statement: Statement = {
      member: node.number,
      sequence: ++node.sequence,
      viewHash: snapshotOf(node).viewHash,
      closed,
      open: mutation === 'closed-ignores-open' ? [] : node.host.openVersions(),
      shardListSequence: 0,
    };
    const held = node.host
      .heldShards()
      .map((h) => (mutation === 'filling-counted' ? { ...h, state: 'full' as const } : h));
    node.statements.set(node.number, statement);
    node.held.set(node.number, held);
    const members = [...node.members.values()];
    const from = node.number;
    for (const { number } of members) {
      if (number === from) continue;
      transmit(node, number, (target) => {
        target.heard.set(from, now);
        for (const member of members) {
          const known = target.members.get(member.number);
          if (known === undefined || (known.state === 'up' && member.state === 'removed'))
            target.members.set(member.number, member);
        }
        if ((target.statements.get(from)?.sequence ?? 0) < statement.sequence) {
          target.statements.set(from, statement);
          target.held.set(from, held);
        }
        target.host.setCluster(snapshotOf(target), clockOf(target));
      });
    }
    node.host.setCluster(snapshotOf(node), clockOf(node));
  }

  function write(node: SimNode): void {
    const key = pick(shards);
    const version = advanceClock(node) + node.number;
    if (written.has(version)) fail(`version ${version} used twice`);
    const keys: SeriesKeyRecord[] = [0, 1, 2]
      .filter(() => chance(0.6))
      .map((n) => `cpu,host=h${n + between(0, 1) * 3}`)
      .map((text) => ({ hash: hashSeriesKey('seed', text), key: text }));
    if (keys.length === 0) return;
    const rows = keys.length;
    const batch: WriteBatch = {
      kind: 'write',
      shard: key,
      version,
      series: keys.map((record) => record.hash),
      groups: [
        {
          measurement: 'cpu',
          rowSeries: Uint32Array.from(keys.keys()),
          times: new Float64Array(rows).fill(between(0, 1_000) * 1e9),
          columns: [
            { field: 'usage', type: FLOAT, present: null, values: Float64Array.from({ length: rows }, () => random()) },
          ],
        },
      ],
    };
    const request = nextRequest++;
    written.set(version, { shard: shardId(key), request });
    requests.set(request, version);
    trace(`${node.name} writes ${version} to ${key.number}`);
    const consistency = pick(['any', 'one', 'one', 'quorum', 'all'] as const);
    const known = chance(0.5) ? [] : keys;
    const submitted = { request, shard: key, version, frame: encodeBatch(batch), keys: known, allKeys: () => keys };
    node.host.submit([{ ...submitted, consistency, durability, timeoutMs: 1_500 }], clockOf(node));
  }

  function crash(node: SimNode): void {
    trace(`${node.name} crashes`);
    node.up = false;
    node.storage.kill();
    node.files.crash();
    addCounters(counters, node.host.counters());
    if (durability === 'fsync') {
      const after = new MemoryStorage(node.disk, () => {});
      for (const proof of proofs) {
        if (!proof.members.includes(node.number)) continue;
        for (const version of proof.ids) {
          if (!after.shards.get(proof.shard)?.batches.has(version))
            fail(`${node.name} lost ${version} of a published proof in a crash`);
        }
      }
    }
    node.statements = new Map();
    node.heard = new Map();
  }

  function restart(node: SimNode): void {
    trace(`${node.name} restarts`);
    node.up = true;
    if (chance(0.3)) node.offsetMs = between(-2_500, 100);
    node.hlcMs = mutation === 'version-reused' ? 0 : node.reservedMs;
    node.hlcCounter = 0;
    lift(node, node.hlcMs, 0);
    boot(node);
  }

  /** The disk is gone: a new number under the old name; the others learn it from any member that is up. */
  function wipe(node: SimNode): void {
    const sponsor = nodes.find((other) => other !== node && other.up);
    if (sponsor === undefined) return;
    trace(`${node.name} comes back with an empty disk`);
    const old = node.number;
    node.number = randomNumber();
    node.disk = new MemoryDisk();
    node.files = new SimFiles(() => {});
    node.reservedMs = 0;
    sponsor.members.set(old, { ...sponsor.members.get(old)!, state: 'removed' });
    sponsor.members.set(node.number, { number: node.number, name: node.name, address: '', state: 'up' });
    sponsor.host.setCluster(snapshotOf(sponsor), clockOf(sponsor));
    node.members = new Map(sponsor.members);
    node.held = new Map();
    node.sequence = 0;
    advanceClock(sponsor);
    node.up = true;
    node.hlcMs = sponsor.hlcMs + 1;
    node.hlcCounter = 0;
    lift(node, node.hlcMs, 0);
    boot(node);
  }

  function randomNumber(): NodeNumber {
    return Array.from({ length: 16 }, () => Math.floor(random() * 16).toString(16)).join('');
  }

  function cut(): void {
    blocked.clear();
    const pairs = nodes.flatMap((a) => nodes.map((b) => [a, b] as const)).filter(([a, b]) => a !== b);
    if (chance(0.5)) {
      const alone = pick(nodes);
      for (const [a, b] of pairs) if (a === alone || b === alone) blocked.add(`${a.number}>${b.number}`);
    } else for (const [a, b] of pairs) if (chance(0.25)) blocked.add(`${a.number}>${b.number}`);
  }

  const run = (untilMs: number, done: () => boolean = () => false): boolean => {
    for (let checked = now; ; ) {
      const event = events.peek();
      if (event === undefined || event.at > untilMs) break;
      events.pop();
      now = Math.max(now, event.at);
      event.run();
      if (now - checked >= 50) {
        checked = now;
        if (done()) return true;
      }
    }
    now = untilMs;
    return done();
  };

  let convergedMs = -1;
  let failure: string | null = null;
  let boundMs = 0;
  try {
    for (let i = 0; i < nodeCount; i++) {
      const files = new SimFiles(() => {});
      nodes.push({
        number: randomNumber(),
        name: `n${i + 1}`,
        up: true,
        offsetMs: between(-200, 200),
        hlcMs: 0,
        hlcCounter: 0,
        reservedMs: 0,
        disk: new MemoryDisk(),
        files,
        members: new Map(),
        statements: new Map(),
        held: new Map(),
        heard: new Map(),
        sequence: 0,
      } as unknown as SimNode);
    }
    for (const node of nodes) {
      for (const { number, name } of nodes) node.members.set(number, { number, name, address: '', state: 'up' });
    }
    for (const node of nodes) boot(node);
    const writeEveryMs = pick([15, 40, 120]);
    const endWrites = now + between(4_000, 9_000);
    const writer = () => {
      const node = pick(nodes);
      if (node.up) write(node);
      if (now < endWrites) at(between(1, 2 * writeEveryMs), writer);
    };
    at(500, writer);
    const wipes = chance(0.4) ? 1 : 0;
    let wiped = 0;
    const trouble = () => {
      if (!faults) return;
      const node = pick(nodes);
      if (!node.up) {
        const others = nodes.filter((other) => other !== node);
        // A wiped disk loses what only it had: the cluster promises nothing for that, so it comes after a full proof.
        const safe =
          others.every((other) => other.up) &&
          [...acked].every((v) => others.some((o) => holds(o, written.get(v)!.shard, v)));
        if (wiped < wipes && safe && blocked.size === 0) {
          wiped++;
          wipe(node);
        } else restart(node);
      } else if (chance(0.35)) crash(node);
      else if (chance(0.4)) cut();
      else if (chance(0.5)) blocked.clear();
      at(between(200, troubleMs), trouble);
    };
    at(between(800, 2_000), trouble);
    run(endWrites);

    faults = false;
    blocked.clear();
    for (const node of nodes) if (!node.up) restart(node);
    const quietFrom = now;
    const hopMs = 2 * TICK_MS + 8 * (2 * DELAY_MS_MAX) + 16;
    boundMs = convergenceBound({
      passIntervalMs: LIMITS.passIntervalMs,
      replicas: replication,
      hopMs,
      heartbeatMs: HEARTBEAT_MS,
      messageDelayMs: DELAY_MS_MAX + TICK_MS,
      openMsMax: LIMITS.mailTimeoutMs + LIMITS.backoffMsMax + 1_500,
      hopTimeoutMs: LIMITS.hopTimeoutMs,
      deaths: 1,
      staggerMs: LIMITS.staggerMs,
      startersMayBeDead: true,
      predecessorMayDie: true,
    }).boundMs;
    const last = [...written.keys()].sort().at(-1) ?? '';
    const ownersNow = (key: ShardKey) => ownersOf(snapshotOf(nodes[0]!), key).map((number) => nodeOf(number));
    const converged = () =>
      shards.every((key, i) => {
        const through = last.slice(0, 16);
        return ownersNow(key).every((node) => {
          const ledger = node?.storage.ledgers.get(ids[i]!);
          return ledger !== undefined && ledger.replica === 'full' && (ledger.converged?.through ?? '') >= through;
        });
      });
    const reached = run(quietFrom + boundMs, converged);
    convergedMs = now - quietFrom;
    for (const [i, key] of shards.entries()) {
      const owners = ownersNow(key);
      const contents = owners.map((node) => [...(node?.storage.shards.get(ids[i]!)?.batches.keys() ?? [])].sort());
      for (const version of durability === 'fsync' ? acked : []) {
        if (written.get(version)!.shard !== ids[i]) continue;
        const without = owners.find((node, n) => !contents[n]!.includes(version) || node === undefined);
        if (without !== undefined)
          fail(`acknowledged ${version} is not on owner ${without?.name} ${convergedMs} ms after the faults`);
      }
      for (const [n, content] of contents.entries()) {
        if (content.join() !== contents[0]!.join())
          fail(`owners differ: ${owners[n]?.name} ${content.length}, ${owners[0]?.name} ${contents[0]!.length}`);
      }
    }
    if (!reached) {
      const lines = nodes.flatMap((node) =>
        node.host.describeShards().map((d) => {
          const why = `${d.state} ${d.converged?.throughMs ?? 0} held back by ${d.heldBackBy}, ${d.lastPass?.outcome} ${d.lastPass?.reason}`;
          return `${node.name}/${d.number} ${why} outbox ${d.outboxEntries}`;
        }),
      );
      fail(
        `not converged ${boundMs} ms after the faults stopped (last write ${stampMs(last)}.${stampCounter(last)}):\n${lines.join('\n')}`,
      );
    }
  } catch (error) {
    if (!(error instanceof Violation))
      throw new Error(`seed ${options.seed}: ${(error as Error).message}`, { cause: error });
    failure = error.message;
  }
  for (const node of nodes) if (node.up) addCounters(counters, node.host.counters());
  return {
    failure,
    acknowledged: acked.size,
    proofs: proofs.length,
    filled: counters.replicas_filled ?? 0,
    convergedMs,
    boundMs,
    counters,
  };
}

function addCounters(into: Record<string, number>, more: Record<string, number>): void {
  for (const [name, value] of Object.entries(more)) into[name] = (into[name] ?? 0) + value;
}

function corruptAnswers(bytes: Uint8Array, mutation: Mutation): Uint8Array {
  const { message, attachments } = decodeMessage(bytes);
  if (message.t !== 'mail-answers') return bytes;
  const lie = mutation === 'filling-counted' ? 'filling' : 'need-keys';
  const answers = message.answers.map((a) => (a[2] === lie ? ([a[0], a[1], 'stored', '', true, ''] as const) : a));
  return encodeMessage({ ...message, answers }, attachments);
}

function mutated(ledger: Ledger, mutation: Mutation | undefined): Ledger {
  if (mutation === 'below-floor-applied') ledger.has = (version) => ledger.lists(version);
  if (mutation === 'counted-twice') {
    const add = ledger.add.bind(ledger);
    const seen = new Set<Version>();
    ledger.has = () => false;
    ledger.add = (version, content, rows) => {
      const known = seen.has(version);
      seen.add(version);
      const twin = known ? version.slice(0, 31) + ((Number.parseInt(version[31]!, 16) + 1) % 16).toString(16) : version;
      return add(twin, content, rows);
    };
  }
  if (mutation === 'floor-without-root') {
    const root = ledger.root.bind(ledger);
    ledger.root = (through) => ({ ...root(through), count: 0, identity: 0n, content: 0n });
  }
  if (mutation === 'hop-skipped') {
    const sums = ledger.epochSums.bind(ledger);
    ledger.epochSums = (...a) => ({ ...sums(...a), sums: [] });
  }
  return ledger;
}

class Queue {
  private readonly heap: Event[] = [];

  peek(): Event | undefined {
    return this.heap[0];
  }

  push(event: Event): void {
    const { heap } = this;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  pop(): void {
    const { heap } = this;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let s = Math.imul(seed, 2654435761) ^ 0x9e37;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
