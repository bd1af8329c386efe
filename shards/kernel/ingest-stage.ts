/**
 * The main thread's way from bodies to frames, around the ingest kernel (assembly/ingest/).
 *
 * A *stage* holds the rows of the bodies that wait together for one retention policy. `add` parses a body into it: the
 * kernel takes what needs no thought, and each line at which it stops is read by the careful parser and put into the same
 * columns. `seal` makes the frame of one shard. In between nothing may wait: positions in the kernel hold until the next
 * `begin`.
 *
 * What is judged row by row is not done here: a body with a type conflict, a tag or field named `time`, a string beyond
 * the limit, times in more shard groups than the stage has windows, or more rows than it may have series is `general`
 * (batch-builder.ts), as is a stage in which two rows have the same series and time. Such a body leaves nothing behind.
 *
 * The kernel's tables only grow; when they hold more than they should, the next stage starts with a new instance: what it
 * knows can be learnt again. Its memory ends at 2 GiB (scripts/kernels.mjs), and a kernel that finds none ends the process. So
 * the maxima below leave room for the largest body, for tables that are copied when they grow, and for what rows unfold to.
 */
import type { GroupSchema, RoutingPolicy } from '../batch-builder.ts';
import { frameOf } from '../batch-codec.ts';
import { type Precision, UNIT_NS } from '../line-protocol.ts';
import { type LineError, LineErrors, type LineLimits } from '../line-protocol-errors.ts';
import type { SeriesHash } from '../series-key.ts';
import { keysOf, NO_KEYS_ENCODED } from '../series-keys.ts';
import { type ShardId, type ShardKey, shardId, shardRange } from '../shard-key.ts';
import type { Version } from '../version.ts';
import { copyInto } from './copy.ts';
import { CarefulLines } from './ingest-careful.ts';
import {
  type IngestKernel,
  newIngestKernel,
  STEP_CAREFUL,
  STEP_DONE,
  STEP_FULL,
  STEP_SPECIAL,
  STEP_WINDOW,
  WINDOWS_MAX,
} from './ingest-kernel.ts';
import { collectDropped, dropped } from './load.ts';
import { StageTypes } from './stage-types.ts';

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
/** Memory of tables and columns beyond which the kernel is replaced, besides what the series take. */
const KEPT_BYTES_MAX = 256 << 20;
/** The same for the series' keys: two million of 200 bytes. */
const SERIES_BYTES_MAX = 512 << 20;
/** A stage that has made the tables grow by so much of that takes no further body, whatever became of the ones before. */
const GROWN_SHARE_MAX = 1 / 8;
/** A series has the number of what was sent where, of which there are 65,536. */
const SENT_STATES_MAX = 2 ** 15;
/** Numbers of stages and batches in the kernel must not come around. */
const BATCHES_MAX = 2 ** 28;
/** Destinations are counted by bits. */
export const DESTINATIONS_MAX = 16;
/** A body of so much finds its memory there. */
const FIRST_BODY_BYTES = 2 << 20;
const NO_ERRORS: readonly LineError[] = [];
/** Shards whose keys are known to have been sent, besides those of one stage. */
const SHARDS_KNOWN_MAX = 10_000;

export type AddResult =
  | {
      readonly kind: 'taken';
      /** Rows read, the aged ones included. */
      readonly rows: number;
      /** Beyond retention: dropped. */
      readonly aged: number;
      readonly errors: readonly LineError[];
      readonly failed: number;
      /** A bit for each of `targets()`' indexes that the body has rows in, or more. */
      readonly touched: number;
    }
  /** There is no room beside the bodies that are in the stage. */
  | { readonly kind: 'full' }
  /** Shard groups whose schema has to be loaded first. */
  | { readonly kind: 'unknown'; readonly startsNs: readonly bigint[] }
  | { readonly kind: 'general' };

export interface StageTarget {
  readonly index: number;
  readonly shard: ShardKey;
  readonly id: ShardId;
  readonly rows: number;
}

