/**
 * What was written, acknowledged and proven in a simulation, and the checks on it.
 *
 * All the time: no version is used twice; a published watermark is true (every acknowledged write at or below it is
 * stored at every member of the proof) and stays true for later acknowledgements and over crashes; replicas that name the
 * same live watermark have the same batches up to it; an outbox stays within its limit; a scan of a full replica gives
 * what the rules say of the batches that it stores; whoever removes a replica has nothing that an owner lacks.
 * At the end: every acknowledged write, and whatever is on any disk (but for discarded.ts), is stored at every owner, and
 * all owners have equal rows, computed from what they have stored and as a query sees them.
 */
import { rootToJson } from '../../repair/ledger.ts';
import type { PassRecord } from '../../repair/records.ts';
import { addSums, sumToHex } from '../../shards/checksum.ts';
import { deleteShardOf } from '../../shards/delete-shard.ts';
import { StorageError } from '../../shards/errors.ts';
import type { ConflictRule } from '../../shards/row-settle.ts';
import { type ShardId, type ShardKey, shardId } from '../../shards/shard-key.ts';
import { type NodeNumber, type Stamp, stampOf, type Version } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import { Copies } from './copies.ts';
import { Discarded } from './discarded.ts';
import type { Expiry } from './expiry.ts';
import { CLOCK_STEP_MS_MAX } from './scenario.ts';
import type { SimNode } from './sim-node.ts';
import { lookUp } from './unread-lists.ts';
import { Violation } from './violation.ts';
import { expectedCells, firstDifference, scannedCells, type Written } from './workload.ts';

interface Proof {
  readonly shard: ShardId;
  readonly through: Stamp;
  /** Those of the pass, without who has let the shard go since it began. */
  members: readonly NodeNumber[];
  readonly versions: ReadonlySet<Version>;
}

interface Waiting {
  readonly version: Version;
  readonly coordinator: SimNode;
  /** That which took the write: when it is gone, nobody is told any more. */
  readonly process: SimNode['process'];
}

const FIRST_WEEK_NS = 1_699_488_000_000_000_000n;
const WEEK_NS = 604_800_000_000_000n;
const SHARDS_PER_WEEK = 16;

const LAST_STAMP = 'f'.repeat(16);

export class Books {
  readonly written = new Map<Version, Written>();
  readonly acknowledged = new Set<Version>();
  readonly shards = new Map<ShardId, ShardKey>();
  /** Published full proofs. */
  proofs = 0;
  /** Those of them that named somebody who had let the shard go since the pass began. */
  overtaken = 0;
  private readonly proofsOf = new Map<ShardId, Proof[]>();
  scans = 0;
  private readonly requests = new Map<number, Version>();
  /** Writes whose client has not been told anything: an owner's acknowledgement may be on its way to the coordinator. */
  private readonly waiting = new Map<number, Waiting>();
  private readonly passes = new Set<string>();
  /** Name -> highest generation that some node has dropped. */
  private readonly dropped = new Map<string, number>();
  /** Number and shard -> when, the last time. */
  private readonly letGo = new Map<string, number>();
  private readonly nodes: readonly SimNode[];
  private readonly conflict: ConflictRule;
  private readonly time: { readonly now: number };
  readonly expiry: Expiry;
  readonly copies: Copies;
  readonly discarded: Discarded;

  constructor(
    nodes: readonly SimNode[],
    durability: 'fsync' | 'interval',
    conflict: ConflictRule,
    time: { readonly now: number },
    expiry: Expiry,
  ) {
    this.nodes = nodes;
    this.expiry = expiry;
    const shardOf = (version: Version) => {
      const written = this.written.get(version);
      if (written === undefined) throw new Violation('content-equal', `${version} is on a disk, and nobody wrote it`);
      return written.shard;
    };
    this.copies = new Copies({ nodes, durability, isOver: (version) => this.isOver(shardOf(version)), shardOf });
    this.discarded = new Discarded(nodes, this.copies);
    this.time = time;
    this.conflict = conflict;
  }

  get newest(): Version {
    return [...this.written.keys()].sort().at(-1) ?? '0'.repeat(32);
  }

  write(request: number, coordinator: SimNode, key: ShardKey, written: Written): void {
    const { version } = written.batch;
    if (this.written.has(version)) throw new Violation('versions-unique', `version ${version} used twice`);
    this.written.set(version, written);
    this.requests.set(request, version);
    this.waiting.set(request, { version, coordinator, process: coordinator.process });
    this.shards.set(written.shard, key);
  }

  drop(database: string, generation: number): void {
    this.dropped.set(database, Math.max(this.dropped.get(database) ?? -1, generation));
  }

