/**
 * A comparison that changes nothing: what does each replica of a shard lack, as far as the ledgers tell?
 *
 * This node compares with every other member that owns or holds the shard, one after the other: the roots up to where all
 * is closed, so that writes in flight are no differences; the roots at the highest floor of all of them, since at or below
 * a floor nobody lists batches any more; and where roots differ, the batches above that floor, by version and content. Floors go
 * on moving meanwhile: when one is found above that at which the comparison began, it begins anew.
 * Whoever could not be compared is named. What a replica stores is not read: that is a scrub's business.
 */
import { attempt } from '../shards/errors.ts';
import { type ShardId, type ShardKey, shardKeyToJson } from '../shards/shard-key.ts';
import { epochOf, type NodeNumber, type Stamp, type Version } from '../shards/version.ts';
import { heldIn } from './held-shards.ts';
import { identitiesEqual, type Ledger, type Root, rootFromJson, rootsEqual, rootToJson } from './ledger.ts';
import { decodeIdentities, type Identity, LedgerError } from './ledger-codec.ts';
import type { RepairDifference } from './records.ts';
import type { MessageOf, Received } from './replica-messages.ts';
import type { Replica, ReplicaTable } from './replica-table.ts';
import type { Requests } from './requests.ts';
import { cannotRead, NO_PROGRESS } from './ring-fitness.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

export interface PreviewObserver {
  progressed(compared: number, members: number): void;
  ended(problem: string | null, message: string, differences: readonly RepairDifference[]): void;
}

export interface PreviewPorts {
  readonly replicas: ReplicaTable;
  readonly requests: Requests;
  readonly around: Surroundings;
  /** Up to where all is closed; null: not known. */
  closedThrough(replica: Replica): Stamp | null;
}

/** Floors rise with every pass, once in an interval each: a comparison that is overtaken more often is too slow. */
const STARTS_MAX = 8;

type Listed = Map<Version, Identity>;
type Sums = MessageOf<'compare-answer'>['sums'];

/** What came of one other member. `note` null: compared without a word. */
interface Found {
  readonly note: string | null;
  /** At the common floor: null when nothing differs there. */
  readonly atFloor: string | null;
  /** null: not compared. `same`: as this node's. */
  readonly listed: Listed | 'same' | null;
}

export class Preview {
  private readonly o: PreviewPorts;
  private readonly id: ShardId;
  private readonly key: ShardKey;
  private readonly observer: PreviewObserver;
  private readonly members: readonly NodeNumber[];
  private readonly found = new Map<NodeNumber, Found>();
  private floor: Stamp = '';
  private through: Stamp = '';
  private starts = 0;
  private isOver = false;

  constructor(ports: PreviewPorts, replica: Replica, observer: PreviewObserver) {
    this.o = ports;
    this.id = replica.id;
    this.key = replica.key;
    this.observer = observer;
    const { around } = ports;
    const heldBy = around.snapshot?.heldBy ?? {};
    const holders = Object.keys(heldBy).filter((member) => heldIn(heldBy[member], replica.id) !== undefined);
    const states = new Map(around.snapshot?.members.map(({ number, state }) => [number, state]));
    this.members = [...new Set([...around.owners(replica.key), ...holders.sort()])].filter(
      (member) => member !== around.self && states.get(member) !== 'removed',
    );
  }

  start(): void {
    this.reading(() => {
      const here = this.here();
      if (here !== null) this.begin(here.ledger.floor);
    });
  }

  private reading(work: () => void): void {
    attempt(work, (error) => this.end(cannotRead(error)));
  }

  private ask(
    member: NodeNumber,
    question: Parameters<Requests['ask']>[2],
    answered: (answer: Received | null) => void,
  ): void {
    this.o.requests.ask(member, this.key.number, question, (answer) => this.reading(() => answered(answer)));
  }

  /** Answers that come later are of no interest. */
  stop(): void {
    this.isOver = true;
  }

  /** The replica as it is now: a copy may have taken its place. null: there is none, and the comparison is over. */
  private here(): Replica | null {
    if (this.isOver) return null;
    const replica = this.o.replicas.get(this.id);
    if (replica === null) this.end('the shard is gone from this node');
    else if (replica.ledger.replica === 'filling')
      this.end('the replica here is being filled: there is nothing to compare with');
    else return replica;
    return null;
  }

  private begin(floor: Stamp): void {
    const replica = this.here();
    if (replica === null) return;
    if (this.starts++ === STARTS_MAX) {
      this.end('floors moved on faster than could be compared');
      return;
    }
    this.floor = floor;
    const closed = this.o.closedThrough(replica) ?? floor;
    this.through = closed > floor ? closed : floor;
    this.found.clear();
    this.next();
  }

