/**
 * `bench engine`: what the bodies of workloads cost when parser and storage engine are called directly, in one thread, without
 * HTTP, messages between threads, ledgers and replication: the floor of a node with these kernels. Rows are logged, synced and
 * applied as a node does it, as many bodies at once as there are connections, and nothing is flushed. The process has
 * taken another seed's bodies before, so next to nothing of V8's compiling is in it.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Ledger } from '../../repair/ledger.ts';
import { nodeFiles } from '../../server/node-files.ts';
import type { GroupSchema, RoutingPolicy } from '../../shards/batch-builder.ts';
import { peekBatch } from '../../shards/batch-codec.ts';
import type { FieldType } from '../../shards/column.ts';
import { Engine } from '../../shards/engine.ts';
import { holdFrameOf } from '../../shards/held-frame.ts';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { SeriesKeys } from '../../shards/series-keys.ts';
import { SHARDS_PER_GROUP, type ShardId } from '../../shards/shard-key.ts';
import { STORAGE_LIMITS } from '../../shards/storage-limits.ts';
import { makeStamp, makeVersion } from '../../shards/version.ts';
import { type BenchOptions, THREE } from './options.ts';
import { makeWorkload, WORKLOADS } from './workloads.ts';

const HEAD_END = '\r\n\r\n';
const NODE = '0'.repeat(16);
const WEEK_NS = 7n * 86_400_000_000_000n;
const SERIES_MAX = 100_000_000;
const MEMTABLE_BYTES_MAX = 2 ** 30;
/** Bodies are shown in so many parts: in the first one series are new. */
const PARTS = 5;

/** CPU-seconds. */
interface Cost {
  parse: number;
  store: number;
}

class Schema implements GroupSchema {
  readonly #types = new Map<string, FieldType>();
  readonly revision = 0;

  typeOf(measurement: string, field: string): FieldType | null {
    return this.#types.get(`${measurement}\0${field}`) ?? null;
  }

  learn(measurement: string, field: string, type: FieldType): void {
    this.#types.set(`${measurement}\0${field}`, type);
  }
}

export async function runEngine({ workloads, seed, scale }: BenchOptions): Promise<void> {
  console.log(
    'CPU-seconds per million values, one thread           parsing and sealing   log, sync, memtable       both',
  );
  for (const { letter, options } of WORKLOADS.filter(({ letter }) => workloads.includes(letter))) {
    await costOf(options(seed + 1, scale));
    const { parts, values } = await costOf(options(seed, scale));
    parts.forEach((cost, part) => {
      show(`${letter}, bodies ${part + 1}/${PARTS}`, cost, values / PARTS);
    });
    const all = { parse: sum(parts, 'parse'), store: sum(parts, 'store') };
    show(`${letter}, all`, all, values);
  }
  if (workloads.includes(THREE)) console.log('three: the floor of one node is that of A');
}

const sum = (parts: readonly Cost[], kind: keyof Cost): number => parts.reduce((total, part) => total + part[kind], 0);

function show(name: string, { parse, store }: Cost, values: number): void {
  const each = (seconds: number) => ((seconds * 1e6) / values).toFixed(3);
  console.log(
    `  ${name.padEnd(50)} ${each(parse).padStart(20)} ${each(store).padStart(21)} ${each(parse + store).padStart(10)}`,
  );
}

async function costOf(options: Parameters<typeof makeWorkload>[0]): Promise<{ parts: Cost[]; values: number }> {
  const { requests, summary } = makeWorkload(options);
  const bodies = requests.all.map((request) => request.subarray(request.indexOf(HEAD_END) + HEAD_END.length));
  const directory = mkdtempSync(join(tmpdir(), 'starling-bench-engine-'));
  const engine = openEngine(directory);
  try {
    return { parts: await writeAll(engine, bodies, options.connections), values: summary.values };
  } finally {
    engine.close();
    rmSync(directory, { recursive: true });
  }
}

function openEngine(directory: string): Engine {
  const shardsDirectory = join(directory, 'shards');
  mkdirSync(shardsDirectory);
  return Engine.open({
    shardsDirectory,
    directory,
    owns: () => true,
    files: nodeFiles(),
    companion: () => new Ledger(),
    limits: { ...STORAGE_LIMITS, memtableBytesMax: MEMTABLE_BYTES_MAX },
    openDatabase: (path) => new Database(path),
    nowMs: Date.now,
    setAside: (id) => {
      throw new Error(`shard ${id} is damaged`);
    },
  });
}

async function writeAll(engine: Engine, bodies: readonly Buffer[], together: number): Promise<Cost[]> {
  const stage = new IngestStage('seed', SERIES_MAX, SHARDS_PER_GROUP, LINE_LIMITS);
  const schema = new Schema();
  const parts = Array.from({ length: PARTS }, (): Cost => ({ parse: 0, store: 0 }));
  let counter = 0;
  for (let from = 0; from < bodies.length; from += together) {
    const cost = parts[Math.floor((from * PARTS) / bodies.length)]!;
    const began = cpuSeconds();
    stage.begin(POLICY, BigInt(Date.now()) * 1_000_000n);
    for (const body of bodies.slice(from, from + together)) {
      const { kind } = stage.add([body], 'n', 0n, () => schema);
      if (kind !== 'taken') throw new Error(`a body is not taken: ${kind}`);
    }
    if (stage.hasDuplicates()) throw new Error('bodies with rows of the same series and time');
    stage.teach();
    const sealed = stage.targets().map((target) => {
      const version = makeVersion(makeStamp(Date.now(), counter++ % 65_536), NODE);
      return { target, ...stage.seal(target, version, 1, true, false) };
    });
    const parsed = cpuSeconds();
    cost.parse += parsed - began;
    await store(engine, sealed);
    cost.store += cpuSeconds() - parsed;
  }
  return parts;
}

type Batch = { readonly target: { readonly id: ShardId; readonly shard: Parameters<Engine['create']>[0] } } & Pick<
  ReturnType<IngestStage['seal']>,
  'frame' | 'keys'
>;

async function store(engine: Engine, batches: readonly Batch[]): Promise<void> {
  const held = batches.map(({ target: { id, shard }, frame, keys }) => {
    const given = keys.byteLength === 0 ? [] : SeriesKeys.own(keys);
    const rows = holdFrameOf(peekBatch(frame), frame, true);
    const stored = engine.shards.get(id) ?? engine.create(shard);
    if (stored.unknownSeries(rows, given).length > 0) throw new Error('a key was not sent');
    return { id, stored, frame, given, rows };
  });
  const position = engine.append(held.map(({ id, given, frame }) => ({ shard: id, keys: given, frame })));
  await new Promise<void>((resolve, reject) => {
    engine.sync((error) => (error === null ? resolve() : reject(error)));
  });
  for (const { stored, rows, given } of held) stored.apply(rows, given, position);
}

/** Of all threads: syncs run in those of libuv. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const POLICY: RoutingPolicy = {
  database: 'bench',
  databaseGeneration: 1,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 1,
  shardDurationNs: WEEK_NS,
  oldestNs: null,
  shardsPerGroup: SHARDS_PER_GROUP,
};