  isDropped(shard: ShardId): boolean {
    const key = this.shards.get(shard);
    return key !== undefined && (this.dropped.get(key.database) ?? -1) >= key.databaseGeneration;
  }

  /** Nobody is promised anything of it any more: it was dropped, or has expired by every clock. */
  isOver(shard: ShardId): boolean {
    const key = this.shards.get(shard);
    return this.isDropped(shard) || (key !== undefined && this.expiry.isOver(key));
  }

  /** The same, or it has expired by some clock. */
  mayBeOver(shard: ShardId): boolean {
    const key = this.shards.get(shard);
    return this.isDropped(shard) || (key !== undefined && this.expiry.mayBeOver(key));
  }

  answered(request: number, acknowledged: boolean): void {
    this.waiting.delete(request);
    if (acknowledged) this.acknowledge(request);
  }

  private acknowledge(request: number): void {
    const version = this.requests.get(request)!;
    this.acknowledged.add(version);
    const { shard } = this.written.get(version)!;
    this.copies.acknowledged(version);
    if (this.copies.isLost(version)) return;
    for (const proof of this.proofsOf.get(shard) ?? []) {
      if (stampOf(version) <= proof.through && !proof.versions.has(version)) {
        throw new Violation(
          'proof-true',
          `${version} acknowledged after converged_through ${proof.through} was published without it`,
        );
      }
    }
  }

  /** True when the pass has proven something new. */
  passEnded(publisher: SimNode, record: PassRecord): boolean {
    if (record.outcome !== 'proven' || record.kind !== 'full' || this.passes.has(record.id)) return false;
    this.passes.add(record.id);
    if (this.isDropped(record.shard)) return false;
    const present = publisher.stored(record.shard);
    const numbers = record.order.filter((number) => !this.hasLetGoSince(number, record));
    const members = numbers.map((number) => this.nodes.find((node) => node.number === number && node.up));
    const stored = members.map((node) => node?.stored(record.shard));
    for (const version of [...this.acknowledged, ...present.keys()]) {
      if (this.written.get(version)?.shard !== record.shard || stampOf(version) > record.cutoff) continue;
      const without = stored.findIndex((versions) => versions !== undefined && !versions.has(version));
      if (without < 0 || this.copies.isLost(version)) continue;
      throw new Violation(
        'proof-true',
        `converged_through ${record.cutoff} of pass ${record.id} published, but ${version} is not on ${members[without]!.name}`,
      );
    }
    const versions = new Set([...present.keys()].filter((version) => stampOf(version) <= record.cutoff));
    this.proofs++;
    if (numbers.length < record.order.length) this.overtaken++;
    const proofs = this.proofsOf.get(record.shard) ?? [];
    proofs.push({ shard: record.shard, through: record.cutoff, members: numbers, versions });
    this.proofsOf.set(record.shard, proofs);
    return true;
  }

  /**
   * A pass that was overtaken by another one, and ends after it, still names who has let the shard go on the word of that
   * other one. Passes that began later name whoever has it again. They tell when by the clock of their starter.
   */
  private hasLetGoSince(number: NodeNumber, { shard, startedMs }: PassRecord): boolean {
    const letGoMs = this.letGo.get(`${number} ${shard}`);
    return letGoMs !== undefined && startedMs - CLOCK_STEP_MS_MAX <= letGoMs;
  }

  /** Rule 22: whatever the replica has, every owner that is there has as well, unless it goes for its age. */
  letsGo(node: SimNode, key: ShardKey): void {
    const id = shardId(key);
    this.copies.letsGo(node, key, id);
    this.letGo.set(`${node.number} ${id}`, this.time.now);
    for (const proof of this.proofsOf.get(id) ?? [])
      proof.members = proof.members.filter((member) => member !== node.number);
    if (this.isDropped(id) || this.expiry.removes(node, key)) return;
    const owners = node.process!.ownersOf(key);
    for (const owner of this.nodes) {
      if (!owners.includes(owner.number) || !owner.up || this.letGo.has(`${owner.number} ${id}`)) continue;
      const stored = owner.stored(id);
      const only = [...node.stored(id).keys()].find((version) => !stored.has(version));
      if (only !== undefined)
        throw new Violation('let-go-rightly', `${node.name} lets go of ${only} of ${id}, which ${owner.name} lacks`);
    }
  }