/** A shard that rows have gone to. A series notes as what token it has gone there: a new token has had nothing. */
interface KnownShard {
  readonly shard: ShardKey;
  readonly id: ShardId;
  token: number;
}

export interface Sealed {
  readonly frame: Uint8Array;
  /** Encoded records of the keys that a destination has not had. */
  readonly keys: Uint8Array;
  /** Of all keys, where they were asked for and are more. */
  readonly allKeys: Uint8Array | null;
  readonly series: number;
  /** How many `keys` are. */
  readonly fresh: number;
}

interface Window {
  readonly startNs: bigint;
  readonly endNs: bigint;
}

export class IngestStage {
  readonly #seed: string;
  readonly #seriesMax: number;
  readonly #seriesBytesMax: number;
  readonly #shardsPerGroup: number;
  readonly #limits: LineLimits;
  #kernel: IngestKernel;
  #careful: CarefulLines;
  #types = new StageTypes();
  #policy: RoutingPolicy | null = null;
  #windows: Window[] = [];
  #bodies = 0;
  #tableBytesBefore = 0;
  /** Of the body that is read; null as long as there are none. */
  #errors: LineErrors | null = null;
  readonly #shards = new Map<string, KnownShard>();
  readonly #shardsById = new Map<ShardId, KnownShard>();
  #tokens = 0;

