/**
 * The replicas of this worker: the stored shard, its ledger, and what is known of it while the process runs.
 *
 * A replica that is created here because a frame or a token came is empty, full, with floor zero; the first comparison
 * with an owner that has a floor turns it filling (protocol rule 19).
 */
import { deleteShardOf, isDeleteShard } from '../shards/delete-shard.ts';
import { isDamage, StorageError } from '../shards/errors.ts';
import { type ShardId, type ShardKey, shardId } from '../shards/shard-key.ts';
import type { Storage, StoredShard } from '../shards/storage.ts';
import { STAMP_ZERO, type Version } from '../shards/version.ts';
import type { ClusterSnapshot } from './cluster.ts';
import { keyIn } from './held-shards.ts';
import { identitiesEqual, type Ledger, type Root, rootFromJson, rootsEqual, rootToJson } from './ledger.ts';
import { goneMembers, type Loss, takeOver } from './losses.ts';
import { policyOf } from './owners.ts';
import type { GoneMember } from './passed-lists.ts';
import type { DamageDescription, PassRecord } from './records.ts';
import type { FloorClaim } from './replica-messages.ts';
import { rulesOf } from './shard-rules.ts';
import type { Surroundings } from './surroundings.ts';

export interface Replica {
  readonly id: ShardId;
  readonly key: ShardKey;
  readonly stored: StoredShard;
  readonly ledger: Ledger;
  readonly notes: ReplicaNotes;
}

/** Lost at a restart, and rightly so. */
export interface ReplicaNotes {
  /** When a pass was last seen to begin (rule 28). */
  begunMs: number;
  lastPass: PassRecord | null;
  /** Passes of whose end was heard lately (`isNews`). */
  ended: readonly string[];
  passMs: number | null;
  /** Span of a page of the copy that filled it. */
  fillPageMs: number | null;
  heldBackBy: string | null;
  damage: DamageDescription | null;
  /** Batches that could not be read when they were asked for, though nothing is damaged (ring-fitness.ts). */
  unreadable: ReadonlySet<Version> | null;
}

export class ReplicaTable {
  private readonly notes = new Map<ShardId, ReplicaNotes>();
  private gone: readonly GoneMember[] = [];
  /** Their files were set aside; what is made in their place has not been marked yet. */
  private readonly lostOnes = new Set<ShardId>();
  private readonly storage: Storage;
  private readonly ledgerOf: (id: ShardId) => Ledger;
  private readonly around: Surroundings;
  private readonly isHere: (key: ShardKey) => boolean;
  /** Notes of what may be lost, as they were made of the file of before. */
  formerLosses: (id: ShardId) => readonly Loss[] = () => [];

  /** `isHere`: the shard, if this node has it, is this worker's. */
  constructor(
    storage: Storage,
    ledgerOf: (id: ShardId) => Ledger,
    around: Surroundings,
    isHere: (key: ShardKey) => boolean = () => true,
  ) {
    this.storage = storage;
    this.ledgerOf = ledgerOf;
    this.around = around;
    this.isHere = isHere;
  }

  get(id: ShardId): Replica | null {
    const stored = this.storage.shards.get(id);
    if (stored === undefined) {
      this.notes.delete(id);
      return null;
    }
    const ledger = this.ledgerOf(id);
    ledger.gone = this.gone;
    const replica = { id, key: stored.key, stored, ledger, notes: this.notesOf(id) };
    if (this.lostOnes.delete(id)) this.markLost(replica);
    return replica;
  }

  /**
   * The shard's file was set aside, now or before the process began: what is, or will be, in its place is damaged until
   * nobody counts on what it acknowledged (disowning.ts).
   */
  lost(id: ShardId): void {
    this.lostOnes.add(id);
    if (this.get(id) === null) this.makeLost();
  }

  /**
   * An empty replica in the place of each that was lost, whether this member owns the shard or not: without one nobody would be told.
   * Where the lost file no longer says which shard it was (the engine makes the others), lists of those who have it do.
   */
  makeLost(): void {
    for (const id of this.lostOnes) {
      const key = keyIn(this.around.snapshot, id);
      if (key === null) continue;
      if (this.isHere(key)) this.ensureOrWait(key);
      else this.lostOnes.delete(id);
    }
  }

  /** Shards that were lost and that nothing stands for yet: what only they had has not been told of. */
  get untold(): number {
    return this.lostOnes.size;
  }

  private markLost(replica: Replica): void {
    const { ledger } = replica;
    // It was told to all already, when it was set aside.
    if (ledger.since !== STAMP_ZERO) return;
    takeOver(ledger, this.formerLosses(replica.id));
    // What the log has of it was damaged, too.
    if (ledger.replica === 'damaged') ledger.damage = FILE_LOST;
    if (ledger.mustDisown) return;
    ledger.mustDisown = true;
    markDamaged(replica, FILE_LOST, this.around);
  }

  /** Throws StorageError when the shard cannot be created. */
  ensure(key: ShardKey): Replica {
    const id = shardId(key);
    const found = this.get(id);
    if (found !== null) return found;
    this.storage.create(key);
    this.around.count('shards_created');
    this.around.heldChanged();
    this.ensureDeletesOf(key);
    return this.get(id)!;
  }