  restarted(node: SimNode): void {
    this.expiry.restarted(node);
    this.copies.restarted(node);
    for (const proof of [...this.proofsOf.values()].flat()) {
      const { shard, members, versions } = proof;
      if (!members.includes(node.number) || this.isDropped(shard)) continue;
      const stored = node.stored(shard);
      // What was destroyed there it has to find out by itself, and gets it from the others.
      const isKept = (version: Version) => stored.has(version) || this.copies.wasDestroyedOn(node.number, version);
      const lost = [...versions].find((version) => !isKept(version));
      if (lost !== undefined)
        throw new Violation('proof-true', `${node.name} lost ${lost} of a published proof in a crash`);
    }
  }

  /** Whether every write that is acknowledged, or may still be, is stored at some owner besides `node`. */
  isSpare(node: SimNode): boolean {
    const others = this.nodes.filter((other) => other !== node && other.up);
    const ids = [...this.shards.keys()].filter((id) => !this.isOver(id));
    // Whoever is no owner may let the shard go on the word of what this disk had.
    const owns = (other: SimNode, id: ShardId) => other.process!.ownersOf(this.shards.get(id)!).includes(other.number);
    const stored = new Set(
      ids.flatMap((id) => others.filter((other) => owns(other, id)).flatMap((other) => [...other.stored(id).keys()])),
    );
    const kept = (version: Version) => stored.has(version) || this.isOver(this.written.get(version)!.shard);
    if (![...this.acknowledged].every(kept)) return false;
    return [...this.waiting.values()].every(({ version, coordinator, process }) => {
      const mayBeAcknowledged = coordinator !== node && coordinator.process === process;
      return !mayBeAcknowledged || kept(version) || !this.isStored(node, version);
    });
  }

  /** Acknowledged writes of which every copy was destroyed. */
  get lostForGood(): number {
    return [...this.acknowledged].filter(
      (version) => this.copies.isLost(version) && !this.isOver(this.written.get(version)!.shard),
    ).length;
  }

  private isStored(node: SimNode, version: Version): boolean {
    return node.stored(this.written.get(version)!.shard).has(version);
  }

  /** Replicas that name the same pass, and the same members, as their live watermark have the same batches up to it (rules 7, 16). */
  checkLive(id: ShardId): void {
    const first = new Map<string, { node: SimNode; through: Stamp; stored: Map<Version, unknown> }>();
    for (const node of this.nodes) {
      const open = node.process?.open;
      if (open === undefined || !open.storage.shards.has(id)) continue;
      const { replica, liveConverged } = open.ledgerOf(id);
      if (replica !== 'full' || liveConverged === null) continue;
      const { through, members } = liveConverged;
      // Whoever takes a token on, because its successor is silent, may end the pass a second time, without that one.
      const pass = `${liveConverged.pass} on ${members.join()}`;
      const stored = node.stored(id);
      const other = first.get(pass);
      if (other === undefined) {
        first.set(pass, { node, through, stored });
        continue;
      }
      // Lowered where an older batch came meanwhile.
      const both = through < other.through ? through : other.through;
      const lacks = (all: Map<Version, unknown>, of: Map<Version, unknown>) =>
        [...all.keys()].find((version) => stampOf(version) <= both && !of.has(version));
      const differing = lacks(stored, other.stored) ?? lacks(other.stored, stored);
      if (differing !== undefined) {
        const names = `${node.name} and ${other.node.name}`;
        throw new Violation(
          'live-proof-true',
          `${names} say live_converged_through ${both} of ${pass} and differ in ${differing}`,
        );
      }
    }
  }

  checkOutbox(node: SimNode, bytesMax: number): void {
    const bytes = node.process?.host.counters().outbox_bytes ?? 0;
    if (bytes > bytesMax)
      throw new Violation('outbox-bounded', `the outbox of ${node.name} holds ${bytes} of ${bytesMax} bytes`);
  }

  /** What a scan of a full replica gives is what the rules say of its batches. */
  checkScan(node: SimNode, id: ShardId): void {
    const cells = this.cells(node, id);
    const key = this.shards.get(id);
    // One that was made because others may write to it: nothing is in it.
    if (cells === null || key === undefined) return;
    const versions = [...node.stored(id).keys(), ...node.stored(shardId(deleteShardOf(key))).keys()];
    const batches = versions.map((version) => this.written.get(version)!);
    const difference = firstDifference(cells, expectedCells(batches, this.conflictOf(id)));
    if (difference !== null)
      throw new Violation('scans-right', `a scan of ${id} on ${node.name} gives ${difference} by the rules`);
  }

  /** That of databases made along the way is the default. */
  private conflictOf(id: ShardId): ConflictRule {
    return this.shards.get(id)!.database === 'd' ? this.conflict : 'last-write-wins';
  }