  constructor(
    seed: string,
    seriesMax: number,
    shardsPerGroup: number,
    limits: LineLimits,
    seriesBytesMax = SERIES_BYTES_MAX,
  ) {
    if (shardsPerGroup * WINDOWS_MAX > 32) throw new Error(`${shardsPerGroup} shards per group: more than bits`);
    this.#seed = seed;
    this.#seriesMax = seriesMax;
    this.#seriesBytesMax = seriesBytesMax;
    this.#shardsPerGroup = shardsPerGroup;
    this.#limits = limits;
    this.#kernel = this.#newKernel();
    this.#careful = new CarefulLines(this.#kernel, limits);
    // The system gives memory when it is first written to, which takes about as long as reading a body does.
    const at = this.#kernel.inputOf(FIRST_BODY_BYTES);
    new Uint8Array(this.#kernel.memory.buffer, at, FIRST_BODY_BYTES).fill(0);
  }

  /** Spellings of series held. */
  get seriesCount(): number {
    return this.#kernel.seriesCount();
  }

  /** About the memory that the rows of the stage unfold to. */
  get bytes(): number {
    return this.#kernel.unfoldedBytes();
  }

  /** The tables have grown by as much as they may in one stage. */
  get hasGrown(): boolean {
    return this.#tableBytes() - this.#tableBytesBefore > this.#seriesBytesMax * GROWN_SHARE_MAX;
  }

  /** Starts an empty stage. `nowNs` is where rows are expected. */
  begin(policy: RoutingPolicy, nowNs: bigint): void {
    if (this.#isLarge()) {
      dropped(this.#kernel);
      this.#kernel = this.#newKernel();
      this.#careful = new CarefulLines(this.#kernel, this.#limits);
      this.#types = new StageTypes();
      this.#forgetShards();
      this.#tokens = 0;
    }
    // Only here: the stage's own are sealed by what is known of them.
    if (this.#shards.size >= SHARDS_KNOWN_MAX) this.#forgetShards();
    collectDropped();
    this.#policy = policy;
    this.#windows = [];
    this.#types.begin();
    this.#bodies = 0;
    this.#tableBytesBefore = this.#tableBytes();
    this.#kernel.beginStage();
    this.#addWindow(nowNs);
  }

  /** The body as its pieces, in order. `schemaOf` gives null for a group that is not loaded. */
  add(
    pieces: readonly Uint8Array[],
    precision: Precision,
    nowNs: bigint,
    schemaOf: (startNs: bigint) => GroupSchema | null,
  ): AddResult {
    const kernel = this.#kernel;
    const unit = UNIT_NS[precision];
    const rest = ((nowNs % unit) + unit) % unit;
    kernel.beginBody();
    this.#copyIn(pieces);
    kernel.beginParse(unit, nowNs - rest, this.#policy!.oldestNs ?? INT64_MIN, this.#limits.lineBytesMax);
    this.#errors = null;
    const read = this.#parse(unit);
    if (read !== 'taken') return this.#undo({ kind: read });
    // They may have as many series, which are counted there.
    if (kernel.rowsRead() > this.#limits.seriesMax) return this.#undo({ kind: 'general' });
    kernel.endBody();
    const checked = this.#checkTypes(schemaOf);
    if (checked !== null) return this.#undo(checked);
    this.#bodies++;
    const errors = this.#errors as LineErrors | null;
    return {
      kind: 'taken',
      rows: kernel.rowsRead(),
      aged: kernel.rowsAged(),
      errors: errors === null ? NO_ERRORS : errors.list,
      failed: errors === null ? 0 : errors.failed,
      touched: kernel.targetsTouched(),
    };
  }

  /** True when two rows have the same series and time: then nothing may be sealed. */
  hasDuplicates(): boolean {
    return this.#kernel.hasDuplicates() !== 0;
  }

  /** Shard groups of the stage. */
  startsNs(): bigint[] {
    return this.#windows.map((window) => window.startNs);
  }

  /** The shards that have rows. */
  targets(): StageTarget[] {
    const targets: StageTarget[] = [];
    this.#windows.forEach((window, i) => {
      for (let number = 0; number < this.#shardsPerGroup; number++) {
        const index = i * this.#shardsPerGroup + number;
        const rows = this.#kernel.rowsIn(index);
        if (rows === 0) continue;
        const { shard, id } = this.#shardOf(window, number);
        targets.push({ index, shard, id, rows });
      }
    });
    return targets;
  }

  /** The schemas learn the fields of the stage. To be called when it is sealed: rows that are not stored must not teach. */
  teach(): void {
    this.#types.teach();
  }

  /** How many series of the target have not been sealed for its shard since its keys were last in doubt. */
  unsent({ index, id }: StageTarget): number {
    return this.#kernel.countUnsent(index, this.#shardsById.get(id)!.token);
  }

  /**
   * The frame of a target. `destinations` are bits; the keys that one of them has not had for this shard go along, or
   * all keys (`everyKey`), and are noted as sent.
   */
  seal(target: StageTarget, version: Version, destinations: number, everyKey: boolean, allKeys: boolean): Sealed {
    const kernel = this.#kernel;
    const { token } = this.#shardsById.get(target.id)!;
    kernel.seal(target.index, token, destinations, everyKey ? 1 : 0, allKeys ? 1 : 0);
    const bodyBytes = kernel.sealedBodyBytes.value;
    const keyBytes = kernel.freshKeyBytes.value;
    const allBytes = kernel.allKeyBytes.value;
    const series = kernel.sealedSeries.value;
    const at = kernel.outputBlock();
    const keysEnd = bodyBytes + keyBytes;
    const output = new Uint8Array(kernel.memory.buffer, at, keysEnd + allBytes);
    const fresh = { spelledBytes: kernel.freshSpelledBytes.value, commas: kernel.freshCommas.value };
    const all = { spelledBytes: kernel.allSpelledBytes.value, commas: kernel.allCommas.value };
    return {
      frame: frameOf(target.shard, version, output.subarray(0, bodyBytes)),
      keys:
        keyBytes === 0 ? NO_KEYS_ENCODED : keysOf(kernel.freshKeys.value, fresh, output.subarray(bodyBytes, keysEnd)),
      allKeys: allBytes === 0 ? null : keysOf(series, all, output.subarray(keysEnd)),
      series,
      fresh: kernel.freshKeys.value,
    };
  }

  /** No key counts as sent for this shard any more; without one, for none. */
  forgetSent(id?: ShardId): void {
    const known = id === undefined ? [...this.#shards.values()] : [this.#shardsById.get(id)];
    for (const shard of known) if (shard !== undefined) shard.token = ++this.#tokens;
  }

  #forgetShards(): void {
    this.#shards.clear();
    this.#shardsById.clear();
  }

  hashOf(key: string): SeriesHash {
    return this.#careful.hashOf(key);
  }

  #shardOf({ startNs, endNs }: Window, number: number): KnownShard {
    const { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration } = this.#policy!;
    const identity = { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration };
    const name = `${databaseGeneration} ${retentionPolicyGeneration} ${startNs} ${endNs} ${number} ${database.length} ${database}${retentionPolicy}`;
    let known = this.#shards.get(name);
    if (known === undefined) {
      const shard = { ...identity, startNs, endNs, number };
      known = { shard, id: shardId(shard), token: ++this.#tokens };
      this.#shards.set(name, known);
      this.#shardsById.set(known.id, known);
    }
    return known;
  }

  #newKernel(): IngestKernel {
    return newIngestKernel(this.#seed, this.#shardsPerGroup, this.#limits);
  }

  #isLarge(): boolean {
    const kernel = this.#kernel;
    return (
      kernel.seriesCount() >= this.#seriesMax ||
      kernel.seriesBytes() > this.#seriesBytesMax ||
      kernel.stageBytes() + kernel.namesBytes() > KEPT_BYTES_MAX ||
      kernel.batchesNumbered() > BATCHES_MAX ||
      kernel.sentStates() > SENT_STATES_MAX ||
      this.#tokens > BATCHES_MAX
    );
  }

  #tableBytes(): number {
    const kernel = this.#kernel;
    return kernel.seriesBytes() + kernel.stageBytes() + kernel.namesBytes();
  }

  #copyIn(pieces: readonly Uint8Array[]): void {
    let bytes = 0;
    for (const piece of pieces) bytes += piece.length;
    let at = this.#kernel.inputOf(bytes);
    this.#careful.input(at, bytes);
    const memory = new Uint8Array(this.#kernel.memory.buffer);
    for (const piece of pieces) {
      copyInto(memory, at, piece);
      at += piece.length;
    }
  }

  #parse(unit: bigint): 'taken' | 'full' | 'general' {
    const kernel = this.#kernel;
    for (;;) {
      let code = kernel.parse();
      if (code === STEP_DONE) return 'taken';
      if (code === STEP_WINDOW) {
        if (!this.#addWindow(kernel.timeOfRow())) return 'general';
        continue;
      }
      if (code === STEP_CAREFUL || code === STEP_FULL) {
        if (code === STEP_FULL && this.#bodies > 0) return 'full';
        this.#errors ??= new LineErrors(this.#limits);
        code = this.#careful.take(unit, this.#errors, (timeNs) => this.#addWindow(timeNs), this.#bodies === 0);
        if (code === STEP_FULL) return 'full';
      }
      if (code === STEP_SPECIAL) return 'general';
    }
  }

  /** False when there are too many. */
  #addWindow(timeNs: bigint): boolean {
    const { startNs, endNs } = shardRange(timeNs, this.#policy!);
    if (this.#windows.length === WINDOWS_MAX || startNs < INT64_MIN) return false;
    this.#kernel.addWindow(startNs, endNs > INT64_MAX ? INT64_MAX : endNs);
    this.#windows.push({ startNs, endNs });
    return true;
  }

  #undo(result: AddResult): AddResult {
    this.#kernel.rollBack();
    return result;
  }

  #checkTypes(schemaOf: (startNs: bigint) => GroupSchema | null): AddResult | null {
    const found = this.#types.check(this.#kernel, this.#windows.length, (window) =>
      schemaOf(this.#windows[window]!.startNs),
    );
    if (found === null) return null;
    if (found === 'conflict') return { kind: 'general' };
    return { kind: 'unknown', startsNs: [...found].map((window) => this.#windows[window]!.startNs) };
  }
}
