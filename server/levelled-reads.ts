/**
 * A statement with `consistency=quorum|all`: what it reads is levelled first, up to this moment (read repair).
 *
 * 1. Every other member says which shards it holds, and of which it has writes that no owner is known to have. So shards
 *    that were made a moment ago are known, and members with another view of the cluster are noticed.
 * 2. For each shard one full replica is levelled with the others (repair/levelling.ts), here if there is one: one round
 *    trip for each other owner where nothing is missing. Where its policy has deletes, the delete shard of that place is
 *    levelled with it: by all members, since all own it.
 * 3. The partial requests of the statement go to the replicas that were levelled, and nowhere else.
 *
 * A step that fails for a reason that passes by itself (views that are on their way, writes that leave an outbox, a
 * replica that has just begun to be filled) is tried again until `read-repair-timeout` is over. A level that cannot be
 * reached is an error that names who is missing.
 */
import type { DatabaseDefinition, Member, RetentionPolicyDefinition } from '../repair/cluster.ts';
import { type AbsentMember, type LevelResult, majority, type ReadLevel } from '../repair/levelling.ts';
import { policyOf } from '../repair/owners.ts';
import { deleteShardOf } from '../shards/delete-shard.ts';
import type { PartialRequest } from '../shards/query/partial.ts';
import {
  type ShardId,
  type ShardKey,
  type ShardKeyJson,
  shardId,
  shardKeyFromJson,
  shardKeyToJson,
} from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { LevelledBackend, LevelReport, PartialAnswers, QueryBackend, ShardTarget } from './query/backend.ts';
import type { Ending } from './query/ending.ts';
import { QueryError } from './query/query-error.ts';
import { ask, type BackendPorts, nameOf, together } from './query-backend.ts';
import { callNode, type LevelCall, NodeCallError, type PlaceAnswer, type Whereabouts } from './query-rpc.ts';

const RETRY_MS = 50;
/** A member that says nothing for so long takes no part. */
const WHEREABOUTS_MS_MAX = 3_000;

/** What one member holds, as it said a moment ago. */
interface Standing {
  readonly full: ReadonlySet<ShardId>;
  readonly held: ReadonlySet<ShardId>;
  readonly unplaced: ReadonlySet<ShardId>;
}

/** Lists of shards by member, with their revisions: they are sent only when they have changed. */
const lists = new WeakMap<BackendPorts, Map<NodeNumber, { revision: string; standing: Omit<Standing, 'unplaced'> }>>();

export class LevelledReads implements LevelledBackend {
  readonly #ports: BackendPorts;
  readonly #base: QueryBackend;
  readonly #level: ReadLevel;
  readonly #ending: Ending;
  readonly #deadlineMs: number;
  #viewHash = '';
  #standings = new Map<NodeNumber, Standing>();
  #ownUnplaced: ReadonlySet<ShardId> = new Set();
  /** Members that take no part, whatever the shard. */
  #absent: AbsentMember[] = [];
  /** Where a levelled shard is to be read. */
  readonly #places = new Map<ShardId, NodeNumber>();
  /** Delete shards that are level, each with the place. */
  readonly #deletes = new Set<string>();
  readonly #members = new Set<NodeNumber>();
  #batches = 0;
  #rows = 0;

  private constructor(ports: BackendPorts, base: QueryBackend, level: ReadLevel, ending: Ending) {
    this.#ports = ports;
    this.#base = base;
    this.#level = level;
    this.#ending = ending;
    this.#deadlineMs = Date.now() + ports.readRepairTimeoutMs;
  }