  private next(): void {
    const replica = this.here();
    if (replica === null) return;
    const { found, members } = this;
    if (replica.ledger.floor > this.floor) {
      this.begin(replica.ledger.floor);
      return;
    }
    this.observer.progressed(found.size, members.length);
    const member = members.find((each) => !found.has(each));
    if (member === undefined) this.finish(replica);
    else if (!this.o.around.isLive(member)) this.leaveOut(member, 'not live: not compared');
    else this.compare(replica.ledger, member, 0, []);
  }

  private leaveOut(member: NodeNumber, note: string): void {
    this.found.set(member, { note, atFloor: null, listed: null });
    this.next();
  }

  private compare(mine: Ledger, member: NodeNumber, from: number, sums: Sums): void {
    const { floor, through, key } = this;
    const claim = { floor, floorRoot: rootToJson(mine.root(floor)) };
    const question = { t: 'compare' as const, key: shardKeyToJson(key), through, from, preview: true, ...claim };
    this.ask(member, question, (answer) => {
      const ledger = this.here()?.ledger;
      if (ledger === undefined) return;
      const m = answer?.message as MessageOf<'compare-answer'> | undefined;
      if (m?.status === 'absent') {
        this.found.set(member, { note: 'absent', atFloor: null, listed: new Map() });
        this.next();
      } else if (m?.status === 'ok' && m.root !== null && m.floor === floor) {
        const all = [...sums, ...m.sums];
        if (ledger.floor > floor) this.begin(ledger.floor);
        else if (m.next !== null && m.next <= from) this.leaveOut(member, `${NO_PROGRESS}: not compared`);
        else if (m.next !== null) this.compare(ledger, member, m.next, all);
        else this.compared(ledger, member, rootFromJson(m.root), rootFromJson(m.floorRoot), all);
      } else if (m !== undefined && m.floor > floor) this.begin(m.floor);
      else this.leaveOut(member, m === undefined ? 'no answer: not compared' : `${m.status}: not compared`);
    });
  }

  private compared(ledger: Ledger, member: NodeNumber, root: Root, floorRoot: Root, sums: Sums): void {
    const mine = ledger.root(this.floor);
    const atFloor = differenceAtFloor(mine, floorRoot);
    if (atFloor === null && rootsEqual(ledger.root(this.through), root)) {
      this.found.set(member, { note: null, atFloor, listed: 'same' });
      this.next();
      return;
    }
    const batches = sums.reduce((sum, [, count]) => sum + count, 0);
    const epochs = sums.map(([epoch]) => epoch);
    this.list(member, { epochs, batches, atFloor, listed: new Map() }, '');
  }

  /** Everything that it lists is asked for, so that what this node lacks is seen as well as what it lacks. */
  private list(
    member: NodeNumber,
    wanted: { epochs: number[]; batches: number; atFloor: string | null; listed: Listed },
    above: Version | '',
  ): void {
    const { epochs, batches, atFloor, listed } = wanted;
    if (epochs.length === 0) {
      // Fewer than were counted: its floor has moved over some of them.
      if (listed.size < batches) {
        this.begin(this.floor);
        return;
      }
      this.found.set(member, { note: null, atFloor, listed });
      this.next();
      return;
    }
    const { key } = this;
    const page = epochs.slice(0, this.o.around.limits.epochsPerPage);
    const range = { after: this.floor, through: this.through, epochs: page, above };
    this.ask(member, { t: 'identities', key: shardKeyToJson(key), ...range }, (answer) => {
      if (this.here() === null) return;
      const m = answer?.message as MessageOf<'identities-answer'> | undefined;
      const entries = m?.status === 'ok' ? readList(answer!.attachments[0]) : null;
      if (m === undefined || entries === null) {
        this.leaveOut(member, `${m?.status === 'ok' ? 'malformed list' : (m?.status ?? 'no answer')}: not compared`);
        return;
      }
      for (const each of entries) listed.set(each.version, each);
      const last = entries.at(-1)?.version;
      if (m.more && (last ?? '') <= above) this.leaveOut(member, `${NO_PROGRESS}: not compared`);
      else if (m.more && last !== undefined) this.list(member, wanted, last);
      else this.list(member, { ...wanted, epochs: epochs.slice(page.length) }, '');
    });
  }