  /** While a disk is bad: each other owner has what was acknowledged, unless no copy is left. */
  checkAcknowledged(id: ShardId, owners: readonly SimNode[], sick: SimNode, afterMs: number): void {
    for (const node of owners.filter((each) => each !== sick)) {
      const stored = node.stored(id);
      for (const version of this.acknowledged) {
        if (this.written.get(version)!.shard !== id || stored.has(version) || this.copies.lost.has(version)) continue;
        const what = `acknowledged ${version} is not on owner ${node.name} ${afterMs} ms after the faults`;
        throw new Violation('owners-have-all', `${what}, while the disk of ${sick.name} is bad`);
      }
    }
  }

  checkEnd(id: ShardId, owners: readonly SimNode[], afterMs: number): void {
    const contents = owners.map((node) => node.stored(id));
    for (const [version, { shard }] of this.written) {
      if (shard !== id) continue;
      const without = contents.findIndex((versions) => !versions.has(version));
      if (without < 0) continue;
      const isKept = this.copies.isSomewhere(version);
      const isAcknowledged = this.acknowledged.has(version);
      if (isKept && !isAcknowledged && this.discarded.has(version, id, owners)) continue;
      if (isKept || (isAcknowledged && !this.copies.lost.has(version))) {
        const what = `${isAcknowledged ? 'acknowledged ' : ''}${version}${isKept ? ', which is somewhere,' : ''}`;
        throw new Violation(
          'owners-have-all',
          `${what} is not on owner ${owners[without]!.name} ${afterMs} ms after the faults`,
        );
      }
    }
    for (const [i, node] of owners.entries()) {
      this.checkContent(node, id, contents[i]!, contents[0]!, owners[0]!);
      this.checkScan(node, id);
      const [first, own] = [this.cells(owners[0]!, id), this.cells(node, id)];
      const difference = first === null || own === null ? null : firstDifference(own, first);
      if (difference !== null)
        throw new Violation('scans-right', `queries differ on ${node.name} and ${owners[0]!.name}: ${difference}`);
      if (first !== null && own !== null && [...first.keys()].join() !== [...own.keys()].join())
        throw new Violation('scans-right', `queries give another order of rows on ${node.name} and ${owners[0]!.name}`);
    }
  }

  private checkContent(
    node: SimNode,
    id: ShardId,
    content: ReadonlyMap<Version, bigint | null>,
    first: ReadonlyMap<Version, bigint | null>,
    other: SimNode,
  ): void {
    const names = `${node.name} and ${other.name}`;
    const missing = [...first.keys()].find((version) => !content.has(version));
    const more = [...content.keys()].find((version) => !first.has(version));
    if (missing !== undefined || more !== undefined)
      throw new Violation(
        'content-equal',
        `owners ${names} differ in ${missing ?? more} (${content.size} and ${first.size} batches)`,
      );
    let received = 0n;
    for (const [version, sum] of content) {
      const written = contentSum(this.written.get(version)!.batch);
      received = addSums(received, written);
      if (sum !== null && sum !== written)
        throw new Violation('content-equal', `rows of ${version} on ${node.name} are not what was written`);
    }
    const stored = node.process!.open.storage.shards.get(id);
    if (stored === undefined) return;
    const sum = sumToHex(stored.recomputeContentThrough(LAST_STAMP));
    const ledger = lookUp(() => rootToJson(node.process!.open.ledgerOf(id).root(LAST_STAMP)));
    if (ledger[0] !== content.size || ledger[2] !== sum || sum !== sumToHex(received))
      throw new Violation(
        'content-equal',
        `the ledger of ${node.name} says ${ledger.join()}, its rows ${content.size},${sum}`,
      );
  }

  private cells(node: SimNode, id: ShardId): Map<string, string> | null {
    const open = node.process?.open;
    const shard = open?.queryable(id) ?? null;
    if (shard === null || open!.ledgerOf(id).replica !== 'full') return null;
    this.scans++;
    try {
      return scannedCells(shard);
    } catch (error) {
      // Left to another replica; this one is damaged from now on.
      if (error instanceof StorageError && error.code === 'damaged-block') return null;
      throw error;
    }
  }
}

/** Those that a week has no number for lie in later ones. */
export function shardOf(database: string, generation: number, number: number): ShardKey {
  const startNs = FIRST_WEEK_NS + WEEK_NS * BigInt(Math.floor(number / SHARDS_PER_WEEK));
  return {
    database,
    databaseGeneration: generation,
    retentionPolicy: 'autogen',
    retentionPolicyGeneration: 0,
    startNs,
    endNs: startNs + WEEK_NS,
    number: number % SHARDS_PER_WEEK,
  };
}