  static async begin(
    ports: BackendPorts,
    base: QueryBackend,
    level: ReadLevel,
    ending: Ending,
  ): Promise<LevelledReads> {
    const reads = new LevelledReads(ports, base, level, ending);
    for (;;) {
      await reads.#askAll();
      // For `all` whoever is silent may hold a shard, or a write, of which nobody else knows.
      if (level === 'quorum' || reads.#absent.length === 0) return reads;
      const isPassing = reads.#absent.every(({ reason }) => reason === OTHER_VIEW);
      if (!isPassing || !(await reads.#mayRetry())) throw reads.#unmet('', reads.#absent);
    }
  }

  get metadata(): QueryBackend['metadata'] {
    return this.#base.metadata;
  }

  get server(): QueryBackend['server'] {
    return this.#base.server;
  }

  snapshot(): ReturnType<QueryBackend['snapshot']> {
    return this.#base.snapshot();
  }

  unheard(): readonly string[] {
    return [];
  }

  levelled(): Promise<LevelledBackend> {
    return Promise.resolve(this);
  }

  deleteRows(...args: Parameters<QueryBackend['deleteRows']>): Promise<void> {
    return this.#base.deleteRows(...args);
  }

  placesOf(...args: Parameters<QueryBackend['placesOf']>): ReturnType<QueryBackend['placesOf']> {
    return this.#base.placesOf(...args);
  }

  writeLines(...args: Parameters<QueryBackend['writeLines']>): Promise<void> {
    return this.#base.writeLines(...args);
  }

  targets(
    database: DatabaseDefinition,
    policy: RetentionPolicyDefinition,
    minNs: bigint,
    maxNs: bigint,
  ): readonly ShardTarget[] {
    // More silent members than a shard may lack: there may be one that only they know.
    const up = this.#ports.snapshot().members.filter(({ state }) => state === 'up').length;
    const owners = Math.min(policy.replication, up);
    if (this.#absent.length > owners - majority(owners)) throw this.#unmet('', this.#absent);
    return this.#base.targets(database, policy, minNs, maxNs);
  }

  async run(targets: readonly ShardTarget[], request: PartialRequest): Promise<PartialAnswers> {
    await this.#levelAll(targets.filter(({ id }) => !this.#places.has(id)));
    const byPlace = new Map<NodeNumber, ShardTarget[]>();
    for (const target of targets) addTo(byPlace, this.#places.get(target.id)!, target);
    const answers = await Promise.all(
      [...byPlace].map(async ([place, shards]): Promise<PlaceAnswer> => {
        const answer = await ask(this.#ports, place, shards, request, this.#ending);
        if (answer === null || answer.absent.length > 0)
          throw new QueryError(`the levelled replica on ${this.#name(place)} is not there any more; safe to retry`);
        return answer;
      }),
    );
    return together(targets, answers, []);
  }

  report(): LevelReport {
    return {
      consistency: this.#level,
      members: [...this.#members].map((member) => this.#name(member)).sort(),
      shards: this.#places.size,
      deleteShards: this.#deletes.size,
      batches: this.#batches,
      rows: this.#rows,
    };
  }

  async #askAll(): Promise<void> {
    const snapshot = this.#ports.snapshot();
    this.#viewHash = snapshot.viewHash;
    this.#standings = new Map();
    this.#absent = [];
    const live = new Set(snapshot.live);
    const own = this.#ports.pool.callAll('unplaced');
    await Promise.all(
      this.#present().map(async (member) => {
        const said = live.has(member.number) ? await this.#askOne(member) : 'not live';
        if (typeof said === 'string') this.#absent.push({ member: member.number, reason: said });
        else this.#standings.set(member.number, said);
      }),
    );
    this.#ownUnplaced = this.#unplaced((await own).flat());
    this.#ending.throwIfEnded();
  }

  /** What it holds, or why it takes no part. */
  async #askOne({ number, address }: Member): Promise<Standing | string> {
    const { places, snapshot, clusterId } = this.#ports;
    const known = listsOf(this.#ports).get(number);
    let said: Whereabouts;
    try {
      const timeoutMs = Math.max(1, Math.min(WHEREABOUTS_MS_MAX, this.#deadlineMs - Date.now()));
      const target = { address, clusterId: clusterId(), from: nameOf(snapshot()), timeoutMs };
      said = await callNode(target, 'whereabouts', known?.revision ?? null);
    } catch (error) {
      if (error instanceof NodeCallError) return 'no answer';
      throw error;
    }
    if (said.viewHash !== this.#viewHash) return OTHER_VIEW;
    if (said.held === null && known === undefined) return 'no answer';
    let standing = known?.standing;
    if (said.held !== null || standing === undefined) {
      for (const held of said.held ?? []) places.noteReported(held.id, held.key);
      const held = new Set((said.held ?? []).map(({ id }) => id));
      const full = new Set((said.held ?? []).filter(({ state }) => state === 'full').map(({ id }) => id));
      standing = { held, full };
      listsOf(this.#ports).set(number, { revision: said.revision, standing });
    }
    return { ...standing, unplaced: this.#unplaced(said.unplaced) };
  }

  /** Nobody may hold these shards yet. */
  #unplaced(keys: readonly ShardKeyJson[]): Set<ShardId> {
    return new Set(
      keys.map((key) => {
        const id = shardId(shardKeyFromJson(key));
        this.#ports.places.noteReported(id, key);
        return id;
      }),
    );
  }

  async #levelAll(targets: readonly ShardTarget[]): Promise<void> {
    for (let left = targets; left.length > 0; ) {
      const results = await this.#levelEach(left);
      this.#ending.throwIfEnded();
      const again: ShardTarget[] = [];
      for (const target of left) {
        const result = results.get(target.id);
        if (result?.outcome === 'level') this.#places.set(target.id, this.#take(result));
        else if (this.#isPassing(result)) again.push(target);
        else throw this.#unmet(describe(target), result!.missing);
      }
      left = again;
      if (left.length === 0) return;
      if (!(await this.#mayRetry())) {
        const first = left[0]!;
        throw this.#unmet(describe(first), results.get(first.id)?.missing ?? []);
      }
      await this.#askAll();
    }
  }

  /** Where it is level. */
  #take({ members, batches, rows }: LevelResult): NodeNumber {
    for (const member of members) this.#members.add(member);
    this.#batches += batches;
    this.#rows += rows;
    return members[0]!;
  }

  /** Missing where nobody who could be levelled was found, or the one who was asked did not answer. */
  async #levelEach(targets: readonly ShardTarget[]): Promise<Map<ShardId, LevelResult>> {
    const byPlace = new Map<NodeNumber, ShardTarget[]>();
    for (const target of targets) {
      const place = this.#placeOf(target);
      if (place !== null) addTo(byPlace, place, target);
    }
    const results = await Promise.all([...byPlace].map(([place, shards]) => this.#levelWithDeletes(place, shards)));
    return new Map(results.flat().map((result) => [result.shard, result]));
  }

  /** A shard is level when the deletes that it is read with are. */
  async #levelWithDeletes(place: NodeNumber, shards: readonly ShardTarget[]): Promise<readonly LevelResult[]> {
    const deletes = new Map<ShardId, ShardTarget>();
    for (const shard of shards) {
      const key = deleteShardOf(shard.key);
      const id = shardId(key);
      if (this.#mayExist(id, key) && !this.#deletes.has(`${id} ${place}`)) deletes.set(id, { id, key });
    }
    const all = await this.#levelAt(place, [...shards, ...deletes.values()]);
    const results = new Map(all.map((result) => [result.shard, result]));
    const short = new Map<ShardId, LevelResult | undefined>();
    for (const id of deletes.keys()) {
      const result = results.get(id);
      if (result?.outcome === 'level') this.#deletes.add(`${id} ${this.#take(result)}`);
      else short.set(id, result);
    }
    return shards.flatMap(({ id, key }) => {
      const own = results.get(id);
      const ofDeletes = shardId(deleteShardOf(key));
      const result = own?.outcome === 'level' && short.has(ofDeletes) ? short.get(ofDeletes) : own;
      return result === undefined ? [] : [{ ...result, shard: id }];
    });
  }

  /** Whoever wrote the first delete told the metadata before; a member that holds it may have heard of it sooner. */
  #mayExist(id: ShardId, key: ShardKey): boolean {
    if (policyOf(this.#ports.snapshot(), key)?.hasDeletes === true || this.#ownUnplaced.has(id)) return true;
    if (this.#ports.places.holds(id)) return true;
    return [...this.#standings.values()].some(({ held, unplaced }) => held.has(id) || unplaced.has(id));
  }

  #placeOf({ id, key }: ShardTarget): NodeNumber | null {
    const { places, snapshot } = this.#ports;
    if (places.isLocal(id)) return snapshot().self;
    const holders = [...this.#standings].filter(([, { full }]) => full.has(id)).map(([member]) => member);
    const preferred = places.remoteHolders({ id, key }).find((member) => holders.includes(member));
    return preferred ?? holders[0] ?? null;
  }

  async #levelAt(place: NodeNumber, shards: readonly ShardTarget[]): Promise<readonly LevelResult[]> {
    const { levelling, snapshot, clusterId } = this.#ports;
    const timeoutMs = Math.max(1, this.#deadlineMs - Date.now());
    const calls = shards.map((target) => this.#callFor(target, timeoutMs));
    const { self, members } = snapshot();
    if (place === self)
      return Promise.all(calls.map((call) => levelling.level({ ...call, shard: shardKeyFromJson(call.shard) })));
    const address = members.find(({ number }) => number === place)?.address;
    if (address === undefined) return [];
    try {
      // Its own time is up a moment earlier, and its answer says more than ours would.
      const target = { address, clusterId: clusterId(), from: nameOf(snapshot()), timeoutMs: timeoutMs + 1_000 };
      return await callNode(target, 'level', calls);
    } catch (error) {
      if (error instanceof NodeCallError) return [];
      throw error;
    }
  }

  #callFor({ id, key }: ShardTarget, timeoutMs: number): LevelCall {
    const holders: NodeNumber[] = [];
    const without = [...this.#absent];
    for (const [member, { held, unplaced }] of this.#standings) {
      if (held.has(id)) holders.push(member);
      if (unplaced.has(id)) without.push({ member, reason: UNPLACED });
    }
    const { self } = this.#ports.snapshot();
    if (this.#ports.places.isLocal(id)) holders.push(self);
    if (this.#ownUnplaced.has(id)) without.push({ member: self, reason: UNPLACED });
    return {
      shard: shardKeyToJson(key),
      level: this.#level,
      viewHash: this.#viewHash,
      holders,
      without,
      timeoutMs,
    };
  }

  /** Whether it may be otherwise in a moment. */
  #isPassing(result: LevelResult | undefined): boolean {
    if (result === undefined || result.outcome !== 'short') return true;
    return result.missing.every(({ reason }) => reason === UNPLACED || reason === OTHER_VIEW);
  }

  /** Waits a moment; false when the time is up. */
  async #mayRetry(): Promise<boolean> {
    if (Date.now() + RETRY_MS >= this.#deadlineMs) return false;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    this.#ending.throwIfEnded();
    return true;
  }

  #present(): Member[] {
    const { members, self } = this.#ports.snapshot();
    return members.filter(({ number, state }) => number !== self && state !== 'removed' && state !== 'joining');
  }

  #unmet(where: string, missing: readonly AbsentMember[]): QueryError {
    const named = missing.map(({ member, reason }) => `${this.#name(member)} (${reason})`).sort();
    const who = named.length === 0 ? 'no full replica answers' : `missing ${named.join(', ')}`;
    return new QueryError(`consistency level "${this.#level}" cannot be met${where}: ${who}`);
  }

  #name(number: NodeNumber): string {
    return this.#ports.snapshot().members.find((member) => member.number === number)?.name ?? number;
  }
}

const OTHER_VIEW = 'has another view of the cluster';
const UNPLACED = 'has writes that no owner has yet';

function describe({ id, key }: ShardTarget): string {
  return ` for shard ${id} of ${key.database}.${key.retentionPolicy}`;
}

function listsOf(ports: BackendPorts): Map<NodeNumber, { revision: string; standing: Omit<Standing, 'unplaced'> }> {
  let known = lists.get(ports);
  if (known === undefined) {
    known = new Map();
    lists.set(ports, known);
  }
  return known;
}

function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
