/** What mending asks of a shard (care.ts), on the parts of the shard. */

import type { SeriesKeyRecord } from './batch.ts';
import type {
  CopyQuestion,
  DamagedPart,
  GroupName,
  GroupQuestion,
  GroupSum,
  Reading,
  Replacement,
  ReplacementRequest,
  StoredCare,
} from './care.ts';
import type { ShardCompanion } from './companion.ts';
import type { ContestQuestion, Contests } from './contests.ts';
import { StorageError } from './errors.ts';
import { type HeldFrame, holdFrame } from './held-frame.ts';
import { GroupReplacement } from './replacement.ts';
import type { GivenKeys } from './series-keys.ts';
import { groupsOfBlock, settledCopy, settledGroups } from './settled-content.ts';
import { findContests } from './shard-contests.ts';
import type { ShardFields } from './shard-fields.ts';
import { contentOf } from './shard-flush.ts';
import type { ShardId, ShardKey } from './shard-key.ts';
import type { ShardMerging } from './shard-merging.ts';
import type { ShardPolicy } from './shard-policy.ts';
import { type ReadingParts, ShardReading } from './shard-reading.ts';
import type { LogPosition } from './storage.ts';
import type { StorageLimits } from './storage-limits.ts';
import type { Superseded } from './superseded.ts';
import type { Stamp, Version } from './version.ts';

/** The shard itself. */
export interface CaredShard {
  readonly id: ShardId;
  readonly key: ShardKey;
  readonly companion: ShardCompanion;
  readonly settledThrough: Stamp;
  readonly policy: ShardPolicy;
  readonly appliedThrough: LogPosition;
  readonly isFlushing: boolean;
  beginFlush(): void;
  flushStep(): boolean;
  flush(): void;
  apply(frame: HeldFrame, keys: GivenKeys, position: LogPosition): void;
}

export interface CareParts extends Omit<ReadingParts, 'adopted' | 'closed'> {
  readonly shard: CaredShard;
  readonly limits: StorageLimits;
  readonly merging: ShardMerging;
  readonly fields: () => ShardFields;
}

export class ShardCare implements StoredCare {
  readonly #parts: CareParts;
  /**
   * How often blocks were replaced, the sum of what was dropped restated, or deletes dropped: who reads what was there
   * before begins anew.
   */
  rewrites = 0;

  constructor(parts: CareParts) {
    this.#parts = parts;
  }

  get damaged(): DamagedPart[] {
    const { sources } = this.#parts;
    const { store } = sources;
    if (store.damaged.size === 0) return [];
    const found: DamagedPart[] = [];
    for (const entry of store.directory.all()) {
      const damage = store.damaged.get(entry.id);
      if (damage === undefined) continue;
      const { window, measurement, rows } = entry;
      found.push({ window, measurement, rows, groups: groupsOfBlock(sources, entry), message: damage.message });
    }
    return found;
  }

  read(begun: () => void): Reading {
    const { merging, isGone } = this.#parts;
    merging.hold();
    const { rewrites } = this;
    const parts = {
      ...this.#parts,
      isGone: () => isGone() || this.rewrites !== rewrites,
      adopted: () => void this.rewrites++,
      closed: () => merging.letGo(),
    };
    return new ShardReading(parts, begun);
  }

  /** They have left the file with a flush. */
  deletesDropped(superseded: Superseded): void {
    const { sources, dropped } = this.#parts;
    sources.tombstones.drop(superseded);
    if (superseded.deletes.length === 0) return;
    dropped.added(contentOf(superseded.deletes));
    this.rewrites++;
  }

  groups(question: GroupQuestion): { groups: GroupSum[]; next: GroupName | null } {
    this.#needDeletes(question.through);
    return settledGroups(this.#parts.sources, question);
  }

  /** What is settled here and there is compared, and copied without its versions: no delete of the policy may be missing. */
  #needDeletes(through: Stamp): void {
    const { id, policy } = this.#parts.shard;
    if (policy.deletesThrough < through)
      throw new StorageError(
        'deletes-unknown',
        `${id}: the policy's deletes up to ${through} are not known to be here`,
      );
  }

  copy(question: CopyQuestion): ReturnType<StoredCare['copy']> {
    this.#needDeletes(question.through);
    return settledCopy(this.#parts.sources, this.#parts.shard.key, question);
  }

  replace(request: ReplacementRequest): Replacement {
    if (request.groups.length > 0) this.#needDeletes(request.through);
    const { merging, sources } = this.#parts;
    merging.hold();
    const ended = (window: number, isReplaced: boolean): void => {
      merging.letGo();
      if (!isReplaced) return;
      merging.mended(window);
      sources.tombstones.replaced();
      this.rewrites++;
    };
    return new GroupReplacement({ ...this.#parts, ended }, request);
  }

  placesOf(versions: ReadonlySet<Version>): { window: number; measurement: string }[] {
    const { store } = this.#parts.sources;
    const places = new Map<string, { window: number; measurement: string }>();
    for (const entry of store.directory.all()) {
      const { window, measurement } = entry;
      const name = `${window} ${measurement}`;
      if (places.has(name)) continue;
      try {
        if (store.head(entry).versionTable.some((version) => versions.has(version)))
          places.set(name, { window, measurement });
      } catch (error) {
        if (!(error instanceof StorageError) || error.code !== 'damaged-block') throw error;
      }
    }
    return [...places.values()];
  }

  restore(batches: readonly { frame: Uint8Array; keys: readonly SeriesKeyRecord[] }[]): void {
    const { shard } = this.#parts;
    for (const { frame, keys } of batches) {
      const held = holdFrame(frame);
      try {
        shard.apply(held, keys, shard.appliedThrough);
      } finally {
        held.release();
      }
    }
    shard.flush();
  }

  contests(question: ContestQuestion): Contests {
    const { sources, fields, shard } = this.#parts;
    return findContests({ key: shard.key, sources, mixedFields: (name) => fields().mixed(name) }, question);
  }

  settle(): void {
    const { shard } = this.#parts;
    if (shard.settledThrough < shard.companion.floor) shard.flush();
  }
}
