/** Three owners of one shard in one process: real hosts, storage in memory, a perfect network, time that moves when told. */
import type { ClusterSnapshot, Member } from '../../repair/cluster.ts';
import type { LevelOrder, LevelResult } from '../../repair/levelling.ts';
import type { PassRecord } from '../../repair/records.ts';
import type { RepairRecord } from '../../repair/repair-records.ts';
import {
  ReplicaHost,
  type ReplicaHostOptions,
  type SubmittedWrite,
  type WriteOutcome,
} from '../../repair/replica-host.ts';
import { DEFAULT_REPLICA_LIMITS, type ReplicaLimits } from '../../repair/replica-limits.ts';
import { decodeMessage, encodeMessage, type Message } from '../../repair/replica-messages.ts';
import type { EvenPasses } from '../../repair/ring-even.ts';
import type { BatchGroup, WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { FLOAT } from '../../shards/column.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';
import { makeStamp } from '../../shards/version.ts';
import { SimFiles } from '../sim/sim-files.ts';
import { MemoryDisk, MemoryStorage } from '../support/memory-storage.ts';

export const START = 1_700_000_000_000;
export const KEY: ShardKey = {
  database: 'd',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: 1n << 50n,
  number: 0,
};
export const ID = shardId(KEY);
export const NUMBERS = ['1', '2', '3'].map((digit) => digit.repeat(16));

type Opened = Pick<ReplicaHostOptions, 'storage' | 'ledgerOf'>;
/** `later` is to run what the disk has done, one after the other. */
export type OpenStorage = (number: string, later: (run: () => void) => void) => Opened;

const RELEASED = 0xaa;

export class Trio {
  now = START;
  private drawn = 1;
  nextRequest = 1;
  cut = new Set<string>();
  /** Members whose newest shard list has not been heard. */
  stale = new Set<string>();
  /** Members of which nothing has been heard since the start of the others. */
  unheard = new Set<string>();
  readonly outcomes = new Map<number, WriteOutcome>();
  readonly passes: PassRecord[] = [];
  readonly levelled: LevelResult[] = [];
  readonly sent: string[] = [];
  /** Messages that members have received and read for the last time, with what is left of them. */
  readonly released: Uint8Array[] = [];
  /** Bytes of what left, by what was in it: kinds of messages, sorted. */
  readonly bytes = new Map<string, number>();
  readonly storages: MemoryStorage[] = [];
  readonly files: SimFiles[] = [];
  readonly hosts: ReplicaHost[] = [];
  private readonly queue: (() => void)[] = [];

  /** To be changed with whatever the view covers. */
  view = 'v';
  /** What is not as at first of a member. */
  readonly changed = new Map<string, Partial<Member>>();

  /** Whether the one database is known. */
  databases = true;
  /** Databases and policies that were dropped. */
  dropped: Record<string, number> = {};
  /** Every message as it leaves, before it is known whether it arrives; with whatever it travels with it does not if told so. */
  onSend: (from: string, to: string, message: Message) => unknown = () => {};
  readonly repairs: RepairRecord[] = [];
  private readonly limits: Partial<ReplicaLimits>;
  private readonly open: OpenStorage | null;

  /** `open`: another storage than that in memory; then there is nothing in `storages`. */
  constructor(replication = 3, limits: Partial<ReplicaLimits> = {}, open: OpenStorage | null = null) {
    this.limits = limits;
    this.open = open;
    for (const number of NUMBERS) this.boot(number);
    this.replication = replication;
    this.hear();
  }
  replication: number;
  hasDeletes = false;
  /** Of members whose metadata are other ones. */
  readonly views = new Map<string, string>();
  private statements = 0;

  /** With an empty disk, unless one is given: of the shards, and the files of outbox and repairs. */
  boot(number: string, disk = new MemoryDisk(), files = new SimFiles((run) => void this.queue.push(run))): void {
    const later = (run: () => void) => void this.queue.push(run);
    const i = NUMBERS.indexOf(number);
    this.files[i] = files;
    this.hosts[i] = new ReplicaHost({
      self: number,
      ...(this.open?.(number, later) ?? this.openMemory(i, disk, later)),
      outboxDirectory: 'outbox',
      scrubDirectory: 'scrub',
      files,
      random: () => this.draw(),
      limits: { ...DEFAULT_REPLICA_LIMITS, passIntervalMs: 1e9, staggerMs: 1e9, ...this.limits },
      emit: (effect) => {
        if (effect.kind === 'written') this.outcomes.set(effect.request, effect.outcome);
        if (effect.kind === 'pass') this.passes.push(effect.record);
        if (effect.kind === 'repair') this.repairs.push(effect.record);
        if (effect.kind === 'levelled') this.levelled.push(effect.result);
        if (effect.kind !== 'send') return;
        const { message } = decodeMessage(effect.message);
        const said = message.t === 'bundle' ? message.messages : [message];
        const lost = said.map((each) => this.onSend(number, effect.to, each)).includes('lost');
        if (lost || this.cut.has(number) || this.cut.has(effect.to)) return;
        for (const { t } of said) this.sent.push(t);
        const kinds = [...new Set(said.map(({ t }) => t))].sort().join();
        this.bytes.set(kinds, (this.bytes.get(kinds) ?? 0) + effect.message.byteLength);
        // A message of its own, as over a network: who has released it may find anything in it.
        const arrived = Uint8Array.from(effect.message);
        later(() => this.hosts[NUMBERS.indexOf(effect.to)]!.receive(number, [arrived], this.now));
      },
      released: (message) => {
        this.released.push(message);
        message.fill(RELEASED);
      },
    });
  }

  private openMemory(i: number, disk: MemoryDisk, later: (run: () => void) => void): Opened {
    const storage = new MemoryStorage(disk, later);
    this.storages[i] = storage;
    return { storage, ledgerOf: (id) => storage.ledgers.get(id)! };
  }

  /** Everybody hears everybody's statement. */
  hear(): void {
    this.settle();
    this.statements++;
    const closed = makeStamp(this.now, 0);
    const live = NUMBERS.filter((number) => !this.cut.has(number));
    const statements = NUMBERS.map((member, i) => {
      const open = this.hosts[i]!.openVersions();
      return { member, sequence: this.statements, viewHash: this.view, closed, open, shardListSequence: 0 };
    });
    const lists = NUMBERS.map((number, i) => [number, this.hosts[i]!.heldShards()] as const);
    const heldBy = Object.fromEntries(lists.filter(([number]) => !this.unheard.has(number)));
    const policy = {
      name: 'autogen',
      generation: 0,
      durationNs: 0n,
      shardDurationNs: 1n << 50n,
      replication: this.replication,
      hasDeletes: this.hasDeletes,
    };
    const database = {
      name: 'd',
      generation: 0,
      durability: 'fsync' as const,
      conflict: 'last-write-wins' as const,
      defaultRetentionPolicy: 'autogen',
    };
    for (const [i, self] of NUMBERS.entries()) {
      const snapshot: ClusterSnapshot = {
        viewHash: this.views.get(self) ?? this.view,
        self,
        members: NUMBERS.map((number, n) => this.member(number, `n${n + 1}`)),
        live,
        databases: !this.databases || 'd' in this.dropped ? [] : [{ ...database, retentionPolicies: [policy] }],
        droppedThrough: this.dropped,
        statements,
        heldBy,
        heldSequence: Object.fromEntries(NUMBERS.map((number) => [number, this.stale.has(number) ? -1 : 0])),
      };
      this.hosts[i]!.setCluster(snapshot, this.now);
    }
    this.settle();
  }

  private member(number: string, name: string): Member {
    return { number, name, address: '', state: 'up', ...this.changed.get(number) };
  }

  private draw(): number {
    this.drawn = (this.drawn * 48_271) % 2_147_483_647;
    return this.drawn / 2_147_483_647;
  }

  settle(): void {
    for (let run = this.queue.shift(); run !== undefined; run = this.queue.shift()) run();
  }

  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += 50;
      for (const host of this.hosts) host.tick(this.now);
      this.settle();
    }
  }

  write(at: number, consistency: 'one' | 'all' = 'one', knownKeys = true): number {
    const write = this.prepare(at, consistency, knownKeys);
    this.hosts[at]!.submit([write], this.now);
    this.settle();
    return write.request;
  }

  /** A write of two rows that `at` may submit. */
  prepare(at: number, consistency: 'one' | 'all' = 'one', knownKeys = true, shard = KEY): SubmittedWrite {
    const version = makeStamp(++this.now, 0) + NUMBERS[at];
    const keys = ['cpu,host=a', 'cpu,host=b'].map((key) => ({ hash: hashSeriesKey('s', key), key }));
    const values = Float64Array.of(this.now, 2);
    const column = { field: 'usage', type: FLOAT, present: null, values } as const;
    const group: BatchGroup = {
      measurement: 'cpu',
      rowSeries: Uint32Array.of(0, 1),
      times: Float64Array.of(1, 2),
      columns: [column],
    };
    const batch: WriteBatch = { kind: 'write', shard, version, series: keys.map((k) => k.hash), groups: [group] };
    const request = this.nextRequest++;
    const frame = encodeBatch(batch);
    const rest = { consistency, durability: 'fsync' as const, timeoutMs: 3_000 };
    return { request, shard, version, frame, keys: knownKeys ? keys : [], allKeys: () => keys, ...rest };
  }

  /** Levels the replica of `at`; undefined: it goes on. */
  level(at: number, level: 'quorum' | 'all', more: Partial<LevelOrder> = {}): LevelResult | undefined {
    const request = this.nextRequest++;
    const order = { request, shard: KEY, level, viewHash: 'v', holders: NUMBERS, without: [], timeoutMs: 2_000 };
    this.hosts[at]!.level([{ ...order, ...more }], this.now);
    this.settle();
    return this.levelled.find((result) => result.request === request);
  }

  /** Proofs are said in full, also to those who know the pass. */
  proofsInFull(): void {
    for (const host of this.hosts as unknown as { ring: { even: EvenPasses } }[])
      host.ring.even.isRemembered = () => false;
  }

  /** What a member says, without the member. */
  say(from: number, to: number, message: Message, attachments: Uint8Array[] = []): void {
    this.hosts[to]!.receive(NUMBERS[from]!, [encodeMessage(message, attachments)], this.now);
  }

  counts(): number[] {
    return this.storages.map((storage) => storage.shards.get(ID)?.batches.size ?? 0);
  }

  repair(at: number, mode: 'ring' | 'preview' | 'scrub', shard = ID) {
    const id = `${mode}-${this.nextRequest++}`;
    this.hosts[at]!.startRepair({ id, shard, mode }, this.now);
    this.settle();
    return this.hosts[at]!.repairs().find((status) => status.id === id)!;
  }
}