  private finish({ ledger }: Replica): void {
    const { around } = this.o;
    const own = this.ownList(ledger);
    const lists = new Map<NodeNumber, Listed>([[around.self, own]]);
    for (const [member, { listed }] of this.found) {
      if (listed !== null) lists.set(member, listed === 'same' ? own : listed);
    }
    const all: Listed = new Map();
    for (const list of lists.values())
      for (const [version, each] of list) if (!all.has(version)) all.set(version, each);
    const { snapshot } = around;
    const isDamaged = (member: NodeNumber) =>
      member === around.self
        ? ledger.replica === 'damaged'
        : heldIn(snapshot?.heldBy[member], this.id)?.state === 'damaged';
    const differences: RepairDifference[] = [];
    for (const [member, list] of lists) {
      const { note = null, atFloor = null } = this.found.get(member) ?? {};
      const said = note ?? (isDamaged(member) ? 'damaged: only its ledger was compared' : null);
      differences.push(this.difference(member, list, all, said, atFloor));
    }
    for (const [member, { listed, note }] of this.found)
      if (listed === null) differences.push(this.notCompared(member, note ?? 'not compared'));
    this.isOver = true;
    this.observer.ended(null, summaryOf(differences), differences);
  }

  private ownList(ledger: Ledger): Listed {
    const { floor, through } = this;
    const own: Listed = new Map();
    for (const { epoch } of ledger.epochSums(floor, through, 0, Number.MAX_SAFE_INTEGER).sums)
      for (const each of ledger.identities(epoch, floor, through, '', Number.MAX_SAFE_INTEGER))
        own.set(each.version, each);
    return own;
  }

  private difference(
    member: NodeNumber,
    list: Listed,
    all: Listed,
    note: string | null,
    atFloor: string | null,
  ): RepairDifference {
    let [batchesMissing, batchesUnequal, rowsMissing] = [0, 0, 0];
    const epochs = new Set<number>();
    for (const [version, { rows, content }] of all) {
      const there = list.get(version);
      if (there?.content === content) continue;
      epochs.add(epochOf(version));
      if (there !== undefined) batchesUnequal++;
      else {
        batchesMissing++;
        rowsMissing += rows;
      }
    }
    const says = [
      ...(note === null ? [] : [note]),
      ...(atFloor === null ? [] : [atFloor]),
      ...(note !== 'absent' && batchesMissing > 0 ? ['lacks what others have'] : []),
      ...(batchesUnequal > 0 ? [`${batchesUnequal} batches with another content`] : []),
    ];
    const counts = { batchesMissing, batchesUnequal, rowsMissing, epochsDiffering: epochs.size };
    const named = { member, name: nameOf(this.o.around.snapshot, member) };
    const result = says.length === 0 ? ('equal' as const) : ('differs' as const);
    return { ...named, ...counts, result, note: says.length === 0 ? 'lacks nothing' : says.join('; ') };
  }

  private notCompared(member: NodeNumber, note: string): RepairDifference {
    const name = nameOf(this.o.around.snapshot, member);
    const counts = { batchesMissing: 0, batchesUnequal: 0, rowsMissing: null, epochsDiffering: 0 };
    return { member, name, ...counts, result: 'not-compared', note };
  }

  private end(problem: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.observer.ended(problem, problem, []);
  }
}

/** A replica whose floor has other batches below it is given a copy; equal batches of unequal content are damage. */
function differenceAtFloor(mine: Root, theirs: Root): string | null {
  if (!identitiesEqual(mine, theirs))
    return `up to the floor ${theirs.count} batches, ${mine.count} where the comparison was made: other ones`;
  return mine.content === theirs.content ? null : 'unequal content up to the floor';
}

function summaryOf(differences: readonly RepairDifference[]): string {
  const of = (result: RepairDifference['result']) => differences.filter((each) => each.result === result);
  const [differing, left] = [of('differs'), of('not-compared')];
  const compared = differences.length - left.length;
  const sum = (pick: (each: RepairDifference) => number) => differing.reduce((total, each) => total + pick(each), 0);
  const counts = `${sum((each) => each.batchesMissing)} batches are missing, ${sum((each) => each.batchesUnequal)} unequal`;
  const said =
    differing.length === 0
      ? `no differences among the ${compared} compared replicas`
      : `${differing.length} of ${compared} replicas differ: ${counts}`;
  return left.length === 0
    ? said
    : `${said}; not compared: ${left.map(({ name, note }) => `${name} (${note})`).join(', ')}`;
}

/** null: it does not read as written. */
function readList(bytes: Uint8Array | undefined): Identity[] | null {
  try {
    return decodeIdentities(bytes ?? new Uint8Array(0));
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error;
    return null;
  }
}