  /** Who has a shard of a policy with deletes for all its shards has the delete shard, too: it cannot settle without. */
  viewChanged(snapshot: ClusterSnapshot): void {
    this.gone = goneMembers(snapshot);
    this.storage.setRules((key) => rulesOf(snapshot, key));
    for (const { key } of [...this.storage.shards.values()]) this.ensureDeletesOf(key);
  }

  /** When the disk refuses, the shard does not settle and is young, and the next view or pass tries again. */
  private ensureDeletesOf(key: ShardKey): void {
    const { snapshot } = this.around;
    if (snapshot === null || isDeleteShard(key) || policyOf(snapshot, key)?.hasDeletes !== true) return;
    this.ensureOrWait(deleteShardOf(key));
  }

  private ensureOrWait(key: ShardKey): void {
    try {
      this.ensure(key);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.around.heldChanged();
    }
  }

  /** What is here of it cannot be read by this process. */
  isUnopened(id: ShardId): boolean {
    return this.storage.isUnopened(id);
  }

  ids(): IterableIterator<ShardId> {
    return this.storage.shards.keys();
  }

  private notesOf(id: ShardId): ReplicaNotes {
    let notes = this.notes.get(id);
    if (notes === undefined) {
      // As if a pass had begun up to one interval ago: after a start not all shards are passed at the same moment.
      const begunMs = this.around.nowMs - Math.floor(this.around.random() * this.around.limits.passIntervalMs);
      const unknown = { lastPass: null, ended: [], passMs: null, fillPageMs: null };
      notes = { begunMs, ...unknown, heldBackBy: null, damage: null, unreadable: null };
      this.notes.set(id, notes);
    }
    return notes;
  }
}

export const FILE_LOST = 'its file was damaged and set aside';

/** See `HeldShard.young`. */
export function isYoung({ converged, liveConverged }: Ledger): boolean {
  return converged === null && (liveConverged === null || liveConverged.members.length === 1);
}

/**
 * Not proven equal with all owners since it was made here: it has adopted no floor but that of a source it was copied from.
 * What another disk acknowledged under this owner's name, or before it was one, may be at others alone. Not the same as
 * young, which asks for a proof with anybody.
 */
export function isNewcomer({ floor, newcomer }: Ledger): boolean {
  return floor === STAMP_ZERO || newcomer;
}

/** Rule 32: it stays in the ring, answers what it can, proves nothing, and says so. */
export function markDamaged(replica: Replica, reason: string, around: Surroundings): void {
  const { ledger, notes, stored } = replica;
  notes.damage = { reason, sinceMs: around.nowMs, comparedWith: null };
  around.count('damage_found');
  if (ledger.replica !== 'full') return;
  ledger.replica = 'damaged';
  ledger.damage = reason;
  tryFlush(stored);
  around.heldChanged();
}

/** False when the disk refuses: the next flush of the engine brings it. */
export function tryFlush(stored: StoredShard): boolean {
  return flushOutcome(stored) === 'done';
}

/** `damaged`: no later flush can bring it. */
export function flushOutcome(stored: StoredShard): 'done' | 'refused' | 'damaged' {
  try {
    stored.flush();
    return 'done';
  } catch (error) {
    if (error instanceof StorageError) return isDamage(error) ? 'damaged' : 'refused';
    throw error;
  }
}

/**
 * The batches of these versions that can be read. Where a block is damaged they are read one by one, so that it costs
 * only the batches with rows in it; `unreadable` says why those are missing. Throws StorageError when the disk refuses.
 */
export function rebuildReadable(
  stored: StoredShard,
  versions: ReadonlySet<Version>,
): { batches: ReturnType<StoredShard['rebuild']>; unreadable: string | null } {
  try {
    return { batches: stored.rebuild(versions), unreadable: null };
  } catch (error) {
    if (!(error instanceof StorageError) || !isDamage(error)) throw error;
    if (versions.size === 1) return { batches: [], unreadable: error.message };
  }
  const batches: ReturnType<StoredShard['rebuild']> = [];
  let unreadable: string | null = null;
  for (const version of [...versions].sort()) {
    const one = rebuildReadable(stored, new Set([version]));
    batches.push(...one.batches);
    unreadable ??= one.unreadable;
  }
  return { batches, unreadable };
}

export function claimOf(ledger: Ledger): FloorClaim {
  return { floor: ledger.floor, floorRoot: rootToJson(ledger.floorRoot()) };
}

/**
 * Rule 19, seen from one side. `level`: floors are equal, or were made so by adopting the other's. `lower`: the other
 * side is the lower one and will decide when it hears of this floor. `behind`: this replica lies below a floor that it
 * cannot adopt and has to be filled. `damage`: the same batches up to there, with different content.
 */
export function meetFloor(
  ledger: Ledger,
  claim: FloorClaim,
  mayAdopt: boolean,
): 'level' | 'lower' | 'behind' | 'damage' {
  if (claim.floor < ledger.floor) return 'lower';
  const theirs: Root = rootFromJson(claim.floorRoot);
  const mine = ledger.root(claim.floor);
  if (!identitiesEqual(mine, theirs)) return 'behind';
  if (!rootsEqual(mine, theirs)) return 'damage';
  if (mayAdopt) ledger.adoptFloor(claim.floor);
  return 'level';
}
