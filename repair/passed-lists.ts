/**
 * Which batches a floor has passed since a member was given up, for whoever finds that member's disk again.
 *
 * A ledger forgets the identities that its floor passes. While the member was in the ring that cost nothing: what the
 * floor had passed, the member had as well. The floor that passes the removal is the first one of which that is not so:
 * what it passes is kept, so that of each batch on that disk it can be told whether this replica, and with it all that
 * were in the proof, had it. Kept as 16 bytes a batch in the table `ledger_passed` of the shard's file, written with the floor
 * itself, and copied with the file. Where there is none for a member that went before the floor, it cannot be told.
 */
import type { Database } from 'better-sqlite3';
import {
  type NodeNumber,
  nodeOf,
  readVersion,
  type Stamp,
  stampOf,
  VERSION_BYTES,
  type Version,
} from '../shards/version.ts';

/** A member that was given up or replaced. */
export interface GoneMember {
  readonly number: NodeNumber;
  readonly removedAt: Stamp;
  /** A file of the shard that a member lost (lost-files.ts): nothing in it is later than `removedAt`. */
  readonly isFile?: boolean;
}

interface Passed extends GoneMember {
  /** The floor before: whatever lies at or below it was proven with the member, or before there was anything. */
  readonly after: Stamp;
  /** Versions that were listed above `after`, one behind the other; null: they were too many. */
  readonly versions: Uint8Array | null;
}

interface Row {
  member: string;
  removed_at: string;
  after: string;
  versions: Uint8Array | null;
}

const CREATE_TABLE = `CREATE TABLE IF NOT EXISTS ledger_passed
  (member TEXT PRIMARY KEY, removed_at TEXT NOT NULL, after TEXT NOT NULL, versions BLOB)`;
const READ = 'SELECT member, removed_at, after, versions FROM ledger_passed';
const WRITE = 'INSERT OR REPLACE INTO ledger_passed (member, removed_at, after, versions) VALUES (?, ?, ?, ?)';
const DELETE = 'DELETE FROM ledger_passed';
const DELETE_ONE = 'DELETE FROM ledger_passed WHERE member = ?';
/** Of one member in one shard: 262,144 batches. They stay in memory for as long as the shard is there. */
const LIST_BYTES_MAX = 4 << 20;
/** Of one shard; those that were removed first go first. */
const MEMBERS_MAX = 16;

export class PassedLists {
  private lists = new Map<NodeNumber, Passed>();
  private readonly changed = new Set<NodeNumber>();
  /** Decoded for the last question: many come one after the other. */
  private asked: { of: Passed; versions: ReadonlySet<Version> } | null = null;
  private readonly listBytesMax: number;

  constructor(listBytesMax = LIST_BYTES_MAX) {
    this.listBytesMax = listBytesMax;
  }

  /** Whether what a floor passes that moves from `floor` is of interest. */
  isConcerned(gone: readonly GoneMember[], floor: Stamp): boolean {
    return gone.some(({ removedAt }) => floor <= removedAt);
  }

  /** Before a floor moves from `floor` to `through`. `listed`: all versions above `floor`, when it is of interest. */
  note(gone: readonly GoneMember[], floor: Stamp, through: Stamp, listed: readonly Version[]): void {
    for (const { number, removedAt, isFile } of gone) {
      if (floor > removedAt) continue;
      const known = this.lists.get(number);
      // The last list for this member: it has also what came late, above the new floor.
      const isLast = through > removedAt;
      // While a member is away that has to be told, much comes that is later.
      const last = isFile === true ? removedAt : null;
      const most = isLast ? last : through;
      const versions = listed.filter((version) => most === null || stampOf(version) <= most);
      const added = Buffer.from(versions.join(''), 'hex');
      const all = known === undefined ? added : known.versions && Buffer.concat([known.versions, added]);
      const kept = all !== null && all.byteLength <= this.listBytesMax ? all : null;
      this.lists.set(number, { number, removedAt, after: known?.after ?? floor, versions: kept });
      this.changed.add(number);
    }
    const done = [...this.lists.values()].filter(({ removedAt }) => floor > removedAt);
    done.sort((a, b) => (a.removedAt < b.removedAt ? -1 : 1));
    for (const { number } of done.slice(0, Math.max(0, this.lists.size - MEMBERS_MAX))) {
      this.lists.delete(number);
      this.changed.add(number);
    }
  }

  /** Whether a floor was adopted here since the member went. */
  tellsOf(member: NodeNumber): boolean {
    return this.lists.has(member);
  }

  /** Whether a batch at or below the floor, found on the disk of `member`, was here; null: it cannot be told. */
  had(version: Version, member: NodeNumber): boolean | null {
    const passed = this.lists.get(member);
    if (passed === undefined) return null;
    if (stampOf(version) <= passed.after) return true;
    if (passed.versions === null) return null;
    if (this.asked?.of !== passed) this.asked = { of: passed, versions: decode(passed.versions) };
    if (this.asked.versions.has(version)) return true;
    // Nobody takes mail of a member that is known to be removed, and all of a proof knew it.
    return nodeOf(version) === member || stampOf(version) <= passed.removedAt ? false : null;
  }

  load(database: Database): void {
    this.lists = new Map();
    this.changed.clear();
    database.exec(CREATE_TABLE);
    for (const { member, removed_at, after, versions } of database.prepare<[], Row>(READ).iterate())
      this.lists.set(member, { number: member, removedAt: removed_at, after, versions });
  }

  /** `whole`: the file missed an earlier save. */
  freeze(): (database: Database, whole: boolean) => void {
    const lists = new Map(this.lists);
    const changed = [...this.changed];
    this.changed.clear();
    return (database, whole) => {
      database.exec(CREATE_TABLE);
      if (whole) database.prepare(DELETE).run();
      const write = database.prepare(WRITE);
      const remove = database.prepare(DELETE_ONE);
      for (const number of whole ? lists.keys() : changed) {
        const passed = lists.get(number);
        if (passed === undefined) remove.run(number);
        else write.run(number, passed.removedAt, passed.after, passed.versions);
      }
    };
  }
}

function decode(bytes: Uint8Array): ReadonlySet<Version> {
  const versions = new Set<Version>();
  const from = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < from.length; at += VERSION_BYTES) versions.add(readVersion(from, at));
  return versions;
}
